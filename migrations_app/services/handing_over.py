"""A task that a terminal drove (`task run`) goes on with the workers, when that terminal has ended."""

from __future__ import annotations

from django.db import transaction

from .. import clock
from ..engine.states import Action
from ..engine.wording import say
from ..models import MigrationTask
from .base import Actor, TaskId, locked, note, require, touch
from .work.claims import wake_task


@transaction.atomic
def hand_over_task(*, task_id: TaskId, actor: Actor) -> MigrationTask:
    """Let the workers go on with a task whose terminal has ended, from where it stands. Raises Refused.

    A terminal that lives all the same, such as on another host, does no harm: each slice is one claim's.
    """
    task = locked(task_id)
    require(Action.HAND_OVER, task)
    note(task, say("Handed over to the workers: its terminal has ended."), actor=actor, code="TASK-HANDEDOVER")
    touch(task, foreground=False, woken_at=clock.now())
    task.refresh_from_db()
    wake_task(task)
    return task
