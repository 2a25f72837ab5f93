"""How fast counts grow."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any

from django.utils import timezone

from ..engine.values import frozen

_SHORTEST_SECONDS = 0.5
_LONGEST_SECONDS = 60.0
"""Over a longer time than this nothing is told: nobody has looked in between."""


class Rate:
    """Smoothed speed of growing counts, per second. `keeps`: how much of an old speed still counts a second later.

    `known`: what `state` of an earlier one was, if both have the same clock.
    """

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        *,
        keeps: float = 0.6,
        known: Mapping[str, Sequence[Any]] | None = None,
    ) -> None:
        self._clock, self._keeps = clock, keeps
        self._last: dict[str, tuple[float, float]] = {}
        self._speed: dict[str, float] = {}
        for name, (at, value, speed) in (known or {}).items():
            self._last[name] = (float(at), float(value))
            if speed is not None:
                self._speed[name] = float(speed)

    def update(self, name: str, value: float, at: float | None = None) -> float | None:
        """Take a new value of a count; return its speed, or None while there is nothing to compare with.

        `at`: when it was so, where that was not just now.
        """
        now = self._clock() if at is None else at
        before = self._last.get(name)
        if before is None or not before[0] <= now <= before[0] + _LONGEST_SECONDS:
            self._last[name] = (now, value)
            self._speed.pop(name, None)
            return None
        seconds = now - before[0]
        if seconds < _SHORTEST_SECONDS:
            return self._speed.get(name)
        speed = max(0.0, (value - before[1]) / seconds)
        old, weight = self._speed.get(name), self._keeps**seconds
        self._speed[name] = speed if old is None else weight * old + (1 - weight) * speed
        self._last[name] = (now, value)
        return self._speed[name]

    def state(self) -> dict[str, list[float | None]]:
        """Return what another one can go on from, as plain data."""
        return {name: [at, value, self._speed.get(name)] for name, (at, value) in self._last.items()}


class Average:
    """Speed per second of a count that grows in leaps: over the whole time since it was at its lowest."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._first: tuple[float, float] | None = None
        self._last = 0.0

    def update(self, value: float) -> float | None:
        """Take a new value; return the speed, or None while nothing has been added. A smaller value begins anew."""
        now = self._clock()
        if self._first is None or value < self._last:
            self._first = (now, value)
        self._last = value
        seconds, grown = now - self._first[0], value - self._first[1]
        return grown / seconds if seconds >= _SHORTEST_SECONDS and grown > 0 else None


@frozen
class CatchingUp:
    """Whether a sync that is behind comes nearer to its source, and after how many seconds it is there.

    Both None: nobody knows. `seconds` is None as well when it does not come nearer.
    """

    comes_nearer: bool | None = None
    seconds: float | None = None


_FOR_EVER = 365 * 86_400.0


def catching_up(left_bytes: int, applied: float | None, written: float | None) -> CatchingUp:
    """Return how a sync that has `left_bytes` of WAL to go comes along, by two rates of WAL in bytes a second.

    `applied`: what it gets behind it. `written`: what the source adds meanwhile.
    """
    if applied is None or written is None:
        return CatchingUp()
    seconds = left_bytes / (applied - written) if applied > written else _FOR_EVER
    if seconds >= _FOR_EVER:
        return CatchingUp(comes_nearer=False)
    return CatchingUp(comes_nearer=True, seconds=seconds)


class Lasting:
    """Tells whether a count has been growing for a while: something that may last for hours is under way."""

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds, self._clock = seconds, clock
        self._since: float | None = None
        self._last = 0.0

    def grows(self, value: float) -> bool:
        """Take a new value; say whether it grew, and has been doing so for the whole time."""
        now, grew = self._clock(), value > self._last
        self._last = value
        if grew and self._since is None:
            self._since = now
        return grew and self._since is not None and now - self._since >= self._seconds


def pace(speed: float | None, left_bytes: float) -> dict[str, Any]:
    """Return the columns of a task that tell how fast its step goes and when it ends at that speed."""
    eta_at = timezone.now() + timedelta(seconds=max(left_bytes, 0) / speed) if speed and speed > 1 else None
    return {"bytes_per_second": speed, "eta_at": eta_at}
