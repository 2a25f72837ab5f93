"""What is known of a table that is to be copied, the statements that do it, and why it may have to wait."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field

from .binary_forms import may_travel
from .catalog import Table
from .connect import Connection
from .encodings import Encodings
from .errors import SchemaChanged
from .names import literal, qualified, quote
from .parts import Part, Shares
from .plan import DatabasePlan
from .ports import TableState
from .unmoved import TableName
from .wording import say

_ACTING = """
WITH RECURSIVE tree(name, oid) AS (
  SELECT u.name, pg_catalog.to_regclass(u.name)::oid FROM unnest(%s::text[]) u(name)
  UNION ALL SELECT tree.name, i.inhrelid FROM tree
    JOIN pg_catalog.pg_class p ON p.oid = tree.oid AND p.relkind = 'p'
    JOIN pg_catalog.pg_inherits i ON i.inhparent = tree.oid
)
SELECT DISTINCT n.nspname::text, c.relname::text, k.conname::text
  FROM tree JOIN pg_catalog.pg_constraint k ON k.confrelid = tree.oid
  JOIN pg_catalog.pg_class c ON c.oid = k.conrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 WHERE k.contype = 'f' AND k.confdeltype IN ('c', 'n', 'd')
   AND coalesce(pg_catalog.row_to_json(k) ->> 'conenforced', 'true') = 'true'
   AND NOT EXISTS (SELECT 1 FROM tree o WHERE o.name = tree.name AND o.oid = k.conrelid) ORDER BY 1, 2, 3
"""
_FILES = """
WITH RECURSIVE tree(oid) AS (
  SELECT pg_catalog.to_regclass(%s)::oid
  UNION ALL SELECT i.inhrelid FROM tree
    JOIN pg_catalog.pg_class p ON p.oid = tree.oid AND p.relkind = 'p'
    JOIN pg_catalog.pg_inherits i ON i.inhparent = tree.oid
)
SELECT string_agg(coalesce(pg_catalog.pg_relation_filenode(oid)::text, '-'), ' ' ORDER BY oid) FROM tree
 WHERE oid IS NOT NULL
"""


@dataclass(eq=False)
class TableWork:
    """One table to be copied: what is known of it on both ends, and how far it is."""

    database: DatabasePlan
    state: TableState
    table: Table
    target: Table | None
    ours: bool
    """The task made it on the target, so it may be emptied."""
    adopted: bool = False
    """It was there before: others may refer to it, so that it is emptied row by row."""
    referred: bool = False
    """A foreign key of another table refers to it by now, so that it cannot be truncated either."""
    unenforced: bool = False
    """None of those keys is enforced: to delete its rows touches no other ones, whatever acts in the session."""
    place: TableName = ("", "")
    """(schema, name) on the target; the source's unless it is given."""
    left: int = 1
    """Units that are not done with."""
    shares: Shares = field(default_factory=Shares)
    bytes_done: int = 0
    rows_done: int = 0
    clearing: threading.Lock = field(default_factory=threading.Lock, repr=False)
    guarding: threading.Lock = field(default_factory=threading.Lock, repr=False)
    """Held by the lane whose transaction keeps the target's autovacuum away."""

    def __post_init__(self) -> None:
        if not self.place[0]:
            self.place = (self.table.schema, self.table.name)

    @property
    def label(self) -> str:
        return f"{self.table.schema}.{self.table.name}"


class Moved(Exception):
    """Tables that were emptied, rewritten, replaced or dropped after the snapshot."""

    def __init__(self, works: Sequence[TableWork]) -> None:
        super().__init__(", ".join(work.label for work in works))
        self.works = works


class Busy(Exception):
    """Somebody locks one of the tables, or waits for its lock. The copy may be tried again later."""


class GaveWay(Busy):
    """The same, but in the midst of a copy: the lane must be closed."""


