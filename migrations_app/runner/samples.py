"""Points of a task's charts, one every few seconds while a worker has it. Old ones are thinned by the dispatcher."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.utils import timezone

from ..models import Sample

SECONDS_BETWEEN = 5.0


class Sampler:
    """Writes samples of one task. Called in the recorder's thread only, except `kept`, which may be called by any.

    A slice may be shorter than the time between two samples: the first one asks the rows when the last was written.
    """

    def __init__(self, task_id: UUID, clock: Callable[[], float] = time.monotonic) -> None:
        self._task_id, self._clock = task_id, clock
        self._written: float | None = None
        self._kept: int | None = None

    def kept(self, kept_bytes: int) -> None:
        """Remember how much WAL the source keeps; it is written with the next sample."""
        self._kept = kept_bytes

    def sync(
        self,
        *,
        lag_bytes: int | None,
        lag_seconds: float | None,
        rows_per_second: float | None,
        wal_bytes_per_second: float | None = None,
    ) -> None:
        """Write a sample of the sync if one is due."""
        self._write(
            lag_bytes=lag_bytes,
            lag_seconds=lag_seconds,
            apply_rows_per_second=rows_per_second,
            wal_bytes_per_second=wal_bytes_per_second,
        )

    def copy(self, *, bytes_per_second: float | None) -> None:
        """Write a sample of the copy if one is due and its speed is known."""
        if bytes_per_second is not None:
            self._write(copy_bytes_per_second=bytes_per_second)

    def _write(self, **values: Any) -> None:
        if not self._due():
            return
        self._written = self._clock()
        Sample.objects.create(task_id=self._task_id, wal_kept_bytes=self._kept, **values)

    def _due(self) -> bool:
        if self._written is None:
            fresh = timezone.now() - timedelta(seconds=SECONDS_BETWEEN)
            return not Sample.objects.filter(task_id=self._task_id, at__gt=fresh).exists()
        return self._clock() - self._written >= SECONDS_BETWEEN
