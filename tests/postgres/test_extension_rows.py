"""Rows that users keep in the tables of an extension arrive; those that came with the extension stay the target's."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import pytest

from migrations_app.demo.clusters import Cluster
from migrations_app.engine import checks
from migrations_app.engine.executor import Executor
from migrations_app.engine.plan import Plan
from migrations_app.engine.states import StepName, steps_for
from tests.fakes import FakeControl, FakeStore, fake_ports
from tests.postgres.compare_kit import plan_for, run_steps, server

HAND_MADE = """
CREATE EXTENSION vector;
CREATE TABLE systems (id int PRIMARY KEY, words text, builtin boolean); CREATE SEQUENCE counted;
ALTER EXTENSION vector ADD TABLE systems; ALTER EXTENSION vector ADD SEQUENCE counted;
UPDATE pg_extension SET extconfig = ARRAY['systems'::regclass::oid, 'counted'::regclass::oid],
  extcondition = ARRAY['WHERE NOT builtin', ''] WHERE extname = 'vector';
"""


@pytest.fixture
def plan(source_cluster: Cluster, target_cluster: Cluster, source_db: str, target_db: str, tmp_path: Any) -> Plan:
    with source_cluster.connect(source_db) as source, target_cluster.connect(target_db) as target:
        source.execute(HAND_MADE.encode())
        source.execute(
            "INSERT INTO systems VALUES (1, 'of 16', true), (50, 'mine', false); SELECT setval('counted', 9)"
        )
        target.execute(HAND_MADE.encode())
        target.execute("INSERT INTO systems VALUES (1, 'of 18', true), (60, 'left over', false)")
    return plan_for(server(source_cluster), server(target_cluster), source_db, target_db, work_dir=tmp_path)


@pytest.mark.parametrize("incremental", [False, True])
def test_the_users_rows_arrive_and_those_of_the_extension_stay(
    plan: Plan, target_cluster: Cluster, incremental: bool
) -> None:
    ports = fake_ports()
    cast(FakeControl, ports.control).complete = True
    with Executor(replace(plan, incremental=incremental), ports) as executor:
        for step in steps_for(incremental=incremental):
            if step is not StepName.CHECK:
                assert executor.run(step).done
    with target_cluster.connect(plan.databases[0].target_name) as connection:
        rows = connection.execute("SELECT id, words FROM systems ORDER BY 1").fetchall()
        assert rows == [(1, "of 18"), (50, "mine")]
        assert connection.execute("SELECT last_value FROM counted").fetchone() == (9,)
    assert "EXTENSION-ROWS" not in {code for _, code, _ in cast(FakeStore, ports.store).events}


def test_comments_that_somebody_gave_extensions_arrive_and_those_of_the_target_stay(
    source_cluster: Cluster, target_cluster: Cluster, source_db: str, target_db: str, tmp_path: Any
) -> None:
    text = "CREATE EXTENSION vector; COMMENT ON EXTENSION plpgsql IS 'ours'"
    with source_cluster.connect(source_db) as source, target_cluster.connect(target_db) as target:
        source.execute(f"{text}; COMMENT ON EXTENSION vector IS E'it''s \\\\ mine'".encode())
        target.execute(b"COMMENT ON EXTENSION plpgsql IS 'theirs'")
    plan = plan_for(server(source_cluster), server(target_cluster), source_db, target_db, work_dir=tmp_path)
    store = run_steps(plan, fake_ports())
    with target_cluster.connect(target_db) as target:
        asked = "SELECT obj_description(oid, 'pg_extension') FROM pg_extension ORDER BY extname"
        assert target.execute(asked.encode()).fetchall() == [("theirs",), ("it's \\ mine",)]
    assert [(note.title, note.statement) for notes in store.notes.values() for note in notes] == [
        ("extension plpgsql", "COMMENT ON EXTENSION \"plpgsql\" IS 'ours';")
    ]


def test_a_vendors_own_extension_does_not_hold_the_task_up(plan: Plan, source_cluster: Cluster) -> None:
    with source_cluster.connect(plan.databases[0].source_name) as connection:
        connection.execute("UPDATE pg_extension SET extname = 'pgaadauth' WHERE extname = 'vector'")
        try:
            only = frozenset({"extensions"})
            (result,) = checks.run_checks(plan, FakeControl(), report=lambda result: None, only=only)
        finally:
            connection.execute("UPDATE pg_extension SET extname = 'vector' WHERE extname = 'pgaadauth'")
    assert result.status is checks.CheckStatus.WARNING
    assert "left out, and noted" in result.hint
