"""TRUNCATE of tables that foreign keys which are not enforced (since 18) lead to.

TRUNCATE allows foreign keys between the tables that it names. Those it looks up only among tables that have, or once
had, a trigger, as every key used to bring some. One that is not enforced brings none: a table with no other key is
overlooked, and refused as one that is left out. A trigger that comes and goes in the same transaction is mark enough.
"""

from __future__ import annotations

from collections.abc import Iterable

from .names import literal, qualified, quote

_MARK = quote("towpath_mark")
_CALL = "pg_catalog.suppress_redundant_updates_trigger()"


def overlooked_sql(tables: Iterable[str]) -> str:
    """Return a query for those of these tables (quoted names), and of their partitions, that TRUNCATE would overlook.

    Columns: schema and name. Before 18 there are none.
    """
    names = ", ".join(map(literal, tables))
    return (
        f"WITH RECURSIVE emptied(oid) AS (SELECT unnest(ARRAY[{names}]::pg_catalog.regclass[])::oid"  # noqa: S608 - quoted
        " UNION SELECT i.inhrelid FROM emptied e JOIN pg_catalog.pg_class c ON c.oid = e.oid AND c.relkind = 'p'"
        " JOIN pg_catalog.pg_inherits i ON i.inhparent = e.oid)"
        " SELECT DISTINCT n.nspname, c.relname FROM emptied e JOIN pg_catalog.pg_class c ON c.oid = e.oid"
        " JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
        " JOIN pg_catalog.pg_constraint k ON k.conrelid = c.oid"
        " WHERE c.relkind = 'r' AND NOT c.relhastriggers AND k.contype = 'f' AND k.conrelid <> k.confrelid"
        " AND k.confrelid IN (SELECT oid FROM emptied)"
    )


def marking(schema: str, name: str) -> list[str]:
    """Return the statements that keep a table from being overlooked for the rest of the transaction."""
    table = qualified(schema, name)
    return [
        f"CREATE TRIGGER {_MARK} BEFORE UPDATE ON {table} FOR EACH ROW EXECUTE FUNCTION {_CALL}",
        f"DROP TRIGGER {_MARK} ON {table}",
    ]
