"""Whether unlogged tables and large objects of the source are written to while Complete runs: no stream tells of them.

They are looked at before they are copied for the last time and again at the end of Complete, by the transactions that
their rows come from. Who writes in between is told, even if the copy has just caught it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field

import psycopg

from . import large_objects
from .connect import Connection, first_line, set_all
from .errors import EngineError
from .names import qualified
from .outcome import Run
from .plan import DatabasePlan, Side
from .values import frozen
from .wording import NOTHING, Sentence, closed, listing, say, verbatim

_MOST_SECONDS = "15s"  # for each: the last look comes when the target is open, and nobody should wait for long
_MARK = "SELECT count(*)::text || ' ' || coalesce(sum(pg_catalog.hashtext(xmin::text)), 0)::text FROM "
_NUMBERS, _CONTENTS = "pg_catalog.pg_largeobject_metadata", "pg_catalog.pg_largeobject"
_MAY_READ = f"SELECT pg_catalog.has_table_privilege('{_CONTENTS}', 'SELECT')"
_OBJECTS = say("large objects")


@frozen
class Seen:
    """What was seen of a database: a mark of each thing, by what people call it, and why something was not seen."""

    marks: Mapping[str, str] = field(default_factory=dict)
    unseen: Sentence = NOTHING


def look(run: Run, database: DatabasePlan) -> Seen:
    """Return what the unlogged tables and large objects of the task are like on the source now.

    Raises only what `Control.check` raises: what a source does not show is part of the answer.
    """
    tables = run.ports.store.tables(database.source_name)
    names = [(one.schema, one.name) for one in tables if one.unlogged and not one.set_aside]
    with_objects = large_objects.selected(run, database)
    marks: dict[str, str] = {}
    unseen = NOTHING
    if not (names or with_objects):
        return Seen()
    try:
        with run.sessions.session(Side.SOURCE, database.source_name) as connection:
            set_all(connection, {"statement_timeout": _MOST_SECONDS})
            for schema, name in names:
                run.ports.control.check()
                marks[f"{schema}.{name}"] = _mark(connection, qualified(schema, name))
            if with_objects:
                marks[_OBJECTS], unseen = _of_large_objects(connection)
    except (EngineError, psycopg.Error) as error:
        run.ports.control.check()
        unseen = error.message if isinstance(error, EngineError) else verbatim(first_line(error))
    return Seen(marks=marks, unseen=unseen)


def tell_unstreamed(run: Run, database: DatabasePlan, before: Seen | None) -> None:
    """Tell what was written to since `before`, or that this cannot be seen. None: nobody has looked before.

    Raises only what `Control.check` raises.
    """
    now = look(run, database)
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
