"""Hands the work of the copy to its lanes: what is next, what is tried again, when everything is done or lost."""

from __future__ import annotations

import contextlib
import heapq
import itertools
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from .connect import Connection, cancel_all
from .errors import EngineError
from .large_object_numbers import Span
from .parts import Part
from .plan import DatabasePlan
from .table_work import TableWork
from .wording import count, say

TRIES = 3
Building = TypeVar("Building")
_BACK_OFF_SECONDS = (1.0, 5.0)
_WAIT_SECONDS = (0.5, 2.0, 5.0)
_SHORT_SECONDS = 15.0


@dataclass(eq=False, kw_only=True)
class Unit:
    """What a lane takes at once: small tables together, a large table, a part of a giant, or some large objects."""

    database: DatabasePlan
    tables: tuple[TableWork, ...] = ()
    part: Part | None = None
    span: Span = field(default_factory=Span)
    """Without tables: which large objects. Those that are done with are taken out of it."""
    apart: bool = False
    """It is not read under the snapshot of its database, which need not stay open for it."""
    tries: int = 0
    waits: int = 0
    """How often it had to give way to somebody who wanted its table."""
    not_before: float = 0.0

    @property
    def label(self) -> str:
        if not self.tables:
            return say("the large objects of {source_name}", source_name=self.database.source_name)
        first, more = self.tables[0].label, len(self.tables) - 1
        if not more:
            return first
        tables = count(more, "{number} more table", "{number} more tables")
        return say("{name} and {tables}", name=first, tables=tables)


class Stopped(Exception):
    """Another lane has failed, or the run must stop; the reason is on the board."""


