"""A table that is to be copied again has another name on the source by now, or was gone from the target."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from migrations_app.demo.clusters import Cluster
from migrations_app.engine.errors import SchemaChanged, TargetError
from migrations_app.engine.executor import Executor
from migrations_app.engine.outcome import Outcome
from migrations_app.engine.plan import Plan
from migrations_app.engine.ports import Ports
from migrations_app.engine.replication.names_followed import TableRenamed
from migrations_app.engine.replication.single import TableSession
from migrations_app.engine.states import StepName
from migrations_app.engine.steps import recopy
from tests.fakes import FakeControl, FakeStore
from tests.postgres import test_recopy
from tests.postgres.drift_kit import leave
from tests.postgres.test_recopy import ask, begin, complete

plan = test_recopy.plan
ports = test_recopy.ports

RENAMED = "ALTER TABLE other RENAME TO further"
SWAP = "ALTER TABLE other RENAME TO aside; ALTER TABLE broken RENAME TO other; ALTER TABLE aside RENAME TO broken"
NAMESAKE = "ALTER TABLE other RENAME TO further; CREATE TABLE other (id int PRIMARY KEY, n int NOT NULL DEFAULT 0)"


def until_done(work: Callable[[], Outcome]) -> None:
    """Run a step as often as it is taken up again by itself."""
    for _ in range(6):
        try:
            assert work().done
        except TableRenamed:
            continue
        return
    raise AssertionError("never done")


def copy_again(plan: Plan, ports: Ports) -> Outcome:
    with Executor(plan, ports) as executor:
        return executor.recopy()


def end_sync(plan: Plan, ports: Ports) -> Outcome:
    control = FakeControl()
    control.complete = True
    with Executor(plan, Ports(control=control, ledger=ports.ledger, store=ports.store)) as executor:
        return executor.run(StepName.SYNC)


@pytest.mark.long
@pytest.mark.parametrize("ddl", [RENAMED, SWAP, NAMESAKE], ids=["new", "swap", "namesake"])
def test_the_copy_asks_about_the_name_and_is_made_under_the_new_one(
    plan: Plan, ports: Ports, source_cluster: Cluster, target_cluster: Cluster, ddl: str
) -> None:
    begin(plan, ports)
    (database,) = plan.databases
    store: FakeStore = ask(plan, ports, "other")
    with source_cluster.connect(database.source_name) as source:
        source.execute(ddl)
        source.execute(f"INSERT INTO {'broken' if ddl == SWAP else 'further'} VALUES (9999)")
    with pytest.raises(SchemaChanged) as caught:
        copy_again(plan, ports)
    drift = caught.value.drift
    assert drift is not None
    assert drift.statements
    with target_cluster.connect(database.target_name) as target:
        assert target.execute("SELECT count(*) FROM other").fetchone() == (100,), "nothing was changed"
    store.may_change.setdefault(database.source_name, []).append(leave(drift))
    until_done(lambda: copy_again(plan, ports))
    assert store.recopies(database.source_name) == []
    with source_cluster.connect(database.source_name) as source:
        if ddl == NAMESAKE:
            source.execute("DROP TABLE other")
    until_done(lambda: end_sync(plan, ports))
    with Executor(plan, ports) as executor:
        assert executor.run(StepName.COMPARE).done
    complete(plan, ports)


@pytest.mark.long
def test_a_name_that_comes_while_the_copy_is_brought_up_to_date_is_followed(
    plan: Plan, ports: Ports, source_cluster: Cluster, target_cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin(plan, ports)
    (database,) = plan.databases
    store, real = ask(plan, ports, "other"), recopy.OneTable._meet

    def renamed_meanwhile(table: recopy.OneTable, session: TableSession, position: int) -> None:
        for cluster, name in ((source_cluster, database.source_name), (target_cluster, database.target_name)):
            with cluster.connect(name) as connection:
                connection.execute(RENAMED)
        with source_cluster.connect(database.source_name) as source:
            source.execute("INSERT INTO further VALUES (9999)")
        table._let_main_catch_up()  # the table's own stream has to come there, too
        real(table, session, position)

    with monkeypatch.context() as meanwhile:
        meanwhile.setattr(recopy.OneTable, "_meet", renamed_meanwhile)
        with pytest.raises(TableRenamed):
            copy_again(plan, ports)
    until_done(lambda: copy_again(plan, ports))
    assert store.recopies(database.source_name) == []
    until_done(lambda: end_sync(plan, ports))
    with Executor(plan, ports) as executor:
        assert executor.run(StepName.COMPARE).done
    complete(plan, ports)


@pytest.mark.long
def test_a_table_that_somebody_dropped_on_the_target_is_copied_again_once_it_is_made_anew(
    plan: Plan, ports: Ports, source_cluster: Cluster, target_cluster: Cluster
) -> None:
    begin(plan, ports)
    (database,) = plan.databases
    with source_cluster.connect(database.source_name) as source:
        source.execute("INSERT INTO other VALUES (9999)")
    with target_cluster.connect(database.target_name) as target:
        target.execute("DROP TABLE other")
        ask(plan, ports, "keyless")
        with pytest.raises(TargetError, match="missing on the target") as caught:
            copy_again(plan, ports)
        assert "make it there as on the source, press Copy again" in caught.value.hint
        target.execute("CREATE TABLE other (id int PRIMARY KEY, n int NOT NULL DEFAULT 0)")
    ask(plan, ports, "keyless", "other")
    assert copy_again(plan, ports).done
    assert end_sync(plan, ports).done
    with Executor(plan, ports) as executor:
        assert executor.run(StepName.COMPARE).done
    complete(plan, ports)


def test_a_table_that_is_to_be_copied_again_and_is_gone_on_the_target_is_told_as_that(
    plan: Plan, ports: Ports, target_cluster: Cluster
) -> None:
    begin(plan, ports)
    with target_cluster.connect(plan.databases[0].target_name) as target:
        target.execute("DROP TABLE other")
    ask(plan, ports, "other")
    with pytest.raises(TargetError, match=r"Table public\.other is missing on the target") as caught:
        copy_again(plan, ports)
    assert "Make it there as on the source" in caught.value.hint


KEYS = (
    "CREATE TABLE k (id int PRIMARY KEY, v text, w text GENERATED ALWAYS AS (v || '!') STORED);"
    " INSERT INTO k SELECT g, g FROM generate_series(1, 9) g;"
    " CREATE TABLE l (k int REFERENCES k); CREATE INDEX ON k (v)"
)
NAMES = "ALTER TABLE k RENAME id TO key; ALTER TABLE k RENAME v TO value; ALTER TABLE k ADD v int NOT NULL DEFAULT 7"


def test_a_column_that_has_another_name_keeps_its_key_and_indexes(
    plan: Plan, ports: Ports, source_cluster: Cluster, target_cluster: Cluster
) -> None:
    (database,) = plan.databases
    with source_cluster.connect(database.source_name) as source:
        source.execute(KEYS)
        begin(plan, ports)
        source.execute(NAMES)
    ask(plan, ports, "k")
    assert copy_again(plan, ports).done
    with source_cluster.connect(database.source_name) as source:
        source.execute("UPDATE k SET value = 'later' WHERE key = 3; DELETE FROM k WHERE key = 4")
    complete(plan, ports)
    with (
        source_cluster.connect(database.source_name) as source,
        target_cluster.connect(database.target_name) as target,
    ):
        for query in (
            "SELECT key, value, w, v FROM k ORDER BY key",
            "SELECT pg_get_constraintdef(oid) FROM pg_constraint"
            " WHERE conrelid IN ('k'::regclass, 'l'::regclass) AND contype <> 'n' ORDER BY 1",
            "SELECT pg_get_indexdef(indexrelid) FROM pg_index WHERE indrelid = 'k'::regclass ORDER BY 1",
        ):
            assert source.execute(query).fetchall() == target.execute(query).fetchall(), query
