"""Tells which tables of the source were written to after the last change that Complete carried over, and by whom they
are being written to.

Nothing watches the source once the slot is gone, so this is the last moment at which that can be told for certain.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import psycopg

from .connect import Connection, first_line, set_all, translate
from .errors import EngineError
from .names import TARGET_SCHEMA, quote
from .outcome import Run
from .plan import DatabasePlan, Side
from .replication.pgoutput import Begin, Relation, Truncate, decode
from .source_setup import age
from .sql import query
from .versions import has_publications
from .wording import Sentence, closed, count, listing, say

_MOST_CHANGES = 10_000
_MOST_SECONDS = "15s"  # the target is open by now: nobody should wait for long
_OF_ROWS = (b"I", b"U", b"D")
_BUSY = "55006"
_TRIES = 50
_PAUSE_SECONDS = 0.1
_MORE = say("more was written there than is looked at.")


def tables_written(run: Run, database: DatabasePlan) -> list[int]:
    """Return the tables (oids) of which it matters who writes to them."""
    return [table.oid for table in run.ports.store.tables(database.source_name) if not table.set_aside]


def open_writers(run: Run, database: DatabasePlan, tables: list[int]) -> dict[int, Sentence]:
    """Return who has written to these tables (oids) of the source in a transaction that is still open, by its id.

    Prepared transactions count. What these commit comes behind every position that there is now. Raises EngineError.
    """
    with run.sessions.session(Side.SOURCE, database.source_name) as connection:
        try:
            rows = connection.execute(query("open_writers"), {"tables": tables}).fetchall()
        except psycopg.Error as error:
            run.ports.control.check()
            raise translate(error, Side.SOURCE, say("looking for open transactions")) from error
    return {int(str(xid)): _named(*row) for xid, *row in rows}


def _named(pid: object, prepared: object, user: object, seconds: object) -> Sentence:
    who = say("prepared transaction {name}", name=str(prepared)) if pid is None else say("PID {pid}", pid=str(pid))
    if user is None:
        return who
    if seconds is None:
        return say("{who}, user {user}", who=who, user=str(user))
    return say("{who}, user {user}, {age}", who=who, user=str(user), age=age(seconds))


def tell_late_writes(run: Run, positions: Mapping[str, int]) -> None:
    """Tell of rows that were written on the source behind these positions, by source database, or are being written.

    Looks at open transactions, then at the streams of pgoutput, and takes nothing out of them. A look that fails, takes
    too long, or ends before it has found anything, is told: what was migrated is whole without it. Raises only what
    `Control.check` raises.
    """
    for database in run.databases():
        written, whole = Counter[str](), True
        try:
            if still := open_writers(run, database, tables_written(run, database)):
                run.ports.store.event("error", "SRC-LATE", _still_open(database, still.values()))
            if has_publications(run.sessions.version(Side.SOURCE)):
                written, whole = _written(run, database, positions[database.source_name])
        except (EngineError, psycopg.Error) as error:
            run.ports.control.check()
            words = error.message if isinstance(error, EngineError) else first_line(error)
            run.ports.store.event("warning", "SRC-UNSEEN", _unseen(database, words))
            continue
        if not (written or whole):
            run.ports.store.event("warning", "SRC-UNSEEN", _unseen(database, _MORE))
        if written:
            run.ports.store.event("error", "SRC-LATE", _told(database, written, whole=whole))


def _unseen(database: DatabasePlan, words: str) -> Sentence:
    return say(
        "{database}: whether the source was still written to at the end could not be seen: {words}",
        database=database.source_name,
        words=closed(words),
    )


def _still_open(database: DatabasePlan, who: Iterable[Sentence]) -> Sentence:
    return say(
        "{database}: transactions that have written to tables of the task are still open on the source: {names}. What"
        " they commit is not on the target.",
        database=database.source_name,
        names=listing(who, 10),
    )


def _told(database: DatabasePlan, written: Counter[str], *, whole: bool) -> Sentence:
    tables = listing(
        say("{name} ({number})", name=name, number=count(changes, "{number} change", "{number} changes"))
        for name, changes in sorted(written.items())
    )
    if not whole:
        tables = say("{tables}, and more", tables=tables)
    return say(
        "{database}: still written to on the source after the last change that is on the target: {tables}. These"
        " changes are not on the target.",
        database=database.source_name,
        tables=tables,
    )


def _written(run: Run, database: DatabasePlan, position: int) -> tuple[Counter[str], bool]:
    """Return the changes of each table, and whether that is all of them."""
    state = run.ports.store.database(database.source_name)
    aside = {(one.schema, one.name) for one in run.ports.store.tables(database.source_name) if one.set_aside}
    with run.sessions.session(Side.SOURCE, database.source_name) as connection:
        set_all(connection, {"statement_timeout": _MOST_SECONDS})
        rows = _peeked(run, connection, state.slot, state.publication)
    changes = _changes(rows, position)
    ours = [one for one in changes if one[0] != TARGET_SCHEMA and one not in aside]
    return Counter(f"{schema}.{name}" for schema, name in ours), len(rows) < _MOST_CHANGES


def _peeked(run: Run, connection: Connection, slot: str, publication: str) -> list[tuple[Any, ...]]:
    """Return the slot's next messages, waiting for the end of the session that has read it."""
    for left in reversed(range(_TRIES)):
        try:
            return connection.execute(query("late_writes"), (slot, _MOST_CHANGES, quote(publication))).fetchall()
        except psycopg.Error as error:
            if error.sqlstate != _BUSY or not left:
                raise
        run.ports.control.sleep(_PAUSE_SECONDS)
    return []


def _changes(rows: Iterable[tuple[Any, ...]], position: int) -> Iterable[tuple[str, str]]:
    """Yield the table of each change in a transaction that commits behind `position`."""
    names: dict[int, tuple[str, str]] = {}
    behind = False
    for row in rows:
        data = bytes(row[0])
        if data[:1] in _OF_ROWS:  # only its beginning was asked for
            if behind:
                yield names[int.from_bytes(data[1:5], "big")]
            continue
        message = decode(data)
        if isinstance(message, Begin):
            behind = message.final_lsn >= position
        elif isinstance(message, Relation):
            names[message.oid] = (message.schema, message.name)
        elif isinstance(message, Truncate) and behind:
            yield from (names[oid] for oid in message.oids)
