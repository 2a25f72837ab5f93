"""How fast counts grow."""

from __future__ import annotations

import time
from collections.abc import Callable


class Rate:
    """Smoothed speed of growing counts, per second."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._last: dict[str, tuple[float, float]] = {}
        self._speed: dict[str, float] = {}

    def update(self, name: str, value: float) -> float | None:
        """Take a new value of a count; return its speed, or None while there is nothing to compare with."""
        now = self._clock()
        before = self._last.get(name)
        if before is None:
            self._last[name] = (now, value)
            return None
        if now - before[0] < 0.5:
            return self._speed.get(name)
        speed = max(0.0, (value - before[1]) / (now - before[0]))
        old = self._speed.get(name)
        self._speed[name] = speed if old is None else 0.6 * old + 0.4 * speed
        self._last[name] = (now, value)
        return self._speed[name]
