"""A long copy takes newer snapshots, so that the source is not kept from removing dead rows for hours."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast

import pytest

from migrations_app.demo.clusters import Cluster
from migrations_app.engine import copy_plan, index_lanes, snapshot
from migrations_app.engine.copying import Lane
from migrations_app.engine.errors import SchemaChanged, TargetError
from migrations_app.engine.executor import Executor
from migrations_app.engine.outcome import Run
from migrations_app.engine.plan import Plan
from migrations_app.engine.ports import TableStatus
from migrations_app.engine.states import StepName, steps_for
from migrations_app.engine.steps import copy
from tests.comparator import differences
from tests.fakes import FakeControl, FakeStore, fake_ports, wait_until
from tests.postgres import complete_kit, copy_kit, moving_kit
from tests.postgres.compare_kit import Writer
from tests.postgres.engine_runs import KEY, fakes
from tests.postgres.moving_kit import assert_equal_after_sync, copying, events, is_copying, marks

# Fixtures that stand in the kit.
simple = moving_kit.simple
run = moving_kit.run
at_source = moving_kit.at_source
slow = moving_kit.slow
plan = complete_kit.plan
TINY = 0.001
MAY_BE_SEEN = {"COPY-LONG"}
"""Of a table whose copy a look catches: any takes longer than the tiny limit."""


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every table be a unit of its own."""
    monkeypatch.setattr(copy_plan, "_SMALL_TABLE_BYTES", -1)


