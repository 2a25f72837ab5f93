"""Since when a run holds snapshots of the source: what pages show of it, and what is told once it takes long.

While a snapshot is held the source removes no row of that database that was updated or deleted since: its tables grow,
and VACUUM frees nothing.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime


@dataclass(eq=False, kw_only=True)
class Hold:
    """One snapshot that is held. `since` is this machine's time, with its zone; `end` it with the snapshot."""

    database: str
    since: datetime = field(default_factory=lambda: datetime.now(UTC))
    _began: float = field(default_factory=time.monotonic)
    _ended: Callable[[Hold], None]

    @property
    def seconds(self) -> float:
        """How long it has been held."""
        return time.monotonic() - self._began

    def end(self) -> None:
        """Note that it is held no more. Idempotent."""
        self._ended(self)


class Holds:
    """The snapshots that one run holds now. Thread-safe.

    `tell(database, since)` is called when the oldest of a database changes; None: none is held.
    """

    def __init__(self, tell: Callable[[str, datetime | None], None]) -> None:
        self._tell = tell
        self._lock = threading.Lock()
        self._open: list[Hold] = []
        self._told: set[Hold] = set()

    def begin(self, database: str) -> Hold:
        """Note that a snapshot of a database of the source is held from now on."""
        hold = Hold(database=database, _ended=self._end)
        with self._lock:
            self._open.append(hold)
            self._show(database)
        return hold

    def _end(self, hold: Hold) -> None:
        with self._lock:
            if hold in self._open:
                self._open.remove(hold)
                self._show(hold.database)

    def _show(self, database: str) -> None:
        self._tell(database, min((hold.since for hold in self._open if hold.database == database), default=None))

    def end_all(self) -> None:
        """Note that nothing is held any more: every session has been closed."""
        with self._lock:
            databases = {hold.database for hold in self._open}
            self._open.clear()
            for database in databases:
                self._show(database)

    def newly_older(self, seconds: float) -> list[Hold]:
        """Return those that have been held for longer than `seconds`, each once."""
        with self._lock:
            found = [hold for hold in self._open if hold.seconds > seconds and hold not in self._told]
            self._told.update(found)
            return found
