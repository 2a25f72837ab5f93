"""The sync step: slices over several databases, their stored states, and how they end."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from migrations_app.demo.clusters import Cluster
from migrations_app.engine.connect import Sessions
from migrations_app.engine.errors import CancelRequested, ConflictError, LeaseLost, PauseRequested
from migrations_app.engine.outcome import CONTINUE, DONE, Outcome, Run
from migrations_app.engine.replication import polling, session, transaction
from migrations_app.engine.replication.lag import read_slot
from migrations_app.engine.steps import sync
from tests.conftest import _database
from tests.fakes import FakeControl, FakeStore, wait_until
from tests.postgres.sync_kit import Pair

TABLE = "CREATE TABLE t (id int PRIMARY KEY, v text)"


@pytest.fixture
def pairs(source_cluster: Cluster, target_cluster: Cluster, source_db: str, target_db: str) -> Iterator[list[Pair]]:
    """Two pairs of one task, on the same ports."""
    for other_source in _database(source_cluster):
        for other_target in _database(target_cluster):
            first = Pair(source_cluster, target_cluster, source_db, target_db)
            second = Pair(source_cluster, target_cluster, other_source, other_target, ports=first.ports)
            for pair in (first, second):
                pair.build(TABLE)
            yield [first, second]


def run_slice(pairs: list[Pair], **more: Any) -> Outcome:
    first = pairs[0]
    first.epoch += 1
    plan = replace(first.plan(), databases=tuple(pair.database for pair in pairs), **more)
    with Sessions(plan, first.control) as sessions:
        return sync.run(Run(plan=plan, ports=first.ports, sessions=sessions))


def sync_until(pairs: list[Pair], condition: Callable[[], object]) -> None:
    """Run a slice that ends, as for Complete, once the condition holds."""

    def finish() -> None:
        try:
            wait_until(condition)
        finally:  # else the slice would never end, and hide what has failed
            pairs[0].control.complete = True

    thread = threading.Thread(target=finish)
    thread.start()
    run_slice(pairs)
    thread.join()


def test_a_slice_ends_after_its_time_when_another_task_waits(pairs: list[Pair]) -> None:
    pairs[0].control.yields = True
    began = time.monotonic()
    assert run_slice(pairs, slice_seconds=0.3) == CONTINUE
    assert time.monotonic() - began < 3


def test_a_slice_moves_forward_before_it_makes_room(pairs: list[Pair]) -> None:
    pairs[0].control.yields = True
    for number in (1, 2):
        pairs[0].at_source(f"INSERT INTO t VALUES ({number})")
        run_slice(pairs, slice_seconds=0.0)
        pairs[0].assert_equal()


def test_a_slice_is_done_when_complete_was_asked_for(pairs: list[Pair]) -> None:
    pairs[0].control.complete = True
    assert run_slice(pairs) == DONE


def test_a_slice_makes_room_for_a_comparison(pairs: list[Pair]) -> None:
    pairs[0].control.compare = True
    assert run_slice(pairs) == CONTINUE


def test_all_databases_get_in_sync_and_say_so(pairs: list[Pair]) -> None:
    for pair in pairs:
        pair.at_source("INSERT INTO t SELECT generate_series(1, 500)")
    control, store = pairs[0].control, pairs[0].store

    def finish() -> None:
        wait_until(lambda: all(state.in_sync and state.rows_applied == 500 for state in store.databases.values()))
        control.complete = True

    waiter = threading.Thread(target=finish)
    waiter.start()
    assert run_slice(pairs) == DONE
    waiter.join()
    for pair in pairs:
        pair.assert_equal()
        assert pair.state.bookmark is not None
        assert pair.state.lag_bytes is not None


def test_the_stored_position_is_the_one_on_the_target(pairs: list[Pair]) -> None:
    pairs[0].control.yields = True
    for _ in range(3):
        pairs[0].at_source("INSERT INTO t SELECT coalesce(max(id), 0) + 1 FROM t")
        run_slice(pairs, slice_seconds=0.2)
    stored = pairs[0].value("SELECT lsn::text FROM towpath.bookmark", "target")
    assert pairs[0].state.bookmark == int(stored.split("/")[0], 16) << 32 | int(stored.split("/")[1], 16)
    assert pairs[0].state.rows_applied == 3


def test_everything_that_was_applied_before_a_pause_is_counted(pairs: list[Pair]) -> None:
    first, over = pairs[0], threading.Event()

    def write() -> None:
        for number in range(10_000_000):
            if over.is_set():
                return
            first.at_source(f"INSERT INTO t VALUES ({number})", f"UPDATE t SET v = 'x' WHERE id = {number}")

    def pause() -> None:
        wait_until(lambda: first.state.rows_applied > 20)
        first.control.pausing = True

    threads = [threading.Thread(target=one) for one in (write, pause)]
    for thread in threads:
        thread.start()
    try:
        assert run_slice(pairs) == CONTINUE
    finally:
        over.set()
        for thread in threads:
            thread.join()
    # A row has one change or, with its update, two.
    assert first.state.rows_applied == first.value("SELECT count(*) + count(v) FROM t", "target")


def test_a_pause_in_the_midst_of_a_large_transaction_loses_no_row_and_no_count(
    pairs: list[Pair], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = pairs[0]
    monkeypatch.setattr(transaction, "_DURABLE_SECONDS", 1e9)  # nothing is durable by the way
    first.at_source("INSERT INTO t SELECT generate_series(1, 3000)", "UPDATE t SET v = 'x'")
    first.at_source("BEGIN; INSERT INTO t SELECT generate_series(3001, 50000); DELETE FROM t WHERE id < 9; COMMIT")
    with monkeypatch.context() as midway:
        midway.setattr(transaction.Transaction, "keep", lambda _: first.control.pause())
        with pytest.raises(PauseRequested):
            run_slice([first])
    assert first.value("SELECT count(*) FROM t", "target") == first.state.rows_applied / 2 == 3000
    first.ports = replace(first.ports, control=FakeControl())
    same = "SELECT count(*) FROM t"
    sync_until([first], lambda: first.value(same, "target") == first.value(same))
    first.assert_equal()
    assert first.state.rows_applied == 3000 + 3000 + 47_000 + 8


def test_a_worker_that_has_lost_the_task_changes_no_count(pairs: list[Pair]) -> None:
    first = pairs[0]
    first.at_source("INSERT INTO t SELECT generate_series(1, 100)")
    threading.Timer(1.0, lambda: first.control._stop_with(LeaseLost())).start()
    with pytest.raises(LeaseLost):
        run_slice(pairs, slice_seconds=60)
    known = first.state
    first.store.save_database(replace(known, rows_applied=77))  # what the next worker has counted
    with pytest.raises(LeaseLost):
        run_slice(pairs, slice_seconds=60)
    assert first.state.rows_applied == 77


def test_one_failing_database_stops_the_others_and_is_named(pairs: list[Pair]) -> None:
    pairs[1].at_target("INSERT INTO t VALUES (1)")
    pairs[1].at_source("INSERT INTO t VALUES (1)")
    began = time.monotonic()
    with pytest.raises(ConflictError):
        run_slice(pairs, slice_seconds=60)
    assert time.monotonic() - began < 10


def test_cancel_ends_every_database_at_once(pairs: list[Pair]) -> None:
    threading.Timer(0.5, pairs[0].control.cancel).start()
    began = time.monotonic()
    with pytest.raises(CancelRequested):
        run_slice(pairs, slice_seconds=60)
    assert time.monotonic() - began < 5


def test_a_target_behind_a_tables_watermark_is_not_in_sync_yet(
    pairs: list[Pair], monkeypatch: pytest.MonkeyPatch
) -> None:
    pair = pairs[0]
    # The watermark stands for one far beyond what was read: a source has it only after it has written so much.
    monkeypatch.setattr(session, "require_not_set_back", lambda ordinary, *args: read_slot(ordinary, args[1].slot))
    state = pair.store.table_rows[(pair.source_db, "public", "t")]
    pair.store.save_tables(replace(state, watermark=pair.insert_lsn() + (1 << 20)))
    pair.control.yields = True
    run_slice([pair], slice_seconds=0.5)
    assert pair.state.lag_bytes == 0
    assert not pair.state.in_sync


@pytest.mark.long
def test_lag_grows_and_ready_goes_while_the_target_keeps_the_sync_waiting(pairs: list[Pair]) -> None:
    pair = pairs[0]
    slice_ = threading.Thread(target=lambda: run_slice([pair], ready_lag_seconds=2.0, slice_seconds=0.3))
    slice_.start()
    try:
        wait_until(lambda: pair.state.in_sync, what="the target being in sync")
        with pair.target.connect(pair.target_db) as holder:
            holder.execute("BEGIN; LOCK TABLE t")
            pair.at_source("INSERT INTO t VALUES (1)")
            wait_until(lambda: not pair.state.in_sync, what="the end of being in sync")
            assert pair.state.lag_bytes
            before = pair.state.lag_seconds or 0.0
            wait_until(lambda: (pair.state.lag_seconds or 0.0) > before + 1, what="the lag growing")
            holder.execute("COMMIT")
        wait_until(lambda: pair.state.in_sync and pair.state.lag_bytes == 0, what="being in sync again")
    finally:
        pair.control.yields = True
        slice_.join()
    pair.assert_equal()


def test_a_slice_reads_its_tables_once_and_logs_in_three_times(
    pairs: list[Pair], monkeypatch: pytest.MonkeyPatch
) -> None:
    pair, (tables, log_in) = pairs[0], (FakeStore.tables, Sessions._log_in)
    pair.control.yields = True
    run_slice([pair], slice_seconds=0.0)
    seen: list[str] = []

    def read(*arguments: Any) -> Any:
        seen.append("tables")
        return tables(*arguments)

    def noted(*arguments: Any, **more: Any) -> Any:
        seen.append("login")
        return log_in(*arguments, **more)

    monkeypatch.setattr(FakeStore, "tables", read)
    monkeypatch.setattr(Sessions, "_log_in", noted)
    pair.at_source("INSERT INTO t VALUES (1)")
    run_slice([pair], slice_seconds=0.0)
    pair.assert_equal()
    assert sorted(seen) == ["login", "login", "login", "tables"]


def test_another_worker_does_not_read_all_tables_to_find_what_was_seen(
    pairs: list[Pair], monkeypatch: pytest.MonkeyPatch
) -> None:
    pair, read = pairs[0], []
    pair.control.yields = True
    run_slice([pair], slice_seconds=0.0)
    monkeypatch.setattr(polling, "read_shapes", lambda *_: read.append(1) or {})
    polling._looked.clear()  # as in another process
    run_slice([pair], slice_seconds=0.0)
    assert read == []
    pair.at_source("ALTER TABLE t ADD COLUMN w int")
    polling._looked.clear()
    run_slice([pair], slice_seconds=0.0)
    assert read == [1]