@pytest.fixture
def xmins(run: Run, source_cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Remember at each table what the oldest of our sessions on the source holds back."""
    seen: list[int] = []
    original = Lane.copy_whole

    def watched(self: Lane, works: Any) -> None:
        original(self, works)
        with source_cluster.connect() as connection:
            row = connection.execute(
                "SELECT min(backend_xmin::text::bigint) FROM pg_stat_activity WHERE application_name LIKE %s",
                (f"towpath:{KEY}:%",),
            ).fetchone()
        if row and row[0] is not None:
            seen.append(int(row[0]))

    monkeypatch.setattr(Lane, "copy_whole", watched)
    return seen


def limited(run: Run, seconds: float = TINY, **more: Any) -> None:
    run.plan = replace(run.plan, snapshot_seconds=seconds, **more)


@pytest.mark.usefixtures("alone")
def test_a_snapshot_past_its_limit_is_followed_by_a_newer_one(
    run: Run,
    source_cluster: Cluster,
    target_cluster: Cluster,
    at_source: Callable[..., float],
    xmins: list[int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    limited(run, copy_jobs=1)
    numbers = iter(range(100))
    opening = snapshot.open_again

    def busy(*arguments: Any) -> Any:
        at_source(
            f"INSERT INTO small VALUES ({10_000 + next(numbers)}, 'meanwhile')",
            "UPDATE big SET note = note || '+' WHERE id <= 10",
            "DELETE FROM other WHERE id = (SELECT min(id) FROM other)",
        )
        return opening(*arguments)

    monkeypatch.setattr(copy_plan, "open_again", busy)
    snapshot.open_first(run, run.plan.databases[0])
    copy.run(run)
    assert len(set(marks(run).values())) == 3
    assert next(numbers) >= 3
    assert xmins == sorted(set(xmins))
    assert len(xmins) == 3
    assert set(events(run)) - MAY_BE_SEEN == {"COPY-RENEWED"}
    assert_equal_after_sync(run, source_cluster, target_cluster)


@pytest.mark.usefixtures("alone")
def test_nothing_is_held_when_the_copy_has_ended(run: Run) -> None:
    limited(run)
    copy.run(run)
    told = fakes(run.ports)[1].held
    assert {database for database, _ in told} == {run.plan.databases[0].source_name}
    times = [since for _, since in told]
    assert times[-1] is None
    begun = [since for since in times if since]
    assert begun == sorted(set(begun))
    assert len(begun) >= 3


@pytest.mark.long
@pytest.mark.usefixtures("alone", "slow")
def test_what_is_under_way_is_finished_while_the_rest_waits(
    run: Run, source_cluster: Cluster, target_cluster: Cluster, source_db: str
) -> None:
    limited(run, copy_jobs=2)
    with copying(run):
        wait_until(is_copying(source_cluster, "big"), what="the COPY of big")
        waiting = {state.name: state.status for state in run.ports.store.tables(source_db)}
    assert (waiting["small"], waiting["other"]) == (TableStatus.WAITING, TableStatus.WAITING)
    found = marks(run)
    assert found["big"] < found["small"]
    told = [text for _, code, text in fakes(run.ports)[1].events if code == "COPY-LONG" and "public.big" in text]
    assert len(told) == 1
    assert_equal_after_sync(run, source_cluster, target_cluster)


@pytest.mark.usefixtures("alone")
def test_a_snapshot_within_its_limit_serves_all_tables(run: Run) -> None:
    opened = snapshot.open_first(run, run.plan.databases[0])
    copy.run(run)
    assert set(marks(run).values()) == {opened.lsn}
    assert events(run) == {}


@pytest.mark.usefixtures("alone")
def test_newer_snapshots_do_not_lead_to_a_locked_copy(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copy, "_PASSES", 1)
    limited(run)
    copy.run(run)
    assert len(set(marks(run).values())) == 3
    assert set(events(run)) - MAY_BE_SEEN == {"COPY-RENEWED"}


@pytest.mark.usefixtures("alone")
def test_a_table_that_moved_on_is_copied_beside_those_that_waited(
    run: Run, source_cluster: Cluster, target_cluster: Cluster, at_source: Callable[..., float]
) -> None:
    snapshot.open_first(run, run.plan.databases[0])
    at_source("TRUNCATE small", "INSERT INTO small VALUES (1, 'new')")
    limited(run, copy_jobs=1)
    copy.run(run)
    assert "COPY-LOCKED" not in events(run)
    assert_equal_after_sync(run, source_cluster, target_cluster)


def test_a_table_that_is_gone_when_its_turn_comes_ends_the_copy_with_its_name(
    run: Run, at_source: Callable[..., float]
) -> None:
    snapshot.open_first(run, run.plan.databases[0])
    at_source("DROP TABLE small")
    limited(run)
    with pytest.raises(SchemaChanged, match=r"public\.small"):
        copy.run(run)


@pytest.mark.usefixtures("alone")
def test_a_copy_that_fails_while_a_newer_snapshot_is_opened_ends_at_once(
    run: Run, source_cluster: Cluster, source_db: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The opening waits for an older transaction that writes; an index that cannot be built must not wait for it."""
    limited(run, 3600.0, copy_jobs=1)
    opened = snapshot.open_first(run, run.plan.databases[0])
    original, waits = Lane.copy_whole, threading.Event()

    def aging(self: Lane, works: Any) -> None:
        original(self, works)
        opened.hold._began = float("-inf")

    def build(run: Run, database: Any, table: Any, session: Any) -> None:
        wait_until(lambda: "SRC-OLDTX" in events(run), what="the wait for the older transaction")
        waits.set()
        raise TargetError("no index")

    monkeypatch.setattr(Lane, "copy_whole", aging)
    monkeypatch.setattr(index_lanes, "build_table", build)
    with source_cluster.connect(source_db) as older:
        older.execute("BEGIN; INSERT INTO other VALUES (-1)")
        with pytest.raises(TargetError, match="no index"):
            copy.run(run)
        assert waits.is_set()
        older.execute("ROLLBACK")


def test_a_full_copy_says_what_its_long_snapshot_costs_the_source(plan: Plan, source_db: str) -> None:
    ports = fake_ports()
    store = cast(FakeStore, ports.store)

    def told() -> list[str]:
        return [text for _, code, text in store.events if code == "COPY-HELD"]

    with Executor(replace(plan, incremental=False, snapshot_seconds=TINY), ports) as executor:
        assert executor.run(StepName.SCHEMA).done
        wait_until(told, what="the words about the snapshot")
        for step in (StepName.COPY, StepName.INDEX):
            assert executor.run(step).done
        assert len(store.held) == 1
        assert executor.run(StepName.COMPARE).done
    assert len(told()) == 1
    assert "xmin" in told()[0]
    assert store.held == [(source_db, store.held[0][1]), (source_db, None)]
    assert "COPY-RENEWED" not in {code for _, code, _ in store.events}


@pytest.fixture
def in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    copy_kit.in_parts(monkeypatch)


@pytest.mark.usefixtures("in_parts")
def test_the_parts_of_a_table_are_of_one_snapshot(
    run: Run, source_cluster: Cluster, target_cluster: Cluster, at_source: Callable[..., float]
) -> None:
    opened = snapshot.open_first(run, run.plan.databases[0])
    limited(run)
    copy.run(run)
    found = marks(run)
    assert found["big"] >= (opened.lsn or 0)
    assert len(set(found.values())) > 1
    at_source("UPDATE big SET note = 'after' WHERE id % 2 = 0", "DELETE FROM small")
    assert_equal_after_sync(run, source_cluster, target_cluster)


@pytest.mark.long
@pytest.mark.usefixtures("alone")
def test_a_busy_database_arrives_whole_over_many_snapshots(
    plan: Plan, source_cluster: Cluster, target_cluster: Cluster, source_db: str, target_db: str
) -> None:
    plan, ports = replace(plan, snapshot_seconds=TINY), fake_ports()
    store = cast(FakeStore, ports.store)
    steps = steps_for(incremental=True)
    begun = steps.index(StepName.SYNC)
    with Executor(plan, ports) as executor:
        with Writer(source_cluster, source_db, complete_kit.order) as writer:
            for step in steps[:begun]:
                if step is not StepName.CHECK:
                    assert executor.run(step).done
        assert writer.commits
        assert len({state.watermark for state in store.tables(source_db)}) > 2
        with source_cluster.connect(source_db) as application:  # Complete refreshes these on the target
            application.execute("REFRESH MATERIALIZED VIEW totals; REFRESH MATERIALIZED VIEW totals_2")
        cast(FakeControl, ports.control).complete = True
        for step in steps[begun:]:
            assert executor.run(step).done
    assert {code for _, code, _ in store.events} >= {"COPY-RENEWED"}
    assert not {"FK-NOT-VALID", "COPY-LOCKED"} & {code for _, code, _ in store.events}
    assert store.held[-1][1] is None
    with source_cluster.connect(source_db) as one, target_cluster.connect(target_db) as other:
        assert differences(one, other) == []
        keys = other.execute("SELECT bool_and(convalidated) FROM pg_constraint WHERE contype = 'f'").fetchone()
    assert keys == (True,)
