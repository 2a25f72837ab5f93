"""Compares the columns of the tables on both sides, as the look beside the stream finds them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from ..drift import ChangeKind, Column, Drift, Place
from ..ports import TableState
from ..renaming import Renaming
from ..rewritten import Family, with_old_values
from ..shapes import Shape
from .lag import SourceWatch
from .remembering import Remembering

_HARMLESS = frozenset({ChangeKind.NOT_NULL, ChangeKind.DEFAULT})  # of no row of before


class ColumnsLook:
    """One look. `tables`: all of the task; `there`: those of the target by their names. One thread only."""

    def __init__(
        self,
        watch: SourceWatch,
        remembering: Remembering,
        tables: Sequence[TableState],
        there: Mapping[Place, Shape],
        renaming: Renaming,
    ) -> None:
        self._watch, self._remembering, self._renaming = watch, remembering, renaming
        self._tables, self._there = tables, there
        self._families: dict[Place | int, Family] = {}

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
        other = self._remembering.remade(table, shape, alike=alike)
        if found is None and other is None:
            return None
        above = self._watch.ancestors(table.oid)
        root = self._renaming.place(above[-1]) if above else target.place
        if other is None:
            columns = self._with_old_values(table, columns, target, above[-1] if above else table.oid)
        found = other or compare(place, root, target.columns, columns)
        together = (*root, *(change.name for change in found.changes)) if found else ()
        return (found, found.statements or together) if found else None

    def _with_old_values(
        self, table: TableState, columns: Sequence[Column], target: Shape, top: Place | int
    ) -> Sequence[Column]:
        lacking = {one.name for one in columns if not one.generated} - {one.name for one in target.stored}
        if not lacking:
            return columns
        if top not in self._families:
            self._families[top] = self._watch.family(table.oid)
        family = self._families[top]
        return with_old_values(columns, lacking, table.oid, family, self._tables, self._on_target)

    def _on_target(self, place: Place) -> list[str] | None:
        there = self._there.get(self._renaming.place(place))
        return [one.name for one in there.columns] if there else None
