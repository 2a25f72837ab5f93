"""How to tell that a table was neither emptied nor rewritten since a snapshot.

An older snapshot does not survive TRUNCATE and rewrites: it sees an empty table, and no error. Both give the table a
new file. A session under the snapshot reads the file's number of then from the catalog, while the server's functions
answer with the one of now; with a lock on the table the answer stays true until the lock is given back.
"""

from __future__ import annotations

from collections.abc import Sequence

from .names import literal, qualified

TableName = tuple[str, str]

LOCK_NOT_AVAILABLE = "55P03"
GONE = frozenset({"42P01", "3F000", "42809"})
"""SQLSTATEs of a lock on what is no table any more."""


def lock_text(names: Sequence[TableName]) -> str:
    """Return the statement that keeps these tables (schema, name) from being emptied, rewritten, altered or dropped."""
    return "LOCK TABLE " + ", ".join("ONLY " + qualified(*name) for name in names) + " IN ACCESS SHARE MODE"


def standing_text(names: Sequence[TableName]) -> str:
    """Return the query for the oids of those that still are what the transaction's snapshot sees. Lock them before."""
    listed = ", ".join(f"({literal(qualified(*name))}::pg_catalog.regclass)" for name in names)
    return (
        "SELECT c.oid::pg_catalog.int8 FROM (VALUES " + listed + ") v(name)"  # noqa: S608 - literals only
        " JOIN pg_catalog.pg_class c ON c.oid = v.name"
        " WHERE c.relfilenode = pg_catalog.pg_relation_filenode(c.oid)"
    )
