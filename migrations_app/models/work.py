"""Signs of life of those who work."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.utils import timezone


class WorkerBeat(models.Model):
    """A sign of life of one queue worker, written by its main loop while idle and by its lease while busy."""

    cluster = models.CharField(max_length=20)
    host = models.CharField(max_length=120)
    pid = models.PositiveIntegerField()
    at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint(fields=["cluster", "host", "pid"], name="one_beat_per_worker")]

    def __str__(self) -> str:
        return f"{self.cluster}@{self.host}:{self.pid}"
