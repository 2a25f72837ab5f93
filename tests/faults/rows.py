"""The rows of the fault matrix, and which tests of other rooms show some of them."""

from __future__ import annotations

ROWS = {
    "A1": ("kill -9 in the schema step", "goes on at the next object"),
    "A2": ("kill -9 of a copy worker", "unfinished tables are copied again"),
    "A3": ("kill -9 of whoever holds the snapshot", "finished tables stay; the others get a new snapshot"),
    "A4": ("kill -9 while indexes are built", "the orphan is ended, the index built once"),
    "A5": ("kill -9 in the sync", "goes on within 30 s; nothing lost or doubled"),
    "A6": ("kill -9 in the comparison", "told, and compared again from the start; the sync was never harmed"),
    "A7": ("kill -9 in Complete", "in sync, or completed as a whole"),
    "A8": ("kill -9 of queue workers and clusters", "back within a minute; one engine per task"),
    "A9": ("kill -9 of a web process in a request", "recorded whole or not at all"),
    "A10": ("SIGTERM, restart of everything", "goes on at the start"),
    "A11": ("a worker frozen, then awake again", "its next commit is refused"),
    "A12": ("a job delivered twice", "worked off once"),
    "A13": ("the console's database away", "the sync goes on; the web says so"),
    "A14": ("the console's database from an older backup", "the target's own position counts"),
    "A15": ("the worker's disk full", "WORKER-FULL, everything kept, Retry goes on"),
    "A16": ("the worker out of memory", "goes on"),
    "B1": ("source restarted or crashed", "by itself; in the copy unfinished tables under a new snapshot"),
    "B2": ("the slot falls back", "what is sent again is skipped"),
    "B3": ("source failed over", "SRC-FAILOVER, never a silent gap"),
    "B4": ("slot dropped or invalidated", "SRC-SLOTGONE or SRC-SLOTLOST: a new copy is needed"),
    "B5": ("slot busy", "own reader is ended; a foreign one is named"),
    "B6": ("old or prepared transaction at the start", "told with PID; Cancel works"),
    "B7": ("timeouts of role or database", "do not reach us"),
    "B8": ("no connection left", "by itself once there is one"),
    "B9": ("password changed", "who is in stays in; then AUTH-FAILED once, Retry after the fix"),
    "B10": ("certificate expired or replaced", "told with the reason; nothing in clear text"),
    "B11": ("column added", "stops before the first new row"),
    "B12": ("column dropped, renamed, retyped", "stops, names it"),
    "B13": ("table or schema renamed", "told; no row in a namesake"),
    "B14": ("new table or partition", "asked: Add or Ignore"),
    "B15": ("TRUNCATE in all its forms", "applied in order"),
    "B16": ("key or replica identity changed", "stops before a wrong row"),
    "B17": ("a huge transaction with savepoints", "under 512 MB, one commit, the source stays answered"),
    "B18": ("idle database beside a busy one", "the slot follows"),
    "B19": ("clocks moved", "lag is never negative"),
    "B20": ("standby, pooler, wal_level", "refused by the check with the fix"),
    "B21": ("DDL behind our lock", "we give way within 2 s"),
    "B22": ("publication changed", "SRC-PUBLICATION"),
    "C1": ("target restarted, also at COMMIT", "by itself; the bookmark settles what is in doubt"),
    "C2": ("synchronous_commit = off and a crash", "nothing lost"),
    "C3": ("target's data disk full", "DST-FULL, then goes on"),
    "C4": ("target's WAL disk full", "waits for a server that ended, DST-FULL of one that refuses; then goes on"),
    "C5": ("lock held on the target", "DST-LOCKED with PID and user; goes on by itself"),
    "C6": ("deadlock", "the transaction as a whole again"),
    "C7": ("target read-only or failed over", "DST-READONLY; Retry goes on"),
    "C8": ("somebody writes to the target", "DST-CONFLICT with table and key"),
    "C9": ("target's objects changed", "told, triggers do not fire"),
    "C10": ("target not empty", "refused; only our own objects are ever cleared"),
    "C11": ("two tasks, one target", "the second is refused"),
    "C12": ("synchronous standby gone", "DST-STALLED; nothing confirmed to the source"),
    "C13": ("extension, role, locale missing", "told by the check with the statement"),
    "C14": ("as B8 and B9, on the target", "as there"),
    "N1": ("cut by RST or FIN at any byte", "by itself, nothing lost or doubled"),
    "N2": ("half-open line", "noticed within a minute, by itself"),
    "N3": ("hung server process", "given up within two minutes, by itself"),
    "N4": ("slow line", "no false alarm"),
    "N5": ("a line that breaks all the time", "finishes"),
    "N6": ("a line that flaps", "no storm of connections"),
    "N7": ("DNS fails or changes", "by itself; each address judged again"),
    "N8": ("slow target, impatient source", "the source is answered"),
    "N9": ("cut for longer than the retry window", "failed with everything kept; Retry works"),
    "O1": ("Start or Complete pressed twice", "one winner, one engine, one slot"),
    "O2": ("Cancel against Start or Complete", "exactly one of cancelled and completed"),
    "O3": ("Cancel in each step", "within 30 s, nothing of ours left"),
    "O4": ("Cancel while the source is away", "cancelled, what is left is listed; cleaned up later"),
    "O5": ("Complete before all is equal", "drained first; a difference stops it"),
    "O6": ("stale form", "refused by its version"),
    "O7": ("schedule missed", "starts late, once, in order"),
    "O8": ("upgrade with tasks in sync", "goes on"),
}


