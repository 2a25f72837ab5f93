"""What relations of the stream must ask about tables: the source, and whoever decides about other shapes."""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence
from typing import Protocol

from ..drift import Column, Drift, Partition, Place
from ..ports import TableState
from ..renaming import Renaming


class Source(Protocol):
    """What must be asked of the source about a table."""

    def described(self, oid: int, types: list[tuple[int, int]]) -> tuple[list[str], dict[str, int]]:
        """Return names of (oid, typmod) types, and the numbers of a table's columns as its catalog has them now."""

    def ancestors(self, oid: int, *, plain: bool = False) -> list[tuple[str, str]]:
        """Return (schema, name) of the partitioned tables above a table, or of those that it inherits from."""

    def columns(self, oid: int) -> tuple[Column, ...]:
        """Return the columns of a table as its catalog has them now; none when it is gone."""

    def place(self, oid: int) -> tuple[str, str] | None:
        """Return (schema, name) that a table has now; None when it is gone."""

    def await_catalog(self, oid: int) -> None:
        """Wait until the source's catalog shows what the stream told of a table."""

    def lineage(self, oid: int, renaming: Renaming) -> list[Partition]:
        """Return what the catalog knows of a partition and of those above it, from below; none when it is none."""

    def travels_binary(self, tables: list[int], types: list[int]) -> bool:
        """Say whether all columns of these tables, and these types, may come in binary form."""


class Shapes(Protocol):
    """What decides about tables that have another shape on the source."""

    def verdict(self, drift: Drift) -> Exception:
        """Return what is raised for it."""

    def renamed(self, table: TableState, now: Place, there: Callable[[Place], bool]) -> Exception:
        """Return what is raised for a table that is called `now` on the source; `there`: of names on the target."""

    def of_types(self, types: list[tuple[str, str]]) -> Exception | None:
        """Return what is raised when types (the target's, the source's) differ by another name of their schema."""

    def under_other_name(self, part: Place, top: Place) -> Exception:
        """Return what is raised for a new partition of a partitioned table that the target does not know as `top`."""

    def settled(self, tables: Sequence[int], names: Container[str]) -> None:
        """Forget which columns of these tables (oids) had these names: the target follows the stream from here on."""

    def made(self, drift: Drift) -> TableState | None:
        """Return the state of a new partition that is on the target when this task made it, None when it did not."""
