"""What an ended task could not remove from its servers: trying that again, and deleting the task all the same."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import Q
from django.utils.translation import gettext as _

from .. import clock, queue
from ..engine.cleaning.side import by_hand
from ..engine.states import Action, Status
from ..engine.wording import Sentence, noun, say, template
from ..models import LedgerEntry, MigrationTask
from ..refusals import all_leftovers, delete_waits, leftovers, leftovers_seen
from . import audit, governing
from .base import Actor, Refused, TaskId, actor_name, locked, move, refuse_stale, require, require_typed
from .figures import no_more_tries
from .lifecycle import begin_cancel

_SOONEST, _LATEST = timedelta(minutes=1), timedelta(days=1)
_DELETED = template("Deleted while something of it stays on its servers: {things}.")
_STAYS = template("{kind} {name} on the {side} (database {database}). Run: {sql}")


@transaction.atomic
def clean_up_task(*, task_id: TaskId, actor: Actor) -> MigrationTask:
    """Try once more to remove what Cancel or Complete has left on the servers. Raises Refused when nothing is left."""
    task = locked(task_id)
    require(Action.CLEAN_UP, task)
    said = say("Try clean-up pressed: what is ours is removed from both servers.")
    if task.status == Status.COMPLETED:
        _begin_after_complete(task, actor, said)
    else:
        _begin(task, actor, said)
    return task


def try_clean_ups(now: datetime) -> int:
    """Begin the clean-ups that are due, of tasks that left something when they were cancelled. Returns how many.

    Must run inside a transaction.
    """
    due = Q(not_before__lte=now) | Q(not_before__gt=now + 2 * _LATEST)  # ahead: the clock was set back
    waiting = MigrationTask.objects.select_for_update().filter(due, status=Status.CANCELLED)
    tasks = list(waiting.filter(pk__in=all_leftovers().values("task")))
    for task in tasks:
        _begin(task, None, say("What was left on the servers is tried again by itself."))
    return len(tasks)


def next_clean_up(task: MigrationTask, now: datetime) -> datetime:
    """Return when what is left is tried again by itself: after a minute, then ever later, at last once a day."""
    ended = min(task.finished_at or now, now)
    return now + min(max(now - ended, _SOONEST), _LATEST)


def _begin(task: MigrationTask, actor: Actor, said: Sentence) -> None:
    begin_cancel(task, actor=actor, code="TASK-CLEANUP", message=said, new_copy=False)
    queue.wake("sync", str(task.pk))


def _begin_after_complete(task: MigrationTask, actor: Actor, said: Sentence) -> None:
    """The same for a task that has completed, and stays so: `refusals.cleans_up_again`."""
    move(
        task,
        Status.COMPLETING,
        actor=actor,
        code="TASK-CLEANUP",
        message=said,
        woken_at=clock.now(),
        foreground=False,
        back_requested=False,
        **no_more_tries(task),
    )
    queue.wake("sync", str(task.pk))


@transaction.atomic
def delete_task(*, task_id: TaskId, actor: Actor, typed: str | None, leaving: str | None = None) -> None:
    """Delete a task that was never started or has ended, with its history.

    It is confirmed by the task's name (`typed`; None: the caller has asked in another way). Raises Refused, also while
    something of ours is left, unless `leaving` (`refusals.leftovers_seen`) confirms exactly that list; what stays is
    then told in the audit trail with the statements that remove it.
    """
    task = locked(task_id)
    require(Action.DELETE, task)
    if waits := delete_waits(task):
        if leaving is None:
            raise Refused(waits)
        now = leftovers_seen(task)
        refuse_stale(leaving, now, _("What is left has changed meanwhile. Nothing was deleted. Read the list again."))
    require_typed(task, typed)
    stays = [_stays(row) for row in leftovers(task).order_by("side", "id")] if waits else []
    governing.release(task)  # nobody would find those any more that are paused for it
    endpoints = [endpoint for endpoint in (task.source, task.target) if endpoint]
    task.delete()  # and its history with it
    for endpoint in endpoints:
        endpoint.delete()
    # At the end: who appends to the trail keeps all others from it until the transaction has ended.
    audit.in_full(
        actor=actor_name(actor), otherwise="tasks:action-delete", about=_DELETED, things=stays, subject=task.name
    )


def _stays(row: LedgerEntry) -> Sentence:
    item = row.item()
    return say(
        _STAYS,
        kind=noun(item.kind.value.replace("_", " ")),
        name=f"{item.schema}.{item.name}" if item.schema else item.name,
        side=noun(item.side),
        database=item.database,
        sql=by_hand(item),
    )
