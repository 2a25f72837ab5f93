"""Looks about twice a minute whether tables changed on the source, which the stream tells only with their next row."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

import psycopg

from .. import drifting
from ..connect import translate
from ..drift import ChangeKind, Drift, Place
from ..mapping import renaming_of
from ..occupied import adopted
from ..outcome import Run
from ..plan import DatabasePlan, Side
from ..ports import DatabaseState, TableState
from ..shapes import Shape, as_on_target, read_shapes
from ..wording import Sentence, listing, say
from .explained import differences
from .lag import SourceWatch

_SECONDS = 30.0
_MOST = 50
_STATEMENTS = 5
_STOPS = frozenset({ChangeKind.ADDED, ChangeKind.DROPPED, ChangeKind.RENAMED, ChangeKind.RETYPED})

_looked: dict[str, tuple[float, str]] = {}  # by slot: when this process looked last, and what it saw; slices are short


class _New(NamedTuple):
    """A selected table that the task does not know."""

    place: Place
    is_partition: bool


class Poll:
    """The looks at one database. One thread only."""

    def __init__(self, run: Run, database: DatabasePlan, watch: SourceWatch) -> None:
        self._run, self._database, self._watch = run, database, watch

    def look(self, state: DatabaseState) -> DatabaseState:
        """Tell in the task's history what is new since the last look; return the state with what has been told.

        Asks the source for one number, and reads tables of both sides only when it is another one than before, or
        something that was told may have been settled. Nothing happens before the time has come. Raises EngineError.
        """
        at, seen = _looked.get(state.slot, (-_SECONDS, ""))
        if time.monotonic() - at < _SECONDS:
            return state
        now = self._watch.shapes_hash()
        _looked[state.slot] = (time.monotonic(), now)
        if now == seen and not state.told_drift:
            return state
        found: dict[str, Drift | _New] = {self._key(one.digest): one for one in self._drifts()}
        found |= {self._key("\0".join(one.place)): one for one in self._new_tables()}
        fresh = [one for key, one in found.items() if key not in state.told_drift]
        for one in fresh[:_MOST]:
            self._tell(one)
        told = tuple(list(found)[:_MOST])
        return state if list(told) == list(state.told_drift) else replace(state, told_drift=told)

    @staticmethod
    def _key(facts: str) -> str:
        return hashlib.blake2b(facts.encode("utf-8", "surrogateescape"), digest_size=8).hexdigest()

    def _tables(self) -> list[TableState]:
        return self._run.ports.store.tables(self._database.source_name)

    def _drifts(self) -> Iterator[Drift]:
        tables = [table for table in self._tables() if not table.set_aside]
        here, there = self._watch.shapes([table.oid for table in tables]), self._there()
        renaming, kept = renaming_of(self._run, self._database), adopted(self._run, self._database)
        told: set[tuple[str, ...]] = set()
        for table in tables:
            place, shape = (table.schema, table.name), here.get(table.oid)
            target = there.get(renaming.place(place))
            if shape is None:
                yield drifting.gone_table(place)
            elif shape.place != place:
                yield drifting.renamed_table(place, shape.place)
            elif target is not None:
                columns = as_on_target(shape.columns, renaming)
                compare = drifting.compare if target.place in kept else drifting.compare_fully
                found = compare(place, target.place, target.columns, columns)
                if found is not None:
                    above = self._watch.ancestors(table.oid)
                    root = renaming.place(above[-1]) if above else target.place
                    found = compare(place, root, target.columns, columns)
                if found is not None and (not found.statements or found.statements not in told):
                    told.add(found.statements)  # the partitions of a table change together
                    yield found

    def _there(self) -> dict[Place, Shape]:
        with self._run.sessions.session(Side.TARGET, self._database.target_name) as connection:
            try:
                return {shape.place: shape for shape in read_shapes(connection).values()}
            except psycopg.Error as error:
                self._run.ports.control.check()
                raise translate(error, Side.TARGET, say("reading columns")) from error

    def _new_tables(self) -> Iterator[_New]:
        selection, name = self._run.plan.selection, self._database.source_name
        for oid, place, is_partition in self._watch.unknown_tables([state.oid for state in self._tables()]):
            if is_partition and selection.follow != "ask":
                continue
            above = self._watch.ancestors(oid) if is_partition else []
            if selection.mode_of(name, place, *above) == "data":
                yield _New(place, is_partition)

    def _tell(self, one: Drift | _New) -> None:
        database = self._database.source_name
        told = _changed(database, one) if isinstance(one, Drift) else _new(database, one)
        self._run.ports.store.event("warning", "SRC-DDL", told)


def _new(database: str, one: _New) -> Sentence:
    schema, name = one.place
    if one.is_partition:
        return say(
            "Table {schema}.{name} of {database} is a new partition of a selected table. The sync will stop just "
            "before its first row and ask what to do.",
            schema=schema,
            name=name,
            database=database,
        )
    return say(
        "Table {schema}.{name} of {database} is new on the source and selected, but this task does not copy it: its "
        "rows do not arrive on the target. Migrate it with a task of its own.",
        schema=schema,
        name=name,
        database=database,
    )


def _changed(database: str, found: Drift) -> Sentence:
    where = {"schema": found.schema, "name": found.name, "database": database}
    (first, *_) = found.changes
    if first.kind is ChangeKind.TABLE_GONE:
        return say("Table {schema}.{name} of {database} is gone from the source.", **where)
    if first.kind is ChangeKind.TABLE_RENAMED:
        return say(
            "Table {schema}.{name} of {database} is now called {new} on the source. The sync will stop just before its "
            "first change under the new name.",
            new=first.new,
            **where,
        )
    head = say("Table {schema}.{name} of {database} changed on the source: {names}.", names=differences(found), **where)
    return head + _stops(found) + _what_to_run(found)


def _stops(found: Drift) -> Sentence:
    if not any(change.kind in _STOPS for change in found.changes):
        return say(" The sync goes on.")
    return say(" The sync will stop just before the first row of the new shape and ask what to do.")


def _what_to_run(found: Drift) -> Sentence:
    if not found.statements:
        return say(" No statement is certain to make the target alike.")
    return say(" To run on the target: {statements}.", statements=listing(found.statements, _STATEMENTS))
