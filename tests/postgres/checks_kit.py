"""Plans and short ways to run single check items on real servers."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from migrations_app.demo.clusters import Cluster
from migrations_app.engine.checks import CheckResult, run_checks
from migrations_app.engine.plan import DatabasePlan, Plan, Server
from migrations_app.engine.selection import Selection
from tests.fakes import FakeControl

Connection = psycopg.Connection[tuple[Any, ...]]


def login(cluster: Cluster, **more: Any) -> Server:
    """Return the address of a cluster, as its superuser unless told otherwise."""
    values: dict[str, Any] = {
        "host": "127.0.0.1",
        "port": cluster.port,
        "user": "postgres",
        "password": cluster.password,
    }
    return Server(**{**values, **more})


def plan(
    source: Server,
    target: Server,
    databases: Iterable[tuple[str, str]],
    *,
    incremental: bool = True,
    selection: Selection | None = None,
) -> Plan:
    """Return a plan that migrates whole databases unless a selection is given."""
    pairs = tuple(DatabasePlan(source_name=a, target_name=b) for a, b in databases)
    return Plan(
        key="0badcafe",
        epoch=1,
        source=source,
        target=target,
        databases=pairs,
        selection=selection or Selection(rules={(pair.source_name,): True for pair in pairs}),
        incremental=incremental,
        work_dir=Path("/dev/null/none"),
        connect_timeout_seconds=2,
    )


def inflate(cluster: Cluster, connection: Connection, table: str, gigabytes: int) -> None:
    """Give a table a file of this size, which holds nothing and takes no room: the server counts its files."""
    connection.execute("CHECKPOINT")
    row = connection.execute("SELECT pg_relation_filepath(%s::regclass)", (table,)).fetchone()
    first = cluster.data / str(row[0] if row else "")
    owner = first.stat()
    for number in range(gigabytes):
        part = first.with_name(first.name + (f".{number}" if number else ""))
        part.touch(mode=0o600)
        os.truncate(part, 1 << 30)
        os.chown(part, owner.st_uid, owner.st_gid)


def use_up_transactions(cluster: Cluster, count: int) -> None:
    """Let a new cluster's next transaction have this id; `count` must begin a file of pg_xact (1,048,576 ids each)."""
    tool = str(cluster.bin() / "pg_resetwal")
    owner = (cluster.data / "PG_VERSION").stat()
    drop = {"user": owner.st_uid, "group": owner.st_gid, "extra_groups": []} if os.geteuid() == 0 else {}
    command = [tool, f"--next-transaction-id={count}", str(cluster.data)]
    subprocess.run(command, check=True, capture_output=True, cwd="/", **drop)  # type: ignore[call-overload]
    status = cluster.data / "pg_xact" / f"{count >> 20:04X}"
    status.write_bytes(bytes(256 << 10))
    os.chown(status, owner.st_uid, owner.st_gid)


def check(plan_: Plan, code: str) -> CheckResult:
    """Run one item and return its result; with several databases the first one's."""
    results = run_checks(plan_, FakeControl(), only=frozenset({code}), report=lambda result: None)
    assert results, f"no item {code}"
    assert {result.code for result in results} == {code}
    for result in results:
        assert result.status == "passed" or result.hint, "what is not passed says how to fix it"
    return results[0]


def check_all(plan_: Plan) -> dict[str, CheckResult]:
    """Run every item and return the results by code."""
    return {result.code: result for result in run_checks(plan_, FakeControl(), report=lambda result: None)}


@pytest.fixture
def task(source_cluster: Cluster, target_cluster: Cluster, source_db: str, target_db: str) -> Plan:
    """Everything of the source's database into the target's, with a sync."""
    return plan(login(source_cluster), login(target_cluster), [(source_db, target_db)])


@pytest.fixture
def shop(source_cluster: Cluster, source_db: str) -> Iterator[Connection]:
    """A session in the database of the source."""
    with source_cluster.connect(source_db) as connection:
        yield connection


@pytest.fixture
def there(target_cluster: Cluster, target_db: str) -> Iterator[Connection]:
    """A session in the database of the target."""
    with target_cluster.connect(target_db) as connection:
        yield connection
