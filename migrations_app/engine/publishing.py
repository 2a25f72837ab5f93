"""The publication of a task: which tables it lists, made and dropped so that a small lock table of the server suffices.

Whoever publishes a table locks it until the end of the transaction, and to drop a publication is to lock each of its
entries. So tables come and go in batches; before the slot nothing depends on the publication being whole.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import field

import psycopg

from .catalog import Table
from .connect import Connection
from .failpoints import durable
from .names import literal, qualified, quote
from .values import frozen

BATCH_TABLES = 200
_ROOTS_SINCE = 130000
_TRUNCATE_SINCE = 110000
_GENERATED_SINCE = 180000
_KINDS = ("insert", "update", "delete", "truncate")
_SOME_LISTED = (
    "SELECT n.nspname, c.relname FROM pg_catalog.pg_publication p"
    " JOIN pg_catalog.pg_publication_rel r ON r.prpubid = p.oid JOIN pg_catalog.pg_class c ON c.oid = r.prrelid"
    " JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE p.pubname = %s LIMIT %s"
)


_NOT_LISTED = (
    "SELECT n.nspname, c.relname FROM pg_catalog.pg_publication p, pg_catalog.pg_class c"
    " JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
    " WHERE p.pubname = %s AND c.oid = ANY(%s::oid[]) AND c.relkind = 'r' AND c.relpersistence = 'p' AND NOT EXISTS"
    " (SELECT 1 FROM pg_catalog.pg_publication_rel r WHERE r.prpubid = p.oid AND r.prrelid = c.oid)"
)


def published(tables: list[Table], version: int) -> list[Table]:
    """Return what the publication lists: what holds rows, and topmost partitioned tables where servers allow it.

    Those bring partitions that are made later. One without a primary key does not come along: its new partitions would
    have no replica identity, and the source would refuse the application's updates of them. The partitions of today
    are listed themselves as well, or changes of one that is detached would be lost without a word. Unlogged tables
    cannot be published; they are copied again at the end.
    """
    known = {table.oid for table in tables}

    def brings_more(table: Table) -> bool:
        return (
            version >= _ROOTS_SINCE
            and bool(table.primary_key)
            and not (table.is_partition and table.parent_oid in known)
        )

    return [table for table in tables if table.persistence == "p" and (table.has_rows or brings_more(table))]


def published_now(connection: Connection, name: str) -> set[int] | None:
    """Return the oids that the publication lists, None when there is no such publication."""
    row = connection.execute(
        "SELECT (SELECT array_agg(r.prrelid::bigint) FROM pg_catalog.pg_publication_rel r WHERE r.prpubid = p.oid)"
        " FROM pg_catalog.pg_publication p WHERE p.pubname = %s",
        (name,),
    ).fetchone()
    return {int(oid) for oid in row[0] or ()} if row else None  # type: ignore[attr-defined]


@frozen(kw_only=False)
class Brought:
    """What a publication brings now.

    `kinds` of changes that the server knows, and those `kept_back` of them. `tables`: oids of those whose rows it
    brings all, with all their columns. `entries`: the numbers of the entries that bring a table, its own and those of
    the partitioned ones above it; taken out and put back, a table has others. `own`: those (oids) that are listed
    themselves. `row`: which version of its own row the publication has.
    """

    kinds: tuple[str, ...]
    kept_back: tuple[str, ...]
    tables: frozenset[int]
    entries: Mapping[int, tuple[int, ...]] = field(default_factory=dict)
    own: frozenset[int] = frozenset()
    row: str = ""


_LISTED = """
WITH RECURSIVE down AS (
  SELECT r.prrelid AS relid, r.oid AS entry,
         coalesce(pg_catalog.row_to_json(r) ->> 'prqual', pg_catalog.row_to_json(r) ->> 'prattrs') IS NOT NULL
         AS limits, true AS own
    FROM pg_catalog.pg_publication p JOIN pg_catalog.pg_publication_rel r ON r.prpubid = p.oid
   WHERE p.pubname = %s
  UNION ALL
  SELECT i.inhrelid, down.entry, false, false
    FROM down JOIN pg_catalog.pg_class c ON c.oid = down.relid AND c.relkind = 'p'
    JOIN pg_catalog.pg_inherits i ON i.inhparent = down.relid)
SELECT relid::bigint, entry::bigint, limits, own FROM down ORDER BY 2
"""


_OF_OTHERS = """
WITH RECURSIVE down AS (
  SELECT p.pubname, r.prrelid AS relid
    FROM pg_catalog.pg_publication p JOIN pg_catalog.pg_publication_rel r ON r.prpubid = p.oid
   WHERE p.pubname LIKE 'towpath\\_%%' AND p.pubname NOT LIKE %s
  UNION
  SELECT down.pubname, i.inhrelid FROM down JOIN pg_catalog.pg_inherits i ON i.inhparent = down.relid)
SELECT n.nspname::text, c.relname::text, min(down.pubname::text)
  FROM down JOIN pg_catalog.pg_class c ON c.oid = down.relid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 GROUP BY 1, 2
