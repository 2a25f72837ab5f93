"""How a task that was stopped goes on: where it stopped, in the sync, or in Complete once targets are being opened."""

from __future__ import annotations

from typing import Any

from .. import clock, queue
from ..engine.plan import Side
from ..engine.ports import OPENING, STAGES, Kind
from ..engine.states import Status, StepName
from ..models import MigrationTask, Step
from ..refusals import past_return
from .base import Actor, hand_over, move
from .figures import forget_sync

MIGRATE_STEPS = frozenset({"", StepName.SCHEMA, StepName.COPY, StepName.INDEX})
"""Steps before the sync."""
_OPENING_STEPS = frozenset({StepName.COMPLETE, StepName.CLEANUP})


def go_on(task: MigrationTask, actor: Actor, code: str, message: str) -> None:
    """Back into the queue of full migrations, or straight into the sync when the copy is done.

    Once Complete has begun to open targets, it is taken up again where it stopped: nothing leads back to the sync.
    """
    cleared: dict[str, Any] = {
        "error_code": "",
        "error_message": "",
        "error_hint": "",
        "conflict": {},
        "drift": {},
        "failing_since": None,
        "tries": 0,
        "not_before": None,
        "paused_for": None,
    }
    hand_over(task, actor)
    now = clock.now()
    if task.current_step not in _OPENING_STEPS:  # left by a run before this one, whose bookmark could not be removed
        forget_opening(task)
    forget_sync(task)  # what a worker saw last, maybe after it was told to stop
    Step.objects.filter(task=task, state="failed").update(state="pending")
    if task.current_step in MIGRATE_STEPS or not task.incremental:
        move(
            task,
            Status.QUEUED,
            actor=actor,
            code=code,
            message=message,
            queued_at=task.queued_at or now,
            woken_at=now,
            **cleared,
        )
        if not task.foreground:
            queue.wake("migrate")
        return
    if task.current_step in _OPENING_STEPS and past_return(task):
        move(task, Status.COMPLETING, actor=actor, code=code, message=message, woken_at=now, **cleared)
    else:
        return_to_sync(task)
        move(task, Status.RUNNING, actor=actor, code=code, message=message, woken_at=now, **cleared)
    if not task.foreground:
        queue.wake("sync", str(task.pk))


def forget_opening(task: MigrationTask) -> None:
    """Take the mark off that Complete has begun to open targets: it is not of this run."""
    for mark in task.ledger.filter(side=Side.TARGET, kind=Kind.BOOKMARK, removed_at=None):
        mark.detail = {name: value for name, value in mark.detail.items() if name not in (OPENING, STAGES)}
        mark.save(update_fields=["detail"])


def return_to_sync(task: MigrationTask) -> None:
    """Put the steps back to where the sync runs; the status is the caller's business, and that no target was opened."""
    after = [StepName.COMPARE, StepName.COMPLETE, StepName.CLEANUP]
    Step.objects.filter(task=task, name__in=after).update(
        state="pending", started_at=None, finished_at=None, progress_done=0, note=""
    )
    Step.objects.filter(task=task, name=StepName.SYNC).update(state="running", finished_at=None)
    MigrationTask.objects.filter(pk=task.pk).update(current_step=StepName.SYNC)
