"""Tells which tables of the source were written to after the last change that Complete carried over.

Nothing watches the source once the slot is gone, so this is the last moment at which that can be told for certain.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import psycopg

from .connect import Connection, set_all
from .errors import EngineError
from .names import TARGET_SCHEMA, quote
from .outcome import Run
from .plan import DatabasePlan, Side
from .sql import query
from .versions import has_publications
from .wording import Sentence, count, listing, say

_MOST_CHANGES = 10_000
_MOST_SECONDS = "15s"  # the target is open by now: nobody should wait for long
_BUSY = "55006"
_TRIES = 50
_PAUSE_SECONDS = 0.1


def tell_late_writes(run: Run, positions: Mapping[str, int]) -> None:
    """Tell of rows that were written on the source behind these positions, by source database.

    Looks at the streams of pgoutput, and takes nothing out of them. A look that fails, or takes too long, is given up:
    what was migrated is whole without it. Raises only what `Control.check` raises.
    """
    if not has_publications(run.sessions.version(Side.SOURCE)):
        return
    for database in run.databases():
        try:
            written = _written(run, database, positions[database.source_name])
        except (EngineError, psycopg.Error):
            run.ports.control.check()
            continue
        if written:
            run.ports.store.event("error", "SRC-LATE", _told(database, written))


def _told(database: DatabasePlan, written: Counter[str]) -> Sentence:
    tables = listing(
        say("{name} ({number})", name=name, number=count(changes, "{number} change", "{number} changes"))
        for name, changes in sorted(written.items())
    )
    return say(
        "{database}: still written to on the source after the last change that is on the target: {tables}. These"
        " changes are not on the target.",
        database=database.source_name,
        tables=tables,
    )


def _written(run: Run, database: DatabasePlan, position: int) -> Counter[str]:
    state = run.ports.store.database(database.source_name)
    aside = {(one.schema, one.name) for one in run.ports.store.tables(database.source_name) if one.set_aside}
    with run.sessions.session(Side.SOURCE, database.source_name) as connection:
        set_all(connection, {"statement_timeout": _MOST_SECONDS})
        rows = _peeked(run, connection, state.slot, state.publication)
    changes = _changes(rows, position)
    return Counter(
        f"{schema}.{name}" for schema, name in changes if schema != TARGET_SCHEMA and (schema, name) not in aside
    )


def _peeked(run: Run, connection: Connection, slot: str, publication: str) -> list[tuple[Any, ...]]:
    """Return the beginnings of the slot's next messages, waiting for the end of the session that has read it."""
    for _ in range(_TRIES):
        try:
            return connection.execute(query("late_writes"), (slot, _MOST_CHANGES, quote(publication))).fetchall()
        except psycopg.Error as error:
            if error.sqlstate != _BUSY:
                raise
        run.ports.control.sleep(_PAUSE_SECONDS)
    return []


def _changes(rows: Iterable[tuple[Any, ...]], position: int) -> Iterable[tuple[str, str]]:
    """Yield the table of each change in a transaction that commits behind `position`."""
    names: dict[int, tuple[str, str]] = {}
    behind = False
    for row in rows:
        data = bytes(row[0])
        kind, rest = data[:1], data[1:]
        if kind == b"B":
            behind = int.from_bytes(rest[:8], "big") >= position
        elif kind == b"R":
            schema, name, *_ = (part.decode("utf-8", "replace") for part in rest[4:].split(b"\0", 2))
            names[int.from_bytes(rest[:4], "big")] = (schema, name)
        elif behind and kind in (b"I", b"U", b"D"):
            yield names[int.from_bytes(rest[:4], "big")]
        elif behind and kind == b"T":
            emptied = rest[5:]
            yield from (names[int.from_bytes(emptied[at : at + 4], "big")] for at in range(0, len(emptied) // 4 * 4, 4))