"""


def of_other_tasks(connection: Connection, key: str) -> dict[tuple[str, str], str]:
    """Return the tables that publications of other tasks bring, each with one of them. Raises psycopg's errors."""
    rows = connection.execute(_OF_OTHERS.encode(), (f"towpath\\_{key}\\_%",)).fetchall()
    return {(str(schema), str(table)): str(name) for schema, table, name in rows}


def brought_now(connection: Connection, name: str) -> Brought | None:
    """Return what a publication brings, None when there is none of that name. Raises psycopg's errors."""
    row = connection.execute(
        "SELECT xmin::text, pubinsert, pubupdate, pubdelete, (row_to_json(p) ->> 'pubtruncate')::bool"
        " FROM pg_catalog.pg_publication p WHERE pubname = %s",
        (name,),
    ).fetchone()
    if row is None:
        return None
    brought = connection.execute(
        "SELECT t.relid::bigint FROM pg_catalog.pg_get_publication_tables(%s) t",  # of a name that is there
        (name,),
    ).fetchall()
    entries: dict[int, tuple[int, ...]] = {}
    limited, own = set[int](), set[int]()
    for table, entry, limits, itself in connection.execute(_LISTED.encode(), (name,)).fetchall():
        oid = int(str(table))
        entries[oid] = (*entries.get(oid, ()), int(str(entry)))
        limited |= {oid} if limits else set()
        own |= {oid} if itself else set()
    version, *comes = row
    known = {kind: bool(one) for kind, one in zip(_KINDS, comes, strict=True) if one is not None}
    return Brought(
        kinds=tuple(known),
        kept_back=tuple(kind for kind, one in known.items() if not one),
        tables=frozenset(int(str(table)) for (table,) in brought) - limited,
        entries=entries,
        own=frozenset(own),
        row=str(version),
    )


def list_too(connection: Connection, name: str, oids: Iterable[int]) -> bool:
    """List tables (oids) that a publication brings with those above them by themselves (autocommit session).

    Idempotent; says whether there was one to list. Raises psycopg's errors.
    """
    found = connection.execute(_NOT_LISTED, (name, list(oids))).fetchall()
    for schema, table in found:
        with durable("source.setup", "alter publication"):
            place = qualified(str(schema), str(table))
            connection.execute(f"ALTER PUBLICATION {quote(name)} ADD TABLE ONLY {place}".encode())
    return bool(found)


def brought_by(oids: Iterable[int], entries: Mapping[int, tuple[int, ...]]) -> tuple[int, ...]:
    """Return by which entries of a publication changes of any of these tables come."""
    return tuple(sorted({entry for oid in oids for entry in entries.get(oid, ())}))


def making(name: str, tables: list[Table], version: int) -> Iterator[tuple[list[Table], str]]:
    """Return the statements that make a publication of these tables, each with the tables that it locks."""
    first, rest = tables[:BATCH_TABLES], tables[BATCH_TABLES:]
    yield first, _create(name, first, version)
    yield from adding(name, rest)


def adding(name: str, tables: list[Table]) -> Iterator[tuple[list[Table], str]]:
    """Return the statements that add these tables to a publication, each with the tables that it locks."""
    for batch in _batches(tables):
        yield batch, f"ALTER PUBLICATION {quote(name)} ADD TABLE {_only(batch)}"


@durable("source.publication.drop")
def drop(connection: Connection, name: str) -> None:
    """Drop a publication (autocommit session). Idempotent. Raises psycopg's errors.

    One that lists more tables than the server has room to lock is emptied first: that locks tables, and may wait.
    """
    statement = f"DROP PUBLICATION IF EXISTS {quote(name)}".encode()
    try:
        connection.execute(statement)
        return
    except psycopg.errors.OutOfMemory:
        pass
    while rows := connection.execute(_SOME_LISTED, (name, BATCH_TABLES)).fetchall():
        listed = ", ".join("ONLY " + qualified(str(schema), str(table)) for schema, table in rows)
        connection.execute(f"ALTER PUBLICATION {quote(name)} DROP TABLE {listed}".encode())
    connection.execute(statement)


def _batches(tables: list[Table]) -> Iterator[list[Table]]:
    for start in range(0, len(tables), BATCH_TABLES):
        yield tables[start : start + BATCH_TABLES]


def _create(name: str, tables: list[Table], version: int) -> str:
    operations = "insert, update, delete" + (", truncate" if version >= _TRUNCATE_SINCE else "")
    options = [f"publish = {literal(operations)}"]
    if version >= _ROOTS_SINCE:
        options.append("publish_via_partition_root = false")
    if version >= _GENERATED_SINCE:
        options.append("publish_generated_columns = none")
    listed = " FOR TABLE " + _only(tables) if tables else ""
    return f"CREATE PUBLICATION {quote(name)}{listed} WITH ({', '.join(options)})"


def _only(tables: Iterable[Table]) -> str:
    return ", ".join("ONLY " + qualified(table.schema, table.name) for table in tables)
