"""A source and a target database with the same tables, a slot between them, and a run over both."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import psycopg
import pytest

from migrations_app.demo.clusters import Cluster
from migrations_app.engine import names, publishing
from migrations_app.engine.catalog import Table, read_tables, selected_tables
from migrations_app.engine.connect import Sessions
from migrations_app.engine.lsn import parse_lsn
from migrations_app.engine.outcome import Run
from migrations_app.engine.plan import DatabasePlan, Plan, Server
from migrations_app.engine.ports import DatabaseState, Ports, TableState
from migrations_app.engine.replication import polling
from migrations_app.engine.replication.session import SyncSession
from migrations_app.engine.selection import Selection
from migrations_app.engine.steps import sync
from tests.fakes import FakeControl, FakeLedger, FakeStore, fake_ports

KEY = "5eed0001"

APPLY = "migrations_app.engine.replication.apply"
BATCH_PATH = "migrations_app.engine.replication.batch_path"


def force_path(monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    """Apply everything by one path: "rows", or "batches" of any size."""
    monkeypatch.setattr(f"{APPLY}._FEW_CHANGES", -1 if path == "batches" else 10**9)
    monkeypatch.setattr(f"{BATCH_PATH}._COPY_ROWS", 2)


@dataclass
class Pair:
    """Two databases that start equal. `ports` outlive every run, as the stored rows of a task do."""

    source: Cluster
    target: Cluster
    source_db: str
    target_db: str
    selection: Selection = field(default_factory=Selection.everything)
    key: str = KEY
    ports: Ports = field(default_factory=fake_ports)
    epoch: int = 0

    @property
    def control(self) -> FakeControl:
        return cast(FakeControl, self.ports.control)

    @property
    def ledger(self) -> FakeLedger:
        return cast(FakeLedger, self.ports.ledger)

    @property
    def store(self) -> FakeStore:
        return cast(FakeStore, self.ports.store)

    @property
    def database(self) -> DatabasePlan:
        return DatabasePlan(source_name=self.source_db, target_name=self.target_db)

    @property
    def state(self) -> DatabaseState:
        return self.store.database(self.source_db)

    def at_source(self, *statements: str) -> None:
        """Run each statement, which may hold several commands, in a transaction of its own."""
        with self.source.connect(self.source_db) as connection:
            for statement in statements:
                connection.execute(statement)

    def at_target(self, *statements: str) -> None:
        with self.target.connect(self.target_db) as connection:
            for statement in statements:
                connection.execute(statement)

    def build(self, *statements: str, target: str | None = None) -> None:
        """Run the statements on both ends (`target`: other text there), then open publication and slot."""
        self.at_source(*statements)
        self.at_target(*([target] if target else statements))
        self.open_slot()

    def tables(self) -> list[Table]:
        with self.source.connect(self.source_db) as connection:
            return selected_tables(read_tables(connection), self.selection, self.source_db)

    def open_slot(self) -> None:
        tables = self.tables()
        with self.source.connect(self.source_db) as connection:
            listed = publishing.published(tables, connection.info.server_version)
            oid = int(self.value("SELECT oid::bigint FROM pg_database WHERE datname = current_database()"))
            publication, slot = names.publication_name(self.key, oid), names.slot_name(self.key, oid)
            only = ", ".join("ONLY " + names.qualified(table.schema, table.name) for table in listed)
            connection.execute(f"CREATE PUBLICATION {names.quote(publication)} FOR TABLE {only}")
            row = connection.execute(
                "SELECT lsn::text FROM pg_create_logical_replication_slot(%s, 'pgoutput')", (slot,)
            )
            point = parse_lsn(str(cast(tuple[Any, ...], row.fetchone())[0]))
            system = self.value("SELECT system_identifier::text FROM pg_control_system()")
        self.store.save_database(
            DatabaseState(
                source_name=self.source_db,
                target_name=self.target_db,
                system_id=system,
                timeline=1,
                slot=slot,
                publication=publication,
                consistent_point=point,
            )
        )
        self.store.save_tables(
            *(
                TableState(
                    database=self.source_db,
                    schema=table.schema,
                    name=table.name,
                    oid=table.oid,
                    watermark=point,
                    unlogged=table.persistence == "u",
                    numbers=table.numbers,
                )
                for table in tables
                if table.has_rows
            )
        )

    def value(self, query: str, side: str = "source") -> Any:
        cluster, name = (self.source, self.source_db) if side == "source" else (self.target, self.target_db)
        with cluster.connect(name) as connection:
            row = connection.execute(query).fetchone()
            return row[0] if row else None

    def insert_lsn(self) -> int:
        return parse_lsn(self.value("SELECT pg_current_wal_insert_lsn()::text"))

    def plan(self, **more: Any) -> Plan:
        servers = [
            Server(host="127.0.0.1", port=cluster.port, user="postgres", password=cluster.password)
            for cluster in (self.source, self.target)
        ]
        plan = Plan(
            key=self.key,
            epoch=self.epoch,
            source=servers[0],
            target=servers[1],
            databases=(self.database,),
            selection=self.selection,
            incremental=True,
            work_dir=Path("/dev/null/none"),
        )
        return replace(plan, **more)

    @contextlib.contextmanager
    def running(self, **more: Any) -> Iterator[Run]:
        """A run of the next epoch."""
        self.epoch += 1
        plan = self.plan(**more)
        with Sessions(plan, self.ports.control) as sessions:
            yield Run(plan=plan, ports=self.ports, sessions=sessions)

    @contextlib.contextmanager
    def syncing(self) -> Iterator[SyncSession]:
        with self.running() as run, SyncSession(run, self.database) as session:
            yield session

    def catch_up(self) -> int:
        """Apply everything that is committed on the source now."""
        until = self.insert_lsn()
        with self.syncing() as session:
            return session.advance(until=until)

    def look(self, slice_seconds: float = 1.5) -> list[tuple[str, str, str]]:
        """Sync a slice that looks at the source once; return its new events (level, code, message)."""
        polling._looked.clear()
        before = len(self.store.events)
        self.control.yields = True
        with self.running(slice_seconds=slice_seconds) as run:
            sync.run(run)
        return self.store.events[before:]

    def rows(self, side: str) -> dict[str, list[str]]:
        """Every row of every selected table as text, sorted: equal means equal to the last character."""
        cluster, name = (self.source, self.source_db) if side == "source" else (self.target, self.target_db)
        found = {}
        with cluster.connect(name) as connection:
            for table in self.tables():
                if table.has_rows:
                    found[f"{table.schema}.{table.name}"] = _rows(connection, table)
        return found

    def assert_equal(self) -> None:
        assert self.rows("target") == self.rows("source")


def _rows(connection: psycopg.Connection[Any], table: Table) -> list[str]:
    columns = ", ".join(names.quote(column.name) for column in table.columns) or "NULL"
    connection.execute("SET client_encoding = 'UTF8'")
    query = f"SELECT ROW({columns})::text FROM ONLY {names.qualified(table.schema, table.name)} ORDER BY 1"
    return [str(row[0]) for row in connection.execute(query.encode()).fetchall()]
