"""What the comparison of structures asks for, and what it leaves alone: by selection, by step, by what is ours."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from migrations_app.demo.clusters import Cluster
from migrations_app.engine.plan import Plan, Side
from migrations_app.engine.ports import Kind, LedgerItem
from migrations_app.engine.selection import Selection
from migrations_app.engine.truncate_log import log_name, trigger_sql
from tests.fakes import fake_ports
from tests.postgres import structure_kit
from tests.postgres.compare_kit import compare_now, structure_now
from tests.postgres.structure_kit import SCRIPT, Look, titles

# Fixtures that stand in the kit.
plan = structure_kit.plan
make = structure_kit.make
look = structure_kit.look


def test_more_objects_on_the_target_are_nobodys_business(look: Look) -> None:
    extra = "CREATE TABLE theirs (a int); CREATE INDEX theirs_2 ON t (amount); SELECT lo_from_bytea(4002, '\\x01')"
    assert look(extra) == []


def test_what_is_not_selected_is_not_asked_for(
    source_cluster: Cluster, target_cluster: Cluster, source_db: str, target_db: str, plan: Plan
) -> None:
    with source_cluster.connect(source_db) as connection:
        connection.execute(SCRIPT.encode())
    with target_cluster.connect(target_db) as connection:
        connection.execute(
            "CREATE TABLE parent (id int PRIMARY KEY); CREATE RULE quiet AS ON DELETE TO parent DO INSTEAD NOTHING"
        )
    selection = Selection(rules={(source_db, "public", "parent"): True}, targets={source_db: target_db})
    chosen = replace(plan, selection=selection)
    comparison = compare_now(chosen)
    assert comparison.equal
    assert [item.name for item in comparison.tables] == ["parent"]
    assert structure_now(chosen) == []


def test_what_the_task_itself_made_on_the_source_is_not_asked_for(
    make: Callable[[str], None], plan: Plan, source_cluster: Cluster, source_db: str
) -> None:
    make("")
    with source_cluster.connect(source_db) as connection:
        log = f"towpath.{log_name(plan.key)}"
        connection.execute("CREATE SCHEMA towpath")
        connection.execute(f"CREATE FUNCTION {log}() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'")
        connection.execute(trigger_sql(plan.key, "public", "t").encode())
    assert structure_now(plan) == []


def test_what_complete_makes_is_not_asked_for_during_the_sync(make: Callable[[str], None], plan: Plan) -> None:
    make("ALTER TABLE t DISABLE ROW LEVEL SECURITY; DROP POLICY p ON t; GRANT SELECT ON t TO PUBLIC")
    syncing = replace(plan, incremental=True)
    assert structure_now(syncing) == []
    assert titles(structure_now(syncing, final=True)) == ["policy p on t", "row security t", "table t"]


def test_what_is_changed_for_the_time_of_the_sync_is_judged_by_what_it_was(
    make: Callable[[str], None], plan: Plan, source_cluster: Cluster
) -> None:
    make("ALTER TABLE t DISABLE TRIGGER before_row")
    source, target = plan.databases[0].source_name, plan.databases[0].target_name
    with source_cluster.connect(source) as connection:
        connection.execute("ALTER TABLE t REPLICA IDENTITY FULL")
    ports = fake_ports()
    detail = {"what": "trigger", "table": "t", "name": "before_row", "was": "O"}
    state = LedgerItem(
        side=Side.TARGET, database=target, kind=Kind.TRIGGER_STATE, schema="public", name="t.before_row", detail=detail
    )
    identity = LedgerItem(
        side=Side.SOURCE, database=source, kind=Kind.REPLICA_IDENTITY, schema="public", name="t", detail={"was": "d"}
    )
    ports.ledger.intend(state, identity)
    assert structure_now(replace(plan, incremental=True), ports) == []
