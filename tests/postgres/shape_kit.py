"""What tests of the check items about tables share: a task, and a session on each of its databases."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import psycopg
import pytest

from migrations_app.demo.clusters import Cluster
from migrations_app.engine.plan import Plan
from tests.postgres.checks_kit import login, plan

Connection = psycopg.Connection[tuple[object, ...]]


@pytest.fixture
def task(source_cluster: Cluster, target_cluster: Cluster, source_db: str, target_db: str) -> Plan:
    source, target = login(source_cluster, database=source_db), login(target_cluster, database=target_db)
    return plan(source, target, [(source_db, target_db)])


@pytest.fixture
def shop(source_cluster: Cluster, source_db: str) -> Iterator[Connection]:
    with source_cluster.connect(source_db) as connection:
        connection.execute("SET allow_system_table_mods = on")
        yield connection


@pytest.fixture
def there(target_cluster: Cluster, target_db: str) -> Iterator[Connection]:
    with target_cluster.connect(target_db) as connection:
        yield connection


@pytest.fixture
def writer(there: Connection, task: Plan) -> Iterator[Plan]:
    """The task with an ordinary target account."""
    there.execute("CREATE ROLE shape_writer LOGIN PASSWORD 'x'")
    yield replace(task, target=replace(task.target, user="shape_writer", password="x"))
    there.execute("DROP ROLE shape_writer")
