"""Views and functions that need the key of a table are made after the rows: with their owners, and as ours."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from migrations_app.demo.clusters import Cluster
from migrations_app.engine.errors import ConflictError
from migrations_app.engine.plan import Plan
from migrations_app.engine.ports import Ports
from migrations_app.engine.states import StepName
from migrations_app.engine.target_objects import drop_made
from tests.fakes import FakeControl, fake_ports
from tests.postgres.compare_kit import plan_for, run_steps, running, server
from tests.postgres.test_torture import by_pg_dump, told

KEYED = """
CREATE TABLE t (id int PRIMARY KEY, name text); INSERT INTO t SELECT i, 'n' || i FROM generate_series(1, 9) i;
GRANT SELECT ON t TO keyed_owner;
CREATE MATERIALIZED VIEW m AS SELECT id, name, count(*) AS n FROM t GROUP BY id; CREATE INDEX m_i ON m (n);
CREATE MATERIALIZED VIEW m_2 AS SELECT sum(n) AS s FROM m; CREATE VIEW v AS SELECT * FROM m_2;
CREATE FUNCTION f() RETURNS SETOF text LANGUAGE sql BEGIN ATOMIC SELECT name FROM public.t GROUP BY id; END;
CREATE PROCEDURE p(i int) LANGUAGE sql
  BEGIN ATOMIC INSERT INTO public.t VALUES (i) ON CONFLICT ON CONSTRAINT t_pkey DO NOTHING; END;
ALTER MATERIALIZED VIEW m OWNER TO keyed_owner; ALTER MATERIALIZED VIEW m_2 OWNER TO keyed_owner;
ALTER FUNCTION f() OWNER TO keyed_owner; ALTER PROCEDURE p(int) OWNER TO keyed_owner; ALTER VIEW v OWNER TO keyed_owner;
"""


@pytest.fixture
def plan(
    source_cluster: Cluster, target_cluster: Cluster, source_db: str, target_db: str, tmp_path: Path
) -> Iterator[Plan]:
    with _role(source_cluster, source_db), _role(target_cluster, target_db):
        with source_cluster.connect(source_db) as connection:
            connection.execute(KEYED.encode())
        yield plan_for(server(source_cluster), server(target_cluster), source_db, target_db, work_dir=tmp_path)


@contextlib.contextmanager
def _role(cluster: Cluster, database: str) -> Iterator[None]:
    with cluster.connect() as connection:
        connection.execute("CREATE ROLE keyed_owner")
    try:
        yield
    finally:
        with cluster.connect(database) as connection:
            connection.execute("DROP OWNED BY keyed_owner CASCADE; DROP ROLE keyed_owner")


def there(cluster: Cluster, plan: Plan, text: str) -> list[Any]:
    with cluster.connect(plan.databases[0].target_name) as connection:
        cursor = connection.execute(text.encode())
        return cursor.fetchall() if cursor.description else []


@pytest.mark.parametrize("incremental", [False, True])
def test_they_belong_to_their_owners(
    plan: Plan, source_cluster: Cluster, target_cluster: Cluster, incremental: bool
) -> None:
    store = run_steps(replace(plan, incremental=incremental), fake_ports())
    assert told(store) == []
    assert by_pg_dump(source_cluster, target_cluster, plan) == []
    assert there(target_cluster, plan, "SELECT s FROM v") == [(9,)]


def test_a_start_again_removes_them_too(plan: Plan, target_cluster: Cluster) -> None:
    ports = fake_ports()
    run_steps(plan, ports, StepName.SCHEMA, StepName.COPY, StepName.INDEX)
    assert there(target_cluster, plan, "SELECT s FROM v") == [(9,)]
    with running(replace(plan, epoch=2), Ports(control=FakeControl(), ledger=ports.ledger, store=ports.store)) as run:
        assert drop_made(run, plan.databases[0].target_name) == []
    assert there(target_cluster, plan, "SELECT relname FROM pg_class WHERE relname IN ('m', 'm_2', 't')") == []
    assert there(target_cluster, plan, "SELECT proname FROM pg_proc WHERE proname IN ('f', 'p')") == []


def test_one_of_the_same_name_is_in_the_way(plan: Plan, target_cluster: Cluster) -> None:
    there(target_cluster, plan, "CREATE MATERIALIZED VIEW m AS SELECT 1 AS id")
    with pytest.raises(ConflictError, match=r"MATERIALIZED VIEW public\.m"):
        run_steps(plan, fake_ports(), StepName.SCHEMA)


def test_what_was_there_is_made_anew_where_that_was_chosen(
    plan: Plan, source_cluster: Cluster, target_cluster: Cluster
) -> None:
    there(target_cluster, plan, KEYED)
    there(target_cluster, plan, "CREATE INDEX only_there ON m (id)")
    store = run_steps(replace(plan, selection=replace(plan.selection, existing="recreate")), fake_ports())
    assert told(store) == []
    assert by_pg_dump(source_cluster, target_cluster, plan) == []


def test_what_was_there_and_is_kept_stays_as_it_is(plan: Plan, target_cluster: Cluster) -> None:
    there(target_cluster, plan, "CREATE FUNCTION f() RETURNS SETOF text LANGUAGE sql AS 'SELECT ''theirs''::text'")
    ports = fake_ports()
    run_steps(replace(plan, selection=replace(plan.selection, existing="keep")), ports)
    assert there(target_cluster, plan, "SELECT f(), proowner::regrole::text FROM pg_proc WHERE proname = 'f'") == [
        ("theirs", "postgres")
    ]


def test_a_user_mapping_has_no_owner_of_its_own(plan: Plan, source_cluster: Cluster, target_cluster: Cluster) -> None:
    with source_cluster.connect(plan.databases[0].source_name) as connection:
        connection.execute(
            "CREATE FOREIGN DATA WRAPPER nowhere; GRANT USAGE ON FOREIGN DATA WRAPPER nowhere TO keyed_owner;"
            "CREATE SERVER theirs FOREIGN DATA WRAPPER nowhere; ALTER SERVER theirs OWNER TO keyed_owner;"
            "CREATE USER MAPPING FOR PUBLIC SERVER theirs OPTIONS (user 'x')"
        )
    store = run_steps(plan, fake_ports())
    assert "SCHEMA-OWNER" not in {code for _, code, _ in store.events}
    assert told(store) == []
    assert by_pg_dump(source_cluster, target_cluster, plan) == []
