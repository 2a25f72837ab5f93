"""Sequences are not in the change stream: they are carried on now and then while it runs, and set at the end.

At the end those that the task made, and nobody has used since, are set exactly to where the source's are. All others
only move on, never backwards: somebody may have been given values of theirs that the source has never given out. While
the sync runs none of them moves backwards.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator
from dataclasses import replace
from typing import Any

import psycopg

from .connect import Connection, first_line
from .failpoints import durable
from .names import literal, qualified
from .outcome import Run
from .plan import DatabasePlan, Side
from .ports import AHEAD, Kind, LedgerItem, TableDifference
from .renaming import Renaming
from .selection import Selection
from .sql import query
from .values import frozen
from .versions import shows_sequence_values
from .wording import Sentence, noun, say, verbatim

_BATCH = 200
_PORTION = 500
_CLOSED = (
    "SELECT s.nspname, s.relname, s.denied FROM (SELECT n.nspname, c.relname, c.relpersistence,"
    " CASE WHEN c.relkind = 'S' THEN NOT pg_catalog.has_schema_privilege(n.oid, 'USAGE')"
    " OR NOT pg_catalog.has_sequence_privilege(c.oid, 'SELECT') ELSE false END AS denied"
    " FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind = 'S') s"
    " WHERE s.denied OR (s.relpersistence = 'u' AND pg_catalog.pg_is_in_recovery())"
)
_NOTHING = Renaming()
_DEFINED_IN_CATALOG_SINCE = 100000

State = tuple[int, bool]
"""(last value, whether it has been given out)."""


class Unreadable(Exception):
    """A server does not tell of its sequences; the words are its own."""


@frozen
class Sequence:
    """One sequence and how far it is."""

    schema: str
    name: str
    increment: int
    cycle: bool
    owner: tuple[str, str] | None
    """(schema, name) of the table whose column owns it."""
    identity: bool = False
    """It is an identity column's own: made with the table, it is not listed for itself."""
    column: str = ""
    """Of the owner; not known before 10."""
    start: int = 1
    last_value: int = 0
    is_called: bool = False

    @property
    def key(self) -> tuple[str, str]:
        """What finds it on the other side."""
        return (self.schema, self.name)

    @property
    def state(self) -> State:
        """How far it is."""
        return (self.last_value, self.is_called)

    def behind(self, other: Sequence) -> bool:
        """Say whether `other` has given out more values than this one; a cycling sequence is behind when it differs."""
        if self.cycle:
            return self.state != other.state
        direction = 1 if self.increment > 0 else -1
        mine, theirs = direction * self.last_value, direction * other.last_value
        return (mine, self.is_called) < (theirs, other.is_called)


def read_sequences(connection: Connection, only: Container[tuple[str, str]] | None = None) -> list[Sequence]:
    """Return every user sequence with its state. Sequence state is never under a snapshot: it is the state now.

    `only`: those with these keys. Raises psycopg's errors, among them InsufficientPrivilege when one sequence cannot
    be read.
    """
    return with_states(connection, [item for item in list_sequences(connection) if only is None or item.key in only])


def list_sequences(connection: Connection) -> list[Sequence]:
    """Return every user sequence without its state. Before 10 how it counts is not known of those that the account may
    not read."""
    found = [_defined(*row) for _, *row in _in_portions(connection, "sequences")]
    return sorted(found, key=lambda one: one.key)


def _in_portions(connection: Connection, name: str) -> Iterator[tuple[Any, ...]]:
    """Yield the rows of a query for sequences, oid first: to ask one is to lock it until the transaction ends."""
    after = 0
    while rows := connection.execute(
        query(name, connection.info.server_version), {"after": after, "most": _PORTION}
    ).fetchall():
        yield from rows
        if len(rows) < _PORTION:
            return
        after = int(str(rows[-1][0]))


def closed_sequences(connection: Connection) -> dict[tuple[str, str], bool]:
    """Return (schema, name) of the sequences whose state cannot be read, and whether the account lacks a right for it:
    unlogged ones nobody can read on a standby."""
    rows = connection.execute(_CLOSED.encode()).fetchall()
    return {(str(schema), str(name)): bool(denied) for schema, name, denied in rows}


def unread_sequences(
    connection: Connection, selection: Selection, database: str, tables: Iterable[int]
) -> list[tuple[int, tuple[str, str]]]:
    """Return oid and (schema, name) of sequences of a source that nobody has selected, neither by name nor with a
    table (`tables`: oids of those), and that would stop a dump: before 10, pg_dump reads every sequence."""
    if connection.info.server_version >= _DEFINED_IN_CATALOG_SINCE:
        return []
    rows = connection.execute(query("unread_sequences"), {"tables": list(tables)}).fetchall()
    return [
        (int(str(oid)), (str(schema), str(name)))
        for oid, schema, name, owned in rows
        if owned or not selection.includes(database, str(schema), str(name))
    ]


