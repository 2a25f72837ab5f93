"""Gives a table of the target the name that it has on the source now, where somebody allowed that or did it himself.

A table is known by its oid on the source, so its new name belongs to no place of the stream: rows that were written
under the old one go to the same table. It is followed between two sessions, in a transaction of its own: one table at
a time, whose old and new name on the target say whether that is done. `moves` says which one is next.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import psycopg

from .. import drifting, source_items
from ..connect import translate
from ..drift import ChangeKind, Drift, Place
from ..errors import ConnectionLost, EngineError, SchemaChanged
from ..exchanging import exchanged_tables
from ..layouts import layouts_of
from ..mapping import renaming_of
from ..names import qualified, quote
from ..outcome import Run
from ..plan import DatabasePlan, Side
from ..ports import NEVER, Kind, LedgerItem, TableState
from ..renaming import Renaming
from ..schema_rights import SchemaRights, give_rights, read_rights
from ..shapes import read_shapes
from ..target_changes import change_target, refused
from ..wording import Sentence, listing, say
from .explained import renamed
from .moves import Move, PlaceOf, is_ring, line_of, stepped_aside, turned, under_way
from .schema_followed import SchemaMove, item_in, moved_types, schema_move, types_move

_OF_TABLES = frozenset({Kind.TABLE, Kind.ADOPTED})
_MAKE_SCHEMA = "CREATE SCHEMA "
_NAMESPACE = 2615  # the oid of pg_namespace
_OF_PARTS = frozenset({Kind.TRIGGER_STATE, Kind.IDENTITY_STATE})


class TableRenamed(ConnectionLost):
    """A table of the task has another name on the source and may get it on the target: the sync is opened anew."""

    def __init__(self, table: TableState, now: Place, drift: Drift, whole: Sequence[Move] | None = None) -> None:
        """`now`: what the task is to call it from now on, which is a name of ours for a table that steps aside.

        `whole`: it and all others, when their schema has another name; none of them where that holds but types.
        """
        self.table, self.now, self.drift = table, now, drift
        self.whole = whole is not None
        self.moves = [Move(table, now)] if whole is None else whole
        self.schema = drift.changes[0].old if self.whole else table.schema
        self.aside = now == Move(table, now).aside
        self.is_top = drift.changes[0].kind is ChangeKind.TOP_RENAMED
        super().__init__(self._text(), hint=say("The sync goes on by itself."))
        self.followed = False

    def _text(self) -> Sentence:
        if self.whole:
            return say(
                "Schema {schema} is called {new} on the source now, and on the target from here on.",
                schema=self.schema,
                new=self.now[0],
            )
        names = {"schema": self.table.schema, "name": self.table.name, "new": ".".join(self.now)}
        if self.aside:
            return say(
                "Table {schema}.{name} is called {new} on the target while tables exchange their names.", **names
            )
        return say("Table {schema}.{name} is called {new} on the source now, and on the target from here on.", **names)


class Known:
    """What a look at all tables of a database reads once, however many of them have other names."""

    def __init__(self, run: Run, database: DatabasePlan) -> None:
        self._run, self._database = run, database
        self.tables = run.ports.store.tables(database.source_name)
        self.owners = {(one.schema, one.name): one for one in self.tables}
        self.aside = stepped_aside(self.tables)
        self._moves: dict[Place, SchemaMove | None] = {}
        self._types: dict[Place, SchemaMove | None] = {}

    @cached_property
    def leaves(self) -> set[tuple[str, str, str]]:
        """What may be done: (schema, name, digest)."""
        return {(one.schema, one.name, one.digest) for one in self._run.ports.store.leaves(self._database.source_name)}

    @cached_property
    def schemas(self) -> set[str]:
        """The schemas of the target."""
        with self._run.sessions.session(Side.TARGET, self._database.target_name) as connection:
            try:
                rows = connection.execute("SELECT nspname FROM pg_catalog.pg_namespace").fetchall()
            except psycopg.Error as error:
                self._run.ports.control.check()
                raise translate(error, Side.TARGET, say("reading columns")) from error
        return {str(row[0]) for row in rows}

    def schema_move(self, old: str, new: str) -> SchemaMove | None:
        """Return what became of a schema of the source whose tables may have moved together; None when they did not."""
        if (old, new) not in self._moves:
            self._moves[old, new] = (
                None
                if layouts_of(self._run, self._database).kept
                else schema_move(self._run, self._database, new, old, self.tables)
            )
        return self._moves[old, new]

    def types_move(self, old: str, new: str) -> SchemaMove | None:
        """Return what became of a schema of types, as the target calls it (`old`) and is to; None when that was no
        renaming of it."""
        if (old, new) not in self._types:
            self._types[old, new] = types_move(self._run, self._database, (old, new), self.tables)
        return self._types[old, new]

    def former(self) -> Renaming:
        """Return what schemas of the source that were looked at and moved as a whole were called before."""
        found = [one.drift.changes[0] for one in (*self._moves.values(), *self._types.values()) if one is not None]
        return Renaming({change.new: change.old for change in found})


def verdict(
    run: Run,
    database: DatabasePlan,
    table: TableState,
    now: Place,
    there: Callable[[Place], bool],
    place: PlaceOf,
    known: Known | None = None,
) -> TableRenamed | SchemaChanged:
    """Return what to raise for a table that is called `now` on the source; `there`: whether the target has a table.

    TableRenamed where the target has the new name already and not the old one, or somebody allowed to give it. Both may
    be about another table, which has to get its new name first. `place`: what a table is called on the source now.
    """
    known = known or Known(run, database)
    if now[0] != table.schema and now[1] == table.name and (found := _with_schema(table, now, known)):
        return found
    line = line_of(table, now, known.owners, place)
    if is_ring(line):
        return _exchange(run, database, turned(line), there, known)
    move = line[-1] if line else Move(table, now)
    renaming = renaming_of(run, database)
    old, new = renaming.place(move.known), renaming.place(move.now)
    free = bool(line) and _is_known_by_name(run, database, move)
    offered = free and there(old) and not there(new)
    drift = _placed(drifting.renamed_table(move.known, move.now, (old, new) if offered else None), table)
    drift = _with_schema_made(drift, new[0], known) if offered else drift
    done = free and there(new) and not there(old)
    if done or (offered and (_allowed(known, drift) or under_way(move, known.aside, known.owners, place))):
        return TableRenamed(move.table, move.now, drift)
    return renamed(drift)


def asked_or_allowed(
    known: Known, table: TableState, now: Place, places: tuple[Place, Place] | None, *, done: bool = False
) -> TableRenamed | SchemaChanged:
    """Return what to raise for a partitioned table (see `tops_followed`) that is called `now` on the source.

    `places`: what it is called on the target and is to be; None where it cannot be renamed there, or that is `done`.
    """
    changed = drifting.renamed_table((table.schema, table.name), now, places, kind=ChangeKind.TOP_RENAMED)
    drift = _placed(changed, table)
    drift = _with_schema_made(drift, places[1][0], known) if places else drift
    return TableRenamed(table, now, drift) if done or (places and _allowed(known, drift)) else renamed(drift)


def _with_schema_made(drift: Drift, schema: str, known: Known) -> Drift:
    """Return the drift with a statement that makes the schema of the target where there is none: the same leave is good
    for it when somebody makes that himself."""
    if schema in known.schemas:
        return drift
    return replace(drift, statements=(_MAKE_SCHEMA + quote(schema), *drift.statements), digest=drift.digest)


def types_verdict(
    run: Run, database: DatabasePlan, pairs: Iterable[tuple[str, str]], known: Known | None = None
) -> TableRenamed | SchemaChanged | None:
    """Return what to raise where types of columns stand in a schema that has another name on the source; else None.

    `pairs`: what the target calls types, and would call those of the source. As `verdict` otherwise.
    """
    for old, new in sorted(moved_types(pairs)):
        known = known or Known(run, database)
        if found := known.types_move(old, new):
            drift = _placed(found.drift, found.moves[0].table)
            return TableRenamed(*found.moves[0], drift, []) if _allowed(known, drift) else renamed(drift)
    return None


def require_name(run: Run, database: DatabasePlan, table: TableState, place: PlaceOf) -> None:
    """Raise what `verdict` says of a table that is called otherwise on the source now: its name may be another one's
    there. One that is gone is not judged."""
    now = place(table.oid)
    if now in (None, (table.schema, table.name)):
        return
    with run.sessions.session(Side.TARGET, database.target_name) as connection:
        try:
            there = {shape.place for shape in read_shapes(connection).values()}
        except psycopg.Error as error:
            run.ports.control.check()
            raise translate(error, Side.TARGET, say("reading columns")) from error
    raise verdict(run, database, table, now, there.__contains__, place)


@contextlib.contextmanager
def following_names(run: Run) -> Iterator[None]:
    """Give a table its new name when TableRenamed comes out of this, and raise it again: every session is closed then.

    Raises as `follow`.
    """
    try:
        yield
    except TableRenamed as found:
        (database,) = (one for one in run.databases() if one.source_name == found.drift.database)
        follow(run, database, found)
        raise


def _with_schema(table: TableState, now: Place, known: Known) -> TableRenamed | SchemaChanged | None:
    """Return what to raise for a table whose schema has another name; None when it moved by itself."""
    found = known.schema_move(table.schema, now[0])
    if found is None:
        return None
    drift = _placed(found.drift, table)
    if found.done or _allowed(known, drift):
        return TableRenamed(*found.moves[0], drift, found.moves)
    return renamed(drift)


def _exchange(
    run: Run, database: DatabasePlan, ring: list[Move], there: Callable[[Place], bool], at_hand: Known
) -> TableRenamed | SchemaChanged:
    """Return what to raise for tables that exchanged their names: the first one steps aside where that is allowed."""
    renaming, first = renaming_of(run, database), ring[0]
    aside = renaming.place(first.aside)
    here = [there(renaming.place(move.known)) for move in ring]
    known = all(_is_known_by_name(run, database, move) for move in ring)
    offered = known and all(here) and not there(aside)
    moves = [(move.known, move.now) for move in ring]
    drift = _placed(exchanged_tables(moves, renaming.place, aside if offered else None), first.table)
    done = known and all(here[1:]) and not here[0] and there(aside)
    if done or (offered and _allowed(at_hand, drift)):
        step = drifting.renamed_table(first.known, first.aside, (renaming.place(first.known), aside))
        return TableRenamed(first.table, first.aside, replace(drift, statements=step.statements if offered else ()))
    return renamed(drift)


def _is_known_by_name(run: Run, database: DatabasePlan, move: Move) -> bool:
    """Say whether the table may get another name: what is partitioned otherwise on the target is known by its name in
    more than one place."""
    return move.known not in layouts_of(run, database).kept.values()


def _placed(drift: Drift, table: TableState) -> Drift:
    return replace(drift, database=table.database, lsn=NEVER)


def _allowed(known: Known, drift: Drift) -> bool:
    return (drift.schema, drift.name, drift.digest) in known.leaves


def follow(run: Run, database: DatabasePlan, found: TableRenamed) -> None:
    """Give the table its new name: on the target unless it has it, in the ledger, and in the task. Once.

    No session of ours may hold the table. A worker that dies in between leaves a target whose table has the new name,
    which the next one takes up. It tells by the task's state of the table; a partitioned one has none, and is told by
    its former name in the ledger, which goes last therefore. Raises SchemaChanged when the target refuses, EngineError
    when it is to be tried again.
    """
    if found.followed:
        return
    table, renaming = found.table, renaming_of(run, database)
    old, new = renaming.place((found.schema, table.name)), renaming.place(found.now)
    _follow_on_source(run, database)
    items = _renamed_items(run, database, old, new, found.whole)
    begun = [item for before, item in items if item != before] + _made_schema(database, found.drift, new[0])
    run.ports.ledger.intend(*begun)
    try:
        withheld = _change_target(run, database, found, new[0])
    except EngineError:
        run.ports.ledger.removed(*begun)
        raise
    former = [before for before, item in items if before != item]
    run.ports.ledger.removed(*(() if found.is_top else former))
    run.ports.ledger.amend(*(item for before, item in items if before == item))
    run.adopted.clear()
    for move in found.moves:
        run.ports.store.renamed(move.table, *move.now)
    run.ports.ledger.removed(*(former if found.is_top else ()))
    found.followed = True
    if not found.aside:
        run.ports.store.event("warning", "DDL-APPLIED", _told(database, found))
    if withheld:
        run.ports.store.event("warning", "SCHEMA-RIGHTS", _without(database, new[0], withheld))


def _change_target(run: Run, database: DatabasePlan, found: TableRenamed, schema: str) -> list[tuple[str, str]]:
    """Run the statements; a `schema` of the target that they make gets what the source's has.

    Returns what the target refuses of that, and why. Raises as `follow`.
    """
    statements, table = found.drift.statements, found.table
    if not statements:
        return []
    rights = _rights(run, database, found.now[0]) if _MAKE_SCHEMA + quote(schema) in statements else None
    with run.sessions.session(Side.TARGET, database.target_name) as connection:
        try:
            with connection.transaction():
                change_target(connection, statements)
                return give_rights(connection, schema, rights) if rights else []
        except psycopg.Error as error:
            run.ports.control.check()
            doing = say("renaming {schema}.{name}", schema=table.schema, name=table.name)
            raise refused(error, doing, statements, found.drift) from error


def _rights(run: Run, database: DatabasePlan, schema: str) -> SchemaRights | None:
    with run.sessions.session(Side.SOURCE, database.source_name) as connection:
        try:
            return read_rights(connection, schema)
        except psycopg.Error as error:
            run.ports.control.check()
            raise translate(error, Side.SOURCE, say("reading the rights of schema {schema}", schema=schema)) from error


def _without(database: DatabasePlan, schema: str, withheld: Sequence[tuple[str, str]]) -> Sentence:
    return say(
        "Schema {schema} was made in {target_name} without what the target refused: {names}.",
        schema=schema,
        target_name=database.target_name,
        names=listing([f"{statement} ({why})" for statement, why in withheld], 5),
    )


def _made_schema(database: DatabasePlan, drift: Drift, name: str) -> list[LedgerItem]:
    """Return what the ledger is to hold of a schema that the statements of a drift make on the target."""
    if _MAKE_SCHEMA + quote(name) not in drift.statements:
        return []
    detail = {"type": "SCHEMA", "drop": "DROP SCHEMA " + quote(name), "catalog": _NAMESPACE, "tag": name}
    return [LedgerItem(side=Side.TARGET, database=database.target_name, kind=Kind.SCHEMA, name=name, detail=detail)]


def _follow_on_source(run: Run, database: DatabasePlan) -> None:
    """Call what was changed on tables of the source by their names there: also while tables of the target step aside
    under names that the source does not have."""
    with run.sessions.session(Side.SOURCE, database.source_name) as connection:
        try:
            source_items.follow_names(run, database.source_name, connection)
        except psycopg.Error as error:
            run.ports.control.check()
            raise translate(error, Side.SOURCE, say("reading names of tables")) from error


def _told(database: DatabasePlan, found: TableRenamed) -> Sentence:
    if found.whole:
        return say(
            "Schema {schema} of {database} is called {new} from here on, as on the source. The sync goes on.",
            schema=found.schema,
            database=database.source_name,
            new=found.now[0],
        )
    return say(
        "Table {schema}.{name} of {database} is called {new} from here on, as on the source. The sync goes on.",
        schema=found.table.schema,
        name=found.table.name,
        database=found.table.database,
        new=".".join(found.now),
    )


def _renamed_items(
    run: Run, database: DatabasePlan, old: Place, new: Place, whole: bool
) -> list[tuple[LedgerItem, LedgerItem]]:
    """Return what the ledger holds on the target of a table or on it, or of its `whole` schema, each with what it is
    called from now on."""
    name = database.target_name
    if whole:
        pairs = [(item, item_in(item, old[0], new[0])) for item in run.ports.ledger.items(Side.TARGET, name)]
        return [(item, after) for item, after in pairs if after is not None]
    found = []
    for item in run.ports.ledger.items(Side.TARGET, name, _OF_TABLES | _OF_PARTS):
        if item.kind in _OF_TABLES and (item.schema, item.name) == old:
            found.append((item, replace(item, schema=new[0], name=new[1], detail=_under(item, new))))
        elif item.kind in _OF_PARTS and (item.schema, item.detail["table"]) == old:
            detail = {**item.detail, "table": new[1]}
            found.append((item, replace(item, schema=new[0], name=f"{new[1]}.{detail['name']}", detail=detail)))
    return found


def _under(item: LedgerItem, new: Place) -> dict[str, Any]:
    """Return the detail of a table's item under another name: what would remove it names it, and so does its tag."""
    known = {"drop": f"DROP TABLE {qualified(*new)}", "tag": new[1]}
    return {**item.detail, **{key: value for key, value in known.items() if key in item.detail}}
