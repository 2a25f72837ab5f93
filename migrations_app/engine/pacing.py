"""How fast a copy may go, and with how many lanes: asked of the task's settings while it runs.

Every chunk of rows passes through here. A cap in bytes per second holds for all lanes of the run together. When fewer
lanes are wanted than are at work, those that came last stop reading at once and go on when an earlier one has ended;
nothing that they have copied is lost.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from .plan import Knobs

_BURST_SECONDS = 0.25
_NAP_SECONDS = 0.2
_NOTHING_SECONDS = 0.001


class Pacing:
    """Shared by the lanes of one copy. Thread-safe; a lane is the thread that works for it."""

    def __init__(self, knobs: Callable[[], Knobs], clock: Callable[[], float] = time.monotonic) -> None:
        self.knobs = knobs
        self._clock = clock
        self._lock = threading.Lock()
        self._crew: list[int] = []
        self._reckoned = clock()
        self._debt = 0.0  # bytes; below zero: what may pass at once

    def enter(self) -> None:
        """The calling thread begins to work."""
        with self._lock:
            self._crew.append(threading.get_ident())

    def leave(self) -> None:
        """The calling thread has ended its work. Idempotent."""
        with self._lock:
            if threading.get_ident() in self._crew:
                self._crew.remove(threading.get_ident())

    def passed(self, size: int, check: Callable[[], None], sleep: Callable[[float], object] = time.sleep) -> bool:
        """Note that the calling lane moved `size` bytes; wait while that was too fast, or while it has to stand back.

        `check` is called several times a second meanwhile; what it raises ends the wait. Returns whether it waited.
        """
        waited = False
        debt = self._owe(size)
        while debt > _NOTHING_SECONDS or self._stands_back():
            waited = True
            sleep(min(debt, _NAP_SECONDS) if debt > _NOTHING_SECONDS else _NAP_SECONDS)
            check()
            debt = self._owe(0)
        return waited

    def _owe(self, size: int) -> float:
        """Charge bytes to the common account and return the seconds by which it is overdrawn."""
        rate = self.knobs().bytes_per_second
        with self._lock:
            now = self._clock()
            since, self._reckoned = now - self._reckoned, now
            if not rate:
                self._debt = 0.0
                return 0.0
            self._debt = max(self._debt - rate * since, -rate * _BURST_SECONDS) + size
            return self._debt / rate

    def _stands_back(self) -> bool:
        with self._lock:
            mine = threading.get_ident()
            return mine in self._crew and self._crew.index(mine) >= max(1, self.knobs().copy_jobs)
