"""An event trigger that refuses every statement arrives as it is, and refuses none of ours."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from migrations_app.demo.clusters import Cluster
from migrations_app.engine.plan import Plan
from migrations_app.engine.states import StepName, steps_for
from tests.fakes import fake_ports
from tests.postgres.compare_kit import plan_for, run_steps, server
from tests.postgres.test_torture import by_pg_dump, told

GUARDED = """
CREATE TABLE t (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, v text);
INSERT INTO t (v) SELECT 'v' || i FROM generate_series(1, 20) i; COMMENT ON TABLE t IS 'guarded';
CREATE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
CREATE TRIGGER always BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION nothing();
ALTER TABLE t ENABLE ALWAYS TRIGGER always;
CREATE MATERIALIZED VIEW m AS SELECT count(*) AS n FROM t; CREATE UNLOGGED TABLE u (id int); INSERT INTO u VALUES (1);
CREATE FUNCTION refuse() RETURNS event_trigger LANGUAGE plpgsql AS
$$ BEGIN
  IF current_setting('server_version_num')::int >= 170000 THEN RAISE EXCEPTION 'no % here', tg_tag; END IF;
END $$;
CREATE EVENT TRIGGER guard ON ddl_command_start EXECUTE FUNCTION refuse();
CREATE EVENT TRIGGER always_guard ON ddl_command_start EXECUTE FUNCTION refuse();
ALTER EVENT TRIGGER always_guard ENABLE ALWAYS; CREATE EVENT TRIGGER off ON sql_drop EXECUTE FUNCTION refuse();
ALTER EVENT TRIGGER off DISABLE; COMMENT ON EVENT TRIGGER guard IS 'watches';
"""


@pytest.fixture
def plan(source_cluster: Cluster, target_cluster: Cluster, source_db: str, target_db: str, tmp_path: Path) -> Plan:
    with source_cluster.connect(source_db) as connection:
        connection.execute(GUARDED.encode())
    return plan_for(server(source_cluster), server(target_cluster), source_db, target_db, work_dir=tmp_path)


def events_of(cluster: Cluster, plan: Plan) -> list[tuple[Any, ...]]:
    with cluster.connect(plan.databases[0].target_name) as connection:
        return connection.execute("SELECT evtname, evtenabled FROM pg_event_trigger ORDER BY 1").fetchall()


@pytest.mark.parametrize("incremental", [False, True])
def test_it_comes_last_and_hinders_nothing(
    plan: Plan, source_cluster: Cluster, target_cluster: Cluster, incremental: bool
) -> None:
    plan, ports = replace(plan, incremental=incremental), fake_ports()
    steps = [step for step in steps_for(incremental=incremental) if step is not StepName.CHECK]
    early = steps.index(StepName.COMPLETE)
    run_steps(plan, ports, *steps[:early])
    assert events_of(target_cluster, plan) == []
    store = run_steps(replace(plan, epoch=2), ports, *steps[early:])
    assert told(store) == []
    assert ports.ledger.items() == []
    assert by_pg_dump(source_cluster, target_cluster, plan) == []
    assert {"STRUCTURE-NOTES", "SCHEMA-REFUSED", "MATVIEW-EMPTY"}.isdisjoint(code for _, code, _ in store.events)


def test_a_complete_that_is_repeated_is_not_hindered_by_it(
    plan: Plan, source_cluster: Cluster, target_cluster: Cluster
) -> None:
    plan, ports = replace(plan, incremental=True), fake_ports()
    steps = [step for step in steps_for(incremental=True) if step is not StepName.CHECK]
    run_steps(plan, ports, *steps[: steps.index(StepName.CLEANUP)])
    assert events_of(target_cluster, plan) == [("always_guard", "A"), ("guard", "O"), ("off", "D")]
    store = run_steps(replace(plan, epoch=2), ports, StepName.COMPLETE, StepName.CLEANUP)
    assert told(store) == []
    assert ports.ledger.items() == []
    assert by_pg_dump(source_cluster, target_cluster, plan) == []
    assert {"STRUCTURE-NOTES", "SCHEMA-REFUSED", "MATVIEW-EMPTY"}.isdisjoint(code for _, code, _ in store.events)
