"""Compares the columns that the stream tells of a table with those that it has on the target."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

from .. import drifting
from ..computed import computed_columns
from ..drift import ChangeKind, Column, Drift, Partition, Place
from ..ports import TableState
from ..renaming import Renaming
from ..rewritten import Family, with_old_values
from ..shapes import as_on_target
from ..values import frozen
from .statements import TargetTable


class Source(Protocol):
    """What must be asked of the source about a table."""

    def described(self, oid: int, types: list[tuple[int, int]]) -> tuple[list[str], dict[str, int]]:
        """Return names of (oid, typmod) types, and the numbers of a table's columns as its catalog has them now."""

    def ancestors(self, oid: int, *, plain: bool = False) -> list[tuple[str, str]]:
        """Return (schema, name) of the partitioned tables above a table, or of those that it inherits from."""

    def columns(self, oid: int) -> tuple[Column, ...]:
        """Return the columns of a table as its catalog has them now; none when it is gone."""

    def family(self, oid: int) -> Family:
        """Return a table with those whose columns change together with its own, as they are now."""

    def place(self, oid: int) -> tuple[str, str] | None:
        """Return (schema, name) that a table has now; None when it is gone."""

    def await_catalog(self, oid: int) -> None:
        """Wait until the source's catalog shows what the stream told of a table."""

    def lineage(self, oid: int, renaming: Renaming) -> list[Partition]:
        """Return what the catalog knows of a partition and of those above it, from below; none when it is none."""

    def travels_binary(self, tables: list[int], types: list[int]) -> bool:
        """Say whether all columns of these tables, and these types, may come in binary form."""


@frozen(kw_only=False)
class ToldColumns:
    """The columns of one table: `place` as the task knows it, `oid` what the stream tells of, perhaps a part of it."""

    place: Place
    oid: int
    source: Source
    read_target: Callable[[str, str], TargetTable | None]
    renaming: Renaming

    def drift(self, here: Mapping[str, str], target: TargetTable, states: Iterable[TableState]) -> Drift | None:
        """Return how the columns of the stream (names and types, in their order) are other than those of the target.

        `states`: what the task remembers of its tables. Raises EngineError of the source.
        """
        there = {column.name: column.type_name for column in target.columns if not column.generated}
        above = self.source.ancestors(self.oid)  # columns of a partition are those of its root
        old = [Column(name=name, type_name=kind) for name, kind in there.items()]
        catalog = as_on_target(self.source.columns(self.oid), self.renaming)
        new = drifting.told_by_stream(here.items(), catalog)
        if lacking := here.keys() - there.keys():
            family = self.source.family(self.oid)
            new = with_old_values(new, lacking, self.oid, family, states, self._on_target)
        computed = computed_columns([(one.name, one.type_name, one.generated) for one in target.columns], catalog)
        root = self.renaming.place(above[-1] if above else self.place)
        found = drifting.compare(self.place, root, old, new, computed)
        if found is not None and not above and (top := self._heir_of(found)):
            found = drifting.compare(self.place, top, old, new, computed)
        return found

    def _on_target(self, place: Place) -> list[str] | None:
        there = self.read_target(*self.renaming.place(place))
        return [one.name for one in there.columns] if there else None

    def _heir_of(self, drift: Drift) -> Place | None:
        """Return the topmost table of the target that a table has all columns from which are not the same any more.

        A column that is inherited changes only with that table. None when the table has one of its own among them.
        """
        kinds = (ChangeKind.DROPPED, ChangeKind.RENAMED, ChangeKind.RETYPED)
        if not drift.statements or any(change.kind not in kinds for change in drift.changes):
            return None
        for place in reversed(self.source.ancestors(self.oid, plain=True)):
            target = self.read_target(*self.renaming.place(place))
            if target and {change.name for change in drift.changes} <= {column.name for column in target.columns}:
                return self.renaming.place(place)
        return None
