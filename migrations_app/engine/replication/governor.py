"""Judges how near a task is to losing its slot, or to its own budget of WAL. Pure: samples in, one judgement out.

What no server tells is told as unknown: how large the disk of a source's WAL is cannot be asked by SQL, so it counts
only when an operator has stated it; how much WAL lies there already is asked.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

from ..values import frozen

WARNING_AT, ALARM_AT = 0.60, 0.85
"""Parts of a limit at which the levels begin."""
WINDOW_SECONDS = 600.0
"""The rate is that of the last minutes: what was before says little about when a limit is reached."""
_LEAST_SECONDS = 5.0
_FALLING_PART = 0.05  # a level ends this much below where it began, so that a value at the edge is not told each minute


class Level(StrEnum):
    """How near the nearest limit is, from the least to the most urgent."""

    NORMAL = "normal"
    WARNING = "warning"
    ALARM = "alarm"
    REACHED = "reached"  # only a budget is ever reached; the other limits end in a lost slot

    @property
    def rank(self) -> int:
        """Its place in the order of urgency, from 0."""
        return list(Level).index(self)


class Policy(StrEnum):
    """What is done when the budget is reached."""

    ALARM = "alarm"  # it is told, nothing else
    PAUSE_OTHERS = "pause_others"  # other tasks of the same source server are paused until it has fallen again
    SPOOL = "spool"  # changes are received into a spool on the worker's disk, so that the source may forget them
    DROP = "drop"  # the slot is given up; somebody decides about a new copy
    NEW_COPY = "new_copy"  # the slot is given up, and the task starts again with a new copy by itself


class Bound(StrEnum):
    """What limits the WAL that a source keeps."""

    NONE = ""
    BUDGET = "budget"  # the operator's, for this task
    SLOT = "slot"  # max_slot_wal_keep_size of the source: beyond it the slot is lost
    DISK = "disk"  # the size of the WAL's disk as stated: full, the source stops


@frozen
class Kept:
    """One look: `at` in seconds of any one clock, `kept_bytes` of WAL that the source kept for the task then."""

    at: float
    kept_bytes: int


@frozen
class Limits:
    """What is known of the limits, in bytes. None: there is none, or nobody can say.

    `safe_bytes`: how much more the source may write before it drops what the slot needs (servers since 13 with a
    max_slot_wal_keep_size; 0 or less: at its next checkpoint). `wal_status` is that of the slot, '' before 13.
    `wal_bytes`: all WAL on the source's disk; what others keep of it is no room for this task.
    """

    budget_bytes: int | None = None
    disk_bytes: int | None = None
    safe_bytes: int | None = None
    wal_status: str = ""
    wal_bytes: int | None = None


@frozen
class Judgement:
    """What the samples come to. `limit_bytes` and `left_bytes` are of the nearest limit, None without any.

    `seconds_left`: until that limit at the rate of the last minutes; None when it does not grow, or nothing limits it.
    """

    level: Level
    bound: Bound
    kept_bytes: int
    limit_bytes: int | None
    left_bytes: int | None
    bytes_per_second: float | None
    seconds_left: float | None


def judge(samples: Sequence[Kept], limits: Limits, before: Level = Level.NORMAL) -> Judgement:
    """Judge the samples, oldest first; the last one is now. Raises ValueError without a sample.

    `before`: the level of the last judgement. A level ends only some way below where it begins.
    """
    if not samples:
        raise ValueError("nothing is known of what the source keeps")
    kept = samples[-1].kept_bytes
    rate = growth(samples)
    known = _limits(kept, limits)
    if not known:
        return Judgement(
            level=Level.NORMAL,
            bound=Bound.NONE,
            kept_bytes=kept,
            limit_bytes=None,
            left_bytes=None,
            bytes_per_second=rate,
            seconds_left=None,
        )
    levels = {bound: _settled(bound, kept, limit, limits, before) for bound, limit in known.items()}
    worst = max(levels.values(), key=lambda level: level.rank)
    nearest = min((bound for bound in known if levels[bound] is worst), key=lambda bound: known[bound])
    left = max(0, known[nearest] - kept)
    growing = rate is not None and rate > 0
    return Judgement(
        level=worst,
        bound=nearest,
        kept_bytes=kept,
        limit_bytes=known[nearest],
        left_bytes=left,
        bytes_per_second=rate,
        seconds_left=left / rate if growing and rate else 0.0 if left == 0 else None,
    )


def growth(samples: Sequence[Kept]) -> float | None:
    """Return the growth over the last minutes in bytes a second; negative when it fell, None: too little known."""
    last = samples[-1]
    recent = [one for one in samples if 0 <= last.at - one.at <= WINDOW_SECONDS]
    seconds = last.at - recent[0].at
    return (last.kept_bytes - recent[0].kept_bytes) / seconds if seconds >= _LEAST_SECONDS else None


def _limits(kept: int, limits: Limits) -> dict[Bound, int]:
    """Return each known limit as the number of bytes kept at which it is reached."""
    slot = kept + max(0, limits.safe_bytes) if limits.safe_bytes is not None else None
    if limits.wal_status in ("unreserved", "lost"):
        slot = kept + max(0, limits.safe_bytes or 0)
    disk = limits.disk_bytes
    if disk is not None and limits.wal_bytes is not None:
        disk = max(0, disk - max(0, limits.wal_bytes - kept))
    known = {Bound.BUDGET: limits.budget_bytes, Bound.SLOT: slot, Bound.DISK: disk}
    return {bound: limit for bound, limit in known.items() if limit is not None}


def _settled(bound: Bound, kept: int, limit: int, limits: Limits, before: Level) -> Level:
    now = _level(bound, kept, limit, limits)
    if now.rank >= before.rank:
        return now
    slack = _level(bound, kept + int(limit * _FALLING_PART), limit, limits)
    return min(before, slack, key=lambda level: level.rank)


def _level(bound: Bound, kept: int, limit: int, limits: Limits) -> Level:
    if bound is Bound.SLOT and limits.wal_status in ("unreserved", "lost"):
        return Level.ALARM
    part = kept / limit if limit > 0 else 1.0
    if part >= 1 and bound is Bound.BUDGET:
        return Level.REACHED
    return Level.ALARM if part >= ALARM_AT else Level.WARNING if part >= WARNING_AT else Level.NORMAL
