"""Two tasks on one target: the second leaves alone what the first one has, at its check and in its run."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest

from migrations_app.demo.clusters import Cluster
from migrations_app.engine.cleaning import clean_up
from migrations_app.engine.errors import ConflictError
from migrations_app.engine.executor import Executor
from migrations_app.engine.plan import Neighbour, Others, Plan
from migrations_app.engine.ports import Kind, LedgerItem, Ports, Side
from migrations_app.engine.replication import bookmark
from migrations_app.engine.states import StepName
from tests.fakes import FakeLedger, FakeStore, fake_ports, wait_until
from tests.postgres.checks_kit import check
from tests.postgres.compare_kit import plan_for, running, server
from tests.postgres.occupied_kit import choose

ITEM = "other-tasks"
FIRST = "feedf00d"
TABLE = "CREATE TABLE t (id int PRIMARY KEY)"


@pytest.fixture
def plan(source_cluster: Cluster, target_cluster: Cluster, source_db: str, target_db: str, tmp_path: Path) -> Plan:
    """A task for a table that the target has too, with rows."""
    with source_cluster.connect(source_db) as here, target_cluster.connect(target_db) as there:
        here.execute(TABLE)
        there.execute(TABLE)
        there.execute("INSERT INTO t VALUES (1), (2)")
    task = plan_for(server(source_cluster), server(target_cluster), source_db, target_db, work_dir=tmp_path)
    return replace(task, incremental=False)


def first(plan: Plan, *tables: str, near: bool = True) -> Others:
    """What the console knows of a task that has these tables of the same database."""
    relations = frozenset(("public", table) for table in tables)
    database = plan.databases[0].target_name
    one = Neighbour(key=FIRST, name="The first", database=database, near=near, relations=relations)
    return Others(neighbours=(one,), known=frozenset({FIRST}))


def marked(plan: Plan, cluster: Cluster) -> None:
    """Let the first task keep its position in the target's database."""
    with cluster.connect(plan.databases[0].target_name) as connection:
        bookmark.create(connection)
        bookmark.reset(connection, FIRST, 1, 1)


def ports_beside(plan: Plan, others: Others) -> Ports:
    ports = fake_ports()
    cast(FakeLedger, ports.ledger).of_others = others
    cast(FakeStore, ports.store).targets.update({one.source_name: one.target_name for one in plan.databases})
    return ports


def rows(plan: Plan, cluster: Cluster) -> object:
    with cluster.connect(plan.databases[0].target_name) as connection:
        return connection.execute("SELECT count(*) FROM t").fetchone()


@pytest.mark.parametrize("policy", ["refuse", "keep", "truncate", "recreate"])
def test_a_second_task_for_the_same_tables_fails_the_check(policy: str, plan: Plan) -> None:
    result = check(choose(replace(plan, others=first(plan, "t")), policy), ITEM)
    assert (result.status, "(The first) has public.t" in result.found) == ("failed", True)


def test_a_second_task_for_other_tables_is_a_warning(plan: Plan) -> None:
    assert check(choose(replace(plan, others=first(plan, "other")), "truncate"), ITEM).status == "warning"


def test_a_task_whose_target_was_entered_with_another_address_is_known_by_its_position(
    plan: Plan, target_cluster: Cluster
) -> None:
    asked = choose(replace(plan, others=first(plan, "t", near=False)), "truncate")
    assert check(asked, ITEM).status == "passed"
    marked(plan, target_cluster)
    assert check(asked, ITEM).status == "failed"


def test_a_task_of_another_console_fails_the_check_only_where_something_would_be_taken_over(
    plan: Plan, target_cluster: Cluster
) -> None:
    marked(plan, target_cluster)
    assert check(choose(plan, "refuse"), ITEM).status == "warning"
    result = check(choose(plan, "truncate"), ITEM)
    assert (result.status, f"task {FIRST} of another console" in result.found) == ("failed", True)
    with target_cluster.connect(plan.databases[0].target_name) as connection:
        connection.execute(result.hint.rpartition(": ")[2].encode())
    assert check(choose(plan, "truncate"), ITEM).status == "passed"


def test_what_an_ended_task_of_this_console_has_left_stands_in_nobodys_way(plan: Plan, target_cluster: Cluster) -> None:
    marked(plan, target_cluster)
    ended = replace(plan, others=Others(known=frozenset({FIRST})))
    assert check(choose(ended, "truncate"), ITEM).status == "warning"


