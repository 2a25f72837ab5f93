"""A second opinion on whether two databases hold the same rows, in plain SQL and without the engine."""

from __future__ import annotations

from typing import Any

import psycopg

Fingerprint = dict[str, tuple[int, str]]

_PINS = (
    "SET TimeZone = 'UTC'",
    "SET DateStyle = 'ISO, YMD'",
    "SET IntervalStyle = 'postgres'",
    "SET extra_float_digits = 3",
    "SET bytea_output = 'hex'",
    "SET search_path = ''",
)
# No materialized views: the target's are refreshed at Complete, the source's are as old as its last refresh.
_RELATIONS = """
SELECT format('%I.%I', n.nspname, c.relname), c.relkind FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'S') AND n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', 'towpath') ORDER BY 1
"""

LARGE_OBJECTS = "large objects"
_LARGE_OBJECTS = """
SELECT count(*), coalesce(sum(('x' || pg_catalog.substr(pg_catalog.md5(
  pg_catalog.decode(oid::text, 'escape') || pg_catalog.lo_get(oid)), 1, 16))::bit(64)::bigint::numeric), 0)::text
FROM pg_catalog.pg_largeobject_metadata
"""


def fingerprint(connection: psycopg.Connection[Any]) -> Fingerprint:
    """Return the row count and a digest of all rows for every table and sequence, by quoted qualified name.

    Two equal tables have equal entries in whatever order their rows stand. All large objects together are one more
    entry, by number and content. Leaves the session's settings changed.
    """
    for pin in _PINS:
        connection.execute(pin.encode())
    found: Fingerprint = {}
    for name, kind in connection.execute(_RELATIONS.encode()).fetchall():
        what = "t::text" if kind != "S" else "concat_ws(' ', t.last_value, t.is_called)"
        digest = f"('x' || pg_catalog.substr(pg_catalog.md5({what}), 1, 16))::bit(64)::bigint::numeric"
        query = f"SELECT count(*), coalesce(sum({digest}), 0)::text FROM ONLY {name} AS t"  # noqa: S608 - name quoted by format %I
        found[name] = _digest(connection, query)
    found[LARGE_OBJECTS] = _digest(connection, _LARGE_OBJECTS)
    return found


def _digest(connection: psycopg.Connection[Any], query: str) -> tuple[int, str]:
    row = connection.execute(query.encode()).fetchone()
    return (int(row[0]), str(row[1])) if row else (0, "")


def unlike(source: Fingerprint, target: Fingerprint) -> list[str]:
    """Return the names of the tables and sequences that are not the same on both sides."""
    return sorted(name for name in source.keys() | target.keys() if source.get(name) != target.get(name))
