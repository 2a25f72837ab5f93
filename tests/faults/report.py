"""Prints "N of N" after `make test-faults`, and writes what was done, expected and seen to the file that it is told.

A plugin: `-p tests.faults.report`. TOWPATH_FAULTS_REPORT names the file; without it only the summary is printed.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

ROWS = {
    "A1": ("kill -9 in the schema step", "goes on at the next object"),
    "A2": ("kill -9 of a copy worker", "unfinished tables are copied again"),
    "A3": ("kill -9 of whoever holds the snapshot", "finished tables stay; the others get a new snapshot"),
    "A4": ("kill -9 while indexes are built", "the orphan is ended, the index built once"),
    "A5": ("kill -9 in the sync", "goes on within 30 s; nothing lost or doubled"),
    "A6": ("kill -9 in the comparison", "compared again; the sync was never harmed"),
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
    "B3": ("source failed over", "SRC-CHANGED, never a silent gap"),
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
    "C4": ("target's WAL disk full", "waits for the server, then goes on"),
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
        "test_a_source_that_is_away_is_named_with_what_is_left_there": ("O4", "Cancel while the source refuses"),
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
        "test_a_prepared_transaction_is_a_warning_that_names_it": ("B6", "a prepared transaction at the check"),
        "test_a_setting_that_is_too_low_fails_with_the_statement_and_the_restart": ("B20", "wal_level, slots, senders"),
    },
    "postgres/test_copy_moving.py": {
        "test_a_copy_gives_way_to_a_truncate_of_its_own_table": ("B21", "TRUNCATE behind the COPY of its table"),
    },
    "postgres/test_sync_faults.py": {
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
    "postgres/test_sync_rows.py": {
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
}
"""Rows that tests of other rooms show: file, test, row, what is done there."""


@dataclass
class _Seen:
    """What came of one test."""

    row: str
    did: str
    outcome: str
    seconds: float
    seen: list[str] = field(default_factory=list)


_found: dict[str, _Seen] = {}


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what other rooms show before `-m` selects."""
    here = Path(__file__).parents[1]
    for item in items:
        of_file = ELSEWHERE.get(item.path.relative_to(here).as_posix(), {})
        if known := of_file.get(getattr(item, "originalname", item.name)):
            item.add_marker(pytest.mark.fault(*known))
        for mark in item.iter_markers("fault"):
            row, did = mark.args
            assert row in ROWS, f"{item.nodeid}: no row {row} in the fault matrix"
            item.user_properties += [("row", row), ("did", did)]  # these reach the process that writes the report


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    told = dict(report.user_properties)
    if "row" not in told or (report.when != "call" and report.outcome == "passed"):
        return
    row, did = str(told["row"]), str(told["did"])
    case = report.nodeid.partition("[")[2].rstrip("]")
    known = _found.setdefault(report.nodeid, _Seen(row, did + (f" ({case})" if case else ""), "passed", 0.0))
    known.seconds += report.duration
    known.seen += [str(value) for name, value in report.user_properties if name == "seen" and report.when == "call"]
    if report.outcome != "passed":
        known.outcome = report.outcome
        known.seen = [str(report.longrepr[2])] if isinstance(report.longrepr, tuple) else known.seen


Line = tuple[str, str, str, str, str]
"""Row, what was done, expected, seen, seconds."""


def _lines() -> dict[tuple[str, str], Line]:
    lines = {}
    for one in _found.values():
        seen = "; ".join(one.seen).replace("|", "/").replace("\n", " ") or "as expected"
        words = {"passed": seen, "failed": "FAILED", "skipped": f"skipped: {seen}"}[one.outcome]
        lines[one.row, one.did] = (one.row, one.did, ROWS[one.row][1], words[:300], f"{one.seconds:.0f}")
    return lines


def _known(path: Path) -> dict[tuple[str, str], Line]:
    """Return the lines of an earlier report."""
    lines = {}
    for text in path.read_text().splitlines() if path.exists() else ():
        cells = [cell.strip() for cell in text.strip("| ").split(" | ")]
        if len(cells) == 5 and cells[0] in ROWS:
            lines[cells[0], cells[1]] = (cells[0], cells[1], cells[2], cells[3], cells[4])
    return lines


def _summary(lines: dict[tuple[str, str], Line]) -> tuple[str, str]:
    """Return "N of N" and which rows no test shows."""
    failed = [line for line in lines.values() if line[3] == "FAILED"]
    skipped = [line for line in lines.values() if line[3].startswith("skipped: ")]
    shown = {line[0] for line in lines.values() if line not in skipped} - {line[0] for line in failed}
    ran = len(lines) - len(skipped)
    summary = f"{ran - len(failed)} of {ran} passed, {len(skipped)} skipped; {len(shown)} of {len(ROWS)} rows shown"
    return summary, ", ".join(f"{row} ({what})" for row, (what, _) in ROWS.items() if row not in shown)


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    if not _found or hasattr(config, "workerinput"):
        return
    seed, lines = os.environ.get("TOWPATH_SEED", "1"), _lines()
    path = Path(os.environ.get("TOWPATH_FAULTS_REPORT", ""))
    if path.name and (config.option.keyword or config.args_source is not pytest.Config.ArgsSource.TESTPATHS):
        lines = {**_known(path), **lines}  # a part of the tests replaces its own lines only
    summary, missing = _summary(lines)
    terminalreporter.write_line(f"faults: {summary}; first seed {seed}")
    if missing:
        terminalreporter.write_line(f"not shown: {missing}")
    if path.name:
        path.write_text("\n".join(_page(lines, summary, missing, seed)))


def _page(lines: dict[tuple[str, str], Line], summary: str, missing: str, seed: str) -> Iterator[str]:
    yield from [
        "# Faults",
        "",
        "Written by `make test-faults`. Each line is one run of one fault against real servers: what was done, what",
        "the product must do, what was seen. Where rows were moved, every row is compared at the end.",
        "",
        f"{summary}. First seed: {seed}.",
        "",
        "| row | done | expected | seen | seconds |",
        "|---|---|---|---|---|",
    ]
    order = list(ROWS)
    for line in sorted(lines.values(), key=lambda one: (order.index(one[0]), one[1])):
        yield "| " + " | ".join(line) + " |"
    yield from ["", f"Not shown: {missing or 'nothing'}.", ""]