def _defined(*row: object) -> Sequence:
    """Return what the catalog says of a sequence: columns as in `sequences.sql`."""
    schema, name, step, cycle, start, owner_schema, owner, identity, column = row
    return Sequence(
        schema=str(schema),
        name=str(name),
        increment=int(str(step)),
        cycle=bool(cycle),
        start=int(str(start)),
        owner=owning_table(owner_schema, owner),
        identity=bool(identity),
        column=str(column or ""),
    )


def with_states(connection: Connection, found: list[Sequence]) -> list[Sequence]:
    """Return sequences with their states, which are asked of themselves, many in one statement."""
    states: dict[int, State] = {}
    for start in range(0, len(found), _BATCH):
        part = found[start : start + _BATCH]
        selects = [
            "SELECT " + str(start + at) + ", last_value, is_called FROM " + qualified(item.schema, item.name)  # noqa: S608 - quoted
            for at, item in enumerate(part)
        ]
        for number, value, called in connection.execute(" UNION ALL ".join(selects).encode()).fetchall():
            states[int(str(number))] = (int(str(value)), bool(called))
    return [replace(item, last_value=states[at][0], is_called=states[at][1]) for at, item in enumerate(found)]


def used_sequences(connection: Connection) -> tuple[dict[int, Sequence], list[tuple[str, str]]]:
    """Return by oid the user sequences that have given out a value, with that; and the keys of those not readable.

    One statement for many from 10 on. Raises psycopg's errors.
    """
    told = shows_sequence_values(connection.info.server_version)
    used: dict[int, Sequence] = {}
    refused = []
    for oid, *row, value, may in _in_portions(connection, "sequences_now"):
        item = _defined(*row)
        if may is not True:
            refused += [item.key] if may is False else []
        elif value is not None or not told:
            used[int(str(oid))] = replace(item, last_value=int(str(value or 0)), is_called=True)
    if not told:
        asked = zip(used, with_states(connection, list(used.values())), strict=True)
        used = {oid: item for oid, item in asked if item.is_called}
    return used, refused


def selected_sequences(
    sequences: Iterable[Sequence], tables: Container[tuple[str, str]], selection: Selection, database: str
) -> list[Sequence]:
    """Return those that belong to the migration."""
    return [item for item in sequences if is_selected(item.key, item.owner, tables, selection, database)]


def owning_table(schema: object, name: object) -> tuple[str, str] | None:
    """Return what a catalog's two columns say of the table whose column owns a sequence; NULL is none."""
    return (str(schema), str(name)) if name is not None else None


def is_selected(
    key: tuple[str, str],
    owner: tuple[str, str] | None,
    tables: Container[tuple[str, str]],
    selection: Selection,
    database: str,
) -> bool:
    """Say whether a sequence belongs to the migration: it is owned by a table of it, or by none and is selected
    itself."""
    return owner in tables if owner else selection.includes(database, *key)


class OwnSequences:
    """The sequences of a target database that the task has made, and where it has put them itself."""

    def __init__(self, run: Run, database: DatabasePlan) -> None:
        self._ledger = run.ports.ledger
        items = self._ledger.items(Side.TARGET, database.target_name)
        self._items = {_place(item): item for item in items if item.detail.get("type") == "SEQUENCE"}
        self._tables = {_place(item): item for item in items if item.kind is Kind.TABLE}
        self.made = self._items.keys()

    def has_made_table(self, place: tuple[str, str]) -> bool:
        """Say whether a table of the target is one that the task has made."""
        return place in self._tables

    def untouched(self, known: Sequence) -> bool:
        """Say whether it is ours and stands where it was made or where the task has put it: nobody has used it."""
        item = self._item(known)
        return item is not None and known.state in {(known.start, False), *_put(item, known)}

    def will_be_put(self, found: Iterable[tuple[Sequence, Sequence]]) -> None:
        """Write down, before it happens, where ours will stand: pairs of what stands there and what it shall be."""
        changed = {}
        for known, wanted in found:
            item = self._item(known)
            if item is None:
                continue
            put = item.detail.get("put", {}) | {known.name: list(dict.fromkeys([known.state, wanted.state]))}
            item = replace(item, detail=item.detail | {"put": put})
            changed[item] = item
            (self._tables if item.kind is Kind.TABLE else self._items)[_place(item)] = item
        self._ledger.amend(*changed.values())

    def _item(self, known: Sequence) -> LedgerItem | None:
        if known.identity and known.owner:
            return self._tables.get(known.owner)
        return self._items.get(known.key)


def _place(item: LedgerItem) -> tuple[str, str]:
    return (item.schema, str(item.detail.get("tag", item.name)))


def _put(item: LedgerItem, known: Sequence) -> list[State]:
    return [(int(value), bool(called)) for value, called in item.detail.get("put", {}).get(known.name, ())]


