"""What pages show of the WAL that a source keeps for a task."""

from __future__ import annotations

from ..engine.states import Status
from ..engine.values import frozen
from ..models import MigrationTask
from ..refusals import cleans_up_again
from . import labels
from .wording import told_in

_ENDED = (Status.COMPLETED, Status.CANCELLING)
_HOLDING = (Status.QUEUED, Status.RUNNING, Status.READY, Status.COMPLETING, Status.PAUSED, Status.FAILED)
_TONES = {"warning": "warn", "alarm": "bad", "reached": "bad"}
_SOON_SECONDS = 86_400.0
_UNITS = (("TB", 10**12), ("GB", 10**9), ("MB", 10**6), ("kB", 10**3))


@frozen
class WalView:
    """`text`: what is kept and when a limit is reached, '' while nothing is known; `tone` is '' while it is not urgent.

    `note`: it is more than a figure, because a level is reached, a limit is less than a day away at the rate of the
    last minutes, or nobody works on the task while the source keeps every change.

    `spooling`: changes go through a spool, or some wait in one; `spool_bytes` of them, on the disks of these hosts.

    `budget` and `disk` are sizes as they can be typed, '' without one. `policies` are (value, label, chosen).
    """

    text: str
    tone: str
    note: bool
    may_set: bool
    budget: str
    disk: str
    policies: list[tuple[str, str, bool]]
    spooling: bool
    spool_bytes: int
    spool_hosts: str


def wal(task: MigrationTask) -> WalView:
    """Return what is known of the WAL that is kept for a task, and how its budget stands."""
    holds = _holds(task)
    spools = [row for row in task.databases.all() if row.spool_host] if holds else []
    return WalView(
        text=told_in(task.wal_state, "text") if holds else "",
        tone=_TONES.get(task.wal_level, ""),
        note=task.wal_level in _TONES or task.status in (Status.PAUSED, Status.FAILED) or _soon(task),
        may_set=task.incremental and Status(task.status) not in _ENDED and not cleans_up_again(task),
        budget=_typed(task.wal_budget_bytes),
        disk=_typed(task.wal_disk_bytes),
        policies=[(name, str(label), name == task.wal_policy) for name, label in labels.WAL_POLICIES.items()],
        spooling=holds and (task.spooling or bool(spools)),
        spool_bytes=sum(row.spool_bytes for row in spools),
        spool_hosts=", ".join(sorted({row.spool_host for row in spools})),
    )


def _soon(task: MigrationTask) -> bool:
    seconds = task.wal_state.get("seconds")
    return isinstance(seconds, int | float) and seconds < _SOON_SECONDS


def wal_mark(task: MigrationTask) -> str:
    """Return what the list shows when much WAL is kept for a task; '' while it is not urgent."""
    return str(labels.WAL_MARKS.get(task.wal_level, "")) if _holds(task) else ""


def _holds(task: MigrationTask) -> bool:
    """Say whether the source keeps WAL that the task needs."""
    return task.status in _HOLDING and not cleans_up_again(task)


def _typed(number: int | None) -> str:
    """Return a size exactly, in the largest unit that has three digits after the point at most."""
    if number is None:
        return ""
    for unit, factor in _UNITS:
        thousandths, rest = divmod(number * 1000, factor)
        if number >= factor and not rest:
            return f"{thousandths // 1000}.{thousandths % 1000:03d}".rstrip("0").rstrip(".") + f" {unit}"
    return f"{number} B"
