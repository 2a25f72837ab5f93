"""Values of regclass and its like: a number in the row, which travels as the name of what it means.

The text names the schema, as our search path is empty, and the target looks for exactly that name when it reads the
row. Names in rows are never changed: whether a value or a piece of text means a renamed schema is not ours to decide,
and the stream and the comparison would have to change the same values in the same way.
"""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Collection

import psycopg

from .catalog import Table
from .connect import Connection
from .errors import EngineError, TargetError
from .names import literal, qualified, quote
from .outcome import Run
from .plan import DatabasePlan, Side
from .sql import query
from .values import frozen
from .wording import listing, say

UNKNOWN_NAMES = frozenset({"3F000", "42P01", "42704", "42725", "42883"})
"""What a server says of a name that it does not know, or of one that several functions have."""
_CATALOGS = {
    "regclass": ("pg_class", "o.relnamespace"),
    "regtype": ("pg_type", "o.typnamespace"),
    "regproc": ("pg_proc", "o.pronamespace"),
    "regprocedure": ("pg_proc", "o.pronamespace"),
    "regoper": ("pg_operator", "o.oprnamespace"),
    "regoperator": ("pg_operator", "o.oprnamespace"),
    "regnamespace": ("pg_namespace", "o.oid"),
    "regrole": ("pg_roles", "NULL::oid"),
    "regconfig": ("pg_ts_config", "o.cfgnamespace"),
    "regdictionary": ("pg_ts_dict", "o.dictnamespace"),
    "regcollation": ("pg_collation", "o.collnamespace"),
}
_ELEMENTS, _BOUNDS = "[]", "[)"
_RELATIONS = {
    "regclass": "o.oid",
    # Of the row of a table, or an array of such rows.
    "regtype": (
        "coalesce(nullif(o.typrelid, 0), (SELECT e.typrelid FROM pg_catalog.pg_type e WHERE e.oid = o.typelem))"
    ),
}


@frozen
class NamedColumn:
    """A column whose values name objects of one `kind`, such as regclass.

    `way`: where in a value the name is, from the outside: `[]` for each element of an array or range of a multirange,
    `[)` for the bounds of a range, `.name` for a field.
    """

    name: str
    kind: str
    way: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """The column, and the field of its value if there is one."""
        return self.name + "".join(step for step in self.way if step not in (_ELEMENTS, _BOUNDS))


@frozen
class Named:
    """What values of a column name on the source.

    `text` is what travels, empty for numbers that mean nothing there any more. `relation` and `relkind`: of a relation
    or its row type, else empty.
    """

    text: str
    schema: str = ""
    relation: str = ""
    relkind: str = ""


def named_columns(connection: Connection, tables: Collection[int]) -> dict[int, list[NamedColumn]]:
    """Return the columns of these tables (oids) whose values name objects, by table. Raises psycopg's errors."""
    found: dict[int, list[NamedColumn]] = defaultdict(list)
    rows = connection.execute(query("named_columns"), {"tables": list(tables)}).fetchall()
    for table, name, kind, way in rows:
        column = NamedColumn(name=str(name), kind=str(kind), way=tuple(way))  # type: ignore[arg-type]
        found[int(str(table))].append(column)
    return dict(found)


def named_by(connection: Connection, table: Table, column: NamedColumn, *, seconds: float) -> list[Named] | None:
    """Return what the values of a column name, but for what the server itself has.

    None when that takes longer than `seconds`. Reads the whole table. Raises psycopg's errors; no transaction may be
    open.
    """
    try:
        with connection.transaction():
            connection.execute(f"SET LOCAL statement_timeout = {literal(f'{max(1, int(seconds * 1000))}ms')}".encode())
            rows = connection.execute(_values(table, column).encode()).fetchall()
    except psycopg.errors.QueryCanceled:
        return None
    return [
        Named(text=str(text), schema=str(schema or ""), relation=str(relation or ""), relkind=str(relkind or ""))
        for text, schema, relation, relkind in rows
    ]


def _values(table: Table, column: NamedColumn) -> str:
    kind = f"pg_catalog.{column.kind}"
    catalog, space = _CATALOGS[column.kind]
    relation = _RELATIONS.get(column.kind, "NULL::oid")
    value, rows = f"t.{quote(column.name)}", f"ONLY {qualified(table.schema, table.name)} t"
    for number, step in enumerate(column.way):
        if step == _ELEMENTS:
            # Named as a whole: of rows, the function itself would give their fields.
            rows += f", LATERAL (SELECT e FROM pg_catalog.unnest({value}) e) u{number}(value)"  # noqa: S608 - quoted
            value = f"u{number}.value"
        elif step == _BOUNDS:
            bounds = f"(pg_catalog.lower({value})), (pg_catalog.upper({value}))"
            rows += f", LATERAL (VALUES {bounds}) u{number}(value)"
            value = f"u{number}.value"
        else:
            value = f"({value}).{quote(step[1:])}"
    return (
        f"SELECT DISTINCT CASE WHEN o.oid IS NULL THEN '' ELSE v.value::{kind}::text END, n.nspname::text,"  # noqa: S608
        " r.relname::text, r.relkind::text"
        f" FROM (SELECT DISTINCT {value}::{kind}::oid AS value FROM {rows}) v"
        f" LEFT JOIN pg_catalog.{catalog} o ON o.oid = v.value"
        f" LEFT JOIN pg_catalog.pg_namespace n ON n.oid = {space}"
        f" LEFT JOIN pg_catalog.pg_class r ON r.oid = {relation}"
        " WHERE v.value <> 0 AND coalesce(n.nspname, '') NOT IN ('pg_catalog', 'information_schema') ORDER BY 1"
    )


def is_known(connection: Connection, kind: str, text: str) -> bool:
    """Say whether a server takes the text for a value of the type. Raises psycopg's errors, but for an unknown name."""
    try:
        connection.execute(f"SELECT {literal(text)}::pg_catalog.{kind}".encode())
    except psycopg.Error as error:
        if error.sqlstate not in UNKNOWN_NAMES:
            raise
        return False
    return True


def unknown_name(
    run: Run, database: DatabasePlan, table: Table, place: tuple[str, str], error: EngineError
) -> EngineError | None:
    """Return ROW-NAME in place of an error of the target that a value's name has caused; None for any other.

    `place`: the table's name on the target. Raises what `Control.check` raises.
    """
    if error.sqlstate not in UNKNOWN_NAMES or not isinstance(error, TargetError):
        return None
    columns: list[NamedColumn] = []
    with contextlib.suppress(EngineError, psycopg.Error):
        with run.sessions.session(Side.TARGET, database.target_name) as connection:
            stands = is_known(connection, "regclass", qualified(*place))
        with run.sessions.session(Side.SOURCE, database.source_name) as connection:
            columns = named_columns(connection, [table.oid]).get(table.oid, []) if stands else []
    run.ports.control.check()
    if not columns:
        return None
    failure = TargetError(
        say(
            "A value in {label} names what the target does not have. Such values are in {columns}. {message}",
            label=f"{table.schema}.{table.name}",
            columns=listing(dict.fromkeys(say("{name} ({kind})", name=one.name, kind=one.kind) for one in columns)),
            message=error.message,
        ),
        code="ROW-NAME",
    )
    failure.sqlstate = error.sqlstate
    return failure
