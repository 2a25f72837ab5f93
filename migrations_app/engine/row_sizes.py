"""Finds rows that PostgreSQL cannot send: a message, and so a row of COPY, holds less than 1 GiB.

The length of text and bytea is known without reading the values: it stands in the row, compressed or not. Of other
types only the stored size is known, which is less than what is sent, so a row of these may be too large unnoticed.
"""

from __future__ import annotations

import contextlib

import psycopg

from .catalog import Column, Table, moving_tables, read_tables
from .connect import Connection
from .errors import EngineError
from .names import literal, qualified, quote
from .outcome import Run
from .plan import DatabasePlan, Side
from .values import frozen
from .wording import say

MOST_BYTES = 0x3FFFFFFF
"""The most that the server allocates for a message (MaxAllocSize in its memutils.h)."""
_COMPRESSED_AT_MOST = 255
_NAMED = 3
_LIMIT_EXCEEDED, _INTERNAL = "54000", "XX000"
# What the server says of itself and not to users, so it says it in English everywhere.
_TOO_MUCH = "invalid memory alloc request size"
_NAMING_SECONDS = 20.0
_TEXT = ("text", "character varying", "character")


@frozen(kw_only=False)
class LargeRow:
    """One row that is too large: its key as text, and the bytes that it would take to send it, at least."""

    key: str
    bytes: int


def may_hold_one(held_bytes: int) -> bool:
    """Say whether a table that keeps so much outside its rows could hold a row that is too large."""
    return held_bytes * _COMPRESSED_AT_MOST >= MOST_BYTES


def too_large(connection: Connection, table: Table, *, as_text: bool, seconds: float) -> list[LargeRow] | None:
    """Return up to three rows that cannot be sent, None when looking took longer than `seconds`.

    `as_text`: the table does not travel in binary, and a bytea takes twice its length. Reads the table without the
    values that lie outside its rows. Raises psycopg's errors; no transaction may be open.
    """
    terms = " + ".join(_length(column, as_text=as_text) for column in table.copied_columns) or "0"
    key = ", ".join(quote(name) for name in table.key)
    shown = f"ROW({key})::text" if table.key else "ctid::text"
    text = (
        f"SELECT {shown}, {terms} FROM ONLY {qualified(table.schema, table.name)}"  # noqa: S608 - quoted names only
        f" WHERE {terms} > {MOST_BYTES} LIMIT {_NAMED}"
    )
    try:
        with connection.transaction():
            connection.execute(f"SET LOCAL statement_timeout = {literal(f'{int(seconds * 1000)}ms')}".encode())
            rows = connection.execute(text.encode()).fetchall()
    except psycopg.errors.QueryCanceled:
        return None
    return [LargeRow(str(key)[:100], int(str(size))) for key, size in rows]


def is_too_large(error: EngineError) -> bool:
    """Say whether a server failed because a row did not fit into one piece of memory."""
    return error.sqlstate == _LIMIT_EXCEEDED or (error.sqlstate == _INTERNAL and _TOO_MUCH in error.message)


def refused(run: Run, database: DatabasePlan, table: Table, error: EngineError, *, as_text: bool) -> EngineError:
    """Return ROW-TOOBIG in place of `error`, one of `is_too_large`, with the row's key where it can be found.

    Looks through the table once more, for a limited time. Raises what `Control.check` raises.
    """
    rows: list[LargeRow] | None = None
    with (
        contextlib.suppress(EngineError, psycopg.Error),
        run.sessions.session(Side.SOURCE, database.source_name) as connection,
    ):
        rows = too_large(connection, table, as_text=as_text, seconds=_NAMING_SECONDS)
    run.ports.control.check()
    return _error(error, table, rows[0] if rows else None)


def refused_in_stream(run: Run, database: DatabasePlan, error: EngineError) -> EngineError:
    """Return SRC-TOOBIG in place of `error`, one of `is_too_large`, with which the source ended the stream of changes.

    The source does not say of which table the change is: those whose rows move are looked through, for a limited time
    each. Raises what `Control.check` raises.
    """
    found: tuple[Table, LargeRow] | None = None
    with (
        contextlib.suppress(EngineError, psycopg.Error),
        run.sessions.session(Side.SOURCE, database.source_name) as connection,
    ):
        tables = moving_tables(read_tables(connection), run.plan.selection, database.source_name)
        found = _first(run, connection, [table for table in tables if may_hold_one(table.outside_bytes)])
    run.ports.control.check()
    failure = _error(error, *(found or (None, None)), code="SRC-TOOBIG")
    failure.hint = say(
        "The source keeps this change for the sync, which can get past it only by a new copy. Shrink the row on the "
        "source, or leave its table out, then press Restart with new copy."
    )
    return failure


def _first(run: Run, connection: Connection, tables: list[Table]) -> tuple[Table, LargeRow] | None:
    for table in tables:
        run.ports.control.check()
        if rows := too_large(connection, table, as_text=True, seconds=_NAMING_SECONDS):
            return table, rows[0]
    return None


def _error(error: EngineError, table: Table | None, row: LargeRow | None, *, code: str = "ROW-TOOBIG") -> EngineError:
    label = f"{table.schema}.{table.name}" if table else ""
    if row:
        what = say("A row of {place} takes {number} MB.", place=f"{label} {row.key}", number=row.bytes // 1_000_000)
    elif table:
        what = say("A row of {label} is too large.", label=label)
    else:
        what = say("A change of a row is too large for the stream of changes.")
    failure = type(error)(
        what + say(" PostgreSQL moves a row in one piece of at most 1 GB. {message}", message=error.message),
        code=code,
        retryable=False,
    )
    failure.sqlstate = error.sqlstate
    if row:
        failure.detail["key"] = row.key.removeprefix("(").removesuffix(")")
    return failure


def _length(column: Column, *, as_text: bool) -> str:
    name = quote(column.name)
    bare = "" if column.type_name.endswith("[]") else column.type_name.partition("(")[0]  # character varying(20)[]
    if bare in _TEXT:
        return f"coalesce(pg_catalog.octet_length({name}), 0)::bigint"
    if bare == "bytea":
        return f"coalesce(pg_catalog.octet_length({name}), 0)::bigint * {2 if as_text else 1}"
    return f"coalesce(pg_catalog.pg_column_size({name}), 0)::bigint"
