"""Items about rows that are too large to be sent."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable

import psycopg

from ..catalog import Table
from ..encodings import Encodings
from ..plan import DatabasePlan, Side
from ..row_sizes import LargeRow, may_hold_one, too_large
from ..sql import query
from ..wording import Sentence, count, listing, say, together
from .context import Context, Unavailable
from .registry import ON_SOURCE, Finding, Group, failed, item, passed, size, warning

LARGE_VALUE_BYTES = 100 << 20
LOOK_SECONDS = 8.0
"""For all tables of a database together: shorter than an item may take."""
_HINT = say(
    "Shrink or split these rows on the source, or leave the tables out. PostgreSQL builds a row in one piece of memory "
    "of at most 1 GB, so no tool can read them whole."
)


@item(
    "large-values",
    "Values that fit into a message",
    Group.SELECTION,
    "PostgreSQL cannot send a row of more than 1 GB.",
    per_database=True,
    sides=ON_SOURCE,
)
def large_values(context: Context, database: DatabasePlan) -> Finding:
    """Look for rows that cannot be sent in tables that keep enough outside their rows; then at averages."""
    chosen = {table.oid: table for table in context.tables(database.source_name)}
    rows = context.source(database.source_name).execute(query("check_large_values")).fetchall()
    held = {chosen[oid]: int(str(value)) for key, value in rows if (oid := int(str(key))) in chosen}
    bad, unseen = _look(context, database, [table for table, value in held.items() if may_hold_one(value)])
    if bad:
        words = [
            say("row {key} of {table} has {size}", key=row.key, table=_words(table), size=size(row.bytes))
            for table, row in bad
        ]
        return failed(say("ROW-TOOBIG: {rows}. PostgreSQL cannot send it.", rows=listing(words)), _HINT)
    wide = {table: value // max(1, table.rows_estimate) for table, value in held.items()}
    found = [
        say("{table} ({size} in a row on average)", table=_words(table), size=size(mean))
        for table, mean in wide.items()
        if _much(mean)
    ]
    if found or unseen:
        return warning(
            _not_known(found, unseen),
            say(
                "A row of more than 1 GB, or a bytea of more than 500 MB that is sent as text, cannot be "
                "migrated; the copy names it. Look for such rows and split them, or leave the table out. "
                "ANALYZE makes this estimate better."
            ),
        )
    return passed(say("No row is too large to be sent."))


def _not_known(found: list[Sentence], unseen: list[Table]) -> Sentence:
    """Say which tables may hold a row that is too large: by their average, or as nobody has looked at all of them."""
    said = []
    if found:
        number = count(len(found), "{number} table", "{number} tables")
        said.append(say("{number} with very large rows: {names}.", number=number, names=listing(found)))
    if unseen:
        names = listing(_words(table) for table in unseen)
        said.append(
            say(
                "Not read within {seconds} s, so whether a row is too large is not known: {names}.",
                seconds=int(LOOK_SECONDS),
                names=names,
            )
        )
    return together(said)


def _look(
    context: Context, database: DatabasePlan, tables: Iterable[Table]
) -> tuple[list[tuple[Table, LargeRow]], list[Table]]:
    """Return the rows that are too large, and the tables that could not be read to their end."""
    converted = not _both_unicode(context, database)
    until = time.monotonic() + LOOK_SECONDS
    bad: list[tuple[Table, LargeRow]] = []
    unseen: list[Table] = []
    for table in sorted(tables, key=lambda one: one.bytes):
        left = until - time.monotonic()
        if not table.can_read:
            continue  # another item says so
        if left <= 0:
            unseen.append(table)
            continue
        # Whether the other side can take binary is known only when its tables stand: this is the least that is sent.
        as_text = converted or not all(column.binary_form for column in table.copied_columns)
        found = too_large(context.source(database.source_name), table, as_text=as_text, seconds=left)
        if found is None:
            unseen.append(table)
        bad += [(table, row) for row in found or ()]
    return bad, unseen


def _both_unicode(context: Context, database: DatabasePlan) -> bool:
    """Say whether both databases are UTF8: only then binary is possible. A missing one is made like the source's."""
    source = str(context.source_database(database.source_name)["encoding"])
    target = source
    with contextlib.suppress(Unavailable, psycopg.Error):
        there = context.databases(Side.TARGET).get(database.target_name)
        target = str(there["encoding"]) if there else source
    return Encodings(source, target).same_unicode


def _much(mean: int) -> bool:
    return mean >= LARGE_VALUE_BYTES


def _words(table: Table) -> str:
    return f"{table.schema}.{table.name}"
