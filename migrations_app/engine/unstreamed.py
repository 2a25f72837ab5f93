"""Whether unlogged tables and large objects of the source are written to while Complete runs: no stream tells of them.

They are looked at before they are copied for the last time and again at the end of Complete, by the transactions that
their rows come from. Who writes in between is told, even if the copy has just caught it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import field
from functools import partial

import psycopg

from . import large_objects
from .connect import Connection, first_line, set_all
from .errors import EngineError
from .names import qualified
from .outcome import Run
from .plan import DatabasePlan, Side
from .values import frozen
from .wording import NOTHING, Sentence, closed, listing, say, together, verbatim

_MOST_SECONDS, _ALL_SECONDS = 15.0, 45.0  # for each thing, and for all: the last look comes when the target is open
_MARK = "SELECT count(*)::text || ' ' || coalesce(sum(pg_catalog.hashtext(xmin::text)), 0)::text FROM "
_ANY = "SELECT CASE WHEN EXISTS (SELECT 1 FROM pg_catalog.pg_largeobject_metadata) THEN '1 ' ELSE '0 ' END"
_PARTED = "SELECT relkind = 'p' FROM pg_catalog.pg_class WHERE oid = %s::pg_catalog.regclass"
_NUMBERS, _CONTENTS = "pg_catalog.pg_largeobject_metadata", "pg_catalog.pg_largeobject"
_MAY_READ = f"SELECT pg_catalog.has_table_privilege('{_CONTENTS}', 'SELECT')"
_OBJECTS = say("large objects")

_Ask = Callable[[Connection], tuple[str, Sentence]]


@frozen
class Seen:
    """What was seen of a database: a mark of each thing, by what people call it, and why something was not seen."""

    marks: Mapping[str, str] = field(default_factory=dict)
    unseen: Sentence = NOTHING


def look(run: Run, database: DatabasePlan, *, only_whether: bool = False) -> Seen:
    """Return what the unlogged tables and large objects of the task are like on the source now.

    `only_whether`: there are any; they are not read. What is not seen in 15 seconds, or once 45 are over for all, is
    named with the reason. Raises only what `Control.check` raises: what a source does not show is part of the answer.
    """
    tables = run.ports.store.tables(database.source_name)
    names = [(one.schema, one.name) for one in tables if one.unlogged and not one.set_aside]
    with_objects = large_objects.selected(run, database)
    if not (names or with_objects):
        return Seen()
    things: dict[str, _Ask] = {
        f"{schema}.{name}": partial(_of_table, name=qualified(schema, name)) for schema, name in names
    }
    if with_objects:
        things[_OBJECTS] = _of_large_objects
    if only_whether:
        things = {name: _whether if name == _OBJECTS else _listed for name in things}
    try:
        with run.sessions.session(Side.SOURCE, database.source_name) as connection:
            return _look(run, connection, things)
    except (EngineError, psycopg.Error) as error:
        run.ports.control.check()
        return Seen(unseen=error.message if isinstance(error, EngineError) else verbatim(first_line(error)))


def _look(run: Run, connection: Connection, things: Mapping[str, _Ask]) -> Seen:
    marks: dict[str, str] = {}
    unseen: dict[str, list[str]] = {}
    until = time.monotonic() + _ALL_SECONDS
    for thing, ask in things.items():
        run.ports.control.check()
        seconds = max(0.1, min(_MOST_SECONDS, until - time.monotonic()))
        try:
            set_all(connection, {"statement_timeout": f"{seconds * 1000:.0f}ms"})
            marks[thing], words = ask(connection)
        except psycopg.Error as error:
            run.ports.control.check()
            words = verbatim(first_line(error))
        if words:
            unseen.setdefault(words, []).append(thing)
    told = [together([listing(names, 10), closed(words)], ": ") for words, names in unseen.items()]
    return Seen(marks=marks, unseen=together(told) if told else NOTHING)


def tell_unstreamed(run: Run, database: DatabasePlan, before: Seen | None) -> None:
    """Tell what was written to since `before`, or that this cannot be seen. None: nobody has looked before.

    Raises only what `Control.check` raises.
    """
    now = look(run, database, only_whether=before is None)
    if before is None:
        if now.unseen or any(name != _OBJECTS or not _is_none(mark) for name, mark in now.marks.items()):
            _tell_unseen(run, database, say("Complete was interrupted after they had been copied for the last time"))
        return
    written = [name for name, mark in now.marks.items() if before.marks.get(name, mark) != mark]
    if written:
        text = say(
            "{database}: written to on the source while Complete ran, where the stream of changes does not tell of it:"
            " {names}. What came after their last copy is not on the target.",
            database=database.source_name,
            names=listing(written, 10),
        )
        run.ports.store.event("error", "SRC-LATE", text)
    if unseen := before.unseen or now.unseen:
        _tell_unseen(run, database, unseen)


def _tell_unseen(run: Run, database: DatabasePlan, words: Sentence) -> None:
    text = say(
        "{database}: whether unlogged tables or large objects of the source were written to at the end could not be"
        " seen: {words}",
        database=database.source_name,
        words=closed(words),
    )
    run.ports.store.event("warning", "SRC-UNSEEN", text)


def _listed(connection: Connection) -> tuple[str, Sentence]:
    return "", NOTHING


def _whether(connection: Connection) -> tuple[str, Sentence]:
    row = connection.execute(_ANY.encode()).fetchone()
    return str(row[0]) if row else "", NOTHING


def _of_table(connection: Connection, *, name: str) -> tuple[str, Sentence]:
    parted = connection.execute(_PARTED, (name,)).fetchone() == (True,)
    return _mark(connection, name if parted else f"ONLY {name}"), NOTHING  # the stream tells of logged children


def _mark(connection: Connection, name: str) -> str:
    row = connection.execute((_MARK + name).encode()).fetchone()
    return str(row[0]) if row else ""


def _is_none(mark: str) -> bool:
    return mark.startswith("0 ")


def _of_large_objects(connection: Connection) -> tuple[str, Sentence]:
    numbers = _mark(connection, _NUMBERS)
    if _is_none(numbers):
        return numbers, NOTHING
    if connection.execute(_MAY_READ.encode()).fetchone() == (True,):
        return f"{numbers}, {_mark(connection, _CONTENTS)}", NOTHING
    return numbers, say("the source account may not see all contents of large objects")
