"""The time of a task that waits for it: changed, or taken away together with the start."""

from __future__ import annotations

from datetime import UTC, datetime

from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from ..engine.states import Action, Status
from ..engine.wording import say
from ..models import MigrationTask
from .base import Actor, Refused, TaskId, locked, move, note, require, touch


def time_in_words(moment: datetime) -> str:
    """Return a time as events tell it: in UTC, wherever the console stands."""
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")


@transaction.atomic
def reschedule_task(*, task_id: TaskId, actor: Actor, scheduled_at: datetime) -> MigrationTask:
    """Let a scheduled task begin queuing at another time. Raises Refused for a time that has passed."""
    task = locked(task_id)
    require(Action.RESCHEDULE, task)
    if scheduled_at <= timezone.now():
        raise Refused(_("This time has passed. Choose a later one, or press Start now."))
    said = say("Scheduled for {when}.", when=time_in_words(scheduled_at))
    if task.scheduled_at is not None:
        before = time_in_words(task.scheduled_at)
        said = say("Scheduled for {when} instead of {before}.", when=time_in_words(scheduled_at), before=before)
    note(task, said, actor=actor, code="TASK-RESCHEDULED")
    touch(task, scheduled_at=scheduled_at)
    task.refresh_from_db()
    return task


@transaction.atomic
def unschedule_task(*, task_id: TaskId, actor: Actor) -> MigrationTask:
    """Take the start of a scheduled task back, and its time with it: it stands as it did after its check."""
    task = locked(task_id)
    require(Action.UNSCHEDULE, task)
    task.steps.all().delete()
    task.databases.all().delete()
    move(
        task,
        Status.CHECK_PASSED,
        actor=actor,
        code="TASK-UNSCHEDULED",
        message=say("Start taken back. The task has no set time any more and waits for Start."),
        scheduled_at=None,
    )
    return task
