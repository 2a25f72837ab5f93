"""Triggers of tables that were on the target before keep silent while rows come in, and are put back exactly."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import psycopg
import pytest

from migrations_app.demo.clusters import Cluster
from migrations_app.engine.errors import ConflictError, TargetError
from migrations_app.engine.executor import Executor
from migrations_app.engine.plan import Plan
from migrations_app.engine.ports import Kind, Ports
from migrations_app.engine.states import StepName, steps_for
from tests import tidy
from tests.fakes import FakeControl, FakeStore, fake_ports
from tests.postgres import engine_runs
from tests.postgres.compare_kit import plan_for, server

TABLES = """
CREATE TABLE t (id int PRIMARY KEY, v text);
CREATE TABLE part (id int NOT NULL, d date NOT NULL) PARTITION BY RANGE (d);
"""
LEAF = "CREATE TABLE part_1 PARTITION OF part FOR VALUES FROM ('2020-01-01') TO ('2021-01-01');"
ROWS = """
INSERT INTO t SELECT i, 'v' || i FROM generate_series(1, 20) i;
INSERT INTO part SELECT i, '2020-03-01'::date + i FROM generate_series(1, 20) i;
"""
LOUD = """
CREATE TABLE log (what text);
CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS
  $$ BEGIN INSERT INTO public.log VALUES (TG_NAME || ' ' || TG_OP); RETURN coalesce(NEW, OLD); END $$;
CREATE TRIGGER always BEFORE INSERT OR DELETE ON t FOR EACH ROW EXECUTE FUNCTION note();
CREATE TRIGGER emptied AFTER TRUNCATE ON t FOR EACH STATEMENT EXECUTE FUNCTION note();
CREATE TRIGGER replica AFTER INSERT ON t FOR EACH ROW EXECUTE FUNCTION note();
CREATE TRIGGER ordinary AFTER INSERT OR TRUNCATE ON t FOR EACH STATEMENT EXECUTE FUNCTION note();
CREATE TRIGGER off BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION note();
CREATE TRIGGER of_root AFTER INSERT ON part FOR EACH ROW EXECUTE FUNCTION note();
CREATE RULE hold AS ON DELETE TO t DO INSTEAD NOTHING;
ALTER TABLE t ENABLE ALWAYS TRIGGER always, ENABLE ALWAYS TRIGGER emptied, ENABLE REPLICA TRIGGER replica,
  DISABLE TRIGGER off, ENABLE ALWAYS RULE hold;
ALTER TABLE part ENABLE ALWAYS TRIGGER of_root;
"""
STATES = """
SELECT tgrelid::regclass::text, tgname::text, tgenabled::text FROM pg_trigger
 WHERE NOT tgisinternal AND tgrelid IN ('t'::regclass, 'part'::regclass)
UNION ALL SELECT ev_class::regclass::text, rulename::text, ev_enabled::text FROM pg_rewrite WHERE rulename = 'hold'
 ORDER BY 1, 2
