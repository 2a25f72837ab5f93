"""Keeps the charts' points few: the older they are, the farther apart. A task of weeks keeps a few hundred."""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from ..engine.states import Status
from ..models import MigrationTask, Sample
from ..sample_ages import spacing

_GROWING = [Status.RUNNING, Status.READY, Status.COMPLETING, Status.PAUSED, Status.FAILED]


def thin_samples(now: datetime | None = None) -> int:
    """Delete the points that stand closer together than their age wants. Returns how many. Idempotent.

    Only tasks that have a sample of the last two hours are looked at: the points of the others no longer grow.
    """
    now = now or timezone.now()
    fresh = Sample.objects.filter(at__gt=now - timedelta(hours=2)).order_by().values("task")
    tasks = MigrationTask.objects.filter(status__in=_GROWING, pk__in=fresh).values_list("pk", flat=True)
    return sum(_thin(task, now) for task in tasks)


@transaction.atomic
def _thin(task: UUID, now: datetime) -> int:
    taken: set[tuple[float, int]] = set()
    spare = []
    for key, at in Sample.objects.filter(task_id=task).order_by("at", "pk").values_list("pk", "at"):
        seconds = spacing((now - at).total_seconds())
        place = (seconds, int(at.timestamp() // seconds)) if seconds else (0.0, key)
        if place in taken:
            spare.append(key)
        taken.add(place)
    for start in range(0, len(spare), 500):
        Sample.objects.filter(pk__in=spare[start : start + 500]).delete()
    return len(spare)
