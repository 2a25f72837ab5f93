"""How far apart the points of a task's charts stand, by their age. Read by those who thin and by those who draw."""

from __future__ import annotations

# Younger than so many seconds: so many seconds apart. The first band is longer than the time over which the growth of
# kept WAL is measured: a point that stands for its neighbours has the highest of them, which would bend that rate.
_BANDS = ((660.0, 0.0), (3_600.0, 60.0), (43_200.0, 600.0))
_OLDEST = 7_200.0


def spacing(age: float) -> float:
    """Return how many seconds lie between two kept points of this age; 0 while every point is kept."""
    return next((seconds for limit, seconds in _BANDS if age < limit), _OLDEST)