"""
BEFORE = [
    ("part", "of_root", "A"),
    ("t", "always", "A"),
    ("t", "emptied", "A"),
    ("t", "hold", "A"),
    ("t", "off", "D"),
    ("t", "ordinary", "O"),
    ("t", "replica", "R"),
]


@pytest.fixture
def plan(source_cluster: Cluster, target_cluster: Cluster, source_db: str, target_db: str, tmp_path: Path) -> Plan:
    with source_cluster.connect(source_db) as connection:
        connection.execute((TABLES + LEAF + "ALTER TABLE part_1 REPLICA IDENTITY FULL;" + ROWS).encode())
    with target_cluster.connect(target_db) as connection:
        connection.execute((TABLES + LOUD).encode())
    plan = plan_for(server(source_cluster), server(target_cluster), source_db, target_db, work_dir=tmp_path)
    return replace(plan, selection=replace(plan.selection, existing="keep"))


@pytest.fixture
def target(target_cluster: Cluster, target_db: str) -> Iterator[psycopg.Connection[Any]]:
    with target_cluster.connect(target_db) as connection:
        yield connection


@pytest.fixture
def owner(target_cluster: Cluster, target_db: str, plan: Plan) -> Iterator[Plan]:
    """An account that owns the tables and may not silence triggers for its sessions."""
    with target_cluster.connect(target_db) as connection:
        connection.execute("CREATE ROLE quiet_owner LOGIN PASSWORD 'quiet'")
        connection.execute(f'GRANT CREATE ON DATABASE "{target_db}" TO quiet_owner'.encode())
        connection.execute("GRANT CREATE ON SCHEMA public TO quiet_owner")
        for name in ("t", "part", "log"):
            connection.execute(f"ALTER TABLE {name} OWNER TO quiet_owner".encode())
    yield replace(plan, target=engine_runs.server(target_cluster, "quiet_owner", "quiet"))
    tidy.drop_role(target_cluster, "quiet_owner", target_db)


def migrate(plan: Plan, ports: Ports, *wanted: StepName) -> FakeStore:
    store = cast(FakeStore, ports.store)
    cast(FakeControl, ports.control).complete = True
    store.targets.update({one.source_name: one.target_name for one in plan.databases})
    with Executor(plan, ports) as executor:
        for step in wanted or [one for one in steps_for(incremental=plan.incremental) if one is not StepName.CHECK]:
            assert executor.run(step).done
    return store


def rows(connection: psycopg.Connection[Any], text: str) -> list[tuple[Any, ...]]:
    return connection.execute(text.encode()).fetchall()


def assert_quiet(target: psycopg.Connection[Any]) -> None:
    assert rows(target, "SELECT what, count(*) FROM log GROUP BY 1 ORDER BY 1") == []
    assert rows(target, STATES) == BEFORE
    assert rows(target, "SELECT (SELECT count(*) FROM t), (SELECT count(*) FROM part)") == [(20, 20)]


@pytest.mark.parametrize("incremental", [False, True])
@pytest.mark.parametrize("policy", ["keep", "truncate"])
def test_triggers_of_tables_that_were_there_do_not_act_on_the_copy(
    plan: Plan, target: psycopg.Connection[Any], policy: str, incremental: bool
) -> None:
    ports = fake_ports()
    if policy == "truncate":
        target.execute("SET session_replication_role = replica; ALTER TABLE t DISABLE TRIGGER ALL")
        target.execute("INSERT INTO t VALUES (99, 'theirs')")
        target.execute("ALTER TABLE t ENABLE ALWAYS TRIGGER always, ENABLE ALWAYS TRIGGER emptied")
        target.execute("ALTER TABLE t ENABLE REPLICA TRIGGER replica, ENABLE TRIGGER ordinary")
    selection = replace(plan.selection, existing=policy)
    migrate(replace(plan, selection=selection, incremental=incremental), ports)
    assert_quiet(target)
    assert ports.ledger.items() == []


@pytest.mark.parametrize("policy", ["keep", "truncate"])
def test_an_account_that_may_not_silence_its_session_silences_the_tables(
    owner: Plan, target: psycopg.Connection[Any], policy: str
) -> None:
    migrate(replace(owner, selection=replace(owner.selection, existing=policy)), fake_ports())
    assert_quiet(target)


def test_triggers_are_put_back_by_a_worker_that_follows_a_dead_one(plan: Plan, target: psycopg.Connection[Any]) -> None:
    ports = fake_ports()
    migrate(plan, ports, StepName.SCHEMA)
    assert ("t", "always", "D") in rows(target, STATES)
    migrate(replace(plan, epoch=2), ports)
    assert_quiet(target)


def test_cancel_puts_triggers_back(plan: Plan, target: psycopg.Connection[Any]) -> None:
    ports = fake_ports()
    migrate(plan, ports, StepName.SCHEMA, StepName.COPY)
    with Executor(plan, ports) as executor:
        executor.cancelled()
    assert_quiet(target)
    assert [item for item in ports.ledger.items() if item.kind is Kind.TRIGGER_STATE] == []


def test_triggers_are_put_back_when_a_table_cannot_be_emptied(plan: Plan, target: psycopg.Connection[Any]) -> None:
    target.execute("CREATE TABLE theirs (t int REFERENCES t)")
    ports = fake_ports()
    chosen = replace(plan, selection=replace(plan.selection, existing="truncate"))
    with Executor(chosen, ports) as executor, pytest.raises(ConflictError):
        executor.run(StepName.SCHEMA)
    assert [item for item in ports.ledger.items() if item.kind is not Kind.FILE] == []
    assert rows(target, STATES) == BEFORE


def test_an_account_that_does_not_own_a_table_with_such_a_trigger_is_refused(
    owner: Plan, target: psycopg.Connection[Any]
) -> None:
    target.execute("ALTER TABLE t OWNER TO postgres; GRANT ALL ON t TO quiet_owner")
    ports = fake_ports()
    with Executor(owner, ports) as executor, pytest.raises(TargetError, match="must be owner of table t") as caught:
        executor.run(StepName.SCHEMA)
    assert caught.value.code == "DST-PRIVILEGE"
    assert [item for item in ports.ledger.items() if item.kind is Kind.TRIGGER_STATE] == []


def test_tables_that_are_copied_again_in_a_full_copy_keep_their_triggers_silent(
    plan: Plan, source_cluster: Cluster, target: psycopg.Connection[Any]
) -> None:
    with source_cluster.connect(plan.databases[0].source_name) as source:
        source.execute(("CREATE TABLE mine (id int PRIMARY KEY); INSERT INTO mine VALUES (1);" + LOUD).encode())
    target.execute("DROP TABLE log CASCADE; DROP FUNCTION note CASCADE; DROP TABLE t, part")
    with source_cluster.connect(plan.databases[0].source_name) as source:
        source.execute("CREATE TRIGGER mine AFTER INSERT ON mine FOR EACH ROW EXECUTE FUNCTION note()")
        source.execute("ALTER TABLE mine ENABLE ALWAYS TRIGGER mine")
    ports = fake_ports()
    store = migrate(plan, ports, StepName.SCHEMA, StepName.COPY, StepName.INDEX)
    store.asked_again[plan.databases[0].source_name] = [("public", "mine")]
    migrate(plan, ports, StepName.COMPARE, StepName.COMPLETE, StepName.CLEANUP)
    assert rows(target, "SELECT what FROM log") == []
    assert rows(target, "SELECT tgenabled::text FROM pg_trigger WHERE tgname = 'mine'") == [("A",)]
