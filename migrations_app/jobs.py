"""What queue workers call. A job is a wake-up: it claims its row, or walks away."""

from __future__ import annotations

from typing import Any

from . import queue, runner
from .runner.asking import run_connection_test


def migrate(*_: str, **__: Any) -> None:
    """Run the full migrations whose turn it is, one after another, until none waits."""
    while runner.run_migration():
        queue.beat()


def sync(task_id: str, **_: Any) -> None:
    """Run one slice of a task's sync, Complete or clean-up."""
    runner.run_sync(task_id)


def check(task_id: str, code: str = "", **_: Any) -> None:
    """Run the check of a task, or one item of it."""
    runner.run_check(task_id, code)


def test_connection(test_id: str, **_: Any) -> None:
    """Test a connection, or read the object list of a source."""
    run_connection_test(test_id)


def wal(task_id: str, **_: Any) -> None:
    """Look at what the source keeps for a task, and act at its budget."""
    runner.look_at_wal(task_id)


def canary(**_: Any) -> None:
    """Show that this cluster takes work."""
    queue.beat()
