"""What the step shows while rows are compared: how many tables and bytes are through, and what is read now."""

from __future__ import annotations

import threading

from ..checks.registry import size
from ..outcome import Run
from ..plan import DatabasePlan
from ..wording import Sentence, count, listing, say

_NAMED = 3


class Shown:
    """The progress of one database's comparison as a part of all databases of the task.

    `begin` and `end` come from the threads that compare, `show` from the one that may write: a large table is read by
    one statement of each server, so its begin is what can be shown of it.
    """

    def __init__(self, run: Run, database: DatabasePlan, *, tables: int, total_bytes: int) -> None:
        self._run, self._database = run, database
        self._tables, self._total = tables, max(1, total_bytes)
        self._lock = threading.Lock()
        self._under_way: dict[str, int] = {}
        self._through = self._bytes = 0
        self._changed = True
        self._before, self._after = _others(run, database)

    def begin(self, label: str, table_bytes: int) -> None:
        """A table is read from now on."""
        with self._lock:
            self._under_way[label] = table_bytes
            self._changed = True

    def end(self, label: str) -> None:
        """There is a verdict on a table, or it is left to another moment."""
        with self._lock:
            self._bytes += self._under_way.pop(label, 0)
            self._through += 1
            self._changed = True

    def show(self) -> None:
        """Write down how far it is, if that has changed since the last time."""
        with self._lock:
            if not self._changed:
                return
            self._changed = False
            done, note = self._bytes, self._note()
        whole = self._before + self._total + self._after
        self._run.ports.store.step_progress(self._before + min(done, self._total), whole, note)

    def _note(self) -> Sentence:
        tables = count(self._tables, "{number} table", "{number} tables")
        note = say("{number} of {tables}", number=self._through, tables=tables)
        if self._under_way:
            read = [say("{label} ({size})", label=label, size=size(held)) for label, held in self._under_way.items()]
            note += say(", comparing {names}", names=listing(read, _NAMED))
        if self._before or self._after:
            return say("{target_name}: {note}", target_name=self._database.target_name, note=note)
        return note


def _others(run: Run, database: DatabasePlan) -> tuple[int, int]:
    """Return how many bytes the databases hold that are compared before this one and after it."""
    names = [one.source_name for one in run.databases()]
    if len(names) < 2 or database.source_name not in names:
        return 0, 0
    at = names.index(database.source_name)
    held = [max(1, sum(state.bytes_total for state in run.ports.store.tables(name))) for name in names]
    return sum(held[:at]), sum(held[at + 1 :])
