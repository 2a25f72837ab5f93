"""Where a sync stops, what it confirms, and what it takes up again."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from typing import Any, cast

import pytest

from migrations_app.demo.clusters import Cluster
from migrations_app.engine.errors import CancelRequested, LeaseLost, PauseRequested
from migrations_app.engine.lsn import parse_lsn
from migrations_app.engine.replication import bookmark
from migrations_app.engine.replication.session import SyncSession
from tests.fakes import wait_until
from tests.postgres.sync_kit import Pair

TABLE = "CREATE TABLE t (id int PRIMARY KEY, v text)"


@pytest.fixture
def pair(source_cluster: Cluster, target_cluster: Cluster, source_db: str, target_db: str) -> Pair:
    return Pair(source_cluster, target_cluster, source_db, target_db)


def stored(pair: Pair) -> bookmark.Bookmark:
    with pair.target.connect(pair.target_db) as connection:
        found = bookmark.read(connection, pair.key)
    assert found is not None
    return found


def confirmed(pair: Pair) -> int:
    slot = pair.state.slot
    return parse_lsn(
        pair.value(f"SELECT confirmed_flush_lsn::text FROM pg_replication_slots WHERE slot_name = '{slot}'")
    )


def count(pair: Pair) -> int:
    return int(pair.value("SELECT count(*) FROM t", "target"))


def test_advance_takes_everything_before_a_position_and_nothing_after(pair: Pair) -> None:
    pair.build(TABLE)
    marks = []
    for number in range(5):
        pair.at_source(f"INSERT INTO t VALUES ({number})")
        marks.append(pair.insert_lsn())
    with pair.syncing() as session:
        for number, mark in enumerate(marks):
            session.advance(until=mark)
            assert count(pair) == number + 1
            assert session.advance(until=mark) == session.position


def test_advance_reaches_a_position_of_an_idle_source(pair: Pair) -> None:
    pair.build(TABLE)
    pair.at_source("CREATE TABLE elsewhere (id int); INSERT INTO elsewhere SELECT generate_series(1, 1000)")
    until = pair.insert_lsn()
    with pair.syncing() as session:
        assert session.advance(until=until) >= until - 40
        assert stored(pair).lsn == session.position


def test_a_transaction_that_is_open_at_the_position_comes_later(pair: Pair) -> None:
    pair.build(TABLE)
    with pair.source.connect(pair.source_db, autocommit=False) as connection:
        connection.execute("INSERT INTO t VALUES (1)")
        pair.at_source("INSERT INTO t VALUES (2)")
        until = pair.insert_lsn()
        connection.commit()
    with pair.syncing() as session:
        session.advance(until=until)
        assert pair.value("SELECT array_agg(id) FROM t", "target") == [2]
        session.advance(until=pair.insert_lsn())
    pair.assert_equal()


def test_advance_ends_when_it_is_told_to_stop(pair: Pair) -> None:
    pair.build(TABLE)
    pair.at_source("INSERT INTO t VALUES (1)")
    with pair.syncing() as session:
        session.advance(stop=lambda: session.rows_applied > 0)
        assert stored(pair).lsn == session.position
    assert count(pair) == 1


def test_the_source_is_told_only_durable_positions(pair: Pair) -> None:
    pair.build(TABLE)
    pair.at_source("INSERT INTO t SELECT generate_series(1, 5000)")
    position = pair.catch_up()
    assert confirmed(pair) <= position == stored(pair).lsn
    with pair.syncing() as session:
        deadline = time.monotonic() + 10
        session.advance(stop=lambda: confirmed(pair) >= position or time.monotonic() > deadline)
    assert confirmed(pair) >= position


def test_what_has_arrived_is_not_confirmed_before_it_has_committed(pair: Pair) -> None:
    pair.build(TABLE)
    answered = (
        "SELECT s.reply_time > %s FROM pg_stat_replication s JOIN pg_replication_slots r ON r.active_pid = s.pid"
        f" WHERE r.slot_name = '{pair.state.slot}'"
    )
    seen: list[int] = []

    def look() -> None:
        waiting = "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted)"
        wait_until(lambda: pair.value(waiting, "target"), 20, "the change waiting for the lock")
        with pair.source.connect(pair.source_db) as connection:
            since = connection.execute("SELECT clock_timestamp()").fetchone()
            wait_until(lambda: connection.execute(answered, since).fetchone() == (True,), 30, "an answer to the source")
        seen.append(confirmed(pair))
        pair.control.cancel()

    with pair.target.connect(pair.target_db, autocommit=False) as blocker:
        blocker.execute("LOCK TABLE t IN ACCESS EXCLUSIVE MODE")
        with pair.syncing() as session:
            watcher = threading.Thread(target=look)
            watcher.start()
            before = pair.insert_lsn()
            pair.at_source("INSERT INTO t VALUES (1)")
            with pytest.raises(CancelRequested):
                session.advance()
            watcher.join()
    assert len(seen) == 1
    assert seen[0] <= before


def test_an_idle_database_does_not_hold_back_a_busy_server(pair: Pair) -> None:
    pair.build(TABLE)
    before = confirmed(pair)
    with pair.source.connect() as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS busy (id int)")
        connection.execute("INSERT INTO busy SELECT generate_series(1, 5000)")
    until = pair.insert_lsn()
    with pair.syncing() as session:
        deadline = time.monotonic() + 15
        session.advance(stop=lambda: confirmed(pair) >= until - 40 or time.monotonic() > deadline)
    assert confirmed(pair) > before
    assert stored(pair).lsn >= confirmed(pair) >= until - 40


def test_the_next_session_goes_on_where_the_last_one_ended(pair: Pair) -> None:
    pair.build(TABLE)
    for number in range(4):
        pair.at_source(f"INSERT INTO t VALUES ({number})")
        pair.catch_up()
    pair.assert_equal()
    assert stored(pair).epoch == 4


def test_many_short_sessions_in_a_row_lose_nothing(pair: Pair) -> None:
    pair.build(TABLE)
    pair.at_source(*(f"INSERT INTO t VALUES ({number})" for number in range(60)))
    with pair.running() as run:
        for number in range(1, 7):
            with SyncSession(run, pair.database) as session:
                session.advance(stop=lambda number=number: count(pair) >= number * 10)
    pair.catch_up()
    pair.assert_equal()


def test_changes_older_than_a_tables_watermark_are_skipped(pair: Pair) -> None:
    pair.build(TABLE + "; CREATE TABLE u (id int PRIMARY KEY)")
    pair.at_source("INSERT INTO t VALUES (1); INSERT INTO u VALUES (1)", "TRUNCATE t, u", "INSERT INTO t VALUES (2)")
    state = pair.store.table_rows[(pair.source_db, "public", "t")]
    pair.store.save_tables(replace(state, watermark=pair.insert_lsn()))
    pair.at_target("INSERT INTO t VALUES (2)")
    pair.at_source("INSERT INTO t VALUES (3); INSERT INTO u VALUES (3)")
    pair.catch_up()
    pair.assert_equal()


def test_rows_that_a_later_copy_holds_are_not_applied_again(pair: Pair) -> None:
    pair.build("CREATE TABLE t (id int, v text); ALTER TABLE t REPLICA IDENTITY FULL")
    pair.at_source("INSERT INTO t VALUES (1), (2)", "UPDATE t SET v = 'x' WHERE id = 1")
    state = pair.store.table_rows[(pair.source_db, "public", "t")]
    pair.store.save_tables(replace(state, watermark=pair.insert_lsn()))
    pair.at_target("INSERT INTO t VALUES (1, 'x'), (2, NULL)")
    pair.at_source("INSERT INTO t VALUES (3)")
    pair.catch_up()
    pair.assert_equal()


def test_the_old_shape_of_a_table_copied_later_does_not_matter(pair: Pair) -> None:
    pair.build(TABLE)
    pair.at_source("INSERT INTO t VALUES (1)", "ALTER TABLE t ADD COLUMN n int", "INSERT INTO t VALUES (2, 'x', 3)")
    pair.at_target("ALTER TABLE t ADD COLUMN n int; INSERT INTO t VALUES (1, NULL, NULL), (2, 'x', 3)")
    state = pair.store.table_rows[(pair.source_db, "public", "t")]
    pair.store.save_tables(replace(state, watermark=pair.insert_lsn()))
    pair.at_source("UPDATE t SET n = 4")
    pair.catch_up()
    pair.assert_equal()


def test_tables_that_are_not_selected_are_left_alone(pair: Pair) -> None:
    pair.selection = pair.selection.toggle((pair.source_db, "public", "other"), False)
    pair.build(TABLE + "; CREATE TABLE other (id int PRIMARY KEY)")
    pair.at_source(f'ALTER PUBLICATION "{pair.state.publication}" ADD TABLE other')
    pair.at_source(
        "INSERT INTO other VALUES (1); INSERT INTO t VALUES (1)", "TRUNCATE other, t", "INSERT INTO t VALUES (2)"
    )
    pair.at_target("INSERT INTO other VALUES (77)")
    pair.catch_up()
    pair.assert_equal()
    assert pair.value("SELECT id FROM other", "target") == 77


def test_a_worker_of_an_older_epoch_cannot_commit(pair: Pair) -> None:
    pair.build(TABLE)
    with pair.syncing() as session:
        with pair.target.connect(pair.target_db) as connection:
            bookmark.claim(connection, pair.key, 99)
        pair.at_source("INSERT INTO t VALUES (1)")
        with pytest.raises(LeaseLost):
            session.advance(until=pair.insert_lsn())
    assert count(pair) == 0


def test_an_older_epoch_cannot_start(pair: Pair) -> None:
    pair.build(TABLE)
    pair.epoch = 8
    pair.catch_up()
    pair.epoch = 3
    with pytest.raises(LeaseLost):
        pair.catch_up()


def test_a_new_epoch_ends_the_sessions_of_the_old_one(pair: Pair) -> None:
    pair.build(TABLE)
    with pair.running() as old:
        first = SyncSession(old, pair.database)
        first.__enter__()
        pair.at_source("INSERT INTO t VALUES (1)")
        pair.catch_up()
        with pytest.raises(Exception, match=r"Lost|another worker|connection"):
            first.advance(until=pair.insert_lsn() + 1_000_000)
        first.__exit__(None, None, None)
    pair.assert_equal()


@pytest.mark.parametrize(("stop", "reason"), [("pause", PauseRequested), ("cancel", CancelRequested)])
def test_an_interrupted_run_says_so_and_leaves_nothing_half_done(
    pair: Pair, stop: str, reason: type[Exception]
) -> None:
    pair.build(TABLE)
    pair.at_source("INSERT INTO t SELECT generate_series(1, 30000)")
    with pair.syncing() as session:
        threading.Timer(0.2, getattr(pair.control, stop)).start()
        with pytest.raises(reason):
            session.advance()
    assert count(pair) in (0, 30000)


def test_a_run_waiting_for_a_lock_on_the_target_can_be_stopped(pair: Pair) -> None:
    pair.build(TABLE)
    pair.at_source("INSERT INTO t VALUES (1)")
    with pair.target.connect(pair.target_db, autocommit=False) as blocker:
        blocker.execute("LOCK TABLE t IN ACCESS EXCLUSIVE MODE")
        with pair.syncing() as session:
            threading.Timer(0.5, pair.control.cancel).start()
            with pytest.raises(CancelRequested):
                session.advance()


@pytest.mark.long
def test_a_huge_transaction_is_one_commit_in_bounded_memory(pair: Pair) -> None:
    pair.build(TABLE)
    pair.at_source("INSERT INTO t SELECT g, repeat('x', 300) FROM generate_series(1, 150000) g")
    seen: list[Any] = []
    with pair.syncing() as session:
        until = pair.insert_lsn()
        worker = threading.Thread(target=session.advance, kwargs={"until": until})
        worker.start()
        while worker.is_alive():
            seen.append((count(pair), cast(Any, session)._applier.batch.size))
            time.sleep(0.05)
        worker.join()
    assert {rows for rows, _ in seen} <= {0, 150000}
    assert max(size for _, size in seen) < 4 << 20
    pair.assert_equal()


def test_lag_is_nothing_once_everything_is_applied(pair: Pair) -> None:
    pair.build(TABLE)
    pair.at_source("INSERT INTO t SELECT generate_series(1, 100)")
    with pair.syncing() as session:
        assert session.lag_bytes > 0
        session.advance(until=pair.insert_lsn())
        assert (session.lag_bytes, session.lag_seconds) == (0, 0.0)


def test_rows_applied_counts_committed_changes(pair: Pair) -> None:
    pair.build(TABLE)
    pair.at_source("INSERT INTO t SELECT generate_series(1, 100)", "DELETE FROM t WHERE id > 90")
    with pair.syncing() as session:
        session.advance(until=pair.insert_lsn())
        assert session.rows_applied == 110


def test_the_slot_is_free_as_soon_as_a_session_ends(pair: Pair) -> None:
    pair.build(TABLE)
    pair.catch_up()
    query = f"SELECT active FROM pg_replication_slots WHERE slot_name = '{pair.state.slot}'"
    wait_until(lambda: pair.value(query) is False, 2)
