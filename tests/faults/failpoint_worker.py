"""Starts workers for tests of failpoints: reads orders on stdin, each a line of JSON, and forks a worker for each.

Writes the worker's pid, and how it ended: minus the signal that killed it. A fork saves the start of Python and Django;
the worker itself is the product's own, with sessions, threads and files of its own.
"""

from __future__ import annotations

import json
import os
import sys
import time
import traceback
from datetime import timedelta
from typing import Any

import django

django.setup()

from django.utils import timezone  # noqa: E402 - Django has to be set up first

from migrations_app import runner  # noqa: E402
from migrations_app.engine import copy_plan, index_lanes  # noqa: E402
from migrations_app.models import MigrationTask  # noqa: E402


def _work(order: dict[str, Any]) -> None:
    task = order["task"]
    if order["parts"]:
        copy_plan._SMALL_TABLE_BYTES = 1000
        copy_plan.part_size = lambda total, jobs: 20_000  # type: ignore[assignment]
    # As if the lease of a killed worker had run out.
    held = MigrationTask.objects.filter(pk=task).exclude(lease_until=None)
    held.update(lease_until=timezone.now() - timedelta(seconds=1))
    if order["do"] == "check":
        runner.run_check(task)
        return
    runner.drive_foreground(task, waiting=time.sleep)


def main() -> None:
    """Run orders until stdin ends."""
    assert index_lanes  # loaded before the forks, like everything that a worker needs
    for line in sys.stdin:
        pid = os.fork()
        if not pid:
            status = 1
            try:
                _work(json.loads(line))
                status = 0
            except BaseException:
                traceback.print_exc()
            finally:
                sys.stderr.flush()
                os._exit(status)
        print(pid, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)


if __name__ == "__main__":
    main()
