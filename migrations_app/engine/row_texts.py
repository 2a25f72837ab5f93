"""Finds the row whose text the target's encoding does not have: the servers name the bytes, but neither row nor column.

The table is halved by its pages until one is left: it is read about twice, by the source alone, and nothing travels.
"""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Sequence

import psycopg

from .catalog import Table
from .connect import Connection
from .encodings import Encodings
from .errors import EngineError
from .names import literal, qualified, quote
from .outcome import Run
from .plan import DatabasePlan, Side
from .values import frozen
from .wording import say

_STATES = frozenset({"22021", "22P05"})
_NAMING_SECONDS = 20.0
# How every server writes the bytes, in each language of its messages.
_BYTES = re.compile(r"0x([0-9a-f]{2}(?: 0x[0-9a-f]{2})*)")


@frozen(kw_only=False)
class OddText:
    """Where the first text is that cannot be carried over. `key`: of the row, as text. `byte`: from 1, 0 if unknown."""

    key: str
    column: str
    byte: int


def is_odd_text(error: EngineError) -> bool:
    """Say whether a server met text that has no form in the encoding that was asked for."""
    return error.sqlstate in _STATES


def refused_text(
    run: Run, database: DatabasePlan, table: Table, encodings: Encodings, error: EngineError
) -> EngineError:
    """Return ROW-ENCODING in place of `error`, one of `is_odd_text`, with the row where it can be found.

    Looks through the table once more, for a limited time. Raises what `Control.check` raises.
    """
    found: OddText | None = None
    with (
        contextlib.suppress(EngineError, psycopg.Error),
        run.sessions.session(Side.SOURCE, database.source_name) as connection,
    ):
        found = find(connection, table, encodings.target, seconds=_NAMING_SECONDS)
    run.ports.control.check()
    if found is None:
        return error
    failure = type(error)(
        say(
            "A row of {place} has text that the target's encoding {encoding} does not have: column {column}, byte"
            " {number}. {message}",
            place=f"{table.schema}.{table.name} {found.key}",
            encoding=encodings.target,
            column=found.column,
            number=found.byte,
            message=error.message,
        ),
        code="ROW-ENCODING",
        retryable=False,
    )
    failure.sqlstate = error.sqlstate
    failure.detail["key"] = found.key.removeprefix("(").removesuffix(")")
    return failure


def find(connection: Connection, table: Table, encoding: str, *, seconds: float) -> OddText | None:
    """Return the first row with text that `encoding` does not have; None when there is none, or the time is over.

    Raises psycopg's errors; no transaction may be open.
    """
    search = _Search(connection, table, encoding, time.monotonic() + seconds)
    try:
        return search.run()
    except psycopg.errors.QueryCanceled:
        return None


class _Search:
    def __init__(self, connection: Connection, table: Table, encoding: str, until: float) -> None:
        self._connection, self._table, self._until = connection, table, until
        self._name, self._encoding = qualified(table.schema, table.name), literal(encoding)
        self._columns = [column.name for column in table.copied_columns]

    def run(self) -> OddText | None:
        row = self._ask(
            f"SELECT pg_catalog.pg_relation_size({literal(self._name)}::regclass)"
            " / pg_catalog.current_setting('block_size')::bigint"
        )[0]
        first, end = 0, int(str(row[0]))
        if not self._columns or not self._is_odd(self._columns, _pages(first, end)):
            return None
        while end - first > 1:
            middle = (first + end) // 2
            odd = self._is_odd(self._columns, _pages(first, middle))
            first, end = (first, middle) if odd else (middle, end)
        return self._in_page(first)

    def _in_page(self, page: int) -> OddText | None:
        rows = self._ask(f"SELECT ctid::text FROM ONLY {self._name} WHERE {_pages(page, page + 1)}")  # noqa: S608
        for (place,) in rows:
            here = f"ctid = {literal(str(place))}"
            for column in self._columns:
                if words := self._is_odd([column], here):
                    return OddText(self._key(here, str(place)), column, self._byte(column, here, words))
        return None

    def _is_odd(self, columns: Sequence[str], where: str) -> str:
        """Return what the server says of text among these values that the encoding lacks, '' when there is none."""
        value = ", ".join(quote(column) for column in columns)
        asked = f"pg_catalog.convert_to(ROW({value})::text, {self._encoding})"
        try:
            self._ask(f"SELECT count({asked}) FROM ONLY {self._name} WHERE {where}")  # noqa: S608 - quoted names only
        except psycopg.DataError as error:
            if error.sqlstate not in _STATES:
                raise
            return str(error)
        return ""

    def _key(self, where: str, place: str) -> str:
        """Return the row's key as text, or its place where it has none, or one that cannot be shown either."""
        names = ", ".join(quote(name) for name in self._table.key)
        if not names or self._is_odd(self._table.key, where):
            return place
        return str(self._ask(f"SELECT ROW({names})::text FROM ONLY {self._name} WHERE {where}")[0][0])[:100]  # noqa: S608

    def _byte(self, column: str, where: str, words: str) -> int:
        own = "pg_catalog.getdatabaseencoding()"
        text = f"SELECT pg_catalog.convert_to({quote(column)}::text, {own}) FROM ONLY {self._name} WHERE {where}"  # noqa: S608
        said = _BYTES.search(words)
        value = self._ask(text)[0][0]
        if said is None or not isinstance(value, bytes):
            return 0
        return value.find(bytes.fromhex(said[1].replace("0x", ""))) + 1

    def _ask(self, text: str) -> list[tuple[object, ...]]:
        left = max(1, int((self._until - time.monotonic()) * 1000))
        with self._connection.transaction():
            self._connection.execute(f"SET LOCAL statement_timeout = {literal(f'{left}ms')}".encode())
            return [tuple(row) for row in self._connection.execute(text.encode()).fetchall()]


def _pages(first: int, end: int) -> str:
    return f"ctid >= '({first},0)'::tid AND ctid < '({end},0)'::tid"
