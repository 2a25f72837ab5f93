"""What `task run` was asked for, and what it exits with."""

from __future__ import annotations

from dataclasses import field

from ... import services
from ...engine.selection import Selection
from ...engine.states import Status
from ...engine.values import frozen
from ...models import MigrationTask
from .wal import WalOptions

DONE, CHECK_FAILED, FAILED, DIFFERS = 0, 2, 3, 4
INTERRUPTED = 130
DIFFERENCES = "CMP-"


@frozen
class RunOptions:
    """What `task run` was asked for."""

    source: services.EndpointData
    target: services.EndpointData
    name: str
    selection: Selection
    incremental: bool
    complete: bool
    jobs: int | None
    mb_per_second: int | None = None
    compare: bool = True
    as_json: bool
    existing: str = "refuse"
    wal: WalOptions | None = None
    passwords: list[services.PasswordData] = field(default_factory=list)


def exit_code(task: MigrationTask) -> int:
    """Return what the process exits with: 0 done, 2 check failed, 3 failed, 4 comparison differs."""
    if task.status in (Status.CHECK_FAILED, Status.DRAFT, Status.CHECKING):
        return CHECK_FAILED
    if task.error_code.startswith(DIFFERENCES):
        return DIFFERS
    return DONE if task.status in (Status.COMPLETED, Status.READY) else FAILED
