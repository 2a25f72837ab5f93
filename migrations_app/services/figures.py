"""Lag, rate and "in sync" are true while somebody looks. With the work they end: a last look is not told as present."""

from __future__ import annotations

from typing import Any

from ..models import MigrationTask, TaskDatabase

UNKNOWN: dict[str, Any] = {
    "lag_bytes": None,
    "lag_seconds": None,
    "rows_per_second": None,
    "bytes_per_second": None,
    "eta_at": None,
    "wal_bytes_per_second": None,
    "applied_bytes_per_second": None,
    "catching_up": None,
    "rates": {},
}
"""Columns of a task for which nobody looks at the servers now. The samples of its charts keep what was known last."""


def rates_unknown() -> dict[str, Any]:
    """Return the columns of a task that begins another step: how fast the last one was says nothing of it."""
    return {name: value for name, value in UNKNOWN.items() if not name.startswith("lag_")}


def forget_sync(task: MigrationTask) -> None:
    """Let no database of the task be in sync, or behind by a known number, until a worker has looked again."""
    TaskDatabase.objects.filter(task=task).update(in_sync=False, lag_bytes=None, lag_seconds=None)


def no_more_tries(task: MigrationTask) -> dict[str, Any]:
    """Return the columns of a task that was waiting for another try and is stopped: none comes by itself now."""
    told = {"error_code": "", "error_message": "", "error_hint": ""} if task.error_code == "RUN-RETRY" else {}
    return {"failing_since": None, "tries": 0, "not_before": None, **told}
