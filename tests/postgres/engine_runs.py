"""Builds an engine run over the two embedded servers, for the tests of snapshot and copy."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from migrations_app.demo.clusters import Cluster
from migrations_app.engine.catalog import read_tables, selected_tables
from migrations_app.engine.connect import Sessions
from migrations_app.engine.outcome import Run
from migrations_app.engine.plan import DatabasePlan, Plan, Server, Side
from migrations_app.engine.ports import Kind, LedgerItem, Ports, TableState
from migrations_app.engine.selection import Selection
from tests.fakes import FakeControl, FakeLedger, FakeStore, fake_ports

KEY = "0badcafe"


def server(cluster: Cluster, user: str = "postgres", password: str | None = None) -> Server:
    return Server(host="127.0.0.1", port=cluster.port, user=user, password=password or cluster.password)


def make_plan(source: Cluster, target: Cluster, databases: list[tuple[str, str]], work_dir: Path, **more: Any) -> Plan:
    plan = Plan(
        key=KEY,
        epoch=1,
        source=server(source),
        target=server(target),
        databases=tuple(DatabasePlan(source_name=one, target_name=other) for one, other in databases),
        selection=Selection.everything(),
        incremental=True,
        work_dir=work_dir,
    )
    return replace(plan, **more)


@contextlib.contextmanager
def running(plan: Plan, ports: Ports | None = None) -> Iterator[Run]:
    ports = ports or fake_ports()
    for database in plan.databases:
        fakes(ports)[1].targets[database.source_name] = database.target_name
    with Sessions(plan, ports.control) as sessions:
        yield Run(plan=plan, ports=ports, sessions=sessions)


def fakes(ports: Ports) -> tuple[FakeLedger, FakeStore, FakeControl]:
    return cast(FakeLedger, ports.ledger), cast(FakeStore, ports.store), cast(FakeControl, ports.control)


def register_tables(run: Run, source: Cluster) -> None:
    """Do what the schema step leaves behind: table states, ledger items and `schema_done`."""
    for database in run.plan.databases:
        with source.connect(database.source_name) as connection:
            tables = selected_tables(read_tables(connection), run.plan.selection, database.source_name)
        states = [
            TableState(
                database=database.source_name,
                schema=table.schema,
                name=table.name,
                oid=table.oid,
                bytes_total=table.bytes,
                rows_estimate=table.rows_estimate,
                unlogged=table.persistence == "u",
            )
            for table in tables
            if table.has_rows
        ]
        run.ports.store.save_tables(*states)
        run.ports.ledger.intend(
            *(
                LedgerItem(
                    side=Side.TARGET, database=database.target_name, kind=Kind.TABLE, schema=one.schema, name=one.name
                )
                for one in tables
            )
        )
        state = run.ports.store.database(database.source_name)
        run.ports.store.save_database(replace(state, schema_done=True))