ELSEWHERE = {
    "acceptance/test_kills.py": {
        "test_a_worker_killed_before_the_sync_is_replaced": ("A1", "kill -9 in schema, copy and index"),
        "test_a_worker_killed_again_and_again_in_the_sync_is_replaced": ("A5", "kill -9 in the sync, three times"),
        "test_a_worker_killed_in_complete_is_replaced": ("A7", "kill -9 in Complete"),
        "test_a_whole_cluster_that_is_killed_comes_back": ("A8", "kill -9 of a whole queue cluster in the sync"),
    },
    "acceptance/test_queue_guards.py": {
        "test_a_cluster_whose_idle_workers_are_killed_goes_on_serving": ("A8", "kill -9 of idle queue workers"),
    },
    "acceptance/test_deliveries.py": {
        "test_a_killed_workers_task_is_taken_over_once_however_often_it_is_delivered": (
            "A12",
            "a killed worker's message delivered again and again",
        ),
    },
    "acceptance/test_cancel.py": {
        "test_a_task_cancelled_before_its_sync_can_start_again": ("O3", "Cancel in schema, copy and index"),
        "test_a_task_cancelled_after_its_copy_can_start_again": ("O3", "Cancel in the sync"),
        "test_a_task_cancelled_in_complete_can_start_again": ("O3", "Cancel in each part of Complete"),
        "test_a_task_that_already_cleans_up_refuses_to_be_cancelled_and_ends_well": ("O2", "Cancel past the last step"),
        "test_without_clearing_the_check_says_what_is_in_the_way": ("C10", "Start again on what was left"),
        "test_an_object_that_others_built_on_ours_keeps_ours_alive": ("C10", "others built on what we made"),
        "test_a_source_that_is_away_is_named_and_cleaned_up_once_it_is_back": ("O4", "Cancel while the source refuses"),
    },
    "faults/test_random_kills.py": {
        "test_a_task_survives_kills_at_random_moments": ("A5", "kill -9 at random moments of all steps"),
        "test_a_short_step_survives_kill_after_kill": ("A4", "kill -9 again and again in schema and index"),
        "test_a_task_cancelled_at_a_random_moment_leaves_nothing": ("O2", "Cancel at random moments, after kills too"),
        "test_whole_clusters_killed_at_random_moments_come_back": ("A8", "kill -9 of whole clusters at random"),
    },
    "faults/test_rare_kills.py": {
        "test_a_worker_killed_in_each_step_of_complete_is_replaced": ("A7", "kill -9 in each step of Complete"),
        "test_a_cluster_that_is_killed_while_it_copies_comes_back": ("A3", "kill -9 of the whole cluster in the copy"),
        "test_a_frozen_worker_that_wakes_up_after_being_replaced_changes_nothing": (
            "A11",
            "SIGSTOP of a worker until it was replaced, then SIGCONT",
        ),
        "test_a_message_that_is_delivered_twice_is_worked_off_once": ("A12", "the wake-up sent three times"),
        "test_idle_workers_that_are_killed_are_replaced_and_the_task_goes_on": ("A8", "kill -9 of idle workers"),
        "test_a_worker_killed_early_or_late_in_a_step_is_replaced": ("A2", "kill -9 early and late in each step"),
    },
    "postgres/test_snapshot.py": {
        "test_it_waits_for_an_older_writer_and_says_for_whom": ("B6", "an older writing transaction"),
        "test_cancel_ends_the_wait_for_an_older_writer_at_once": ("B6", "Cancel while waiting for it"),
    },
    "postgres/test_checks_sync.py": {
        "test_slots_in_use_are_counted_against_the_free_ones": ("B8", "slots used up, at the check"),
        "test_a_replication_login_that_finds_no_free_sender_fails_and_names_the_setting": (
            "B8",
            "WAL senders used up, at the check",
        ),
        "test_a_prepared_transaction_is_a_warning_that_names_it": ("B6", "a prepared transaction at the check"),
        "test_a_setting_that_is_too_low_fails_with_the_statement_and_the_restart": ("B20", "wal_level, slots, senders"),
    },
    "postgres/test_copy_moving.py": {
        "test_a_copy_gives_way_to_a_truncate_of_its_own_table": ("B21", "TRUNCATE behind the COPY of its table"),
    },
    "postgres/test_stream_traps.py": {
        "test_a_schema_renamed_among_rows_lets_none_of_them_into_its_namesake": (
            "B13",
            "a schema renamed between two rows of one transaction",
        ),
        "test_rows_are_found_after_another_index_has_become_their_identity": (
            "B16",
            "replica identity moved to another index between updates",
        ),
    },
    "postgres/test_publication_edited.py": {
        "test_a_publication_that_is_edited_while_the_sync_runs_stops_it": (
            "B22",
            "the publication edited while the sync runs",
        ),
        "test_a_publication_mended_as_the_hint_says_lets_the_sync_go_on": (
            "B22",
            "the publication mended as the hint says",
        ),
        "test_a_table_put_back_between_two_slices_is_told_once_and_quarantined": (
            "B22",
            "a table taken out and put back between two slices",
        ),
        "test_a_table_put_back_while_all_tables_are_copied_is_told_by_the_sync": (
            "B22",
            "a table taken out and put back during the copy",
        ),
        "test_a_partitioned_table_put_back_is_told_of_a_partition_that_only_it_brings": (
            "B22",
            "a partitioned table taken out and put back",
        ),
        "test_kinds_of_changes_kept_back_between_two_slices_are_told_once": (
            "B22",
            "updates kept back for a while between two slices",
        ),
    },
    "postgres/test_sync_pooled.py": {
        "test_a_pooler_that_drops_settings_is_told_before_anything_is_applied": (
            "B20",
            "a pooler that drops settings comes between during the sync",
        ),
        "test_a_pooler_that_shares_out_transactions_applies_nothing_where_triggers_fire": (
            "B20",
            "a pooler that shares out transactions comes before the target during the sync",
        ),
    },
    "postgres/test_sync_faults.py": {
        "test_another_target_behind_the_address_is_refused": ("C7", "another server behind the target's address"),
        "test_a_table_renamed_within_a_transaction_leaves_its_namesake_alone": (
            "B13",
            "a table renamed between two rows of one transaction",
        ),
        "test_a_busy_slot_names_the_process_that_reads_it": ("B5", "another session reads the slot"),
        "test_a_changed_table_stops_the_sync_just_before_the_change": ("B12", "columns and tables altered, renamed"),
        "test_a_changed_table_goes_on_once_the_target_was_changed_too": ("B11", "column added, on the target later"),
        "test_a_table_renamed_between_two_sessions_is_noticed_at_its_first_change": ("B13", "renamed while away"),
        "test_a_new_partition_of_a_selected_table_stops_the_sync": ("B14", "a new partition"),
        "test_a_row_found_twice_stops_the_sync": ("B16", "a key that finds two rows"),
        "test_a_table_taken_out_of_the_publication_is_named": ("B22", "a table taken out of the publication"),
        "test_a_publication_that_is_gone_is_refused": ("B22", "the publication dropped"),
        "test_a_slot_that_was_read_by_somebody_else_is_the_end": ("B4", "the slot advanced by somebody else"),
        "test_a_duplicate_key_names_table_and_key_and_keeps_the_position": ("C8", "a foreign row with the same key"),
        "test_a_missing_row_stops_the_sync": ("C8", "a row deleted on the target"),
        "test_an_insert_that_the_target_swallows_stops_the_sync": ("C9", "an ALWAYS trigger that drops rows"),
        "test_a_table_missing_on_the_target_is_named": ("C9", "a table dropped on the target"),
    },
    "postgres/test_adding.py": {
        "test_a_worker_that_dies_while_it_adds_is_followed_by_one_that_ends_it": ("B14", "kill -9 while one is added"),
        "test_a_table_that_is_in_the_way_on_the_target_gives_the_decision_back_and_the_sync_goes_on": (
            "B14",
            "a new table whose name is taken",
        ),
    },
    "postgres/test_sync_kills.py": {
        "test_kills_at_random_moments_lose_and_double_nothing": ("A5", "kill -9 of the engine at random moments"),
    },
    "postgres/test_conflicts.py": {
        "test_the_row_of_the_source_takes_the_place_of_what_is_in_its_way": ("C8", "the source's row taken"),
        "test_a_quarantined_table_blocks_complete_until_it_is_settled": ("C8", "the table quarantined"),
        "test_a_dropped_table_stays_as_it_is_and_does_not_block_complete": ("C8", "the table dropped"),
    },
    "acceptance/test_own_postgres.py": {
        "test_a_clean_stop_gives_the_task_back_and_a_later_start_takes_it_to_the_end": (
            "A10",
            "SIGTERM and SIGINT of everything, in the copy and in the sync; started again",
        ),
        "test_a_restart_of_the_consoles_own_server_ends_no_sync": ("A13", "the console's PostgreSQL down three times"),
    },
    "postgres/test_drift_followed.py": {
        "test_a_table_whose_changes_the_source_refuses_from_now_on_is_told_once_and_anew_after_it_was_mended": (
            "B16",
            "the key dropped, the replica identity taken away",
        ),
    },
    "postgres/test_conflicts_taken.py": {
        "test_a_kill_while_a_row_is_taken_takes_it_once_all_the_same": ("C8", "kill -9 while a row is taken"),
    },
    "postgres/test_sync_truncate.py": {
        "test_truncate_empties_the_same_tables": ("B15", "TRUNCATE, RESTART IDENTITY, CASCADE, ONLY"),
    },
    "postgres/test_sync_positions.py": {
        "test_an_idle_database_does_not_hold_back_a_busy_server": ("B18", "the database idle, its neighbour busy"),
        "test_a_worker_of_an_older_epoch_cannot_commit": ("A11", "the commit of an older epoch"),
    },
    "postgres/test_tls_codes.py": {
        "test_each_refusal_has_its_own_code": ("B10", "certificates expired, of others, self-signed"),
    },
    "postgres/test_complete.py": {
        "test_a_difference_stops_complete_and_the_sync_can_go_on": ("O5", "Complete with a difference"),
        "test_completing_while_the_application_writes_compares_equal": ("O5", "Complete while the application writes"),
    },
    "unit/test_apply_lag.py": {
        "test_lag_is_never_negative_when_a_clock_is_set_back": ("B19", "the source's clock set back"),
    },
    "integration/test_supervisor.py": {
        "test_a_signal_stops_everything_cleanly": ("A10", "SIGTERM, SIGINT and SIGHUP of the supervisor"),
    },
    "integration/test_outrun.py": {
        "test_a_target_that_runs_ahead_again_and_again_has_another_console": ("A14", "two consoles on one task"),
    },
    "postgres/test_failover.py": {
        "test_the_sync_goes_on_at_the_standby_that_took_over": ("B3", "a standby with the synced slot took over"),
        "test_without_its_slot_changes_may_be_missing": ("B3", "a standby without the slot took over"),
        "test_a_slot_that_is_ahead_of_the_target_is_refused": (
            "B3",
            "a standby whose slot is ahead of the target took over",
        ),
        "test_a_target_that_holds_what_the_new_source_never_had_is_refused": (
            "B3",
            "a standby that lacks what the target has took over",
        ),
    },
    "postgres/test_checks_connection.py": {
        "test_a_standby_is_no_source_for_incremental_sync_and_no_target": ("B20", "a standby"),
        "test_a_database_cannot_be_copied_onto_itself_even_through_another_address": (
            "C11",
            "source and target are one, by another address",
        ),
    },
    "postgres/test_checks_around.py": {
        "test_a_pooler_fails_where_a_slot_is_needed_and_is_a_warning_elsewhere": (
            "B20",
            "a pooler in front of the server",
        ),
    },
    "postgres/test_second_task.py": {
        "test_a_second_task_for_the_same_tables_fails_the_check": ("C11", "another task on the target, at the check"),
        "test_a_run_takes_nothing_over_that_another_task_has": ("C11", "another task has the tables, before the copy"),
        "test_two_tasks_that_take_over_at_the_same_time_do_so_one_after_the_other": (
            "C11",
            "two tasks take over at the same time",
        ),
    },
    "postgres/test_source_follows_target.py": {
        "test_a_run_removes_nothing_from_a_target_that_its_source_may_follow": (
            "C11",
            "the source is a standby of the target",
        ),
    },
    "postgres/test_checks_target.py": {
        "test_an_extension_that_the_target_lacks_fails_when_it_is_needed": (
            "C13",
            "an extension that the target lacks",
        ),
        "test_a_locale_that_the_target_does_not_know_is_a_warning": ("C13", "a locale that the target lacks"),
        "test_a_collation_that_the_target_lacks_fails": ("C13", "a collation that the target lacks"),
        "test_a_tablespace_is_a_warning": ("C13", "a tablespace of the source"),
        "test_fewer_connections_than_a_migration_needs_at_least_fail": ("C14", "too few connections, at the check"),
    },
    "postgres/test_roles.py": {
        "test_the_check_shows_beforehand_what_will_happen": ("C13", "roles that the target lacks"),
    },
    "integration/test_out_of_memory.py": {
        "test_a_worker_without_memory_is_tried_again_twice_and_then_waits_for_the_operator": (
            "A16",
            "a slice that ends for want of memory, three times",
        ),
    },
    "integration/test_clock.py": {
        "test_a_lease_is_not_stolen_by_a_host_whose_clock_is_wrong": (
            "B19",
            "a worker's host an hour behind, a day ahead",
        ),
        "test_the_window_of_an_outage_is_not_over_because_a_clock_is_wrong": ("B19", "a day ahead in an outage"),
    },
    "integration/test_stale_forms.py": {
        "test_settings_that_somebody_saved_meanwhile_are_not_overwritten": ("O6", "settings saved by two"),
        "test_a_saved_endpoint_that_somebody_changed_meanwhile_is_not_overwritten": (
            "O6",
            "a saved endpoint changed by two",
        ),
        "test_two_tabs_that_save_a_draft_at_once_have_one_winner": ("O6", "a draft saved by six at once"),
        "test_start_and_cancel_and_complete_pressed_at_once_have_one_winner": (
            "O1",
            "Start, Cancel and Complete pressed by six at once",
        ),
    },
    "integration/test_services.py": {
        "test_a_scheduled_task_waits_for_its_time_and_is_then_queued_once": (
            "O7",
            "the time comes, the dispatcher looks twice",
        ),
        "test_full_migrations_run_one_after_another_by_queuing_time": ("O7", "the order of the queue"),
        "test_after_the_retry_window_the_task_fails_and_keeps_everything": ("N9", "the window is over"),
    },
}
"""Rows that tests of other rooms show: file, test, row, what is done there."""
