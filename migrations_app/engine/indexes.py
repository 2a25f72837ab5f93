"""Indexes, keys and statistics of the copied tables: built table by table as the copy goes on, checked at the end."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

import psycopg

from .archive import Archive, Place, open_archive
from .catalog import Table
from .connect import Connection
from .names import qualified
from .outcome import Run
from .plan import DatabasePlan, Side
from .restore import Failure, Manner, raise_unless_refused, remember, run_one
from .sql import query
from .toc import Entry

MAINTENANCE_MEMORY_MB = 256
# Below this size all indexes of a table and its statistics are made in one go: one round trip, one commit.
_SMALL_TABLE_BYTES = 64 << 20
_SETTINGS = (
    f"SET maintenance_work_mem = '{MAINTENANCE_MEMORY_MB}MB'; SET synchronous_commit = off;"
    " SET max_parallel_maintenance_workers = 4;\n"
).encode()
_MANNER = Manner(is_fatal=lambda entry: is_key(entry), repeatable=True)


@dataclass(frozen=True, kw_only=True)
class Index:
    """An index as it stands on the target."""

    kind: str  # i index, I index of a partitioned table
    valid: bool
    attached: bool
    definition: str
    is_constraint: bool


def is_key(entry: Entry) -> bool:
    """Say whether the entry guards the data: without it the target would accept what the source refuses."""
    return entry.type == "CONSTRAINT" or entry.definition.startswith(b"CREATE UNIQUE INDEX")


def build_table(run: Run, database: DatabasePlan, table: Table, session: Connection | None = None) -> None:
    """Build the indexes, keys and extended statistics of a copied table on the target, then ANALYZE it.

    Idempotent: what stands and is whole is kept, a half-built index is built again. `session` is an autocommit session
    on the target database; some of its settings are changed. Commits do not wait for the disk: the index step looks
    again. Raises TargetError when a key cannot be built; a plain index that fails is listed.
    """
    archive = open_archive(run, database)
    schema, name = archive.renaming.place((table.schema, table.name))
    entries = archive.by_table.get((schema, name), ())
    analyze = b"ANALYZE " + qualified(schema, name).encode() + b";"
    with _session(run, database, session) as connection:
        run.ports.control.check()
        if table.bytes <= _SMALL_TABLE_BYTES:
            try:
                connection.execute(_SETTINGS + b"\n".join([*(entry.definition for entry in entries), analyze]))
                return
            except psycopg.Error as error:
                raise_unless_refused(run, error, f"building the indexes of {table.schema}.{table.name}")
        connection.execute(_SETTINGS)
        remember(run, database, build_missing(run, connection, archive, entries, schema, name))
        try:
            connection.execute(analyze)
        except psycopg.Error as error:
            raise_unless_refused(run, error, f"analyzing {table.schema}.{table.name}")


@contextlib.contextmanager
def _session(run: Run, database: DatabasePlan, session: Connection | None) -> Iterator[Connection]:
    if session is not None:
        yield session
        return
    with run.sessions.session(Side.TARGET, database.target_name) as connection:
        yield connection


def build_missing(
    run: Run,
    connection: Connection,
    archive: Archive,
    entries: tuple[Entry, ...] | list[Entry],
    schema: str | None = None,
    table: str | None = None,
) -> list[Failure]:
    """Build those of `entries` that do not stand yet, one by one, and return those that failed.

    With `schema` and `table` only that table is looked at, else the whole database. Raises TargetError for a key.
    """
    standing = read_indexes(connection, schema, table)
    failures = []
    for entry in entries:
        place = archive.place(entry)
        if place and entry.type != "STATISTICS":
            index = standing.get((place.schema, place.table, place.name))
            if index and _is_whole(entry, index):
                continue
            if index:
                _remove(run, connection, entry, place, index)
        failure = run_one(run, connection, entry, _MANNER)
        failures += [failure] if failure else []
    return failures


def read_indexes(
    connection: Connection, schema: str | None = None, table: str | None = None
) -> dict[tuple[str, str, str], Index]:
    """Return the indexes of one table, or of all, by (schema, table, index)."""
    rows = connection.execute(query("target_indexes"), {"schema": schema, "table": table}).fetchall()
    return {
        (str(row[0]), str(row[1]), str(row[2])): Index(
            kind=str(row[3]),
            valid=bool(row[4]),
            attached=bool(row[5]),
            definition=str(row[6]),
            is_constraint=bool(row[7]),
        )
        for row in rows
    }


def _is_whole(entry: Entry, index: Index) -> bool:
    if entry.type == "CONSTRAINT":
        return index.is_constraint
    if index.kind == "I" or index.attached:  # valid only when all parts are; its definition was compared at ATTACH
        return True
    return index.valid and entry.definition.startswith(index.definition.encode())


def _remove(run: Run, connection: Connection, entry: Entry, place: Place, index: Index) -> None:
    """Drop an index of ours that is half-built, or not what the archive says."""
    statement = "DROP INDEX " + qualified(place.schema, place.name)
    if index.is_constraint:
        return
    try:
        connection.execute(statement.encode())
    except psycopg.Error as error:
        raise_unless_refused(run, error, f"removing a half-built index of {entry.label}")
