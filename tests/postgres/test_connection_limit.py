"""A database that the task made gets the connection limit of the source's at the end, from a superuser."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from migrations_app.demo.clusters import Cluster
from migrations_app.engine.plan import Plan
from migrations_app.engine.ports import Ports
from migrations_app.engine.states import StepName
from tests.fakes import FakeStore, fake_ports
from tests.postgres.compare_kit import plan_for, run_steps, server

BEFORE = (StepName.SCHEMA, StepName.COPY, StepName.INDEX, StepName.COMPARE)
ENDS = (StepName.COMPLETE, StepName.CLEANUP)


@pytest.fixture
def plan(source_cluster: Cluster, target_cluster: Cluster, source_db: str, tmp_path: Path) -> Iterator[Plan]:
    """A task that makes its database, with an account that is no superuser."""
    account = f"plain_{source_db}"
    with source_cluster.connect(source_db) as source:
        source.execute("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1)")
    with target_cluster.connect() as boss:
        boss.execute(f"CREATE ROLE {account} LOGIN CREATEDB PASSWORD 'given'".encode())
        try:
            there = replace(server(target_cluster), user=account, password="given")
            yield plan_for(server(source_cluster), there, source_db, f"{source_db}_there", work_dir=tmp_path)
        finally:
            boss.execute(f"DROP DATABASE IF EXISTS {source_db}_there WITH (FORCE)".encode())
            boss.execute(f"DROP ROLE {account}".encode())


def limit(cluster: Cluster, name: str, number: int | None = None) -> object:
    with cluster.connect() as connection:
        if number is not None:
            connection.execute(f"ALTER DATABASE {name} CONNECTION LIMIT {number}".encode())
        row = connection.execute("SELECT datconnlimit FROM pg_database WHERE datname = %s", (name,)).fetchone()
    return row[0] if row else None


def until_complete(plan: Plan) -> tuple[Ports, FakeStore]:
    ports = fake_ports()
    return ports, run_steps(plan, ports, *BEFORE)


def about_limit(store: FakeStore) -> list[str]:
    told = [note.what for notes in store.notes.values() for note in notes if note.what.startswith("connection limit")]
    return [*told, *(text for _, code, text in store.events if code == "DATABASE-SETTINGS")]


def test_a_superuser_sets_it_when_everything_else_is_done(
    plan: Plan, source_cluster: Cluster, target_cluster: Cluster, source_db: str
) -> None:
    limit(source_cluster, source_db, 50)
    plan = replace(plan, target=server(target_cluster))
    ports, store = until_complete(plan)
    assert (limit(target_cluster, f"{source_db}_there"), about_limit(store)) == (-1, [])
    run_steps(plan, ports, *ENDS)
    assert (limit(target_cluster, f"{source_db}_there"), about_limit(store)) == (50, [])


def test_another_account_whose_sessions_it_would_bind_is_told_the_statement(
    plan: Plan, source_cluster: Cluster, target_cluster: Cluster, source_db: str
) -> None:
    limit(source_cluster, source_db, 0)
    ports, store = until_complete(plan)
    run_steps(plan, ports, *ENDS)
    assert limit(target_cluster, f"{source_db}_there") == -1
    statement = f'ALTER DATABASE "{source_db}_there" CONNECTION LIMIT 0;'
    assert about_limit(store) == [
        "connection limit: 0 on the source, none on the target",
        f"1 setting of database {source_db}_there could not be restored: {statement} "
        "(sessions of the task itself could be refused).",
    ]
    assert statement in [note.statement for note in store.notes[source_db]]
