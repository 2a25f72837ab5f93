"""Cuts large tables into parts that several lanes copy at the same time under one snapshot.

The parts of a table are conditions that leave out no row and repeat none, whatever the statistics say.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import psycopg

from .catalog import Column, Table
from .connect import Connection
from .named_values import UNKNOWN_NAMES
from .names import literal, qualified, quote
from .values import frozen

SMALLEST_PART_BYTES = 128 << 20
_PARTS_PER_LANE = 4
_TID_RANGE_SCAN_SINCE = 140000
_INTEGERS = frozenset({"smallint", "integer", "bigint"})
_NO_COLLATION = "42P22"


@frozen(kw_only=False)
class Part:
    """A share of a table's rows: `where` is a condition on the source, empty for all rows.

    `of`: (schema, name) of one partition of a gathered table.
    """

    where: str
    bytes: int
    of: tuple[str, str] | None = None

    @property
    def is_whole(self) -> bool:
        """True for all rows of the table."""
        return not self.where and self.of is None


@dataclass(eq=False)
class Shares:
    """How far a table that is copied in parts has come under one snapshot. It outlives a copy that fails meanwhile."""

    parts: list[Part] = field(default_factory=list)
    file: str = ""
    """The target's file of the table since it was emptied; as long as it has no other, the finished parts are in it."""
    finished: dict[Part, int] = field(default_factory=dict)
    """Rows of the parts that are on the target's disk."""
    doubts: dict[Part, tuple[str, int]] = field(default_factory=dict)
    """Transaction and rows of parts whose commit was sent but not confirmed."""

    @property
    def left(self) -> list[Part]:
        """The parts that are not finished; the last one when all are: somebody has to note that of the table."""
        return [part for part in self.parts if part not in self.finished] or self.parts[-1:]


