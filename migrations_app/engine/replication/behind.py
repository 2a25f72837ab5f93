"""By how many seconds the target is behind, from samples of the source: by the source's clock alone."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Protocol

from ..ports import DatabaseState


class Sample(Protocol):
    """One look at the source: its WAL position, its clock (Unix seconds), and our monotonic clock at that moment."""

    @property
    def insert_lsn(self) -> int: ...
    @property
    def source_time(self) -> float: ...
    @property
    def at(self) -> float: ...


def known_before(state: DatabaseState) -> list[tuple[int, float]]:
    """Return positions of the source's WAL with the source's time by which they were written, as of the last session.

    Without them the lag would count from the session's own beginning until the first change of it arrives.
    """
    if state.source_lsn is None or state.source_at is None:
        return []
    last = (state.source_lsn, state.source_at)
    if state.bookmark is None or state.lag_seconds is None:
        return [last]
    return [(state.bookmark, state.source_at - state.lag_seconds), last]


def seconds_behind(
    position: int, pending_since: float | None, samples: Sequence[Sample], before: Sequence[tuple[int, float]]
) -> float:
    """Return the seconds by which `position` is behind; 0 when everything that was there at the last sample is applied.

    `pending_since`: source time at which the transaction now being applied was committed there. `before`: see
    `known_before`.
    """
    if not samples or position >= samples[-1].insert_lsn:
        return 0.0
    now = samples[-1].source_time + time.monotonic() - samples[-1].at
    moments = [*before, *((one.insert_lsn, one.source_time) for one in samples)]
    reached = next((moment for lsn, moment in reversed(moments) if lsn <= position), None)
    known = [moment for moment in (reached, pending_since) if moment is not None]
    return max(0.0, now - max(known)) if known else max(0.0, now - moments[0][1])
