"""What pages and command line show of the snapshot that a task holds on its source."""

from __future__ import annotations

from datetime import datetime

from django.conf import settings
from django.utils import timezone

from ..engine.states import StepName
from ..engine.values import frozen
from ..models import MigrationTask


@frozen
class HeldView:
    """The oldest snapshot of the source that a worker holds for a task now. `long`: past the limit, a warning.

    `closes`: the task has another snapshot follow it, so it is closed when what is under way has been copied.
    """

    since: datetime
    seconds: float
    limit_seconds: float
    long: bool
    closes: bool


def held(task: MigrationTask) -> HeldView | None:
    """Return since when a snapshot is held for a task; None when nobody works on it, or without one."""
    now = timezone.now()
    if task.lease_until is None or task.lease_until < now:
        return None
    since = min((row.snapshot_since for row in task.databases.all() if row.snapshot_since), default=None)
    if since is None:
        return None
    seconds, limit = max(0.0, (now - since).total_seconds()), settings.SNAPSHOT_HOURS * 3600
    return HeldView(
        since=since,
        seconds=seconds,
        limit_seconds=limit,
        long=seconds > limit,
        closes=task.incremental and task.current_step == StepName.COPY,
    )
