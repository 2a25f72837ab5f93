"""Editing a task that has failed, all of it, while nothing was made on either server."""

from __future__ import annotations

from django.db import transaction
from django.utils.translation import gettext as _

from ..engine.ports import Kind
from ..engine.states import Action, Status
from ..engine.wording import say
from ..models import CheckItem, LedgerEntry, MigrationTask
from .base import Actor, Refused, TaskId, locked, move, require
from .figures import UNKNOWN


def nothing_made(task: MigrationTask) -> bool:
    """Say whether nothing of this task stands on either server, by the ledger."""
    return not LedgerEntry.objects.filter(task=task, removed_at=None).exclude(kind=Kind.FILE).exists()


@transaction.atomic
def reopen_task(*, task_id: TaskId, actor: Actor) -> MigrationTask:
    """Make a failed task a draft again. Raises Refused when something of it stands on a server."""
    task = locked(task_id)
    require(Action.REOPEN, task)
    if not nothing_made(task):
        raise Refused(
            _(
                "This task has made objects on its servers, so what it migrates cannot change any more. "
                "Change only how the servers are reached, or cancel the task and clone it."
            )
        )
    for rows in (task.steps, task.tables, task.entries, task.databases, task.comparisons, task.notes):
        rows.all().delete()
    CheckItem.objects.filter(task=task).update(status="waiting")
    move(
        task,
        Status.DRAFT,
        actor=actor,
        code="TASK-REOPENED",
        message=say("Nothing had been made on either server: the task is a draft again."),
        current_step="",
        notes_count=0,
        checked_hash="",
        checked_at=None,
        queued_at=None,
        started_at=None,
        finished_at=None,
        error_code="",
        error_message="",
        error_hint="",
        failing_since=None,
        tries=0,
        not_before=None,
        **UNKNOWN,
    )
    return task
