"""How fast a sync goes, across its slices, and when it will have caught up with its source."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any

from django.utils import timezone

from ..models import TaskDatabase
from .rate import CatchingUp, Rate, catching_up

_KEEPS = 0.8


class SyncRates:
    """Rates of one task, per second: rows applied, WAL that the source writes, and WAL that the sync gets behind it.

    A slice may be too short to measure anything: `known` is what an earlier slice has stored of `columns`.
    """

    def __init__(self, known: Mapping[str, Sequence[Any]], clock: Callable[[], float] = time.time) -> None:
        self._rate = Rate(clock, keeps=_KEEPS, known=known)
        self.rows: float | None = None
        self.written: float | None = None
        self.applied: float | None = None

    def see(self, databases: Sequence[TaskDatabase]) -> None:
        """Take a new look at the databases of the task. The WAL of a server is one for all of them.

        All rates go by the source's clock where it was looked at: what is written and what is applied are compared.
        """
        looks = [
            (row.source_at, row.source_lsn, row.source_lsn - (row.lag_bytes or 0))
            for row in databases
            if row.source_at is not None and row.source_lsn is not None
        ]
        at, lsn, _ = max(looks, default=(None, None, None))
        self.rows = self._rate.update("rows", float(sum(row.rows_applied for row in databases)), at)
        if lsn is not None:
            self.written = self._rate.update("written", float(lsn), at)
            self.applied = self._rate.update("applied", float(min(reached for _, _, reached in looks)), at)

    def columns(self, left_bytes: int) -> dict[str, Any]:
        """Return the columns of the task that tell them; `left_bytes` 0: there is nothing to catch up with."""
        found = catching_up(left_bytes, self.applied, self.written) if left_bytes else CatchingUp()
        eta_at = timezone.now() + timedelta(seconds=found.seconds) if found.seconds is not None else None
        return {
            "rows_per_second": self.rows,
            "wal_bytes_per_second": self.written,
            "applied_bytes_per_second": self.applied,
            "catching_up": found.comes_nearer,
            "eta_at": eta_at,
            "rates": self._rate.state(),
        }
