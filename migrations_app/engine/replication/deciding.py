"""What the stream asks when a table has another shape or name on the source: may the target follow, or is it asked."""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence
from typing import Protocol

from ..drift import Drift, Place
from ..ports import TableState


class ShapeAllowed(Exception):  # not an error: what is to be done first
    """A table has other columns on the source, and somebody allowed to change those of the target at this place."""

    def __init__(self, drift: Drift) -> None:
        super().__init__(f"{drift.schema}.{drift.name}")
        self.drift = drift


class Shapes(Protocol):
    """What decides about tables that have another shape on the source."""

    def verdict(self, drift: Drift) -> Exception:
        """Return what is raised for it."""

    def renamed(self, table: TableState, now: Place, there: Callable[[Place], bool]) -> Exception:
        """Return what is raised for a table that is called `now` on the source; `there`: of names on the target."""

    def of_types(self, types: list[tuple[str, str]]) -> Exception | None:
        """Return what is raised when types (the target's, the source's) differ by another name of their schema."""

    def of_tops(self) -> Exception | None:
        """Return what is raised when a partitioned table has another name on the source than on the target."""

    def came(self, table: int, numbers: Sequence[tuple[str, int]]) -> None:
        """Remember these columns, with their places (attnum), of a table (oid): the target has got them."""

    def settled(self, tables: Sequence[int], names: Container[str]) -> None:
        """Forget which columns of these tables (oids) had these names: the target follows the stream from here on."""

    def made(self, drift: Drift) -> TableState | None:
        """Return the state of a new partition that is on the target when this task made it, None when it did not."""

    def states(self) -> list[TableState]:
        """Return the tables of the task with what is remembered of them now."""
