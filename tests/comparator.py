"""An oracle of its own: says how two databases differ, row by row, without a line of the product's code.

Slow and simple on purpose. Every column of every row as text under pinned settings, hashed, compared as multisets;
sequences, large objects and a dump of the catalog besides.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Collection
from typing import Any

import psycopg
from psycopg import sql

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
_USER_SCHEMA = (
    "n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', 'towpath')"
    " AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend x WHERE x.objid = {oid} AND x.deptype = 'e')"
)
_MINE = _USER_SCHEMA.format(oid="c.oid")
_RELATION = "pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace AND " + _MINE

_CATALOG = {
    "schema": "SELECT n.nspname, '' FROM pg_catalog.pg_namespace n WHERE " + _USER_SCHEMA.format(oid="n.oid"),
    "relation": (
        "SELECT format('%I.%I', n.nspname, c.relname), concat_ws(' ', c.relkind, c.relpersistence, c.relrowsecurity,"
        " c.relispartition, pg_catalog.pg_get_partkeydef(c.oid), pg_catalog.pg_get_expr(c.relpartbound, c.oid),"
        " c.reloptions::text, (SELECT string_agg(i.inhparent::regclass::text, ',' ORDER BY i.inhseqno)"
        " FROM pg_catalog.pg_inherits i WHERE i.inhrelid = c.oid))"
        f" FROM {_RELATION} WHERE c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f', 'c')"
    ),
    "column": (
        "SELECT format('%I.%I.%I', n.nspname, c.relname, a.attname), concat_ws(' ',"
        " row_number() OVER (PARTITION BY c.oid ORDER BY a.attnum), pg_catalog.format_type(a.atttypid, a.atttypmod),"
        " CASE WHEN a.attnotnull THEN 'not null' END, a.attidentity, a.attgenerated, a.attstorage,"
        " (SELECT collname FROM pg_catalog.pg_collation o WHERE o.oid = a.attcollation),"
        " pg_catalog.pg_get_expr(d.adbin, d.adrelid))"
        f" FROM {_RELATION} JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT"
        f" a.attisdropped"
        " LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum"
        " WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'c')"
    ),
    "index": (
        "SELECT format('%I.%I', n.nspname, c.relname), concat_ws(' ', pg_catalog.pg_get_indexdef(c.oid),"
        " i.indisvalid, i.indisprimary, i.indisreplident, i.indisclustered)"
        f" FROM {_RELATION} JOIN pg_catalog.pg_index i ON i.indexrelid = c.oid"
    ),
    # 18 keeps rows for NOT NULL, 16 does not; those below a partitioned table get their names anew at every restore.
    "constraint": (
        "SELECT format('%s on %s', quote_ident(k.conname), coalesce(k.conrelid::regclass::text,"
        " k.contypid::regtype::text)),"
        " concat_ws(' ', pg_catalog.pg_get_constraintdef(k.oid), k.convalidated)"
        " FROM pg_catalog.pg_constraint k JOIN pg_catalog.pg_namespace n ON n.oid = k.connamespace"
        " AND " + _USER_SCHEMA.format(oid="k.oid") + " WHERE k.contype <> 'n' AND k.conparentid = 0"
    ),
    "view": (
        f"SELECT format('%I.%I', n.nspname, c.relname), pg_catalog.pg_get_viewdef(c.oid) || c.relispopulated"
        f" FROM {_RELATION}"
        " WHERE c.relkind IN ('v', 'm')"
    ),
    "trigger": (
        "SELECT format('%I on %I.%I', t.tgname, n.nspname, c.relname), concat_ws(' ',"
        " pg_catalog.pg_get_triggerdef(t.oid), t.tgenabled)"
        f" FROM {_RELATION} JOIN pg_catalog.pg_trigger t ON t.tgrelid = c.oid AND NOT t.tgisinternal"
    ),
    "rule": (
        "SELECT format('%I on %I.%I', r.rulename, n.nspname, c.relname), concat_ws(' ',"
        " pg_catalog.pg_get_ruledef(r.oid), r.ev_enabled)"
        f" FROM {_RELATION} JOIN pg_catalog.pg_rewrite r ON r.ev_class = c.oid AND r.rulename <> '_RETURN'"
    ),
    "function": (
        "SELECT c.oid::regprocedure::text, pg_catalog.pg_get_functiondef(c.oid) FROM pg_catalog.pg_proc c"
        f" JOIN pg_catalog.pg_namespace n ON n.oid = c.pronamespace AND {_MINE} WHERE c.prokind IN ('f', 'p')"
    ),
    "type": (
        "SELECT format('%I.%I', n.nspname, c.typname), concat_ws(' ', c.typtype, c.typnotnull, c.typdefault,"
        " pg_catalog.format_type(c.typbasetype, c.typtypmod),"
        " (SELECT string_agg(quote_literal(e.enumlabel), ',' ORDER BY e.enumsortorder) FROM"
        " pg_catalog.pg_enum e WHERE e.enumtypid = c.oid),"
        " (SELECT r.rngsubtype::regtype::text FROM pg_catalog.pg_range r WHERE r.rngtypid = c.oid))"
        f" FROM pg_catalog.pg_type c JOIN pg_catalog.pg_namespace n ON n.oid = c.typnamespace AND {_MINE}"
        " WHERE c.typtype IN ('e', 'd', 'r') OR EXISTS (SELECT FROM pg_catalog.pg_class k WHERE k.oid ="
        " c.typrelid AND k.relkind = 'c')"
    ),
    "statistics": (
        "SELECT format('%I.%I', n.nspname, c.stxname), pg_catalog.pg_get_statisticsobjdef(c.oid) FROM"
        " pg_catalog.pg_statistic_ext c"
        f" JOIN pg_catalog.pg_namespace n ON n.oid = c.stxnamespace AND {_MINE}"
    ),
    "replica identity": f"SELECT format('%I.%I', n.nspname, c.relname), c.relreplident FROM {_RELATION} WHERE"
    f" c.relkind IN ('r', 'p')",
    "sequence definition": (
        "SELECT format('%I.%I', n.nspname, c.relname), concat_ws(' ', q.seqtypid::regtype, q.seqstart,"
        " q.seqincrement, q.seqmin,"
        " q.seqmax, q.seqcache, q.seqcycle, (SELECT format('%s.%s %s', d.refobjid::regclass, a.attname, d.deptype)"
        " FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_attribute a ON a.attrelid = d.refobjid AND a.attnum"
        " = d.refobjsubid"
        " WHERE d.objid = c.oid AND d.classid = 'pg_catalog.pg_class'::regclass AND d.deptype IN ('a', 'i')))"
        f" FROM {_RELATION} JOIN pg_catalog.pg_sequence q ON q.seqrelid = c.oid"
    ),
    "comment": (
        "SELECT concat_ws(' ', i.type, i.identity), d.description FROM pg_catalog.pg_description d,"
        " LATERAL pg_catalog.pg_identify_object(d.classoid, d.objoid, d.objsubid) i"
        " WHERE i.schema IS DISTINCT FROM 'pg_catalog' AND i.schema IS DISTINCT FROM 'information_schema'"
        " AND i.type NOT IN ('language', 'extension', 'access method', 'cast', 'conversion', 'operator',"
        " 'operator class')"
        " AND i.identity IS NOT NULL AND d.objoid >= 2200"
    ),
}

Rows = Counter[bytes]


def differences(
    source: psycopg.Connection[Any],
    target: psycopg.Connection[Any],
    *,
    tables: Collection[str] | None = None,
    ignore: Collection[str] = (),
) -> list[str]:
    """Return every difference in words; empty when both databases are the same.

    Nobody may write meanwhile. `tables` limits the comparison to these (`schema.name`, quoted as PostgreSQL does) and
    leaves the catalog, sequences and large objects out. `ignore` names kinds to leave out: a key of the catalog dump,
    `sequence`, `large object`.
    """
    for connection in (source, target):
        for pin in _PINS:
            connection.execute(pin)
    found = _compare_rows(source, target, tables)
    if tables is None:
        for kind, query in _CATALOG.items():
            if kind not in ignore:
                found += _compare(kind, _pairs(source, query), _pairs(target, query))
        if "sequence" not in ignore:
            found += _compare("sequence", _sequences(source), _sequences(target))
        if "large object" not in ignore:
            found += _compare("large object", _large_objects(source), _large_objects(target))
    return found


def table_digest(connection: psycopg.Connection[Any], table: str) -> Rows:
    """Return the rows of a table (`schema.name`, quoted as PostgreSQL does) as a multiset of hashes."""
    columns = [
        row[0]
        for row in connection.execute(
            "SELECT attname FROM pg_catalog.pg_attribute WHERE attrelid = %s::regclass AND attnum > 0"
            " AND NOT attisdropped ORDER BY attname",
            (table,),
        ).fetchall()
    ]
    if not columns:
        count = connection.execute(f"SELECT count(*) FROM ONLY {table}".encode()).fetchone()
        return Counter({b"": count[0]} if count else {})
    listed = sql.SQL(", ").join(sql.SQL("{}::text").format(sql.Identifier(name)) for name in columns)
    rows: Rows = Counter()
    with connection.transaction(), connection.cursor(name="comparator") as cursor:
        cursor.itersize = 5000
        cursor.execute(listed_select(listed, table))
        for row in cursor:
            digest = hashlib.sha256()
            for value in row:  # the length in front keeps 'a','b' apart from 'ab',''; NULL from ''
                text = b"" if value is None else value.encode()
                digest.update(b"-" if value is None else str(len(text)).encode() + b":" + text)
            rows[digest.digest()] += 1
    return rows


def listed_select(columns: sql.Composable, table: str) -> sql.Composed:
    """Return the query of all rows of one physical table."""
    return sql.SQL("SELECT {} FROM ONLY ").format(columns) + sql.SQL(table)  # type: ignore[arg-type]


def _compare_rows(source: Any, target: Any, tables: Collection[str] | None) -> list[str]:
    names = [set(_tables(connection)) for connection in (source, target)]
    wanted = set(tables) if tables is not None else names[0] | names[1]
    found = []
    for table in sorted(wanted):
        missing = [side for side, known in zip(("source", "target"), names, strict=True) if table not in known]
        if missing:
            found.append(f"table {table}: missing or unpopulated on the {' and the '.join(missing)}")
            continue
        here, there = table_digest(source, table), table_digest(target, table)
        if here != there:
            found.append(
                f"table {table}: {here.total()} rows on the source, {there.total()} on the target;"
                f" {(here - there).total()} only on the source, {(there - here).total()} only on the target"
            )
    return found


def _tables(connection: Any) -> list[str]:
    kinds = "c.relkind IN ('r', 'm') AND c.relispopulated"
    query = f"SELECT format('%I.%I', n.nspname, c.relname) FROM {_RELATION} WHERE {kinds}"
    return [row[0] for row in connection.execute(query.encode()).fetchall()]


def _pairs(connection: Any, query: str) -> dict[str, str]:
    return {str(name): str(value) for name, value in connection.execute(query.encode()).fetchall()}


def _sequences(connection: Any) -> dict[str, str]:
    query = f"SELECT format('%I.%I', n.nspname, c.relname) FROM {_RELATION} WHERE c.relkind = 'S'"
    values = {}
    for (name,) in connection.execute(query.encode()).fetchall():
        row = connection.execute(f"SELECT last_value, is_called FROM {name}".encode()).fetchone()
        values[name] = str(row)
    return values


def _large_objects(connection: Any) -> dict[str, str]:
    oids = [row[0] for row in connection.execute("SELECT oid FROM pg_catalog.pg_largeobject_metadata").fetchall()]
    values = {}
    for oid in oids:
        row = connection.execute("SELECT pg_catalog.lo_get(%s)", (oid,)).fetchone()
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
