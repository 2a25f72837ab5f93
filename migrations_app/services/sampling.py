"""Keeps the charts' points few: the older they are, the farther apart. A task of weeks keeps a few hundred."""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from ..engine.states import Status
from ..models import MigrationTask, Sample
from ..sample_ages import spacing

_FIGURES = (
    "lag_bytes",
    "lag_seconds",
    "apply_rows_per_second",
    "copy_bytes_per_second",
    "wal_bytes_per_second",
    "wal_kept_bytes",
)
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
    """Leave the first sample of each slot, with the highest of each figure in it: charts are read for peaks."""
    kept: dict[tuple[float, int], Sample] = {}
    grown: set[Sample] = set()
    spare = []
    for sample in Sample.objects.filter(task_id=task).order_by("at", "pk"):
        seconds = spacing((now - sample.at).total_seconds())
        place = (seconds, int(sample.at.timestamp() // seconds)) if seconds else (0.0, sample.pk)
        first = kept.setdefault(place, sample)
        if first is not sample:
            spare.append(sample.pk)
            if _folded(first, sample):
                grown.add(first)
    Sample.objects.bulk_update(grown, _FIGURES, batch_size=100)
    for start in range(0, len(spare), 500):
        Sample.objects.filter(pk__in=spare[start : start + 500]).delete()
    return len(spare)


def _folded(first: Sample, spare: Sample) -> bool:
    """Put the higher figures of `spare` into `first`. Returns whether there were any."""
    higher = {
        name: value
        for name in _FIGURES
        if (value := getattr(spare, name)) is not None
        and (getattr(first, name) is None or value > getattr(first, name))
    }
    for name, value in higher.items():
        setattr(first, name, value)
    return bool(higher)
