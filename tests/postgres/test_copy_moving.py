"""The copy beside an application that empties, rewrites, locks and alters tables as if nobody was there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from migrations_app.demo.clusters import Cluster
from migrations_app.engine import copy_plan, snapshot
from migrations_app.engine.copying import Lane
from migrations_app.engine.errors import SchemaChanged
from migrations_app.engine.outcome import Run
from migrations_app.engine.ports import TableStatus
from migrations_app.engine.steps import copy
from tests.fakes import wait_until
from tests.postgres import copy_kit, moving_kit
from tests.postgres.moving_kit import (
    PATIENCE_SECONDS,
    assert_equal_after_sync,
    copying,
    events,
    is_copying,
    marks,
    rows,
)

# Fixtures that stand in the kit.
simple = moving_kit.simple
run = moving_kit.run
at_source = moving_kit.at_source
slow = moving_kit.slow


MOVES = {
    "truncate": ["TRUNCATE small", "INSERT INTO small VALUES (1, 'new')"],
    "truncate in the middle": ["DELETE FROM small WHERE id < 9; TRUNCATE small; INSERT INTO small VALUES (7, 'x')"],
    "rewrite": ["ALTER TABLE small ALTER id TYPE bigint", "ALTER TABLE small ALTER id TYPE int", "DELETE FROM small"],
    "vacuum full": ["DELETE FROM small WHERE id > 100", "VACUUM FULL small"],
    "swap": [
        "BEGIN; CREATE TABLE fresh (LIKE small INCLUDING ALL); INSERT INTO fresh VALUES (1, 'fresh');"
        "DROP TABLE small; ALTER TABLE fresh RENAME TO small; COMMIT",
        "INSERT INTO small VALUES (2, 'later')",
    ],
}


@pytest.mark.parametrize("move", MOVES)
def test_a_table_that_moved_on_is_copied_under_a_newer_snapshot(
    run: Run, source_cluster: Cluster, target_cluster: Cluster, at_source: Callable[..., float], move: str
) -> None:
    opened = snapshot.open_first(run, run.plan.databases[0])
    assert at_source(*MOVES[move]) < PATIENCE_SECONDS
    copy.run(run)
    found = marks(run)
    assert found["big"] == found["other"] == opened.lsn
    assert found["small"] > found["big"]
    assert "public.small" in events(run)["COPY-ASIDE"]
    at_source("UPDATE small SET note = 'after the copy'", "DELETE FROM big WHERE id % 3 = 0")
    assert_equal_after_sync(run, source_cluster, target_cluster)


@pytest.mark.long
@pytest.mark.parametrize("move", MOVES)
def test_a_table_that_moves_on_before_anybody_holds_the_slots_snapshot_is_copied_under_a_newer_one(
    run: Run,
    source_cluster: Cluster,
    target_cluster: Cluster,
    at_source: Callable[..., float],
    monkeypatch: pytest.MonkeyPatch,
    move: str,
) -> None:
    hold = snapshot._hold

    def late(*args: Any) -> Any:
        monkeypatch.setattr(snapshot, "_hold", hold)
        at_source(*MOVES[move])
        return hold(*args)

    monkeypatch.setattr(snapshot, "_hold", late)
    opened = snapshot.open_first(run, run.plan.databases[0])
    copy.run(run)
    found = marks(run)
    assert found["big"] == found["other"] == opened.lsn
    assert found["small"] > found["big"]
    at_source("UPDATE small SET note = 'after the copy'", "DELETE FROM big WHERE id % 3 = 0")
    assert_equal_after_sync(run, source_cluster, target_cluster)


def test_the_holder_locks_no_table(run: Run, source_cluster: Cluster, source_db: str) -> None:
    opened = snapshot.open_first(run, run.plan.databases[0])
    copy_plan.make_units(run, [copy_plan.plan_database(run, run.plan.databases[0])])
    with source_cluster.connect(source_db) as connection:
        found = connection.execute(
            "SELECT relation::regclass FROM pg_locks WHERE pid = %s AND relation >= 16384",
            (opened.holder.info.backend_pid,),
        ).fetchall()
    assert found == []


@pytest.mark.long
@pytest.mark.usefixtures("slow")
def test_finished_tables_are_free_while_a_large_one_is_copied(
    run: Run, source_cluster: Cluster, target_cluster: Cluster, at_source: Callable[..., float]
) -> None:
    snapshot.open_first(run, run.plan.databases[0])
    run.plan = replace(run.plan, copy_jobs=3)
    with copying(run):
        wait_until(is_copying(source_cluster, "big"), what="the COPY of big")
        took = at_source(
            "TRUNCATE small, other", "INSERT INTO small VALUES (1, 'new')", "ALTER TABLE other SET (fillfactor=50)"
        )
        assert is_copying(source_cluster, "big")()
    assert took < PATIENCE_SECONDS
    assert_equal_after_sync(run, source_cluster, target_cluster)


@pytest.mark.usefixtures("slow")
def test_a_copy_gives_way_to_a_truncate_of_its_own_table(
    run: Run, source_cluster: Cluster, target_cluster: Cluster, at_source: Callable[..., float]
) -> None:
    snapshot.open_first(run, run.plan.databases[0])
    with copying(run):
        wait_until(is_copying(source_cluster, "big"), what="the COPY of big")
        took = at_source("TRUNCATE big", "INSERT INTO big VALUES (1, 'new')")
    assert took < PATIENCE_SECONDS
    assert {"COPY-GAVEWAY", "COPY-ASIDE"} <= set(events(run))
    assert_equal_after_sync(run, source_cluster, target_cluster)


@pytest.mark.long
@pytest.mark.usefixtures("slow")
def test_a_copy_goes_on_after_a_lock_that_changed_nothing(
    run: Run, source_cluster: Cluster, target_cluster: Cluster, at_source: Callable[..., float]
) -> None:
    snapshot.open_first(run, run.plan.databases[0])
    with copying(run):
        wait_until(is_copying(source_cluster, "big"), what="the COPY of big")
        took = at_source("BEGIN; LOCK TABLE big; INSERT INTO big VALUES (-1, 'locked'); COMMIT")
    assert took < PATIENCE_SECONDS
    assert set(events(run)) == {"COPY-GAVEWAY"}
    assert len(set(marks(run).values())) == 1
    assert_equal_after_sync(run, source_cluster, target_cluster)


def test_a_locked_table_does_not_hold_up_the_others(
    run: Run, source_cluster: Cluster, target_cluster: Cluster, source_db: str
) -> None:
    snapshot.open_first(run, run.plan.databases[0])

    def done() -> bool:
        states = {state.name: state.status for state in run.ports.store.tables(source_db)}
        return states["big"] == states["other"] == TableStatus.DONE and states["small"] != TableStatus.DONE

    with source_cluster.connect(source_db) as blocker:
        blocker.execute("BEGIN; LOCK TABLE small")
        with copying(run):
            try:
                wait_until(done, what="the copy of the others")
            finally:
                blocker.execute("COMMIT")
    assert_equal_after_sync(run, source_cluster, target_cluster)


def test_a_table_that_moves_on_every_time_is_locked_at_last(
    run: Run,
    source_cluster: Cluster,
    target_cluster: Cluster,
    at_source: Callable[..., float],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    numbers = iter(range(100))

    def restless(*arguments: Any) -> Any:
        opened = snapshot.open_again(*arguments)
        at_source("TRUNCATE small", f"INSERT INTO small VALUES ({next(numbers)}, 'again')")
        return opened

    monkeypatch.setattr(copy_plan, "open_again", restless)
    copy.run(run)
    assert next(numbers) == 3
    assert "public.small" in events(run)["COPY-LOCKED"]
    assert run.snapshots == {}
    assert at_source("TRUNCATE big", "TRUNCATE small", "INSERT INTO small VALUES (50, 'free')") < PATIENCE_SECONDS
    assert_equal_after_sync(run, source_cluster, target_cluster)


def test_a_table_that_moved_on_between_its_parts_is_copied_from_its_beginning(
    run: Run,
    source_cluster: Cluster,
    target_cluster: Cluster,
    at_source: Callable[..., float],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    copy_kit.in_parts(monkeypatch)
    original, numbers = Lane.copy_part, iter(range(1000))

    def disturbed(self: Lane, work: Any, part: Any) -> None:
        if next(numbers) == 2:
            at_source("TRUNCATE big", "INSERT INTO big SELECT n, 'second' FROM generate_series(1, 2000) n")
        original(self, work, part)

    monkeypatch.setattr(Lane, "copy_part", disturbed)
    copy.run(run)
    assert next(numbers) > 4
    assert "public.big" in events(run)["COPY-ASIDE"]
    assert_equal_after_sync(run, source_cluster, target_cluster)


@pytest.mark.parametrize(
    "change",
    [
        "ALTER TABLE small RENAME COLUMN note TO remark",
        "ALTER TABLE small DROP COLUMN note",
        "ALTER TABLE small ALTER id TYPE bigint",
        "ALTER TABLE small RENAME TO tiny",
        "DROP TABLE small",
    ],
)
def test_a_table_of_another_shape_ends_the_copy_with_its_name(
    run: Run, at_source: Callable[..., float], change: str
) -> None:
    snapshot.open_first(run, run.plan.databases[0])
    at_source(change)
    with pytest.raises(SchemaChanged, match=r"public\.small") as caught:
        copy.run(run)
    assert caught.value.hint


def test_a_full_copy_says_which_tables_are_of_a_later_moment(
    run: Run, source_cluster: Cluster, target_cluster: Cluster, at_source: Callable[..., float]
) -> None:
    run.plan = replace(run.plan, incremental=False)
    opened = snapshot.open_first(run, run.plan.databases[0])
    at_source("TRUNCATE small", "INSERT INTO small VALUES (1, 'new')", "DELETE FROM other")
    copy.run(run)
    (database,) = run.plan.databases
    there = rows(target_cluster, database.target_name)
    assert there["small"] == [(1, "new")]
    assert len(there["other"]) == 30
    assert "public.small" in events(run)["COPY-MOVED"]
    assert run.snapshots[database.source_name] is opened
    assert opened.alive()
