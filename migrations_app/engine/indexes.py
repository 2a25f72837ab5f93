"""Indexes, keys and statistics of the copied tables: built table by table as the copy goes on, checked at the end."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace

import psycopg

from .analyzing import analyze
from .archive import Archive, Place, open_archive
from .catalog import Table
from .connect import Connection
from .errors import EngineError
from .failpoints import durable
from .mapping import renaming_of
from .names import qualified
from .native import zone_text
from .outcome import Run, knobs
from .plan import DatabasePlan, Side
from .ports import Kind, TableStatus
from .restore import Failure, Manner, raise_unless_refused, remember, run_one
from .sql import query
from .target_objects import some
from .toc import Entry
from .values import frozen
from .wording import say

# Up to this size all indexes of a table and its statistics are made in one go: one round trip, one commit.
SMALL_TABLE_BYTES = 64 << 20
_MANNER = Manner(is_fatal=lambda entry: is_key(entry), repeatable=True)
_ADOPTING = Manner(is_fatal=lambda entry: is_key(entry), repeatable=True, text=lambda entry: _adopting(entry))
# After that time of waiting a server ends an autovacuum that is in somebody's way; by itself after a second.
_AUTOVACUUM_GIVES_WAY = "50ms"
_MOST_MEMORY_KB = 2 << 20
_WORKERS = 4
_OF_ALL_WORKERS = 4
_PARALLEL_SINCE = 110000
_SIZES = (
    "SELECT c.relname, pg_catalog.pg_relation_size(c.oid) FROM pg_catalog.pg_index x"
    " JOIN pg_catalog.pg_class c ON c.oid = x.indexrelid WHERE x.indrelid = %s"
)
_FACTS = (
    "SELECT (SELECT setting::bigint * 8 FROM pg_catalog.pg_settings WHERE name = 'shared_buffers'),"
    " (SELECT CASE WHEN source <> 'default' THEN setting::bigint * 8 ELSE 0 END"
    " FROM pg_catalog.pg_settings WHERE name = 'effective_cache_size'),"
    " (SELECT setting::bigint FROM pg_catalog.pg_settings WHERE name = 'maintenance_work_mem'),"
    " pg_catalog.current_setting('max_parallel_workers')::bigint,"
    " coalesce(pg_catalog.current_setting('max_parallel_maintenance_workers', true), '0')::bigint"
)


@frozen
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


# What pg_dump writes for a key that an index alone can stand for until the others are built.
_PLAIN_KEY = re.compile(
    rb"ALTER TABLE ONLY (?P<table>[^;]+?)\n    ADD CONSTRAINT (?P<name>\"(?:[^\"]|\"\")+\"|[a-z_][a-z0-9_]*)"
    rb" (?P<kind>PRIMARY KEY|UNIQUE) (?P<columns>\((?:\"(?:[^\"]|\"\")+\"|[a-z0-9_, ])+\));\s*\Z"
)


def _key_index(entry: Entry) -> bytes | None:
    """Return the CREATE INDEX for a plain primary or unique key, None for any other entry.

    The index takes only a lock that readers and other builds share; the key, which shuts out everybody, comes at the
    end and adopts it within a moment.
    """
    found = _PLAIN_KEY.match(entry.definition.lstrip()) if entry.type == "CONSTRAINT" else None
    if found is None:
        return None
    return b"CREATE UNIQUE INDEX %b ON %b USING btree %b" % (found["name"], found["table"], found["columns"])


def _adopting(entry: Entry) -> bytes:
    """Return the statement that makes the index of `_key_index` the key."""
    found = _PLAIN_KEY.match(entry.definition.lstrip())
    if found is None:
        return entry.definition
    return b"ALTER TABLE ONLY %b ADD CONSTRAINT %b %b USING INDEX %b;" % (
        found["table"],
        found["name"],
        found["kind"],
        found["name"],
    )


def to_build_apart(run: Run, database: DatabasePlan, table: Table, connection: Connection) -> list[Entry]:
    """Return the indexes of a table that do not stand yet and may be built at the same time, by `build_apart`.

    The largest comes first: what is begun last must not be what takes longest.
    """
    archive = open_archive(run, database)
    schema, name = archive.renaming.place((table.schema, table.name))
    standing = read_indexes(connection, schema, name)
    found: list[tuple[str, Entry]] = []
    for entry in archive.by_table.get((schema, name), ()):
        place = archive.place(entry)
        single = entry.type == "INDEX" and entry.definition.rstrip().count(b";\n") == 0
        apart = single or _key_index(entry) is not None
        if place and apart and (place.schema, place.table, place.name) not in standing:
            found.append((place.name, entry))
    sizes = _source_sizes(run, database, table) if len(found) > 1 else {}
    return [entry for _, entry in sorted(found, key=lambda one: sizes.get(one[0], 0), reverse=True)]


def _source_sizes(run: Run, database: DatabasePlan, table: Table) -> dict[str, int]:
    """Return the bytes of each index of a table on the source by name; nothing when the source does not answer now."""
    try:
        with run.sessions.session(Side.SOURCE, database.source_name) as connection:
            rows = connection.execute(_SIZES, (table.oid,)).fetchall()
    except (EngineError, psycopg.Error):
        run.ports.control.check()
        return {}
    return {str(name): int(str(size)) for name, size in rows}


def build_apart(run: Run, database: DatabasePlan, entry: Entry, connection: Connection, *, last: bool = False) -> None:
    """Build one index of `to_build_apart`. `build_table` must follow when all of them are built: it knows the rest.

    `last`: nothing is begun after it, so it may take the processors that the other lanes leave idle one by one.
    A failure is left to `build_table` too, but for what says nothing about the index: then EngineError is raised.
    """
    connection.execute(build_settings(run, database, connection, apart=not last))
    text = _key_index(entry) or entry.definition
    run.ports.control.check()
    try:
        with durable("target.index", "apart"):
            connection.execute(text)
    except psycopg.Error as error:
        raise_unless_refused(run, error, say("building {label}", label=entry.label))


def build_settings(run: Run, database: DatabasePlan, connection: Connection, *, apart: bool = False) -> bytes:
    """Return the settings for building on this target, chosen from what it says about itself, and the source's zone.

    Memory: nobody but the server knows how much there is; its buffers are a quarter of it by custom, and the planner's
    idea of the cache three quarters, where somebody has set it: the server's own is the same on every machine. A
    quarter of that, shared by as many lanes as are wanted now, is never less than the server's own setting.
    Processors: as many as the server allows for one build, or a quarter of those that it has for all queries;
    when builds go on `apart`, they share what it allows for one, the process that leads each of them included.
    """
    known, jobs = run.building, max(knobs(run).index_jobs, 1)
    if not known:
        names = ("buffers", "cache", "maintenance", "parallel", "own")
        row = connection.execute(_FACTS.encode()).fetchone() or (0, 0, 0, 0, 0)
        known.update((name, int(str(value))) for name, value in zip(names, row, strict=True))
    share = max(4 * known["buffers"], known["cache"] * 4 // 3) // 4 // jobs
    kilobytes = max(known["maintenance"], min(share, _MOST_MEMORY_KB))
    alone = max(known["own"], min(_WORKERS, known["parallel"] // _OF_ALL_WORKERS))
    most = (known["own"] + 1) // jobs - 1 if apart else alone
    workers = min(max(most, 0), known["parallel"])
    text = f"SET maintenance_work_mem = '{kilobytes}kB'; SET synchronous_commit = off;"
    if connection.info.server_version >= _PARALLEL_SINCE:
        text += f" SET max_parallel_maintenance_workers = {workers};"
    if connection.info.parameter_status("is_superuser") == "on":
        text += f" SET deadlock_timeout = '{_AUTOVACUUM_GIVES_WAY}';"
    return text.encode() + b"\n" + zone_text(run, database, connection)


def build_tables(run: Run, database: DatabasePlan, tables: Sequence[Table], session: Connection) -> None:
    """Do what `build_table` does for several small tables in one round trip and one transaction. Otherwise the same."""
    run.ports.control.check()
    archive = open_archive(run, database)
    texts = [build_settings(run, database, session), *(_all_of(archive, table) for table in tables)]
    try:
        with durable("target.index", "together"):
            session.execute(b"\n".join(texts))
    except psycopg.Error as error:
        raise_unless_refused(run, error, say("building the indexes of {names}", names=some(_labels(tables))))
        for table in tables:
            build_table(run, database, table, session)


def _labels(tables: Sequence[Table]) -> list[str]:
    return [f"{table.schema}.{table.name}" for table in tables]


def _all_of(archive: Archive, table: Table) -> bytes:
    """Return the statements for everything that `build_table` makes."""
    place = archive.renaming.place((table.schema, table.name))
    texts = [entry.definition for entry in archive.by_table.get(place, ())]
    return b"\n".join([*texts, b"ANALYZE " + qualified(*place).encode() + b";"])


def build_table(run: Run, database: DatabasePlan, table: Table, session: Connection | None = None) -> None:
    """Build the indexes, keys and extended statistics of a copied table on the target, then ANALYZE it.

    Idempotent: what stands and is whole is kept, a half-built index is built again. `session` is an autocommit session
    on the target database; some of its settings are changed. Commits do not wait for the disk: the index step looks
    again. Raises TargetError when a key cannot be built; a plain index that fails is listed.
    """
    archive = open_archive(run, database)
    with _session(run, database, session) as connection:
        run.ports.control.check()
        if table.bytes <= SMALL_TABLE_BYTES:
            try:
                with durable("target.index", "small"):
                    connection.execute(build_settings(run, database, connection) + _all_of(archive, table))
                return
            except psycopg.Error as error:
                raise_unless_refused(
                    run, error, say("building the indexes of {schema}.{name}", schema=table.schema, name=table.name)
                )
        build_indexes(run, database, table, connection)
        analyze_table(run, database, table, connection)


def build_indexes(run: Run, database: DatabasePlan, table: Table, connection: Connection) -> None:
    """Build what `build_table` does, one by one and without its ANALYZE: for a large table. Otherwise the same."""
    archive = open_archive(run, database)
    schema, name = archive.renaming.place((table.schema, table.name))
    connection.execute(build_settings(run, database, connection))
    entries = archive.by_table.get((schema, name), ())
    remember(run, database, build_missing(run, connection, archive, entries, schema, name))


def analyze_table(
    run: Run, database: DatabasePlan, table: Table, connection: Connection, *, target: int | None = None
) -> None:
    """Make the statistics of a table of the source on the target; with `target` rough ones, as in `analyzing`."""
    analyze(run, connection, *renaming_of(run, database).place((table.schema, table.name)), target=target)


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
    *,
    dropped: Collection[tuple[str, str]] = (),
) -> list[Failure]:
    """Build those of `entries` that do not stand yet, one by one, and return those that failed.

    With `schema` and `table` only that table is looked at, else the whole database. Raises TargetError for a key, but
    not for one of the tables in `dropped`, whose rows nobody promises anything about.
    """
    if not entries:
        return []
    standing = read_indexes(connection, schema, table)
    failures = []
    for entry in entries:
        place, manner = archive.place(entry), _MANNER
        if place and entry.type != "STATISTICS":
            index = standing.get((place.schema, place.table, place.name))
            if index and _is_whole(entry, index):
                continue
            if index and _may_adopt(entry, index):
                manner = _ADOPTING
            elif index and index.valid and _is_theirs(run, connection, place):
                continue  # what is other than on the source is noted
            elif index:
                _remove(run, connection, entry, place, index)
        if place and (place.schema, place.table) in dropped:
            manner = replace(manner, is_fatal=lambda entry: False)
        failure = run_one(run, connection, entry, manner)
        failures += [failure] if failure else []
    return failures


def dropped_tables(run: Run, database: DatabasePlan, archive: Archive) -> set[tuple[str, str]]:
    """Return the tables, by their names on the target, that somebody has dropped from the task."""
    states = run.ports.store.tables(database.source_name)
    return {archive.renaming.place((one.schema, one.name)) for one in states if one.status is TableStatus.DROPPED}


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


def _may_adopt(entry: Entry, index: Index) -> bool:
    """Say whether an index that stands is exactly what `build_apart` makes for this key."""
    return index.valid and index.kind == "i" and _key_index(entry) == index.definition.encode()


def _is_theirs(run: Run, connection: Connection, place: Place) -> bool:
    """Say whether a table was there before, and is used as it is."""
    name = connection.info.dbname
    if name not in run.adopted:
        items = run.ports.ledger.items(Side.TARGET, name, {Kind.ADOPTED})
        run.adopted[name] = frozenset((item.schema, item.name) for item in items)
    return (place.schema, place.table) in run.adopted[name]


def _remove(run: Run, connection: Connection, entry: Entry, place: Place, index: Index) -> None:
    """Drop an index of ours that is half-built, or not what the archive says."""
    statement = "DROP INDEX " + qualified(place.schema, place.name)
    if index.is_constraint:
        return
    try:
        with durable("target.index.drop"):
            connection.execute(statement.encode())
    except psycopg.Error as error:
        raise_unless_refused(run, error, say("removing a half-built index of {label}", label=entry.label))
