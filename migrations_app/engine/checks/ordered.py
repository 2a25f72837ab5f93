"""Which tables are split by the order of text, which another locale of the target changes."""

from __future__ import annotations

from ..plan import DatabasePlan, Side
from ..wording import NOTHING, listing, say
from .context import Context
from .pool import Unavailable

_PARTITIONS_SINCE = 100000
# 100 is the oid of the collation "default", which is the database's own.
_BY_TEXT = """
SELECT p.partrelid::bigint, pg_catalog.format('%I.%I', n.nspname, c.relname)
  FROM pg_catalog.pg_partitioned_table p
  JOIN pg_catalog.pg_class c ON c.oid = p.partrelid
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 WHERE p.partstrat = 'r' AND 100 = ANY (p.partcollation) ORDER BY 2
"""


def splits_by_text(context: Context, database: DatabasePlan) -> str:
    """Return the sentence that names selected tables whose ranges are of text in the database's own order, or ''."""
    if context.version(Side.SOURCE) < _PARTITIONS_SINCE:
        return NOTHING
    try:
        chosen = {table.oid for table in context.tables(database.source_name)}
        rows = context.source(database.source_name).execute(_BY_TEXT).fetchall()
    except Unavailable:
        return NOTHING  # another item says that the database cannot be entered
    names = [str(name) for oid, name in rows if oid in chosen]
    if not names:
        return NOTHING
    return say(
        " Partitions of {names} are ranges of text: a row may belong to another one on the target, which refuses it.",
        names=listing(names),
    )