@pytest.mark.parametrize("policy", ["keep", "truncate", "recreate"])
def test_a_run_takes_nothing_over_that_another_task_has(policy: str, plan: Plan, target_cluster: Cluster) -> None:
    ports = ports_beside(plan, first(plan, "t"))
    with Executor(choose(plan, policy), ports) as executor, pytest.raises(ConflictError) as refused:
        executor.run(StepName.SCHEMA)
    assert refused.value.code == "DST-OTHERTASK"
    assert rows(plan, target_cluster) == (2,)
    assert [item.kind for item in ports.ledger.items(Side.TARGET) if item.kind in (Kind.TABLE, Kind.ADOPTED)] == []


def test_a_run_takes_nothing_over_where_a_task_of_another_console_is(plan: Plan, target_cluster: Cluster) -> None:
    marked(plan, target_cluster)
    ports = ports_beside(plan, Others())
    with Executor(choose(plan, "recreate"), ports) as executor, pytest.raises(ConflictError) as refused:
        executor.run(StepName.SCHEMA)
    assert refused.value.code == "DST-OTHERTASK"
    assert rows(plan, target_cluster) == (2,)


@pytest.mark.parametrize("policy", ["truncate", "recreate"])
def test_the_tables_of_ended_tasks_and_of_others_in_the_database_hinder_no_run(
    policy: str, plan: Plan, target_cluster: Cluster
) -> None:
    marked(plan, target_cluster)
    ports = ports_beside(plan, first(plan, "other"))
    with Executor(choose(plan, policy), ports) as executor:
        assert executor.run(StepName.SCHEMA).done
    assert rows(plan, target_cluster) == (0,)


def test_two_tasks_that_take_over_at_the_same_time_do_so_one_after_the_other(
    plan: Plan, target_cluster: Cluster
) -> None:
    ports, ended = ports_beside(plan, Others()), []

    def second() -> None:
        try:
            with Executor(choose(plan, "truncate"), ports) as executor:
                executor.run(StepName.SCHEMA)
        except ConflictError as error:
            ended.append(error.code)

    waits = "SELECT count(*) FROM pg_stat_activity WHERE datname = %s AND query LIKE '%%pg_try_advisory_xact_lock%%'"
    name = plan.databases[0].target_name
    with target_cluster.connect() as onlooker, target_cluster.connect(name) as holder:
        with holder.transaction():
            holder.execute("SELECT pg_advisory_xact_lock(%s)", (bookmark.LOCK,))
            thread = threading.Thread(target=second)
            thread.start()
            wait_until(lambda: onlooker.execute(waits, (name,)).fetchone() == (1,), 60, "the second one waits")
            cast(FakeLedger, ports.ledger).of_others = first(plan, "t")
        thread.join(60)
    assert ended == ["DST-OTHERTASK"]
    assert rows(plan, target_cluster) == (2,)


def test_clearing_what_an_earlier_run_made_leaves_what_another_task_has_made_anew(
    plan: Plan, target_cluster: Cluster
) -> None:
    ports = ports_beside(plan, first(plan, "t"))
    database = plan.databases[0].target_name
    with target_cluster.connect(database) as connection:
        connection.execute("CREATE TABLE mine (id int)")
    made = [
        LedgerItem(
            side=Side.TARGET,
            database=database,
            kind=Kind.TABLE,
            schema="public",
            name=name,
            detail={"type": "TABLE", "drop": f"DROP TABLE public.{name}", "catalog": 1259, "tag": name},
        )
        for name in ("t", "mine")
    ]
    ports.ledger.intend(*made)
    with Executor(plan, ports) as executor:
        assert [item.name for item in executor.clear_target()] == ["t"]
    assert rows(plan, target_cluster) == (2,)


@pytest.mark.parametrize("at_work", [True, False])
def test_a_clean_up_that_is_tried_again_gives_no_trigger_back_to_a_table_that_another_task_has(
    at_work: bool, plan: Plan, target_cluster: Cluster
) -> None:
    ports = ports_beside(plan, first(plan, "t") if at_work else Others())
    target = plan.databases[0].target_name
    detail = {"what": "trigger", "table": "t", "name": "g", "was": "A"}
    trigger = LedgerItem(
        side=Side.TARGET, database=target, kind=Kind.TRIGGER_STATE, schema="public", name="t.g", detail=detail
    )
    ports.ledger.intend(trigger)
    with target_cluster.connect(target) as connection:
        connection.execute(
            "CREATE TRIGGER g BEFORE UPDATE ON t FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger();"
            " ALTER TABLE t DISABLE TRIGGER g"
        )
        with running(plan, ports) as run:
            left = clean_up(run, keep_target_objects=True)
        state = connection.execute("SELECT tgenabled::text FROM pg_trigger WHERE tgname = 'g'").fetchone()
    assert (left, state) == (([trigger], ("D",)) if at_work else ([], ("A",)))
    told = " ".join(text for _, _, text in cast(FakeStore, ports.store).events)
    assert ("another migration has this table now" in told) == at_work
