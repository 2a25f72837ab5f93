"""Compares the columns of the tables on both sides, as the look beside the stream finds them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import psycopg

from ..connect import translate
from ..drift import UNREAD, ChangeKind, Column, Drift, Place
from ..mapping import renaming_of
from ..outcome import Run
from ..plan import DatabasePlan, Side
from ..ports import TableState
from ..recomputed import recomputed
from ..recomputed import together as joined
from ..rewritten import Family, with_old_values
from ..shapes import Shape, as_on_target, read_expressions, with_expressions
from ..wording import say
from .lag import SourceWatch
from .remembering import Remembering

_HARMLESS = frozenset({ChangeKind.NOT_NULL, ChangeKind.DEFAULT})  # of no row of before


class ColumnsLook:
    """One look. `tables`: all of the task; `there`: those of the target by their names. One thread only."""

    def __init__(
        self,
        run: Run,
        database: DatabasePlan,
        watch: SourceWatch,
        remembering: Remembering,
        tables: Sequence[TableState],
        there: Mapping[Place, Shape],
    ) -> None:
        self._run, self._database = run, database
        self._watch, self._remembering, self._renaming = watch, remembering, renaming_of(run, database)
        self._tables, self._there = tables, there
        self._families: dict[Place | int, Family] = {}
        self._texts: dict[Place | int, dict[int, dict[str, str]] | None] = {}  # of all columns of their members
        self._locked: set[Side] = set()  # where a table kept the look waiting: the stream waits for it as well

    def drift(
        self,
        table: TableState,
        shape: Shape,
        columns: Sequence[Column],
        compare: Callable[[Place, Place, Sequence[Column], Sequence[Column]], Drift | None],
    ) -> tuple[Drift, tuple[str, ...]] | None:
        """Return how a table that the target has is other there, and what is the same for all partitions of a table
        that change together; None when it is not. Takes note of one that is as on the target.

        `shape`: on the source; `columns`: of it, as the target calls types. `compare`: what of them. Raises EngineError
        of the source.
        """
        place = (table.schema, table.name)
        target = self._there[self._renaming.place(place)]
        found = compare(place, target.place, target.columns, columns)
        alike = found is None or _HARMLESS.issuperset(change.kind for change in found.changes)
        asked = alike and self._remembering.computes_otherwise(table)
        expressions = self._expressions(shape, target) if asked else ([], [])
        version = self._run.sessions.version(Side.TARGET) if asked else 0
        again = recomputed(place, target.place, *expressions, version=version)
        other = self._remembering.remade(table, shape, alike=alike and again is None)
        if found is None and other is None and again is None:
            return None
        above = self._watch.ancestors(table.oid)
        root = self._renaming.place(above[-1]) if above else target.place
        top = above[-1] if above else table.oid
        if other is None:
            columns = self._with_expressions(shape, columns, target)
            columns = self._with_old_values(table, columns, target, top)
        again = recomputed(place, root, *expressions, version=version)
        as_all = self._alike_below(table, again, top) if again else True
        if again and as_all is None:
            again = replace(again, statements=(), digest="")
        elif again and not as_all:
            again = recomputed(place, target.place, *expressions, version=version, alone=True)
        found = other or joined(compare(place, root, target.columns, columns), again)
        whole = target.place if as_all is False else root
        together = (*whole, *(change.name for change in found.changes)) if found else ()
        return (found, found.statements or together) if found else None

    def _expressions(self, shape: Shape, target: Shape) -> tuple[Sequence[Column], Sequence[Column]]:
        """Return the columns of the target and of the source, as the target calls what is in them, both with what they
        are computed from."""
        here = as_on_target(self._computed(Side.SOURCE, shape), self._renaming)
        return self._computed(Side.TARGET, target), here

    def _computed(self, side: Side, shape: Shape) -> Sequence[Column]:
        """Return columns with what they are computed from, which is unread while somebody keeps the table locked.

        After the first such table of a side no other one is asked for: the next look may find them all unlocked.
        """
        if side in self._locked:
            return _unread(shape)
        name = self._database.source_name if side is Side.SOURCE else self._database.target_name
        with self._run.sessions.session(side, name, lock_timeout="2s") as connection:
            try:
                return with_expressions(connection, shape).columns
            except psycopg.errors.LockNotAvailable:
                self._locked.add(side)
                return _unread(shape)
            except psycopg.Error as error:
                self._run.ports.control.check()
                raise translate(error, side, say("reading columns")) from error

    def _with_expressions(self, shape: Shape, columns: Sequence[Column], target: Shape) -> Sequence[Column]:
        """Return columns, generated ones that the target lacks with what they are computed from."""
        there = {one.name for one in target.columns if one.generated}
        if all(one.name in there for one in columns if one.generated):
            return columns
        read = {one.name: one.default for one in as_on_target(self._computed(Side.SOURCE, shape), self._renaming)}
        return [replace(one, default=read[one.name]) if one.generated else one for one in columns]

    def _with_old_values(
        self, table: TableState, columns: Sequence[Column], target: Shape, top: Place | int
    ) -> Sequence[Column]:
        lacking = {one.name for one in columns if not one.generated} - {one.name for one in target.stored}
        if not lacking:
            return columns
        family = self._family(table, top)
        return with_old_values(columns, lacking, table.oid, family, self._tables, self._on_target)

    def _family(self, table: TableState, top: Place | int) -> Family:
        if top not in self._families:
            self._families[top] = self._watch.family(table.oid)
        return self._families[top]

    def _alike_below(self, table: TableState, drift: Drift, top: Place | int) -> bool | None:
        """Say whether all tables that one statement changes compute what changed as this one does on the source; None
        when that cannot be read now, because somebody keeps one of them locked."""
        oids = [one.oid for one in self._family(table, top).members]
        if len(oids) < 2:
            return True
        if top not in self._texts:
            self._texts[top] = self._read_texts(oids)
        texts = self._texts[top]
        if texts is None:
            return None
        return all(len({texts[oid].get(change.name) for oid in oids}) == 1 for change in drift.changes)

    def _read_texts(self, oids: Sequence[int]) -> dict[int, dict[str, str]] | None:
        if Side.SOURCE in self._locked:
            return None
        with self._run.sessions.session(Side.SOURCE, self._database.source_name, lock_timeout="2s") as connection:
            try:
                return read_expressions(connection, oids)
            except psycopg.errors.LockNotAvailable:
                self._locked.add(Side.SOURCE)
                return None
            except psycopg.Error as error:
                self._run.ports.control.check()
                raise translate(error, Side.SOURCE, say("reading columns")) from error

    def _on_target(self, place: Place) -> list[str] | None:
        there = self._there.get(self._renaming.place(place))
        return [one.name for one in there.columns] if there else None


def _unread(shape: Shape) -> Sequence[Column]:
    return [replace(one, default=UNREAD) if one.generated else one for one in shape.columns]