class Board(Generic[Building]):
    """Thread-safe queues of copy units, and of what waits to be built for copied tables, the largest first."""

    def __init__(self, units: list[Unit], check: Callable[[], None]) -> None:
        self._check = check
        self._ready = deque(units)
        self._running = 0
        self._left = Counter(unit.database.source_name for unit in units if not unit.apart)
        self._awaited: set[str] = set()
        self._indexing: list[tuple[int, int, Building]] = []
        self._building = 0
        self._counted = itertools.count()
        self._changed = threading.Condition()
        self._sessions: list[Connection] = []
        self._elsewhere = 0
        self._short_until = 0.0
        self._failed_in_a_row = 0
        self._paused_until = 0.0
        self.failure: BaseException | None = None

    def check(self) -> None:
        """Raise what the run's control raises, or Stopped when another lane has failed."""
        self._check()
        if self.failure is not None:
            raise Stopped

    def fail(self, reason: BaseException) -> None:
        """Note why the copy ends, once, and cut what the other lanes wait for."""
        with self._changed:
            if self.failure is None and not isinstance(reason, Stopped):
                self.failure = reason
            sessions = list(self._sessions)
            self._changed.notify_all()
        cancel_all(sessions)

    def watch(self, *sessions: Connection) -> None:
        """Remember sessions whose statements are cancelled when the copy fails elsewhere."""
        with self._changed:
            self._sessions = [one for one in self._sessions if not one.closed] + list(sessions)

    @contextlib.contextmanager
    def at_work(self) -> Iterator[None]:
        """Stand for sessions that nobody watches, or not yet, for as long as the block runs."""
        with self._changed:
            self._elsewhere += 1
        try:
            yield
        finally:
            with self._changed:
                self._elsewhere -= 1

    def refused(self) -> bool:
        """Say, after a login was refused, whether other lanes hold sessions, which come free in the end.

        For a while those that have nothing to do are asked to give theirs up: see `short`.
        """
        with self._changed:
            self._short_until = time.monotonic() + _SHORT_SECONDS
            self._changed.notify_all()
            return bool(self._elsewhere) or any(not one.closed for one in self._sessions)

    def short(self) -> bool:
        """Say whether a lane was refused a session lately."""
        return time.monotonic() < self._short_until

    def take(self, spare: Callable[[], bool] = lambda: False) -> Unit | None:
        """Return the next unit, None when nothing is left. Waits while units that run might come back.

        `spare` is asked at each look: after a yes the caller is not wanted any more, and gets None.
        """
        with self._changed:
            while True:
                self.check()
                if spare():
                    return None
                now = time.monotonic()
                ready = self._ready if now >= self._paused_until else ()
                unit = next((unit for unit in ready if unit.not_before <= now), None)
                if unit is not None:
                    self._ready.remove(unit)
                    self._running += 1
                    return unit
                if not self._rows_left():
                    return None
                self._changed.wait(0.5)

    def _rows_left(self) -> bool:
        return bool(self._ready or self._running or self._awaited)

    def await_more(self, database: str) -> None:
        """Note that more units of a database will come, by `more`: no lane ends before that."""
        with self._changed:
            self._awaited.add(database)

    def more(self, database: str, units: Iterable[Unit]) -> None:
        """Queue the units that were awaited for a database, behind what is there."""
        with self._changed:
            self._awaited.discard(database)
            before = len(self._ready)
            self._ready.extend(units)
            self._left[database] += len(self._ready) - before
            self._changed.notify_all()

    def finished(self, unit: Unit, instead: Iterable[Unit] = ()) -> bool:
        """Note that a unit is done with, and queue others `instead`; says whether its snapshot has served its time."""
        with self._changed:
            self._running -= 1
            self._failed_in_a_row = 0
            units = list(instead)
            self._ready.extend(units)
            self._changed.notify_all()
            if unit.apart:
                return False
            self._left[unit.database.source_name] += len(units) - 1
            return not self._left[unit.database.source_name]

    def later(self, unit: Unit) -> bool:
        """Put a unit back whose table somebody else wants first; says False when that happened too often."""
        with self._changed:
            if unit.waits >= len(_WAIT_SECONDS):
                return False
            self._running -= 1
            unit.not_before = time.monotonic() + _WAIT_SECONDS[unit.waits]
            unit.waits += 1
            self._ready.append(unit)
            self._changed.notify_all()
            return True

    def back(self, unit: Unit) -> None:
        """Put a unit back that nothing was done for, to be the next one."""
        with self._changed:
            self._running -= 1
            self._ready.appendleft(unit)
            self._changed.notify_all()

    def again(self, unit: Unit, error: EngineError) -> bool:
        """Put a unit back after a failure that may pass; says False when it has had its tries, or the copy has.

        Nothing else is handed out for a moment either, longer with each failure in a row: a server that is away must
        not meet every unit in turn. When nothing has come of that a few times, and no unit is under way, the run has to
        end: whoever runs it tells of the outage, and for how long it is tried again.
        """
        with self._changed:
            self._running -= 1
            now = time.monotonic()
            if now >= self._paused_until:  # those that break together, or meet the server together, count once
                self._paused_until = now + _BACK_OFF_SECONDS[0] * 2.0**self._failed_in_a_row
                self._failed_in_a_row += 1
            hopeless = self._failed_in_a_row >= TRIES and not self._running
            if not error.retryable or unit.tries + 1 >= TRIES or hopeless:
                return False
            unit.not_before = now + _BACK_OFF_SECONDS[unit.tries]
            unit.tries += 1
            self._ready.append(unit)
            self._changed.notify_all()
            return True

    def rows_left(self) -> bool:
        """Say whether rows are still to be copied, or on their way."""
        with self._changed:
            return self._rows_left()

    def indexes_left(self) -> bool:
        """Say whether something waits to be built, or can still come."""
        with self._changed:
            return bool(self._indexing or self._building) or self._rows_left()

    def more_to_build(self) -> bool:
        """Say whether something waits to be built besides what the lanes are at, or will."""
        with self._changed:
            return bool(self._indexing) or self._rows_left()

    def index(self, *units: tuple[int, Building]) -> None:
        """Queue what is to be built, each with its weight."""
        with self._changed:
            for weight, unit in units:
                heapq.heappush(self._indexing, (-weight, next(self._counted), unit))
            self._changed.notify_all()

    def take_index(
        self, spare: Callable[[], bool] = lambda: False, idle: Callable[[], None] = lambda: None
    ) -> tuple[Building, bool] | None:
        """Return the heaviest of what is to be built, and whether nothing waits behind it; None when no more can come.

        None also when `spare` says yes. `index_finished` must follow, after what comes of it was queued. `idle` is
        called now and then while it waits.
        """
        with self._changed:
            while True:
                self.check()
                if spare():
                    return None
                if self._indexing:
                    self._building += 1
                    unit = heapq.heappop(self._indexing)[2]
                    return unit, not self._indexing and not self._rows_left()
                if not self._building and not self._rows_left():
                    return None
                idle()
                self._changed.wait(0.5)

    def index_finished(self) -> None:
        """Note that one of those that were taken is done with."""
        with self._changed:
            self._building -= 1
            self._changed.notify_all()