def part_size(total_bytes: int, jobs: int, smallest: int = SMALLEST_PART_BYTES) -> int:
    """Return the size above which a table is cut: small enough that no lane is left alone with a giant at the end."""
    return max(smallest, total_bytes // (_PARTS_PER_LANE * max(jobs, 1)))


def part_count(table_bytes: int, size: int, jobs: int) -> int:
    """Return into how many parts of about `size` a table is cut: a multiple of the lanes when it is cut at all."""
    count = -(-table_bytes // size)
    return -(-count // jobs) * jobs if count > 1 else 1


def plan_parts(connection: Connection, table: Table, size: int, jobs: int = 1) -> list[Part]:
    """Return the parts of a table: one without condition when it is small or nothing cuts it well.

    As many for each of the `jobs` lanes, so that none is left over for a single one at the end.

    `connection` is a source session under the snapshot. Pages stay where they are as long as nobody rewrites the table;
    who does makes every part void. Reads no row, or the ends of the key's index.
    """
    count = part_count(table.bytes, size, jobs)
    whole = [Part("", table.bytes)]
    if count < 2 or not _can_be_asked(connection, table):
        return whole
    if table.is_heap and connection.info.server_version >= _TID_RANGE_SCAN_SINCE:
        conditions = page_conditions(_pages(connection, table), count)
    else:
        conditions = _key_conditions(connection, table, count)
    if len(conditions) < 2:
        return whole
    return [Part(condition, table.bytes // len(conditions)) for condition in conditions]


def page_conditions(pages: int, count: int) -> list[str]:
    """Cut at pages. The last part is open: pages that came after the snapshot hold no row that it sees, or few."""
    count = min(count, pages)
    cuts = [pages * number // count for number in range(1, count)]
    return _half_open("ctid", [f"'({cut},0)'::pg_catalog.tid" for cut in cuts])


def range_conditions(column: str, type_name: str, cuts: Sequence[str]) -> list[str]:
    """Cut a not-null column at `cuts`, each greater than the one before by the very comparison of the conditions."""
    return _half_open(quote(column), [f"{literal(cut)}::{type_name}" for cut in cuts])


def evenly(bounds: Sequence[str], count: int) -> list[str]:
    """Choose those of the sorted `bounds` that make at most `count` shares of about the same size."""
    cuts: list[str] = []
    for number in range(1, count):
        bound = bounds[len(bounds) * number // count] if bounds else None
        if bound is not None and (not cuts or cuts[-1] != bound):
            cuts.append(bound)
    return cuts


def _half_open(left: str, cuts: list[str]) -> list[str]:
    edges: list[str | None] = [None, *cuts, None]
    conditions = []
    for low, high in pairwise(edges):
        terms = [f"{left} >= {low}"] if low is not None else []
        terms += [f"{left} < {high}"] if high is not None else []
        conditions.append(" AND ".join(terms))
    return conditions


def _pages(connection: Connection, table: Table) -> int:
    row = connection.execute(
        "SELECT pg_catalog.pg_relation_size(%s::oid) / pg_catalog.current_setting('block_size')::bigint", (table.oid,)
    ).fetchone()
    return int(str(row[0])) if row and row[0] is not None else 0


def _can_be_asked(connection: Connection, table: Table) -> bool:
    """Say whether a condition can be asked of a table. To plan it, a server reads the functions of the indexes, and one
    that names what it calls without a schema is not understood here; rows that are read as a whole need no plan."""
    text = f"SELECT 1 FROM ONLY {qualified(table.schema, table.name)} LIMIT 0"  # noqa: S608 - quoted names only
    try:
        with connection.transaction():
            connection.execute(text.encode())
    except psycopg.Error as error:
        if error.sqlstate not in UNKNOWN_NAMES:
            raise
        return False
    return True


def _key_conditions(connection: Connection, table: Table, count: int) -> list[str]:
    key = next((column for column in table.columns if table.key and column.name == table.key[0]), None)
    if key is None or not key.not_null:
        return []
    row = connection.execute(
        "SELECT histogram_bounds::text::text[] FROM pg_catalog.pg_stats"
        " WHERE schemaname = %s AND tablename = %s AND attname = %s AND NOT inherited",
        (table.schema, table.name, key.name),
    ).fetchone()
    bounds = row[0] if row else None
    if isinstance(bounds, list) and bounds:
        cuts = _in_order(connection, table, key, evenly(bounds, count))
        return range_conditions(key.name, key.type_name, cuts)
    return _spread(connection, table, key, count) if key.type_name in _INTEGERS else []


def _in_order(connection: Connection, table: Table, key: Column, cuts: Sequence[str]) -> list[str]:
    """Return those of `cuts` that differ, sorted as the conditions of the parts compare them; [] if nothing can.

    Statistics may have another order: of a collation that the server had before an update or, before version 12, of the
    database's; of an operator that is out of reach without its schema, where a condition compares the values as texts.
    """
    values = ", ".join(f"({number}, {literal(cut)}::{key.type_name})" for number, cut in enumerate(cuts))
    # No row is read: the column gives the values its collation, as it does in a condition.
    column = f"SELECT {quote(key.name)} FROM ONLY {qualified(table.schema, table.name)} LIMIT 0"  # noqa: S608
    one = f"coalesce(({column}), one.value)"
    text = (
        f"WITH cut (number, value) AS (VALUES {values}) SELECT one.number,"  # noqa: S608 - quoted names and literals
        f" count(CASE WHEN {one} < other.value THEN 1 END), count(CASE WHEN {one} >= other.value THEN 1 END)"
        " FROM cut AS one, cut AS other GROUP BY one.number"
    )
    try:
        with connection.transaction():
            rows = connection.execute(text.encode()).fetchall()
    except psycopg.Error as error:
        if error.sqlstate not in UNKNOWN_NAMES and error.sqlstate != _NO_COLLATION:
            raise
        return []
    found: dict[int, str] = {}
    for number, above, not_above in rows:
        if int(str(above)) + int(str(not_above)) == len(cuts):  # else these are not each other's opposite
            found.setdefault(int(str(not_above)), cuts[int(str(number))])
    return [cut for _, cut in sorted(found.items())]


def _spread(connection: Connection, table: Table, key: Column, count: int) -> list[str]:
    """Cut an integer key without statistics evenly between its ends."""
    column = quote(key.name)
    place = f"{quote(table.schema)}.{quote(table.name)}"
    text = f"SELECT min({column}), max({column}) FROM ONLY {place}"  # noqa: S608 - quoted names only
    row = connection.execute(text.encode()).fetchone()
    if row is None or row[0] is None:
        return []
    low, high = int(str(row[0])), int(str(row[1]))
    bounds = [str(low + (high - low) * number // count) for number in range(count)]
    return range_conditions(key.name, key.type_name, evenly(bounds, count))
