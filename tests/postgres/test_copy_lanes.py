"""The lanes of the copy step over real servers: caps, more and fewer of them, and how all of them end together."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from migrations_app.demo.clusters import Cluster
from migrations_app.engine import lookout, snapshot
from migrations_app.engine.copy_plan import work_on
from migrations_app.engine.copying import Lane
from migrations_app.engine.errors import CancelRequested, ConnectionLost, TargetError
from migrations_app.engine.outcome import Run
from migrations_app.engine.plan import DatabasePlan
from migrations_app.engine.ports import TableStatus
from migrations_app.engine.steps import copy
from tests.fakes import wait_until
from tests.postgres import copy_kit
from tests.postgres.copy_kit import assert_equal, execute, states
from tests.postgres.engine_runs import fakes, make_plan, register_tables, running

# Fixtures that stand in the kit.
built = copy_kit.built
run = copy_kit.run


def test_a_failing_index_ends_the_copy(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def build(run: Run, database: DatabasePlan, table: Any, session: Any) -> None:
        raise TargetError("could not create unique index")

    copy_kit.stand_in(monkeypatch, build)
    with pytest.raises(TargetError, match="unique index"):
        copy.run(run)


def test_the_note_of_the_step_says_when_indexes_are_what_is_waited_for(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = fakes(run.ports)[1]

    def build(run: Run, database: DatabasePlan, table: Any, session: Any) -> None:
        wait_until(lambda: any(", indexes of " in note for _, _, note in store.steps), what="the note")

    copy_kit.stand_in(monkeypatch, build)
    copy.run(run)
    assert "indexes" not in store.steps[-1][2]


def test_a_lost_snapshot_ends_the_copy_at_once_instead_of_failing_table_after_table(
    run: Run, source_cluster: Cluster, source_db: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = snapshot.open_first(run, run.plan.databases[0])

    def lose(lane: Lane, works: Any) -> None:
        execute(source_cluster, source_db, f"SELECT pg_terminate_backend({opened.holder.info.backend_pid}, 5000)")
        opened._pinged_at = 0
        raise ConnectionLost("Lost the connection to the source.")

    monkeypatch.setattr(Lane, "copy_whole", lose)
    with pytest.raises(ConnectionLost):
        copy.run(run)
    assert fakes(run.ports)[1].events == []


def test_rows_are_counted_also_while_the_holder_of_the_snapshot_sends_them(
    run: Run, source_cluster: Cluster, target_cluster: Cluster, source_db: str, target_db: str, monkeypatch: Any
) -> None:
    execute(
        source_cluster, source_db, "CREATE TABLE long AS SELECT n, repeat('x', 900) FROM generate_series(1, 30000) n"
    )
    execute(target_cluster, target_db, "CREATE TABLE long (n int, repeat text)")
    register_tables(run, source_cluster)
    [database] = run.plan.databases
    locked = snapshot.open_locked(run, database, ("public", "long"))
    [state] = [one for one in run.ports.store.tables(source_db) if one.name == "long"]
    lanes: list[Lane] = []
    monkeypatch.setattr(Lane, "_count", lambda lane, _: wait_until(lambda: lane.rows_passing, what="a count"))
    monkeypatch.setattr(lookout, "_LOOK_SECONDS", 0.05)
    watch = lookout.Lookout(run, lambda: lanes)
    watch.start()
    try:
        lanes.append(Lane(run, database, locked, run.ports.control.check, held=True))
        lanes[0].copy_whole([work_on(run, database, state, locked)])
    finally:
        watch.stop()
        lanes[0].close()


def _while_copying(run: Run, source: Cluster, act: Callable[[], None]) -> None:
    """Run the copy of a table that takes minutes; `act` once its rows move."""

    def wait_and_act() -> None:
        def moving() -> bool:
            with source.connect() as connection:
                row = connection.execute("SELECT count(*) FROM pg_stat_progress_copy").fetchone()
            return bool(row and row[0])

        wait_until(moving, what="a running COPY")
        act()

    thread = threading.Thread(target=wait_and_act)
    thread.start()
    try:
        copy.run(run)
    finally:
        thread.join()


@pytest.fixture
def endless(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "migrations_app.engine.copying.copy_statements",
        lambda work, part, encodings, freeze: (
            "COPY (SELECT n FROM generate_series(1, 2000000000) n) TO STDOUT",
            "COPY public.empty_one FROM STDIN",
        ),
    )


def _while_held_back(run: Run, act: Callable[[], None]) -> None:
    """Run the copy at a rate at which it would take an hour; `act`, which changes that, once it has begun."""
    _turn(run, bytes_per_second=1000)

    def wait_and_act() -> None:
        try:
            wait_until(lambda: TableStatus.COPYING in states(run), what="a table that is being copied")
            act()
        except BaseException:
            fakes(run.ports)[2].cancel()
            raise

    thread = threading.Thread(target=wait_and_act)
    thread.start()
    try:
        copy.run(run)
    finally:
        thread.join()


def _turn(run: Run, **knobs: Any) -> None:
    fakes(run.ports)[2].turned = replace(run.plan.knobs, **knobs)


def test_a_cap_slows_the_copy_down(run: Run, source_cluster: Cluster, source_db: str) -> None:
    execute(
        source_cluster, source_db, "INSERT INTO orders (note) SELECT repeat('x', 1000) FROM generate_series(1, 2000)"
    )
    _turn(run, bytes_per_second=1_000_000)
    started = time.monotonic()
    copy.run(run)
    assert time.monotonic() - started > 1.5


def test_a_cap_that_is_taken_back_frees_a_copy_under_way(run: Run, source_cluster: Cluster, source_db: str) -> None:
    execute(
        source_cluster, source_db, "INSERT INTO orders (note) SELECT repeat('x', 1000) FROM generate_series(1, 4000)"
    )
    _while_held_back(run, lambda: _turn(run, bytes_per_second=None))
    assert set(states(run)) == {TableStatus.DONE}


def test_lanes_come_and_go_while_rows_are_copied(run: Run, source_cluster: Cluster, source_db: str) -> None:
    execute(
        source_cluster, source_db, "INSERT INTO orders (note) SELECT repeat('x', 1000) FROM generate_series(1, 3000)"
    )
    seen: list[int] = []

    def more() -> None:
        for number in (4, 1):
            _turn(run, copy_jobs=number, index_jobs=number, bytes_per_second=1000)
            seen.append(number)
        _turn(run, copy_jobs=2, index_jobs=2)

    _while_held_back(run, more)
    assert seen == [4, 1]
    assert set(states(run)) == {TableStatus.DONE}


@pytest.mark.usefixtures("endless")
def test_cancel_stops_all_lanes_at_once(run: Run, source_cluster: Cluster) -> None:
    with pytest.raises(CancelRequested):
        _while_copying(run, source_cluster, fakes(run.ports)[2].cancel)
    assert states(run)
    assert states(run) <= {TableStatus.WAITING, TableStatus.COPYING}, "a table counts as copied"


@pytest.mark.usefixtures("endless")
def test_a_failing_lane_stops_the_others(run: Run, source_cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    boards: list[Any] = []
    original = copy.Board.__init__

    def noted(self: Any, *arguments: Any) -> None:
        boards.append(self)
        original(self, *arguments)

    monkeypatch.setattr(copy.Board, "__init__", noted)
    with pytest.raises(TargetError, match="elsewhere"):
        _while_copying(run, source_cluster, lambda: boards[0].fail(TargetError("elsewhere")))


def test_many_small_tables_of_two_databases_share_the_lanes(
    source_cluster: Cluster, target_cluster: Cluster, source_db: str, target_db: str, tmp_path: Path, run: Run
) -> None:
    other = source_db + "_b"
    with source_cluster.connect() as connection:
        connection.execute(f'CREATE DATABASE "{other}"')
    with target_cluster.connect() as connection:
        connection.execute(f'CREATE DATABASE "{other}"')
    try:
        made = "".join(f"CREATE TABLE t{n} (id int PRIMARY KEY);" for n in range(120))
        execute(source_cluster, other, made + "".join(f"INSERT INTO t{n} VALUES ({n});" for n in range(120)))
        execute(target_cluster, other, made)
        plan = make_plan(source_cluster, target_cluster, [(source_db, target_db), (other, other)], tmp_path)
        with running(plan) as both:
            register_tables(both, source_cluster)
            copy.run(both)
        assert_equal(source_cluster, other, target_cluster, other)
        assert_equal(source_cluster, source_db, target_cluster, target_db)
    finally:
        with source_cluster.connect() as connection:
            connection.execute(
                "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE database = %s", (other,)
            )
            connection.execute(f'DROP DATABASE "{other}" WITH (FORCE)')
        with target_cluster.connect() as connection:
            connection.execute(f'DROP DATABASE "{other}" WITH (FORCE)')
