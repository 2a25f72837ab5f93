"""An oracle of its own: says how two databases differ, row by row, without a line of the product's code.

Slow and simple on purpose. Every column of every row as text under pinned settings, hashed, compared as multisets;
sequences, large objects and a dump of the catalog besides.
"""

from __future__ import annotations

import hashlib
import re
import struct
from collections import Counter
from collections.abc import Collection
from typing import Any

import psycopg
from psycopg import sql

from tests.comparator_catalog import CATALOG, RELATION, RIGHTS, asked, normal, plain_name

_PINS = (
    "SET TimeZone = 'UTC'",
    "SET DateStyle = 'ISO, YMD'",
    "SET IntervalStyle = 'postgres'",
    "SET extra_float_digits = 3",
    "SET bytea_output = 'hex'",
    "SET search_path = ''",
    "SET lc_monetary = 'C'",
    "SET statement_timeout = 0",
)

Rows = Counter[bytes]


def differences(
    source: psycopg.Connection[Any],
    target: psycopg.Connection[Any],
    *,
    tables: Collection[str] | None = None,
    ignore: Collection[str] = (),
    rights: bool = False,
) -> list[str]:
    """Return every difference in words; empty when both databases are the same.

    Nobody may write meanwhile. `tables` limits the comparison to these (`schema.name`, quoted as PostgreSQL does) and
    leaves the catalog, sequences and large objects out. `ignore` names kinds to leave out: a key of the catalog dump,
    `sequence`, `large object`. `rights` compares owners and grants too, which need the same roles on both servers.
    """
    for connection in (source, target):
        for pin in _PINS:
            connection.execute(pin)
    found = _compare_rows(source, target, tables)
    if tables is None:
        for kind, query in {**CATALOG, **(RIGHTS if rights else {})}.items():
            if kind not in ignore:
                found += _compare_kind(kind, query, source, target)
        if "sequence" not in ignore:
            found += _compare("sequence", _sequences(source), _sequences(target))
        if "large object" not in ignore:
            found += _compare("large object", _large_objects(source), _large_objects(target))
    return found


_FLOATS = ("real", "double precision", "point", "lseg", "path", "box", "polygon", "line", "circle", "cube", "seg")
_SINGLE = ("real", "seg")
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?")
_COLUMNS = (
    "SELECT a.attname, format_type(a.atttypid, NULL), (SELECT format_type(r.rngsubtype, NULL)"
    " FROM pg_catalog.pg_range r WHERE r.rngtypid = a.atttypid) FROM pg_catalog.pg_attribute a"
    " WHERE a.attrelid = %s::regclass AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attname"
)


def table_digest(connection: psycopg.Connection[Any], table: str, *, number: bool = False) -> Rows:
    """Return the rows of a table (`schema.name`, quoted as PostgreSQL does) as a multiset of hashes.

    `number` takes floats as the numbers that they are: before 12 they were printed with 17 digits, points
    otherwise still before 9.6.
    """
    columns = connection.execute(_COLUMNS, (table,)).fetchall()
    if not columns:
        count = connection.execute(f"SELECT count(*) FROM ONLY {table}".encode()).fetchone()
        return Counter({b"": count[0]} if count else {})
    floats = [_float_kind(str(kind), str(inner or "")) if number else "" for _, kind, inner in columns]
    listed = sql.SQL(", ").join(sql.SQL("{}::text").format(sql.Identifier(name)) for name, _, _ in columns)
    rows: Rows = Counter()
    with connection.transaction(), connection.cursor(name="comparator") as cursor:
        cursor.itersize = 5000
        cursor.execute(listed_select(listed, table))
        for row in cursor:
            digest = hashlib.sha256()
            for value, float_kind in zip(row, floats, strict=True):
                # the length in front keeps 'a','b' apart from 'ab',''; NULL from ''
                text = b"" if value is None else (_exact(value, float_kind) if float_kind else value).encode()
                digest.update(b"-" if value is None else str(len(text)).encode() + b":" + text)
            rows[digest.digest()] += 1
    return rows


def _float_kind(kind: str, inner: str) -> str:
    """Return `f` or `d` for a column of floats, of whatever shape, and '' for another."""
    name = (inner or kind).removesuffix("[]").rpartition(".")[2]
    return ("f" if name in _SINGLE else "d") if name in _FLOATS else ""


