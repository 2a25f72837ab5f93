"""To take over many tables that stand on the target costs no reading of what is noted for each of them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from migrations_app.demo.clusters import Cluster
from migrations_app.engine.archive import open_archive
from migrations_app.engine.indexes import build_missing
from migrations_app.engine.occupied import use_as_it_is
from migrations_app.engine.plan import Plan, Side
from migrations_app.engine.ports import Ports
from migrations_app.engine.steps import schema
from tests.entries import entry
from tests.fakes import fake_ports
from tests.postgres.compare_kit import plan_for, running, server
from tests.postgres.occupied_kit import choose

NAMES = [f"t{number}" for number in range(12)]


@pytest.fixture
def plan(source_cluster: Cluster, target_cluster: Cluster, source_db: str, target_db: str, tmp_path: Path) -> Plan:
    with target_cluster.connect(target_db) as connection:
        connection.execute("; ".join(f"CREATE TABLE {name} (id int)" for name in NAMES).encode())
    made = plan_for(server(source_cluster), server(target_cluster), source_db, target_db, work_dir=tmp_path)
    return choose(made, "keep")


@contextlib.contextmanager
def counted(ports: Ports, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """Yield what is asked of the ledger from here on."""
    asked: list[Any] = []
    real = ports.ledger.items

    def items(*which: Any, **more: Any) -> Any:
        asked.append(which)
        return real(*which, **more)

    with monkeypatch.context() as patched:
        patched.setattr(ports.ledger, "items", items)
        yield asked


def readings(plan: Plan, names: list[str], monkeypatch: pytest.MonkeyPatch) -> int:
    """Take these tables over, and return how often the ledger was read."""
    ports, (database,) = fake_ports(), plan.databases
    with (
        counted(ports, monkeypatch) as asked,
        running(plan, ports) as run,
        run.sessions.session(Side.TARGET, database.target_name) as connection,
    ):
        use_as_it_is(run, database, connection, [entry(tag=name) for name in names])
    assert len(ports.ledger.items()) == len(names)
    return len(asked)


def test_the_ledger_is_read_as_often_for_twelve_tables_as_for_two(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    assert readings(plan, NAMES, monkeypatch) == readings(plan, NAMES[:2], monkeypatch)


def test_indexes_that_are_other_than_on_the_source_stay_without_a_reading_for_each(
    plan: Plan, source_cluster: Cluster, target_cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    (database,) = plan.databases
    for cluster, name, kind in (
        (source_cluster, database.source_name, "btree"),
        (target_cluster, database.target_name, "hash"),
    ):
        with cluster.connect(name) as connection:
            for table in NAMES:
                connection.execute(f"CREATE TABLE IF NOT EXISTS {table} (id int)".encode())
                connection.execute(f"CREATE INDEX of_{table} ON {table} USING {kind} (id)".encode())
    ports = fake_ports()
    with running(plan, ports) as run:
        schema.run(run)
        archive = open_archive(run, database)
        with counted(ports, monkeypatch) as asked, run.sessions.session(Side.TARGET, database.target_name) as there:
            assert build_missing(run, there, archive, archive.of_type("INDEX")) == []
            assert len(asked) == 1
            kinds = there.execute("SELECT count(*) FROM pg_indexes WHERE indexdef LIKE '%hash%'").fetchone()
    assert kinds == (len(NAMES),)
