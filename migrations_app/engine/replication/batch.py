"""What was received and not sent yet: the stream's bytes, and what they come to table by table."""

from __future__ import annotations

from .coalesce import Folding, Nothing
from .frames import Segment

SKIPPED = Nothing()
"""Takes the changes of tables that are no part of the task, or older than their copy."""

BY_ROWS = Nothing()
"""Takes the changes that will be read from the stream's bytes again, one by one."""


class Batch:
    """Consecutive changes. `segments` hold all of them as they came, so that they can be applied anew row by row.

    `tables` say by oid what folding made of them, `by_rows` which tables' changes have to be taken one by one; with
    `rows_only` all. `final`: of the transaction that was open at the beginning. `complete`: it ends at a commit of the
    source, with everything before `end`.
    """

    def __init__(self, final: int) -> None:
        self.final = final
        self.segments: list[Segment] = []
        self.tables: dict[int, Folding] = {}
        self.by_rows: set[int] = set()
        self.rows_only = False
        self.changes = 0
        self.size = 0
        self.complete = False
        self.end = 0

    def keep(self, data: bytes, start: int, end: int, changes: int) -> None:
        """Take the frames of `data` between `start` and `end`, which hold so many changes for the target."""
        if end > start:
            if self.segments and self.segments[-1][0] is data and self.segments[-1][2] == start:
                self.segments[-1] = (data, self.segments[-1][1], end)
            else:
                self.segments.append((data, start, end))
            self.size += end - start
            self.changes += changes

    def take_by_rows(self, oid: int) -> Folding:
        """Leave a table's changes, those that were folded too, to the row path."""
        self.by_rows.add(oid)
        self.tables[oid] = BY_ROWS
        return BY_ROWS