def _exact(text: str, kind: str) -> str:
    """Write every number as the bytes of the float that it stands for; before 9.6 points hold `inf` and `-nan`."""
    text = re.sub(r"-?\bnan\b", "NaN", re.sub(r"\binf\b", "Infinity", text))
    return _NUMBER.sub(lambda found: struct.pack(kind, float(found[0])).hex(), text)


def listed_select(columns: sql.Composable, table: str) -> sql.Composed:
    """Return the query of all rows of one physical table."""
    return sql.SQL("SELECT {} FROM ONLY ").format(columns) + sql.SQL(table)  # type: ignore[arg-type]


def _compare_rows(source: Any, target: Any, tables: Collection[str] | None) -> list[str]:
    versions = [connection.info.server_version for connection in (source, target)]
    number = any(min(versions) < changed <= max(versions) for changed in (90600, 120000))
    names = [{plain_name(name): name for name in _tables(connection)} for connection in (source, target)]
    wanted = {plain_name(name) for name in tables} if tables is not None else {*names[0], *names[1]}
    found = []
    for table in sorted(wanted):
        missing = [side for side, known in zip(("source", "target"), names, strict=True) if table not in known]
        if missing:
            found.append(f"table {table}: missing or unpopulated on the {' and the '.join(missing)}")
            continue
        here, there = (
            table_digest(connection, known[table], number=number)
            for connection, known in zip((source, target), names, strict=True)
        )
        if here != there:
            found.append(
                f"table {table}: {here.total()} rows on the source, {there.total()} on the target;"
                f" {(here - there).total()} only on the source, {(there - here).total()} only on the target"
            )
    return found


def _tables(connection: Any) -> list[str]:
    kinds = "c.relkind IN ('r', 'm') AND c.relispopulated"
    query = f"SELECT format('%I.%I', n.nspname, c.relname) FROM {RELATION} WHERE {kinds}"
    return [row[0] for row in connection.execute(query.encode()).fetchall()]


def _compare_kind(kind: str, query: str, source: Any, target: Any) -> list[str]:
    versions = [connection.info.server_version for connection in (source, target)]
    queries = [asked(kind, query, version) for version in versions]
    if queries[0] is None or queries[1] is None:
        return []  # the older server has nothing of this kind
    here, there = _pairs(source, queries[0]), _pairs(target, queries[1])
    if versions[0] // 10000 != versions[1] // 10000:
        here, there = ({plain_name(name): normal(kind, text) for name, text in side.items()} for side in (here, there))
    return _compare(kind, here, there)


def _pairs(connection: Any, query: str) -> dict[str, str]:
    return {str(name): str(value) for name, value in connection.execute(query.encode()).fetchall()}


def _sequences(connection: Any) -> dict[str, str]:
    query = f"SELECT format('%I.%I', n.nspname, c.relname) FROM {RELATION} WHERE c.relkind = 'S'"
    values = {}
    for (name,) in connection.execute(query.encode()).fetchall():
        row = connection.execute(f"SELECT last_value, is_called FROM {name}".encode()).fetchone()
        values[name] = str(row)
    return values


_LARGE_OBJECT = {
    True: "SELECT pg_catalog.lo_get(%s)",
    False: "SELECT coalesce(string_agg(data, ''::bytea ORDER BY pageno), '') FROM pg_catalog.pg_largeobject"
    " WHERE loid = %s",
}


def _large_objects(connection: Any) -> dict[str, str]:
    oids = [row[0] for row in connection.execute("SELECT oid FROM pg_catalog.pg_largeobject_metadata").fetchall()]
    values = {}
    for oid in oids:
        row = connection.execute(_LARGE_OBJECT[connection.info.server_version >= 90400], (oid,)).fetchone()
        values[str(oid)] = f"{len(row[0])} bytes {hashlib.sha256(row[0]).hexdigest()}"
    return values


def _compare(kind: str, here: dict[str, str], there: dict[str, str]) -> list[str]:
    found = []
    for name in sorted(here.keys() | there.keys()):
        if name not in there:
            found.append(f"{kind} {name}: missing on the target")
        elif name not in here:
            found.append(f"{kind} {name}: only on the target")
        elif here[name] != there[name]:
            found.append(f"{kind} {name}: {here[name]!r} on the source, {there[name]!r} on the target")
    return found
