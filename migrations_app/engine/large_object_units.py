"""What a lane of the copy does with a portion of the large objects, and how far all of them are."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace

from .copy_board import Unit
from .copy_plan import DatabaseWork
from .large_objects import Told, copy_span
from .outcome import Run
from .pacing import Pacing
from .snapshot import Snapshot

_counting = threading.Lock()


def carry_unit(
    run: Run, unit: Unit, work: DatabaseWork, snapshot: Snapshot | None, pacing: Pacing, check: Callable[[], None]
) -> None:
    """Copy the large objects that are left of a unit: another try goes on where this one ends. Raises EngineError.

    What passes is counted in `work`, also for those who look meanwhile.
    """
    uncertain = 0

    def stood(size: int) -> None:
        nonlocal uncertain
        uncertain += size
        _count(work, size)

    def passed(size: int) -> None:
        stood(size)
        pacing.passed(size, check)

    def through(number: int) -> None:
        nonlocal uncertain
        uncertain, unit.span = 0, replace(unit.span, after=number)

    try:
        copy_span(
            run, work.database, unit.span, snapshot, Told(passed=passed, stood=stood, through=through, check=check)
        )
    except BaseException:
        _count(work, -uncertain)
        raise
    _count(work, 0, spans=1)


def _count(work: DatabaseWork, size: int, spans: int = 0) -> None:
    with _counting:  # several lanes may be at the large objects of one database
        work.carried_bytes += size
        work.spans_left -= spans