def copy_statements(work: TableWork, part: Part, encodings: Encodings, *, freeze: bool) -> tuple[str, str]:
    """Return the COPY of the source and of the target for a table or a part of it.

    Binary where every column reads back the same on the other server; else text in the source's own encoding, which the
    target converts.
    """
    name = qualified(*(part.of or (work.table.schema, work.table.name)))
    columns = ", ".join(quote(column.name) for column in work.table.copied_columns)
    listed = f" ({columns})" if columns else ""
    options = ["FORMAT binary"] if travels_in_binary(work, encodings) else [f"ENCODING {literal(encodings.source)}"]
    source = f"{name}{listed}"
    if part.where:
        source = f"(SELECT {columns} FROM ONLY {name} WHERE {part.where})"  # noqa: S608 - quoted names only
    elif part.of is None and work.table.gathered:
        source = f"({_all_parts(work.table, columns)})"
    into = [*options, "FREEZE"] if freeze else options
    return (
        f"COPY {source} TO STDOUT ({', '.join(options)})",
        f"COPY {target_name(work)}{listed} FROM STDIN ({', '.join(into)})",
    )


def _all_parts(table: Table, columns: str) -> str:
    """Return the query for all rows of a gathered table: those of the partitions that the snapshot knows.

    One that is attached or detached meanwhile would come or go with the name of the whole, whatever the snapshot says.
    """
    names = [qualified(part.schema, part.name) for part in table.parts]
    if not names:
        return f"SELECT {columns} FROM ONLY {qualified(table.schema, table.name)}"  # noqa: S608 - quoted names only
    return " UNION ALL ".join(f"SELECT {columns} FROM ONLY {name}" for name in names)  # noqa: S608 - quoted names only


def travels_in_binary(work: TableWork, encodings: Encodings) -> bool:
    """Say whether every column reads back the same on the other server when it is sent in binary."""
    if work.target is None or not encodings.same_unicode:
        return False
    there = {column.name: column.binary_form for column in work.target.columns}
    return all(may_travel(column.binary_form, there.get(column.name, "")) for column in work.table.copied_columns)


def shape_changed(work: TableWork) -> SchemaChanged:
    """Return the error for a table whose columns are not those that its counterpart on the target was made from."""
    return SchemaChanged(
        say(
            "The columns of {label} in database {source_name} were changed during the copy.",
            label=work.label,
            source_name=work.database.source_name,
        ),
        hint=say("Change them back, or cancel the task and start it again with what the source has now."),
    )


def emptying(works: Sequence[TableWork], *, silent: bool) -> list[str]:
    """Return the statements that empty these tables on the target.

    `silent`: foreign keys do not act in the session. Where they do, a table that another one refers to is truncated,
    which the target refuses: to delete its rows could take rows of the other table with them.
    """
    by_row = [work for work in works if work.adopted or (work.referred and (silent or work.unenforced))]
    ours = [target_name(work) for work in works if work not in by_row]
    texts = [deleting(work) for work in by_row]
    return texts + (["TRUNCATE " + ", ".join("ONLY " + name for name in ours)] if ours else [])


def acting_keys(connection: Connection, works: Sequence[TableWork]) -> list[str]:
    """Return the foreign keys of other tables on the target that change or delete their rows with those of `works`."""
    rows = connection.execute(_ACTING, ([target_name(work) for work in works],)).fetchall()
    return [f"{schema}.{table} ({key})" for schema, table, key in rows]


def deleting(work: TableWork) -> str:
    """Return the statement that deletes all rows of a table on the target, those of its partitions too."""
    return "DELETE FROM " + reading(work)  # noqa: S608 - a quoted name only


def reading(work: TableWork) -> str:
    """Return how a statement on the target names a table that is to be read: a partitioned one holds no row itself."""
    is_partitioned = work.target is not None and work.target.kind == "p"
    return target_name(work) if is_partitioned else "ONLY " + target_name(work)


def target_name(work: TableWork) -> str:
    """Return the name of the table on the target, quoted."""
    return qualified(*work.place)


def file_of(connection: Connection, work: TableWork) -> str:
    """Return what names the rows that the table on the target has now: TRUNCATE and a rewrite change it.

    Of a partitioned one: the files of all its partitions.
    """
    row = connection.execute(_FILES, (target_name(work),)).fetchone()
    return str(row[0]) if row and row[0] is not None else ""
