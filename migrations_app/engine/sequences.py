"""Sequences are not in the change stream: they are set once at the end, and never backwards."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable
from dataclasses import dataclass

import psycopg

from .connect import Connection, first_line
from .names import literal, qualified
from .ports import TableDifference
from .renaming import Renaming
from .selection import Selection
from .sql import query
from .wording import Sentence, noun, say, verbatim

_BATCH = 200
_NOTHING = Renaming()


@dataclass(frozen=True, kw_only=True)
class Sequence:
    """One sequence and how far it is."""

    schema: str
    name: str
    increment: int
    cycle: bool
    owner: tuple[str, str] | None
    """(schema, name) of the table whose column owns it."""
    last_value: int = 0
    is_called: bool = False

    @property
    def key(self) -> tuple[str, str]:
        """What finds it on the other side."""
        return (self.schema, self.name)

    def behind(self, other: Sequence) -> bool:
        """Say whether `other` has given out more values than this one; a cycling sequence is behind when it differs."""
        if self.cycle:
            return (self.last_value, self.is_called) != (other.last_value, other.is_called)
        direction = 1 if self.increment > 0 else -1
        mine, theirs = direction * self.last_value, direction * other.last_value
        return (mine, self.is_called) < (theirs, other.is_called)


def read_sequences(connection: Connection) -> list[Sequence]:
    """Return every user sequence with its state. Sequence state is never under a snapshot: it is the state now.

    Raises psycopg's errors, among them InsufficientPrivilege when one sequence cannot be read.
    """
    found = [
        Sequence(
            schema=str(schema),
            name=str(name),
            increment=int(str(step)),
            cycle=bool(cycle),
            owner=(str(owner_schema), str(owner)) if owner is not None else None,
        )
        for schema, name, step, cycle, owner_schema, owner in connection.execute(
            query("sequences", connection.info.server_version)
        ).fetchall()
    ]
    states: dict[int, tuple[int, bool]] = {}
    for start in range(0, len(found), _BATCH):
        part = found[start : start + _BATCH]
        selects = [
            "SELECT " + str(start + at) + ", last_value, is_called FROM " + qualified(item.schema, item.name)  # noqa: S608 - quoted
            for at, item in enumerate(part)
        ]
        for number, value, called in connection.execute(" UNION ALL ".join(selects).encode()).fetchall():
            states[int(str(number))] = (int(str(value)), bool(called))
    return [
        Sequence(**{**vars(item), "last_value": states[at][0], "is_called": states[at][1]})
        for at, item in enumerate(found)
    ]


def selected_sequences(
    sequences: Iterable[Sequence], tables: Container[tuple[str, str]], selection: Selection, database: str
) -> list[Sequence]:
    """Return those that belong to the migration: owned by a table of it, or owned by none in a selected schema."""
    return [
        item
        for item in sequences
        if (item.owner in tables if item.owner else selection.includes(database, item.schema, item.name))
    ]


def carry_over(
    wanted: list[Sequence],
    target: Connection,
    check: Callable[[], None] = lambda: None,
    renaming: Renaming = _NOTHING,
) -> list[TableDifference]:
    """Set the target's sequences to the states in `wanted`, never backwards, and return a verdict for each.

    `wanted` and the verdicts have the source's names, `renaming` says which those are on the target.

    Idempotent; each sequence in a transaction of its own. A sequence that is missing, or refuses, is a `differs` with
    the reason; only the loss of the session raises (psycopg's OperationalError).
    """
    here = {item.key: item for item in read_sequences(target)}
    verdicts = []
    for item in wanted:
        check()
        known = here.get(renaming.place(item.key))
        if known is None:
            verdicts.append(_differs(item, say("missing on the target")))
        else:
            verdicts.append(_carry(item, known, target))
    return verdicts


def verdicts(wanted: list[Sequence], target: Connection, renaming: Renaming = _NOTHING) -> list[TableDifference]:
    """Return a verdict for each source state: the target must stand there, or further on."""
    here = {item.key: item for item in read_sequences(target)}
    return [_verdict(item, here.get(renaming.place(item.key))) for item in wanted]


def _carry(item: Sequence, known: Sequence, target: Connection) -> TableDifference:
    if not known.behind(item):
        return _verdict(item, known)
    called = "true" if item.is_called else "false"
    statement = (
        "SELECT pg_catalog.setval("
        + literal(qualified(known.schema, known.name))
        + "::pg_catalog.regclass, "
        + str(item.last_value)
        + ", "
        + called
        + ")"
    )
    try:
        target.execute(statement.encode())
    except psycopg.Error as error:
        if target.broken or target.closed or isinstance(error, psycopg.errors.QueryCanceled):
            raise
        return _differs(item, verbatim(first_line(error)))
    return TableDifference(schema=item.schema, name=item.name, verdict="equal")


def _verdict(item: Sequence, known: Sequence | None) -> TableDifference:
    if known is None:
        return _differs(item, say("missing on the target"))
    if known.behind(item):
        return _differs(item, say("source is at {here}, target at {there}", here=_at(item), there=_at(known)))
    return TableDifference(schema=item.schema, name=item.name, verdict="equal")


def _at(item: Sequence) -> Sentence:
    if item.is_called:
        return verbatim(str(item.last_value))
    return say("{number} (not yet used)", number=item.last_value)


def _differs(item: Sequence, reason: Sentence) -> TableDifference:
    name = say("{kind} {name}", kind=noun("sequence"), name=item.name)
    return TableDifference(schema=item.schema, name=name, verdict="differs", reason=reason)
