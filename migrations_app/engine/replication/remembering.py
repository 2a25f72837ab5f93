"""Remembers of tables that are as on the target which columns they have on the source, and where their rows are.

The catalog may be ahead of the stream. A column that came and went there is still to come in the stream, and one that
comes by its name later must not be taken for it: the highest number that a column ever had is remembered only when
everything that had been written when it was read has been applied, and so are columns that have come since.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import NamedTuple

from .. import drifting
from ..drift import Drift
from ..outcome import Run
from ..plan import DatabasePlan
from ..ports import NEVER, TableState
from ..rows_file import RowsFile, rows_file, without_file
from ..shapes import Shape
from .lag import SourceWatch

_Numbers = tuple[tuple[str, int], ...]


class _Ahead(NamedTuple):
    """A width (see RowsFile) that counts once everything before `lsn` has been applied."""

    width: int
    lsn: int


_ahead: dict[tuple[str, str], dict[int, _Ahead]] = {}  # by task and database, of its tables: slices are short


class Remembering:
    """What one look at a database finds worth keeping. One thread only.

    `position`: everything that committed on the source before it is on the target for good. `behind`: something that
    was read is not remembered yet, because the stream has not come to it; the next look is to see to it. `left_out`: a
    column is among that, so that this has to be a look at all columns.
    """

    def __init__(self, run: Run, database: DatabasePlan, watch: SourceWatch, position: Callable[[], int]) -> None:
        self._store, self._name, self._watch = run.ports.store, database.source_name, watch
        self._position = position
        self._ahead = _ahead.setdefault((run.plan.key, database.source_name), {})
        self._written: int | None = None  # how far the source's WAL was after the files were read
        self.behind = False
        self.left_out = False
        self._files: dict[int, RowsFile] = {}
        self._fresh: dict[int, _Numbers] = {}

    def begin(self, tables: Iterable[TableState]) -> None:
        """Look where the rows of tables are: before their columns are read, see `read_rows_files`."""
        self._fresh, self._written, self.behind, self.left_out = {}, None, False, False
        self._files = self._watch.rows_files([table.oid for table in tables])

    def computes_otherwise(self, table: TableState) -> bool:
        """Say whether generated columns of a table are computed from something else than when it was last known."""
        before, now = rows_file(table.numbers), self._files.get(table.oid)
        return before is not None and now is not None and before.computed != now.computed

    def remade(self, table: TableState, shape: Shape, *, alike: bool) -> Drift | None:
        """Return the drift of a table that has another column by some name. Take note of one that is `alike` on the
        target and has none."""
        found = drifting.remade((table.schema, table.name), without_file(table.numbers), shape.numbers)
        if alike and found is None and table.watermark != NEVER:
            file = self._files.get(table.oid)
            applied = self._applied(table, file) if file else None
            self._take(table, (*self._sure(table, shape, applied).items(), *([applied.entry] if applied else ())))
        return found

    def _sure(self, table: TableState, shape: Shape, applied: RowsFile | None) -> dict[str, int]:
        """Return the numbers of columns that are to be remembered now: of one that came while the stream is behind,
        rows may still follow that were another one's."""
        known = without_file(table.numbers)
        if applied is None or not known or rows_file(table.numbers) is None or table.oid not in self._ahead:
            return dict(shape.numbers)
        pairs = shape.numbers.items()
        sure = {name: number for name, number in pairs if number <= applied.width or known.get(name) == number}
        self.left_out = self.left_out or len(sure) < len(shape.numbers)
        return sure

    def renew(self, tables: Iterable[TableState], columns: str) -> None:
        """Remember where the rows of tables are now, that were as on the target when `columns` was the hash of all.

        Nothing is remembered when it is another one by now. Durable.
        """
        known = [one for one in tables if rows_file(one.numbers) and one.watermark != NEVER and not one.set_aside]
        self.begin(known)
        for table in known:
            if file := self._files.get(table.oid):
                self._take(table, (*without_file(table.numbers).items(), self._applied(table, file).entry))
        if self._watch.shapes_hash() == columns:
            self.save(known)

    def _applied(self, table: TableState, file: RowsFile) -> RowsFile:
        """Return what is to be remembered of a table's file now."""
        before, later = rows_file(table.numbers), self._ahead.pop(table.oid, None)
        width = before.width if before else 0
        if width >= file.width or self._is_applied(self._written_now()):
            return file
        if later and self._is_applied(later.lsn):
            width, later = max(width, min(later.width, file.width)), None
        if width < file.width:
            self._ahead[table.oid] = later or _Ahead(file.width, self._written_now())
            self.behind = True
        return replace(file, width=width)

    def _is_applied(self, lsn: int) -> bool:
        return self._position() >= lsn

    def _written_now(self) -> int:
        if self._written is None:
            self._written = self._watch.look().insert_lsn
        return self._written

    def save(self, seen: Sequence[TableState]) -> None:
        """Keep what was taken note of; `seen`: the tables as they were then, of which others may have changed some."""
        fresh, self._fresh = self._fresh, {}
        if fresh:
            before = {table.oid: table for table in seen}
            states = [one for one in self._store.tables(self._name) if one.oid in fresh and one == before[one.oid]]
            self._store.save_tables(*(replace(one, numbers=fresh[one.oid]) for one in states))

    def _take(self, table: TableState, numbers: _Numbers) -> None:
        if dict(numbers) != dict(table.numbers):
            self._fresh[table.oid] = numbers
