"""Reads what an instance holds, for the object tree: databases, schemas, tables with sizes and foreign-key parents.

Set-based catalog queries only, so that ten thousand tables take well under a second and nothing is locked.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import psycopg

from .connect import Connection
from .errors import ConnectFailed
from .plan import Server, Side
from .ports import Control
from .probe import bounded, open_session, refuse_version
from .sql import query

QUERY_SECONDS = 60
_KINDS = {"p": "partitioned", "v": "view", "m": "matview", "f": "foreign"}


@dataclass(frozen=True, kw_only=True)
class InventoryDatabase:
    """One database. `can_connect` false: it is listed greyed, with the reason."""

    name: str
    bytes: int
    can_connect: bool
    reason: str = ""
    encoding: str = "UTF8"


@dataclass(frozen=True, kw_only=True)
class InventorySchema:
    """One schema, possibly empty."""

    database: str
    name: str
    selectable: bool = True
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class InventoryTable:
    """One relation. `kind`: table, partitioned, partition, view, matview or foreign."""

    database: str
    schema: str
    name: str
    kind: str
    parent: tuple[str, str] | None = None  # (schema, table) of a partition's root or branch
    bytes: int = 0
    rows_estimate: int = 0
    selectable: bool = True
    reason: str = ""
    unlogged: bool = False
    fk_parents: tuple[tuple[str, str], ...] = ()


InventoryRow = InventoryDatabase | InventorySchema | InventoryTable


def read_inventory(server: Server, control: Control | None = None) -> Iterator[InventoryRow]:
    """Yield each database followed by its schemas and then its tables, all ordered by name.

    Raises ConnectFailed when the server cannot be reached and EngineError when its version is not supported. A single
    database that cannot be read is yielded with the reason and the reading goes on. An empty `postgres` database is
    left out: it is the server's own.
    """
    with open_session(server, Side.SOURCE, statement_timeout=f"{QUERY_SECONDS}s") as connection:
        refuse_version(connection.info.server_version, Side.SOURCE, server)
        with bounded(connection, QUERY_SECONDS + 5):
            databases = [_database(row) for row in connection.execute(query("inventory_databases")).fetchall()]
    for database in databases:
        if control is not None:
            control.check()
        yield from _read_database(server, database)


def _database(row: tuple[Any, ...]) -> InventoryDatabase:
    name, size, allowed, may_connect, encoding = row
    reason = ""
    if not allowed:
        reason = "The database does not allow connections."
    elif not may_connect:
        reason = "The account has no CONNECT right on this database."
    return InventoryDatabase(
        name=str(name), bytes=int(size or 0), can_connect=not reason, reason=reason, encoding=str(encoding)
    )


def _read_database(server: Server, database: InventoryDatabase) -> Iterator[InventoryRow]:
    if not database.can_connect:
        yield database
        return
    try:
        connection = open_session(server, Side.SOURCE, database.name, statement_timeout=f"{QUERY_SECONDS}s")
        with connection, bounded(connection, 3 * QUERY_SECONDS):
            schemas = _schemas(connection, database.name)
            tables = _tables(connection, database.name)
    except ConnectFailed as failure:
        yield _unreadable(database, failure.message)
        return
    except (psycopg.Error, UnicodeDecodeError) as error:
        yield _unreadable(database, f"The catalog could not be read ({type(error).__name__}).")
        return
    if database.name == "postgres" and not tables and {schema.name for schema in schemas} <= {"public"}:
        return
    yield database
    yield from schemas
    yield from tables


def _unreadable(database: InventoryDatabase, reason: str) -> InventoryDatabase:
    return InventoryDatabase(
        name=database.name, bytes=database.bytes, can_connect=False, reason=reason, encoding=database.encoding
    )


def _schemas(connection: Connection, database: str) -> list[InventorySchema]:
    rows = connection.execute(query("inventory_schemas")).fetchall()
    return [
        InventorySchema(
            database=database,
            name=str(name),
            selectable=bool(may_enter),
            reason="" if may_enter else "The account has no USAGE right on this schema.",
        )
        for name, may_enter in rows
    ]


def _tables(connection: Connection, database: str) -> list[InventoryTable]:
    sizes = _sizes(connection)
    tables = []
    for row in connection.execute(query("inventory_tables")).fetchall():
        tables.append(_table(row, database, sizes))
    return tables


def _sizes(connection: Connection) -> dict[int, int]:
    """Return exact sizes by oid, or nothing when somebody holds a table locked: the estimates stand in then."""
    try:
        connection.execute("SET lock_timeout = '1s'")
        rows: list[tuple[Any, ...]] = connection.execute(query("inventory_sizes")).fetchall()
    except (psycopg.errors.LockNotAvailable, psycopg.errors.QueryCanceled):
        return {}
    return {int(oid): int(size) for oid, size in rows if size is not None}


def _table(row: tuple[Any, ...], database: str, sizes: dict[int, int]) -> InventoryTable:
    schema, name, kind, is_partition, persistence, parent_schema, parent_name = row[:7]
    size, estimate, can_read, may_enter, fk_parents, oid = row[7:]
    reason = ""
    if not may_enter:
        reason = "The account has no USAGE right on this schema."
    elif not can_read:
        reason = "The account has no SELECT right on this object."
    return InventoryTable(
        database=database,
        schema=schema,
        name=name,
        kind="partition" if is_partition and kind == "r" else _KINDS.get(kind, "table"),
        parent=(parent_schema, parent_name) if parent_name is not None else None,
        bytes=sizes.get(oid, size),
        rows_estimate=estimate,
        selectable=not reason,
        reason=reason,
        unlogged=persistence == "u",
        fk_parents=tuple(sorted((str(parent[0]), str(parent[1])) for parent in fk_parents)),
    )
