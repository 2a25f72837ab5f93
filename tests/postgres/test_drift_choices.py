"""Each choice at a changed table, with all steps around: what the target holds in the end."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, cast

import pytest

from migrations_app.demo.clusters import Cluster
from migrations_app.engine.drift import Doubt, Drift
from migrations_app.engine.errors import SchemaChanged
from migrations_app.engine.executor import Executor
from migrations_app.engine.plan import Plan
from migrations_app.engine.ports import NEVER, Ports, TableState, TableStatus
from migrations_app.engine.states import StepName
from tests.fakes import FakeStore
from tests.postgres.compare_kit import plan_for, server
from tests.postgres.drift_kit import ROOT, ROWS, TABLE, leave
from tests.postgres.steps_kit import copied


@pytest.fixture
def plan(source_cluster: Cluster, target_cluster: Cluster, source_db: str, target_db: str, tmp_path: Any) -> Plan:
    with source_cluster.connect(source_db) as connection:
        connection.execute(f"{TABLE}; {ROOT}; {ROWS}".encode())
    return plan_for(
        server(source_cluster), server(target_cluster), source_db, target_db, incremental=True, work_dir=tmp_path
    )


@pytest.fixture
def ports(plan: Plan) -> Iterator[Ports]:
    with copied(plan) as made:
        yield made


def stop(plan: Plan, ports: Ports, source: Cluster, *statements: str) -> Drift:
    with source.connect(plan.databases[0].source_name) as connection:
        for statement in statements:
            connection.execute(statement.encode())
    with Executor(plan, ports) as executor, pytest.raises(SchemaChanged) as caught:
        executor.run(StepName.COMPLETE)
    assert caught.value.drift is not None
    return caught.value.drift


def complete(plan: Plan, ports: Ports) -> FakeStore:
    store = cast(FakeStore, ports.store)
    with Executor(replace(plan, epoch=plan.epoch + 1), ports) as executor:
        if store.recopies(plan.databases[0].source_name):
            assert executor.recopy().done
        for step in (StepName.COMPLETE, StepName.CLEANUP):
            assert executor.run(step).done
    assert ports.ledger.items() == []
    return store


def test_a_statement_that_is_applied_leads_to_an_equal_comparison(
    plan: Plan, ports: Ports, source_cluster: Cluster
) -> None:
    drift = stop(
        plan, ports, source_cluster, "ALTER TABLE t ADD COLUMN c int DEFAULT 3", "INSERT INTO t VALUES (200, 'x', 4)"
    )
    cast(FakeStore, ports.store).may_change[plan.databases[0].source_name] = [leave(drift)]
    store = complete(plan, ports)
    assert {comparison.equal for comparison in store.comparisons} == {True}


@pytest.mark.sample(2)
@pytest.mark.parametrize(
    "ddl",
    [
        "ALTER TABLE t ADD COLUMN c float NOT NULL DEFAULT random()",
        "ALTER TABLE t DROP COLUMN v; ALTER TABLE t ADD COLUMN c text DEFAULT 'x'",
        "ALTER TABLE t ALTER v TYPE date USING date '2026-01-01' + v::int",
        "ALTER TABLE t ADD COLUMN c int GENERATED ALWAYS AS IDENTITY",
        "ALTER TABLE t ADD COLUMN c serial",
    ],
)
def test_a_table_that_is_copied_again_gets_the_new_shape_and_is_equal_in_the_end(
    ddl: str, plan: Plan, ports: Ports, source_cluster: Cluster
) -> None:
    stop(plan, ports, source_cluster, "INSERT INTO other VALUES (1)", ddl, "UPDATE t SET id = id + 500 WHERE id < 9")
    store = cast(FakeStore, ports.store)
    store.asked_again[plan.databases[0].source_name] = [("public", "t")]
    complete(plan, ports)
    assert {comparison.equal for comparison in store.comparisons} == {True}
    assert "DDL-APPLIED" in [code for _, code, _ in store.events]


def test_a_table_whose_column_is_another_one_by_the_same_name_is_copied_again_and_equal_in_the_end(
    plan: Plan, ports: Ports, source_cluster: Cluster
) -> None:
    again = "ALTER TABLE t DROP COLUMN v; ALTER TABLE t ADD COLUMN v text DEFAULT 'x'"
    drift = stop(
        plan, ports, source_cluster, "INSERT INTO other VALUES (1)", again, "UPDATE t SET id = 500 WHERE id = 9"
    )
    assert drift.doubt is Doubt.REMADE
    store = cast(FakeStore, ports.store)
    store.asked_again[plan.databases[0].source_name] = [("public", "t")]
    complete(plan, ports)
    assert {comparison.equal for comparison in store.comparisons} == {True}


def test_a_changed_table_that_is_dropped_from_the_task_lets_the_others_go_on(
    plan: Plan, ports: Ports, source_cluster: Cluster
) -> None:
    stop(plan, ports, source_cluster, "ALTER TABLE t RENAME TO u", "INSERT INTO u VALUES (200)")
    store = cast(FakeStore, ports.store)
    (state,) = [state for state in store.tables(plan.databases[0].source_name) if state.name == "t"]
    store.save_tables(replace(state, status=TableStatus.DROPPED, watermark=NEVER))
    with source_cluster.connect(plan.databases[0].source_name) as connection:
        connection.execute("INSERT INTO other VALUES (7)")
    complete(plan, ports)
    verdicts = {item.name: item.verdict for comparison in store.comparisons for item in comparison.tables}
    assert verdicts["other"] == "equal"


def test_an_attached_partition_is_made_and_copied_when_that_is_asked_for(
    source_cluster: Cluster, target_cluster: Cluster, plan: Plan, ports: Ports
) -> None:
    drift = stop(
        plan,
        ports,
        source_cluster,
        "CREATE TABLE p2 (id int PRIMARY KEY); INSERT INTO p2 SELECT generate_series(100, 150)",
        "ALTER TABLE p ATTACH PARTITION p2 FOR VALUES FROM (100) TO (200); INSERT INTO p VALUES (160)",
    )
    name, store = plan.databases[0].source_name, cast(FakeStore, ports.store)
    state = TableState(
        database=name,
        schema="public",
        name="p2",
        oid=drift.oid,
        status=TableStatus.QUARANTINED,
        watermark=NEVER,
    )
    store.save_tables(state)  # what the operator's choice does
    store.asked_again[name] = [("public", "p2")]
    complete(plan, ports)
    assert {comparison.equal for comparison in store.comparisons} == {True}
    with target_cluster.connect(plan.databases[0].target_name) as connection:
        assert connection.execute("SELECT count(*) FROM ONLY p2").fetchone() == (52,)


OWN = {
    "identity": ("int GENERATED ALWAYS AS IDENTITY (START 100 INCREMENT 3)", ["identity: always on the source"]),
    "serial": ("serial", []),
}


@pytest.mark.long
@pytest.mark.parametrize("kind", OWN)
def test_what_an_attached_partition_has_of_its_own_is_made_on_the_target(
    source_cluster: Cluster, target_cluster: Cluster, plan: Plan, ports: Ports, kind: str
) -> None:
    column, told = OWN[kind]
    drift = stop(
        plan,
        ports,
        source_cluster,
        f"CREATE TABLE p2 (id {column} PRIMARY KEY); SELECT setval('p2_id_seq', 170)",
        "INSERT INTO p2 OVERRIDING SYSTEM VALUE SELECT generate_series(100, 150)",
        "ALTER TABLE p ATTACH PARTITION p2 FOR VALUES FROM (100) TO (200); INSERT INTO p VALUES (160)",
    )
    name, store = plan.databases[0].source_name, cast(FakeStore, ports.store)
    state = TableState(
        database=name, schema="public", name="p2", oid=drift.oid, status=TableStatus.QUARANTINED, watermark=NEVER
    )
    store.save_tables(state)
    store.asked_again[name] = [("public", "p2")]
    complete(plan, ports)
    with source_cluster.connect(name) as here, target_cluster.connect(plan.databases[0].target_name) as there:
        query = "SELECT last_value, is_called FROM p2_id_seq"
        assert there.execute(query).fetchone() == here.execute(query).fetchone()
        assert there.execute("INSERT INTO p2 DEFAULT VALUES RETURNING id").fetchone() in [(171,), (173,)]
    assert [note.what.split(",")[0] for note in store.notes[name]] == told


SPLIT = (
    "BEGIN; ALTER TABLE p DETACH PARTITION p1; CREATE TABLE p1a (LIKE p INCLUDING ALL);"
    " CREATE TABLE p1b (LIKE p INCLUDING ALL);"
    " WITH moved AS (DELETE FROM p1 WHERE id < 50 RETURNING id) INSERT INTO p1a SELECT id FROM moved;"
    " WITH moved AS (DELETE FROM p1 RETURNING id) INSERT INTO p1b SELECT id FROM moved;"
    " ALTER TABLE p ATTACH PARTITION p1a FOR VALUES FROM (0) TO (50);"
    " ALTER TABLE p ATTACH PARTITION p1b FOR VALUES FROM (50) TO (100); COMMIT"
)


def copy_again(plan: Plan, ports: Ports, drift: Drift) -> None:
    """Press Copy again where the sync stopped at a new partition."""
    name, store = plan.databases[0].source_name, cast(FakeStore, ports.store)
    new = TableState(
        database=name, schema="public", name=drift.name, oid=drift.oid, status=TableStatus.QUARANTINED, watermark=NEVER
    )
    store.save_tables(new)
    store.asked_again[name] = [("public", drift.name)]


@pytest.mark.long
def test_a_partition_that_was_split_by_hand_is_followed_by_copying_its_parts(
    source_cluster: Cluster, target_cluster: Cluster, plan: Plan, ports: Ports
) -> None:
    fill = "INSERT INTO p SELECT generate_series(0, 99)"
    drift = stop(plan, ports, source_cluster, fill, SPLIT, "UPDATE p SET id = id WHERE id < 50")
    for name in ("p1a", "p1b"):
        assert (drift.name, drift.doubt) == (name, Doubt.ATTACHED)
        copy_again(plan, ports, drift)
        if name == "p1a":
            with Executor(replace(plan, epoch=plan.epoch + 1), ports) as executor:
                executor.recopy()
            drift = stop(
                replace(plan, epoch=plan.epoch + 2), ports, source_cluster, "UPDATE p SET id = id WHERE id > 50"
            )
    complete(replace(plan, epoch=plan.epoch + 3), ports)
    store = cast(FakeStore, ports.store)
    assert {comparison.equal for comparison in store.comparisons} == {True}
    with target_cluster.connect(plan.databases[0].target_name) as there:
        assert there.execute("SELECT count(*) FROM p").fetchone() == (100,)
        assert there.execute("SELECT count(*) FROM p1").fetchone() == (0,)
    assert store.notes[plan.databases[0].source_name] == ()


@pytest.mark.long
def test_a_partition_that_the_target_refuses_to_make_can_be_decided_about(
    source_cluster: Cluster, target_cluster: Cluster, plan: Plan, ports: Ports
) -> None:
    attach = "CREATE TABLE p2 (id int PRIMARY KEY); ALTER TABLE p ATTACH PARTITION p2 FOR VALUES FROM (100) TO (200)"
    copy_again(plan, ports, stop(plan, ports, source_cluster, attach, "INSERT INTO p VALUES (160)"))
    with target_cluster.connect(plan.databases[0].target_name) as there:
        there.execute("CREATE TABLE foreign_to_us PARTITION OF p FOR VALUES FROM (150) TO (300)")
    with Executor(replace(plan, epoch=plan.epoch + 1), ports) as executor, pytest.raises(SchemaChanged) as caught:
        executor.recopy()
    drift = caught.value.drift
    assert drift is not None
    assert (drift.name, drift.database, drift.statements) == ("p2", plan.databases[0].source_name, ())
    with target_cluster.connect(plan.databases[0].target_name) as there:
        there.execute("DROP TABLE foreign_to_us")
    complete(replace(plan, epoch=plan.epoch + 1), ports)
