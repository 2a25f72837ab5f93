"""Reads what an instance holds, for the object tree: databases, schemas, tables with sizes and what they need.

Set-based catalog queries only, so that ten thousand tables take well under a second and nothing is locked.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

import psycopg

from .connect import Connection
from .errors import ConnectFailed
from .plan import Server, Side
from .ports import Control
from .probe import bounded, open_session, refuse_version, settle
from .sql import query
from .values import frozen
from .wording import NOTHING, Sentence, count, say

QUERY_SECONDS = 60
_KINDS = {"p": "partitioned", "v": "view", "m": "matview", "f": "foreign"}


@frozen
class InventoryDatabase:
    """One database. `can_connect` false: it is listed greyed, with the reason."""

    name: str
    bytes: int
    can_connect: bool
    reason: Sentence = NOTHING
    encoding: str = "UTF8"


@frozen
class InventorySchema:
    """One schema, possibly empty."""

    database: str
    name: str
    selectable: bool = True
    reason: Sentence = NOTHING


@frozen
class InventoryTable:
    """One relation. `kind`: table, partitioned, partition, view, matview or foreign."""

    database: str
    schema: str
    name: str
    kind: str
    parent: tuple[str, str] | None = None  # (schema, table) of a partition's root or branch
    root: tuple[str, str] | None = None  # (schema, table) of the table that a partition belongs to in the end
    bytes: int = 0  # of a partitioned table: with its partitions
    rows_estimate: int = 0
    selectable: bool = True
    reason: Sentence = NOTHING
    unlogged: bool = False
    fk_parents: tuple[tuple[str, str], ...] = ()
    needs: tuple[tuple[str, str, str], ...] = ()  # (kind, schema, name): type, sequence, function, extension


@frozen
class InventoryAlong:
    """Something that comes along with its schema. `kind`: sequence, function or type."""

    database: str
    schema: str
    name: str
    kind: str


@frozen
class TargetObject:
    """Something on the target: a database, a schema or a relation. `rows_estimate` None: unknown."""

    database: str
    schema: str = ""
    name: str = ""
    kind: str = "database"
    rows_estimate: int | None = None


InventoryRow = InventoryDatabase | InventorySchema | InventoryTable | InventoryAlong


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
    reason = NOTHING
    if not allowed:
        reason = say("The database does not allow connections.")
    elif not may_connect:
        reason = say("The account has no CONNECT right on this database.")
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
            settle(connection)
            schemas = _schemas(connection, database.name)
            tables = _tables(connection, database.name)
            along = _along(connection, database.name)
    except ConnectFailed as failure:
        yield _unreadable(database, failure.message)
        return
    except (psycopg.Error, UnicodeDecodeError) as error:
        yield _unreadable(database, say("The catalog could not be read ({words}).", words=type(error).__name__))
        return
    if database.name == "postgres" and not tables and {schema.name for schema in schemas} <= {"public"}:
        return
    yield database
    yield from schemas
    yield from tables
    yield from along


def _unreadable(database: InventoryDatabase, reason: Sentence) -> InventoryDatabase:
    return InventoryDatabase(
        name=database.name, bytes=database.bytes, can_connect=False, reason=reason, encoding=database.encoding
    )


def _schemas(connection: Connection, database: str) -> list[InventorySchema]:
    rows: list[Any] = connection.execute(query("inventory_schemas")).fetchall()
    return [_schema(database, str(name), bool(may_enter), int(temporary)) for name, may_enter, temporary in rows]


def _schema(database: str, name: str, may_enter: bool, temporary: int) -> InventorySchema:
    reason = NOTHING if may_enter else say("The account has no USAGE right on this schema.")
    if temporary:
        tables = count(temporary, "{number} temporary table", "{number} temporary tables")
        reason = say("{tables} of running sessions; such tables never move.", tables=tables)
    return InventorySchema(database=database, name=name, selectable=not reason, reason=reason)


def _tables(connection: Connection, database: str) -> list[InventoryTable]:
    sizes = _sizes(connection)
    listed: list[Any] = connection.execute(query("inventory_needs")).fetchall()
    needs: dict[int, Any] = dict(listed)
    rows: list[Any] = connection.execute(query("inventory_tables", connection.info.server_version)).fetchall()
    tables = [_table(row, database, sizes, needs.get(row[12], ())) for row in rows]
    return _with_partitions(tables)


def _along(connection: Connection, database: str) -> list[InventoryAlong]:
    rows = connection.execute(query("inventory_along")).fetchall()
    return [
        InventoryAlong(database=database, schema=str(schema), name=str(name), kind=str(kind))
        for schema, name, kind in rows
    ]


def _with_partitions(tables: list[InventoryTable]) -> list[InventoryTable]:
    """Return the tables, each partition with its root, each partitioned table with the sizes of what lies below."""
    parents = {(table.schema, table.name): table.parent for table in tables if table.parent}
    size: dict[tuple[str, str], int] = defaultdict(int)
    rows: dict[tuple[str, str], int] = defaultdict(int)
    roots: dict[tuple[str, str], tuple[str, str]] = {}
    for table in tables:
        at = (table.schema, table.name)
        above = parents.get(at)
        while above is not None:
            roots[at] = above
            if table.kind != "partitioned":
                size[above] += table.bytes
                rows[above] += table.rows_estimate
            above = parents.get(above)
    return [
        replace(
            table,
            root=roots.get((table.schema, table.name)),
            bytes=size[table.schema, table.name] if table.kind == "partitioned" else table.bytes,
            rows_estimate=rows[table.schema, table.name] if table.kind == "partitioned" else table.rows_estimate,
        )
        if table.parent or table.kind == "partitioned"
        else table
        for table in tables
    ]


def _sizes(connection: Connection) -> dict[int, int]:
    """Return exact sizes by oid, or nothing when somebody holds a table locked: the estimates stand in then."""
    try:
        connection.execute("SET lock_timeout = '1s'")
        rows: list[tuple[Any, ...]] = connection.execute(query("inventory_sizes")).fetchall()
    except (psycopg.errors.LockNotAvailable, psycopg.errors.QueryCanceled):
        return {}
    return {int(oid): int(size) for oid, size in rows if size is not None}


def _table(row: tuple[Any, ...], database: str, sizes: dict[int, int], needs: Iterable[Any]) -> InventoryTable:
    schema, name, kind, is_partition, persistence, parent_schema, parent_name = row[:7]
    size, estimate, can_read, may_enter, fk_parents, oid, extension = row[7:]
    reason = _why_not(kind, bool(can_read), bool(may_enter), str(extension))
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
        needs=tuple((str(what), str(space), str(named)) for what, space, named in needs),
    )


def _why_not(kind: str, can_read: bool, may_enter: bool, extension: str) -> Sentence:
    if extension:
        return say("Belongs to the extension {name}, which makes it on the target.", name=extension)
    if kind == "f":
        return say("A foreign table has no rows of its own; its definition comes along with its schema.")
    if not may_enter:
        return say("The account has no USAGE right on this schema.")
    return NOTHING if can_read else say("The account has no SELECT right on this object.")


def read_target(server: Server, names: Iterable[str], control: Control | None = None) -> Iterator[TargetObject]:
    """Yield what stands on the target in the databases called `names`, as far as it can be read.

    Raises ConnectFailed when the server cannot be reached; a database that cannot be opened is named without content.
    """
    wanted = set(names)
    connection = open_session(server, Side.TARGET, statement_timeout=f"{QUERY_SECONDS}s")
    with connection, bounded(connection, QUERY_SECONDS + 5):
        found = connection.execute("SELECT datname::text FROM pg_catalog.pg_database").fetchall()
    for database in sorted(wanted & {str(row[0]) for row in found}):
        if control is not None:
            control.check()
        yield TargetObject(database=database)
        try:
            connection = open_session(server, Side.TARGET, database, statement_timeout=f"{QUERY_SECONDS}s")
            with connection, bounded(connection, 2 * QUERY_SECONDS):
                settle(connection)
                rows = connection.execute(query("inventory_target")).fetchall()
        except (ConnectFailed, psycopg.Error, UnicodeDecodeError):
            continue
        yield from _on_target(database, rows)


_AT_TARGET = {"S": "sequence", "function": "function", "type": "type"}


def _on_target(database: str, rows: list[tuple[Any, ...]]) -> Iterator[TargetObject]:
    for schema in sorted({str(row[0]) for row in rows}):
        yield TargetObject(database=database, schema=schema, kind="schema")
    for schema, name, kind, is_partition, estimate in rows:
        if name is not None:
            yield TargetObject(
                database=database,
                schema=str(schema),
                name=str(name),
                kind="partition" if is_partition else _AT_TARGET.get(kind) or _KINDS.get(kind, "table"),
                rows_estimate=int(estimate) if estimate >= 0 and kind in ("r", "m") else None,
            )
