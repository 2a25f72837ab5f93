"""The way back from Complete: the sync goes on, as long as the target was not opened."""

from __future__ import annotations

from django.db import transaction
from django.utils.translation import gettext as _

from .. import clock, queue
from ..engine.errors import CompleteStopped, EngineError
from ..engine.states import Action, Status, StepName
from ..engine.wording import as_data, say
from ..models import MigrationTask
from ..refusals import past_return
from .base import Actor, Refused, TaskId, locked, move, note, require, touch
from .resuming import return_to_sync


@transaction.atomic
def keep_syncing(*, task_id: TaskId, actor: Actor) -> MigrationTask:
    """Have the sync go on instead of Complete. At once when no worker is at it, else as soon as the worker can. Asking
    twice is asking once.

    Raises Refused when Complete is past the point where the sync could go on. A worker that passes it in this moment
    completes the task.
    """
    task = locked(task_id)
    require(Action.KEEP_SYNCING, task)
    if past_return(task):
        raise Refused(_("Complete is past the point where the sync could go on: the target is open."))
    if task.lease_until is None and task.current_step != StepName.COMPLETE:
        leave_complete(task, CompleteStopped(), actor)
        if not task.foreground:
            queue.wake("sync", str(task.pk))
        return task
    if task.back_requested:
        return task  # asked before: nothing changes
    touch(task, back_requested=True)
    note(task, say("Back to sync pressed: Complete stops as soon as it can."), actor=actor, code="COMPLETE-BACK")
    task.refresh_from_db()
    return task


def leave_complete(task: MigrationTask, reason: EngineError, actor: Actor = None) -> None:
    """Put a task that was completing back to its sync; must run inside a transaction.

    The task keeps the reason as its error, unless somebody asked for it.
    """
    asked = isinstance(reason, CompleteStopped)
    message, hint = ("", "") if asked else (reason.public_message, reason.hint)
    return_to_sync(task)
    task.refresh_from_db()
    move(
        task,
        Status.READY,
        actor=actor,
        code=reason.code,
        level="info" if asked else "error",
        message=reason.public_message,
        detail=dict(reason.detail),
        back_requested=False,
        error_code="" if asked else reason.code,
        error_message=message,
        error_hint=hint,
        words=as_data(error_message=message, error_hint=hint),
        woken_at=clock.now(),
    )
