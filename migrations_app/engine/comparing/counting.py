"""How sequences count on servers before 10, where only each sequence itself knows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import psycopg

from ..connect import Connection
from ..names import qualified

_BATCH = 200
_TOGETHER_WAIT, _SINGLE_WAIT = "2s", "200ms"
_COLUMNS = {
    "start": "start_value",
    "increment": "increment_by",
    "minimum": "min_value",
    "maximum": "max_value",
    "cache": "cache_value",
    "cycle": "nullif(is_cycled, false)",
}
COUNTING = tuple(_COLUMNS)
"""The parts of a sequence that tell how it counts."""
_GONE_OR_HELD = (psycopg.errors.LockNotAvailable, psycopg.errors.UndefinedTable, psycopg.errors.InsufficientPrivilege)
_UNSEEN: dict[type[psycopg.Error], str] = {
    psycopg.errors.LockNotAvailable: "lock",
    psycopg.errors.InsufficientPrivilege: "right",
}

Settings = dict[int, dict[str, Any]]


def read_counting(
    connection: Connection, sequences: Mapping[int, tuple[str, str]], check: Callable[[], None]
) -> Settings:
    """Return by oid how sequences count, whose (schema, name) are given by oid (autocommit session).

    Many are asked in one statement, which holds its locks only as long. One that is gone is not in the answer; of one
    that could not be read there is only `unseen`: `lock` or `right`, for why. Raises psycopg's other errors.
    """
    found: Settings = {}
    listed = list(sequences.items())
    for start in range(0, len(listed), _BATCH):
        check()
        part = listed[start : start + _BATCH]
        try:
            found.update(_read(connection, part, _TOGETHER_WAIT))
        except _GONE_OR_HELD:
            for one in part:
                check()
                found.update(_read_one(connection, one))
    return found


def _read_one(connection: Connection, sequence: tuple[int, tuple[str, str]]) -> Settings:
    try:
        return _read(connection, [sequence], _SINGLE_WAIT)
    except _GONE_OR_HELD as error:
        unseen = _UNSEEN.get(type(error))
        return {sequence[0]: {"unseen": unseen}} if unseen else {}


def _read(connection: Connection, sequences: list[tuple[int, tuple[str, str]]], wait: str) -> Settings:
    columns = ", ".join(_COLUMNS.values())
    selects = (f"SELECT {oid}, {columns} FROM {qualified(*place)}" for oid, place in sequences)  # noqa: S608 - quoted
    with connection.transaction():
        connection.execute(f"SET LOCAL lock_timeout = '{wait}'".encode())
        rows = connection.execute(" UNION ALL ".join(selects).encode()).fetchall()
    return {int(str(oid)): dict(zip(COUNTING, values, strict=True)) for oid, *values in rows}
