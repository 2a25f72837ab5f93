"""Tables of an extension that refer to each other, as those of pgAgent do: their rows arrive together."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from migrations_app.demo.clusters import Cluster
from migrations_app.engine.plan import Plan
from tests.fakes import fake_ports
from tests.postgres.compare_kit import plan_for, run_steps, server

FAMILY = """
CREATE EXTENSION vector;
CREATE TABLE jobs (id int PRIMARY KEY, words text);
CREATE TABLE steps (id int PRIMARY KEY, job int NOT NULL REFERENCES jobs ON DELETE {action});
ALTER EXTENSION vector ADD TABLE jobs; ALTER EXTENSION vector ADD TABLE steps;
UPDATE pg_extension SET extconfig = ARRAY['jobs'::regclass::oid, 'steps'::regclass::oid],
  extcondition = ARRAY['', ''] WHERE extname = 'vector';
"""


@pytest.fixture(params=["CASCADE", "NO ACTION"])
def plan(
    request: Any, source_cluster: Cluster, target_cluster: Cluster, source_db: str, target_db: str, tmp_path: Any
) -> Plan:
    text = FAMILY.format(action=request.param).encode()
    with source_cluster.connect(source_db) as source, target_cluster.connect(target_db) as target:
        source.execute(text)
        source.execute(b"INSERT INTO jobs VALUES (1, 'one'), (2, 'two'); INSERT INTO steps VALUES (10, 1), (20, 2)")
        target.execute(text)
    return plan_for(server(source_cluster), server(target_cluster), source_db, target_db, work_dir=tmp_path)


def _rows(target: Cluster, plan: Plan) -> tuple[list[Any], list[Any]]:
    with target.connect(plan.databases[0].target_name) as connection:
        jobs = connection.execute(b"SELECT id, words FROM jobs ORDER BY 1").fetchall()
        return jobs, connection.execute(b"SELECT id, job FROM steps ORDER BY 1").fetchall()


def test_an_account_that_keeps_nothing_quiet_carries_rows_that_cascade_among_themselves(
    plan: Plan, source_cluster: Cluster, target_cluster: Cluster
) -> None:
    (database,), mover = plan.databases, f"mover_{plan.databases[0].target_name}"
    with target_cluster.connect(database.target_name) as target:
        target.execute(
            f"CREATE ROLE {mover} LOGIN PASSWORD 'given'; GRANT ALL ON jobs, steps TO {mover};"
            f"GRANT ALL ON SCHEMA public TO {mover};"
            f"GRANT CREATE ON DATABASE {database.target_name} TO {mover}".encode()
        )
        try:
            plain = replace(plan, target=replace(plan.target, user=mover, password="given"))
            store = run_steps(plain, fake_ports())
            assert _rows(target_cluster, plan) == ([(1, "one"), (2, "two")], [(10, 1), (20, 2)])
            cascading = b"SELECT count(*) FROM pg_constraint WHERE confdeltype = 'c'"
            if target.execute(cascading).fetchone() == (1,):  # what is carried again does not lose its followers
                with source_cluster.connect(database.source_name) as source:
                    source.execute(b"UPDATE jobs SET words = 'new' WHERE id = 2")
                store = run_steps(plain, fake_ports())
                assert _rows(target_cluster, plan) == ([(1, "one"), (2, "new")], [(10, 1), (20, 2)])
        finally:
            target.execute(f"DROP OWNED BY {mover} CASCADE; DROP ROLE {mover}".encode())
    assert "EXTENSION-ROWS" not in {code for _, code, _ in store.events}


def test_such_rows_still_stay_where_a_table_of_the_target_would_follow_them(
    plan: Plan, source_cluster: Cluster, target_cluster: Cluster
) -> None:
    (database,), mover = plan.databases, f"mover_{plan.databases[0].target_name}"
    with target_cluster.connect(database.target_name) as target:
        target.execute(
            f"CREATE ROLE {mover} LOGIN PASSWORD 'given'; GRANT ALL ON jobs, steps TO {mover};"
            "INSERT INTO jobs VALUES (1, 'old'); INSERT INTO steps VALUES (10, 1);"
            "CREATE TABLE theirs (step int REFERENCES steps ON DELETE CASCADE); INSERT INTO theirs VALUES (10)".encode()
        )
        try:
            plain = replace(plan, target=replace(plan.target, user=mover, password="given"))
            store = run_steps(plain, fake_ports())
            assert target.execute(b"SELECT step FROM theirs").fetchall() == [(10,)]
        finally:
            target.execute(f"DROP OWNED BY {mover} CASCADE; DROP ROLE {mover}".encode())
    assert _rows(target_cluster, plan) == ([(1, "old")], [(10, 1)])
    assert "EXTENSION-ROWS" in {code for _, code, _ in store.events}


def test_old_rows_of_a_child_do_not_keep_those_of_its_parent_back(plan: Plan, target_cluster: Cluster) -> None:
    with target_cluster.connect(plan.databases[0].target_name) as target:
        target.execute(b"INSERT INTO jobs VALUES (7, 'old'); INSERT INTO steps VALUES (70, 7)")
    store = run_steps(plan, fake_ports())
    assert _rows(target_cluster, plan) == ([(1, "one"), (2, "two")], [(10, 1), (20, 2)])
    assert "EXTENSION-ROWS" not in {code for _, code, _ in store.events}


def test_a_child_that_could_not_be_carried_is_told_with_its_parent(
    plan: Plan, source_cluster: Cluster, target_cluster: Cluster
) -> None:
    """A check of the target refuses the source's rows of the child: its old one refers to what is gone by then."""
    with target_cluster.connect(plan.databases[0].target_name) as target:
        target.execute(b"INSERT INTO jobs VALUES (7, 'old'); INSERT INTO steps VALUES (70, 7)")
        target.execute(b"ALTER TABLE steps ADD CHECK (id > 50)")
    store = run_steps(plan, fake_ports())
    assert _rows(target_cluster, plan) == ([(1, "one"), (2, "two")], [(70, 7)])
    (told,) = (str(text) for _, code, text in store.events if code == "EXTENSION-ROWS")
    assert "steps of vector: new row for relation" in told
    assert "jobs of vector: rows of the target refer to rows that are not on the source" in told