def carry_over(
    wanted: list[Sequence],
    target: Connection,
    own: OwnSequences,
    check: Callable[[], None] = lambda: None,
    renaming: Renaming = _NOTHING,
) -> list[TableDifference]:
    """Set the target's sequences to the states in `wanted` and return a verdict for each.

    Those of `own` that nobody has used since are set exactly, all others never backwards: what is further on than the
    source's stays so, and is `ahead`. `wanted` and the verdicts have the source's names, `renaming` says which those
    are on the target.

    Idempotent; each sequence in a transaction of its own. A sequence that is missing, or refuses, is a `differs` with
    the reason; only the loss of the session raises (psycopg's OperationalError).
    """
    here = _counterparts(wanted, target, renaming)
    pairs = [(item, here.get(renaming.place(item.key))) for item in wanted]
    exact = [(known, item) for item, known in pairs if known and item.state != known.state and own.untouched(known)]
    own.will_be_put(exact)
    chosen = {known.key for known, _ in exact}
    found = []
    for item, known in pairs:
        check()
        if known is not None and (known.key in chosen or known.behind(item)):
            found.append(_set(item, known, target))
        else:
            found.append(_verdict(item, known, own, renaming))
    return found


def carry_forward(
    used: list[Sequence], target: Connection, own: OwnSequences, renaming: Renaming = _NOTHING
) -> dict[tuple[str, str], psycopg.Error]:
    """Move the target's sequences on to where `used` are, never backwards; return what was refused, by the keys.

    What the target lacks, or has further on, is left alone; so is a cycling one that somebody has used, for which
    nobody can say what backwards is. `carry_over` can still set exactly what this has moved. Raises psycopg's errors
    where the sequences cannot be read, or the session is lost.
    """
    here = _counterparts(used, target, renaming)
    pairs = [(known, item) for item in used if (known := here.get(renaming.place(item.key))) and known.behind(item)]
    ours = [(known, item) for known, item in pairs if own.untouched(known)]
    own.will_be_put(ours)
    exact = {known.key for known, _ in ours}
    refused: dict[tuple[str, str], psycopg.Error] = {}
    for known, item in pairs:
        if known.cycle and known.key not in exact:
            continue
        try:
            _put_at(item, known, target)
        except psycopg.Error as error:
            if target.broken or target.closed:
                raise
            refused[item.key] = error
    return refused


def _counterparts(
    wanted: Iterable[Sequence], target: Connection, renaming: Renaming
) -> dict[tuple[str, str], Sequence]:
    """Return by these names the target's sequences: an identity column's is that of the column, which a table that was
    there before may have under another name. Those of others are not looked at: we may have no right to."""
    wanted = list(wanted)
    listed = {item.key: item for item in list_sequences(target)}
    owned = sorted((item for item in listed.values() if item.owner), key=lambda item: item.identity)
    columns = {
        (*item.owner, item.column): item for item in owned if item.owner
    }  # an identity's own comes last, and wins
    here: dict[tuple[str, str], Sequence] = {}
    for item in wanted:
        place = renaming.place(item.key)
        known = listed.get(place)
        if item.identity and item.owner:
            owner = renaming.place(item.owner)
            known = columns.get((*owner, item.column)) or (known if known and known.owner is None else None)
        if known is not None:
            here[place] = known
    return dict(zip(here, with_states(target, list(here.values())), strict=True))


def unread(item: Sequence) -> TableDifference:
    """Return the verdict on a sequence that the source account may not read."""
    return _judged(item, "not_compared", say("the source account may not read it"))


def verdicts(
    wanted: list[Sequence], target: Connection, own: OwnSequences, renaming: Renaming = _NOTHING
) -> list[TableDifference]:
    """Return a verdict for each source state: the target must stand there; further on is `ahead`."""
    here = _counterparts(wanted, target, renaming)
    return [_verdict(item, here.get(renaming.place(item.key)), own, renaming) for item in wanted]


def _put_at(item: Sequence, known: Sequence, target: Connection) -> None:
    """Set `known` on the target to the state of `item`. Raises psycopg's errors."""
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
    with durable("target.sequence"):
        target.execute(statement.encode())


def _set(item: Sequence, known: Sequence, target: Connection) -> TableDifference:
    try:
        _put_at(item, known, target)
    except psycopg.Error as error:
        if target.broken or target.closed or isinstance(error, psycopg.errors.QueryCanceled):
            raise
        return _judged(item, "differs", verbatim(first_line(error)))
    return TableDifference(schema=item.schema, name=item.name, verdict="equal")


def _verdict(item: Sequence, known: Sequence | None, own: OwnSequences, renaming: Renaming) -> TableDifference:
    if known is None and item.identity and item.owner and not own.has_made_table(renaming.place(item.owner)):
        return _judged(item, "left_out", say("its column is no identity column in the table that was there before"))
    if known is None:
        return _judged(item, "differs", say("missing on the target"))
    if known.state == item.state:
        return TableDifference(schema=item.schema, name=item.name, verdict="equal")
    reason = say("source is at {here}, target at {there}", here=_at(item), there=_at(known))
    return _judged(item, "differs" if known.behind(item) else AHEAD, reason)


def _at(item: Sequence) -> Sentence:
    if item.is_called:
        return verbatim(str(item.last_value))
    return say("{number} (not yet used)", number=item.last_value)


def _judged(item: Sequence, verdict: str, reason: Sentence) -> TableDifference:
    name = say("{kind} {name}", kind=noun("sequence"), name=item.name)
    return TableDifference(schema=item.schema, name=name, verdict=verdict, reason=reason)
