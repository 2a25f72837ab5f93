"""Only superusers give LEAKPROOF: a target account that is none makes the function without it, wherever it comes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from migrations_app.demo.clusters import Cluster
from migrations_app.engine.executor import Executor
from migrations_app.engine.plan import Plan, Side
from migrations_app.engine.ports import Ports
from migrations_app.engine.restore import Manner, run_one
from tests.entries import entry
from tests.postgres import adding_kit
from tests.postgres.adding_kit import add, at, begin, complete, look
from tests.postgres.compare_kit import plain_account, plan_for, running, server

ports = adding_kit.ports  # a fixture that stands in the kit
FUNCTION = "CREATE FUNCTION silent(x int) RETURNS int LANGUAGE sql IMMUTABLE LEAKPROOF AS 'SELECT $1 + 1'"
NEW = "CREATE TABLE new (id int PRIMARY KEY, x int DEFAULT silent(1), y int GENERATED ALWAYS AS (silent(id)) STORED)"


@pytest.fixture
def plan(
    source_cluster: Cluster, target_cluster: Cluster, source_db: str, target_db: str, tmp_path: Path
) -> Iterator[Plan]:
    """Into a target whose account owns the database, and is no superuser."""
    at(source_cluster, source_db, "CREATE TABLE old (id int PRIMARY KEY)")
    with plain_account(target_cluster, target_db) as limited:
        at(target_cluster, target_db, f"GRANT SET ON PARAMETER session_replication_role TO {limited.user}")
        yield plan_for(server(source_cluster), limited, source_db, target_db, incremental=True, work_dir=tmp_path)
        at(target_cluster, target_db, f"REVOKE SET ON PARAMETER session_replication_role FROM {limited.user}")


def test_a_table_that_is_added_comes_with_its_leakproof_function(
    plan: Plan, ports: Ports, source_cluster: Cluster, target_cluster: Cluster
) -> None:
    begin(plan, ports)
    (database,) = plan.databases
    at(source_cluster, database.source_name, FUNCTION, NEW, "INSERT INTO new VALUES (1), (2)")
    assert sorted(look(plan, ports)) == [("public", "new")]
    store = add(plan, ports)
    with Executor(plan, ports) as executor:
        assert executor.recopy().done
    assert store.additions(database.source_name) == []
    with target_cluster.connect(database.target_name) as connection:
        found = connection.execute("SELECT proleakproof FROM pg_proc WHERE proname = 'silent'").fetchall()
        assert found == [(False,)]
        at(target_cluster, database.target_name, "ALTER FUNCTION silent LEAKPROOF")
    complete(plan, ports, source_cluster, target_cluster)


def test_a_definition_may_need_both_the_usual_search_path_and_to_be_without_leakproof(
    plan: Plan, target_cluster: Cluster
) -> None:
    (database,) = plan.databases
    at(target_cluster, database.target_name, "CREATE TYPE mood AS ENUM ('sad')", "GRANT USAGE ON TYPE mood TO PUBLIC")
    text = FUNCTION.replace("silent(x int)", "public.silent(x mood)").replace("$1 + 1", "1")
    with running(plan) as run, run.sessions.session(Side.TARGET, database.target_name) as connection:
        path = connection.execute("SHOW search_path").fetchone()
        failure = run_one(run, connection, entry(text.encode() + b";", kind="FUNCTION"), Manner())
        assert failure is None
        assert connection.execute("SHOW search_path").fetchone() == path
        row = connection.execute("SELECT proleakproof FROM pg_catalog.pg_proc WHERE proname = 'silent'").fetchone()
        assert row == (False,)


def test_a_definition_that_nothing_helps_is_refused_with_the_first_words(plan: Plan) -> None:
    (database,) = plan.databases
    text = FUNCTION.replace("silent(x int)", "public.silent(x nowhere)").encode() + b";"
    with running(plan) as run, run.sessions.session(Side.TARGET, database.target_name) as connection:
        failure = run_one(run, connection, entry(text, kind="FUNCTION"), Manner())
        assert failure is not None
        assert "only superuser can define a leakproof function" in failure.words
