"""A change that does not fit the target: what is known of it, and what each choice makes of it on real servers."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, cast

import pytest

from migrations_app.demo.clusters import Cluster
from migrations_app.engine.conflicts import Conflict, ConflictKind, Obstacle, Use
from migrations_app.engine.errors import CompareDiffers, ConflictError
from migrations_app.engine.executor import Executor
from migrations_app.engine.plan import Plan
from migrations_app.engine.ports import NEVER, Ports, TableStatus
from migrations_app.engine.replication.apply import Applier
from migrations_app.engine.states import StepName
from migrations_app.engine.steps import sync
from tests.fakes import FakeStore, wait_until
from tests.postgres import conflicts_kit
from tests.postgres.compare_kit import plan_for, server
from tests.postgres.conflicts_kit import TABLE, allow, permission, stopped
from tests.postgres.steps_kit import copied
from tests.postgres.sync_kit import Pair

# A fixture that stands in the kit.
pair = conflicts_kit.pair

SCRIPT = (
    TABLE + "; CREATE TABLE other (id int PRIMARY KEY); INSERT INTO t SELECT g, 'v' || g FROM generate_series(1, 9) g"
)
FOREIGN = "INSERT INTO t VALUES (1000, 'foreign')"
MISSING = "DELETE FROM t WHERE id = 3"
TWINS = "ALTER TABLE t DROP CONSTRAINT t_pkey; INSERT INTO t VALUES (3, 'twin')"
# What somebody did on the target, and the change of the source that then does not fit.
KINDS = {
    "insert, duplicate key": (FOREIGN, "INSERT INTO t VALUES (1000, 'ours')", ConflictKind.DUPLICATE_KEY),
    "update, row missing": (MISSING, "UPDATE t SET v = 'new' WHERE id = 3", ConflictKind.ROW_MISSING),
    "delete, row missing": (MISSING, "DELETE FROM t WHERE id = 3", ConflictKind.ROW_MISSING),
    "update, two rows": (TWINS, "UPDATE t SET v = 'new' WHERE id = 3", ConflictKind.TWO_ROWS),
    "delete, two rows": (TWINS, "DELETE FROM t WHERE id = 3", ConflictKind.TWO_ROWS),
    "update of the key, duplicate key": (FOREIGN, "UPDATE t SET id = 1000 WHERE id = 3", ConflictKind.DUPLICATE_KEY),
}


# Each kind and each choice, with all steps around


@pytest.fixture
def plan(source_cluster: Cluster, target_cluster: Cluster, source_db: str, target_db: str, tmp_path: Any) -> Plan:
    with source_cluster.connect(source_db) as connection:
        connection.execute(SCRIPT.encode())
    return plan_for(
        server(source_cluster), server(target_cluster), source_db, target_db, incremental=True, work_dir=tmp_path
    )


@pytest.fixture
def ports(plan: Plan) -> Iterator[Ports]:
    with copied(plan) as made:
        yield made


def stop_at(kind: str, plan: Plan, ports: Ports, source: Cluster, target: Cluster) -> Conflict:
    (database,) = plan.databases
    there, change, wanted = KINDS[kind]
    with target.connect(database.target_name) as connection:
        connection.execute(there.encode())
    with source.connect(database.source_name) as connection:
        connection.execute(
            f"BEGIN; INSERT INTO other VALUES (1); {change}; INSERT INTO other VALUES (2); COMMIT".encode()
        )
        connection.execute("INSERT INTO t VALUES (50, 'later'); INSERT INTO other VALUES (3)")
    with Executor(plan, ports) as executor, pytest.raises(ConflictError) as caught:
        executor.run(StepName.COMPLETE)
    conflict = caught.value.conflict
    assert conflict is not None
    assert (conflict.database, conflict.schema, conflict.name) == (database.source_name, "public", "t")
    assert (conflict.kind, conflict.obstacle) == (wanted, Obstacle.NONE)
    assert conflict.key == ("id=1000" if change.startswith("INSERT") else "id=3")
    assert conflict.key not in caught.value.public_message
    return conflict


def set_aside(plan: Plan, ports: Ports, status: TableStatus) -> None:
    store = cast(FakeStore, ports.store)
    (state,) = [state for state in store.tables(plan.databases[0].source_name) if state.name == "t"]
    store.save_tables(replace(state, status=status, watermark=NEVER))


def complete(plan: Plan, ports: Ports) -> None:
    with Executor(replace(plan, epoch=plan.epoch + 1), ports) as executor:
        if cast(FakeStore, ports.store).recopies(plan.databases[0].source_name):
            assert executor.recopy().done
        for step in (StepName.COMPLETE, StepName.CLEANUP):
            assert executor.run(step).done
    assert ports.ledger.items() == []


def rows(cluster: Cluster, database: str, table: str) -> list[Any]:
    with cluster.connect(database) as connection:
        return connection.execute(f"SELECT * FROM {table} ORDER BY 1, {table}::text".encode()).fetchall()


@pytest.mark.sample(1)
@pytest.mark.parametrize("kind", KINDS)
def test_the_row_of_the_source_takes_the_place_of_what_is_in_its_way(
    kind: str, plan: Plan, ports: Ports, source_cluster: Cluster, target_cluster: Cluster
) -> None:
    conflict = stop_at(kind, plan, ports, source_cluster, target_cluster)
    store = cast(FakeStore, ports.store)
    allow(store, permission(conflict), database=conflict.database)
    complete(plan, ports)
    assert [use for _, use in store.used] == [Use.TAKEN]
    assert all(comparison.equal for comparison in store.comparisons)


@pytest.mark.sample(1)
@pytest.mark.parametrize("kind", KINDS)
def test_a_table_that_is_copied_again_at_a_conflict_is_equal_in_the_end(
    kind: str, plan: Plan, ports: Ports, source_cluster: Cluster, target_cluster: Cluster
) -> None:
    conflict = stop_at(kind, plan, ports, source_cluster, target_cluster)
    store = cast(FakeStore, ports.store)
    store.asked_again[conflict.database] = [("public", "t")]
    complete(plan, ports)
    assert all(comparison.equal for comparison in store.comparisons)


@pytest.mark.sample(1)
@pytest.mark.parametrize("kind", KINDS)
def test_a_dropped_table_stays_as_it_is_and_does_not_block_complete(
    kind: str, plan: Plan, ports: Ports, source_cluster: Cluster, target_cluster: Cluster
) -> None:
    stop_at(kind, plan, ports, source_cluster, target_cluster)
    (database,) = plan.databases
    before = rows(target_cluster, database.target_name, "t")
    set_aside(plan, ports, TableStatus.DROPPED)
    complete(plan, ports)
    assert rows(target_cluster, database.target_name, "t") == before
    assert rows(target_cluster, database.target_name, "other") == [(1,), (2,), (3,)]
    store = cast(FakeStore, ports.store)
    verdicts = {item.name: (item.verdict, item.reason) for item in store.comparisons[-1].tables}
    assert verdicts["t"] == ("left_out", "dropped from the task: its rows on the target stayed as they were")
    assert verdicts["other"][0] == "equal"
    assert any("Dropped from the task and not compared: public.t." in text for _, _, text in store.events)


@pytest.mark.sample(1)
@pytest.mark.parametrize("settled", ["copied again", "dropped"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_quarantined_table_blocks_complete_until_it_is_settled(
    kind: str, settled: str, plan: Plan, ports: Ports, source_cluster: Cluster, target_cluster: Cluster
) -> None:
    conflict = stop_at(kind, plan, ports, source_cluster, target_cluster)
    set_aside(plan, ports, TableStatus.QUARANTINED)
    store = cast(FakeStore, ports.store)
    with (
        Executor(replace(plan, epoch=2), ports) as executor,
        pytest.raises(CompareDiffers, match=r"public\.t \(quarantined"),
    ):
        executor.run(StepName.COMPLETE)
    verdicts = {item.name: item.verdict for item in store.comparisons[-1].tables}
    assert verdicts == {"t": "not_compared", "other": "equal"}
    if settled == "copied again":
        store.asked_again[conflict.database] = [("public", "t")]
    else:
        set_aside(plan, ports, TableStatus.DROPPED)
    complete(replace(plan, epoch=2), ports)
    status = {state.name: state.status for state in store.tables(conflict.database)}["t"]
    assert status is (TableStatus.DONE if settled == "copied again" else TableStatus.DROPPED)
    assert store.comparisons[-1].equal


# A table that the sync passes by


def test_the_others_are_in_sync_while_a_table_is_quarantined(pair: Pair) -> None:
    pair.build(SCRIPT)
    pair.at_target(MISSING)
    pair.at_source("UPDATE t SET v = 'x' WHERE id = 3", "INSERT INTO other VALUES (1)")
    stopped(pair)
    (state,) = [state for state in pair.store.tables(pair.source_db) if state.name == "t"]
    pair.store.save_tables(replace(state, status=TableStatus.QUARANTINED, watermark=NEVER))
    with pair.running() as run:
        thread = threading.Thread(target=sync.run, args=(run,), daemon=True)
        thread.start()
        pair.at_source("INSERT INTO t VALUES (77, 'skipped')", "INSERT INTO other VALUES (2)")
        wait_until(lambda: pair.state.in_sync and pair.value("SELECT count(*) FROM other", "target") == 2)
        pair.control.complete = True
        thread.join(30)
    assert pair.value("SELECT count(*) FROM t WHERE id IN (3, 77)", "target") == 0


@pytest.mark.parametrize("status", [TableStatus.QUARANTINED, TableStatus.DROPPED])
def test_a_table_that_is_passed_by_does_not_slow_the_others(
    pair: Pair, status: TableStatus, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair.build(SCRIPT)
    (state,) = [state for state in pair.store.tables(pair.source_db) if state.name == "t"]
    pair.store.save_tables(replace(state, status=status, watermark=NEVER))
    asked: list[int] = []
    real = Applier.folding
    monkeypatch.setattr(Applier, "folding", lambda self, oid: asked.append(oid) or real(self, oid))
    pair.at_source(
        "INSERT INTO other SELECT generate_series(1, 500); INSERT INTO t SELECT generate_series(100, 600);"
        " DELETE FROM other WHERE id > 400; UPDATE t SET v = 'x'"
    )
    pair.catch_up()
    assert len(asked) <= 4, "each table is asked for once per batch, not once per change"
    assert pair.value("SELECT count(*) FROM other", "target") == 400
    assert pair.value("SELECT count(*) FROM t", "target") == 9


@pytest.mark.sample(1)
@pytest.mark.parametrize("ddl", ["ALTER TABLE t ADD COLUMN more int", "ALTER TABLE t RENAME TO u", "DROP TABLE t"])
def test_a_dropped_table_may_change_or_go_on_the_source(pair: Pair, ddl: str) -> None:
    pair.build(SCRIPT)
    (state,) = [state for state in pair.store.tables(pair.source_db) if state.name == "t"]
    pair.store.save_tables(replace(state, status=TableStatus.DROPPED, watermark=NEVER))
    pair.at_source("INSERT INTO t VALUES (20, 'before')", ddl, "INSERT INTO other VALUES (1)")
    pair.catch_up()
    assert pair.value("SELECT count(*) FROM other", "target") == 1
    assert pair.value("SELECT count(*) FROM t", "target") == 9


def test_emptying_other_tables_leaves_a_table_that_is_passed_by_alone(pair: Pair) -> None:
    pair.build(SCRIPT)
    (state,) = [state for state in pair.store.tables(pair.source_db) if state.name == "t"]
    pair.store.save_tables(replace(state, status=TableStatus.QUARANTINED, watermark=NEVER))
    pair.at_source("INSERT INTO other VALUES (1)", "TRUNCATE t, other", "INSERT INTO other VALUES (2)")
    pair.catch_up()
    assert pair.value("SELECT array_agg(id) FROM other", "target") == [2]
    assert pair.value("SELECT count(*) FROM t", "target") == 9
