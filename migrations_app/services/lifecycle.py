"""What operators ask of a task. One guarded move each; who asked, and when, is part of the history."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from .. import clock, queue
from ..draft_facts import draft_hash
from ..engine.plan import DatabasePlan
from ..engine.states import WORKED, Action, Status, StepName, steps_for
from ..engine.wording import say
from ..models import CheckItem, LedgerEntry, MigrationTask, Step, TaskDatabase, WorkerBeat
from ..refusals import complete_waits, only_cleans_up, was_opened
from .base import Actor, Refused, TaskId, hand_over, locked, move, note, require, require_typed, touch
from .figures import UNKNOWN, no_more_tries
from .interruptions import said_of_pause, said_of_retry
from .resuming import MIGRATE_STEPS, forget_opening, go_on
from .scheduling import time_in_words
from .selecting import planned_databases


@transaction.atomic
def start_task(*, task_id: TaskId, actor: Actor) -> MigrationTask:
    """Queue the task, or leave it waiting for its time. Raises Refused when the check is missing, old or failed."""
    task = locked(task_id)
    require(Action.START, task)
    _require_valid_check(task)
    databases = planned_databases(task)
    if not databases:
        raise Refused(_("Nothing is selected. Choose at least one database, schema or table on the Objects step."))
    hand_over(task, actor)
    _plan_rows(task, databases)
    if task.scheduled_at and task.scheduled_at > timezone.now():
        when = time_in_words(task.scheduled_at)
        move(
            task, Status.SCHEDULED, actor=actor, code="TASK-SCHEDULED", message=say("Scheduled for {when}.", when=when)
        )
        return task
    _enqueue(task, actor, say("Start pressed; the task waits for its turn."))
    return task


def _plan_rows(task: MigrationTask, databases: Sequence[DatabasePlan]) -> None:
    """Make the rows of the databases and the steps; those that are there already stay as they are."""
    TaskDatabase.objects.bulk_create(
        (TaskDatabase(task=task, source_name=one.source_name, target_name=one.target_name) for one in databases),
        ignore_conflicts=True,
    )
    names = steps_for(incremental=task.incremental)
    Step.objects.bulk_create(
        (Step(task=task, name=name, position=position) for position, name in enumerate(names, start=1)),
        ignore_conflicts=True,
    )


def _require_valid_check(task: MigrationTask) -> None:
    if task.checked_hash != draft_hash(task):
        raise Refused(_("The settings changed after the check. Run the check again."))
    if CheckItem.objects.filter(task=task, status__in=["failed", "waiting"]).exists():
        raise Refused(_("Some check items are Failed or were not run. Mend what they say and run the check again."))
    valid_until = (task.checked_at or timezone.now()) + timedelta(hours=settings.CHECK_VALID_HOURS)
    if valid_until < timezone.now():
        raise Refused(
            _("The check is older than %(hours)s hours. Run it again.") % {"hours": settings.CHECK_VALID_HOURS}
        )


def _enqueue(task: MigrationTask, actor: Actor, message: str) -> None:
    now = clock.now()
    move(
        task,
        Status.QUEUED,
        actor=actor,
        code="TASK-QUEUED",
        message=message,
        queued_at=now,
        woken_at=now,
        not_before=None,
    )
    if not task.foreground:
        queue.wake("migrate")


@transaction.atomic
def start_now(*, task_id: TaskId, actor: Actor) -> MigrationTask:
    """Queue a scheduled task at once. Raises Refused."""
    task = locked(task_id)
    require(Action.START_NOW, task)
    hand_over(task, actor)
    _enqueue(task, actor, say("Started before its scheduled time."))
    return task


@transaction.atomic
def pause_task(*, task_id: TaskId, actor: Actor) -> MigrationTask:
    """Stop working on the task within seconds; position, slot and target stay. Raises Refused.

    Without sync a copy under way has no position: it begins again.
    """
    task = locked(task_id)
    require(Action.PAUSE, task)
    _require_more_than_clean_up(task)
    move(
        task,
        Status.PAUSED,
        actor=actor,
        code="TASK-PAUSED",
        message=said_of_pause(task),
        paused_for=None,
        **no_more_tries(task),
        **UNKNOWN,
    )
    return task


def _require_more_than_clean_up(task: MigrationTask) -> None:
    """Raise Refused where everything is on the target, and a worker only removes what is ours: too late to stop it."""
    if only_cleans_up(task):
        raise Refused(
            _(
                "It is too late to stop the task: the data is on the target, and what is ours is just being removed. "
                "The task ends by itself."
            )
        )


@transaction.atomic
def resume_task(*, task_id: TaskId, actor: Actor) -> MigrationTask:
    """Go on where the task was paused. Raises Refused."""
    task = locked(task_id)
    require(Action.RESUME, task)
    go_on(task, actor, "TASK-RESUMED", say("Resumed."))
    return task


@transaction.atomic
def retry_task(*, task_id: TaskId, actor: Actor) -> MigrationTask:
    """Go on with a failed task where it stopped. Raises Refused."""
    task = locked(task_id)
    require(Action.RETRY, task)
    go_on(task, actor, "TASK-RETRIED", said_of_retry(task))
    return task


@transaction.atomic
def compare_task(*, task_id: TaskId, actor: Actor) -> MigrationTask:
    """Ask for a comparison at one consistent point while the sync goes on. Raises Refused."""
    task = locked(task_id)
    require(Action.COMPARE, task)
    if task.compare_requested:
        raise Refused(_("A comparison is already running. Its result appears on this page."))
    touch(task, compare_requested=True)
    note(task, say("Comparison requested."), actor=actor, code="CMP-REQUESTED")
    task.refresh_from_db()
    return task


@transaction.atomic
def complete_task(*, task_id: TaskId, actor: Actor) -> MigrationTask:
    """Drain, compare, set sequences and close the sync.

    Raises Refused unless the task is in sync, all tables too, and somebody has decided about new ones.
    """
    task = locked(task_id)
    require(Action.COMPLETE, task)
    if waits := complete_waits(task):
        raise Refused(waits)
    if task.compare_requested:
        note(
            task,
            say("The comparison that was asked for is given up: Complete compares every row by itself."),
            actor=actor,
            code="CMP-REQUESTED",
        )
    move(
        task,
        Status.COMPLETING,
        actor=actor,
        code="TASK-COMPLETING",
        message=say("Complete pressed: draining the last changes, then comparing."),
        woken_at=clock.now(),
        compare_requested=False,
        back_requested=False,
    )
    if not task.foreground:
        queue.wake("sync", str(task.pk))
    return task


@transaction.atomic
def cancel_task(*, task_id: TaskId, actor: Actor) -> MigrationTask:
    """Stop the task and remove what is ours from both servers; target tables stay and are listed. Raises Refused."""
    task = locked(task_id)
    require(Action.CANCEL, task)
    if task.status == Status.COMPLETING and task.current_step == StepName.CLEANUP:
        raise Refused(
            _("Complete is past the point where it can be cancelled: the comparison was equal and clean-up runs.")
        )
    _require_more_than_clean_up(task)
    said = say("Cancel pressed: stopping, then removing what is ours from both servers.")
    begin_cancel(task, actor=actor, code="TASK-CANCELLING", message=said, new_copy=False)
    if task.started_at is None and not LedgerEntry.objects.filter(task=task, removed_at=None).exists():
        Step.objects.filter(task=task).delete()
        move(
            task,
            Status.CANCELLED,
            actor=actor,
            code="TASK-CANCELLED",
            message=say("Cancelled before it began. Nothing was made on either server."),
            finished_at=timezone.now(),
        )
        return task
    queue.wake("sync", str(task.pk))
    return task


def begin_cancel(task: MigrationTask, *, actor: Actor, code: str, message: str, **fields: Any) -> None:
    """Move a task to where a worker removes what is ours by the ledger, however often that worker is killed."""
    move(
        task,
        Status.CANCELLING,
        actor=actor,
        code=code,
        message=message,
        **{
            "woken_at": clock.now(),
            "compare_requested": False,
            "foreground": False,
            "paused_for": None,
            "spooling": False,
            **no_more_tries(task),
            **UNKNOWN,
            **fields,
        },
    )


@transaction.atomic
def restart_with_new_copy(*, task_id: TaskId, actor: Actor) -> MigrationTask:
    """Give up what a task has: what is ours is removed from both servers, then it starts again by itself.

    The objects that it made on the target are cleared, and the check runs first. Raises Refused.
    """
    task = locked(task_id)
    require(Action.NEW_COPY, task)
    said = say(
        "Restart with new copy pressed: what is ours is removed from both servers, then the task starts by itself."
    )
    begin_cancel(task, actor=actor, code="TASK-NEWCOPY", message=said, new_copy=True)
    queue.wake("sync", str(task.pk))
    return task


@transaction.atomic
def start_again(*, task_id: TaskId, actor: Actor, clear_target: bool, typed: str | None = None) -> MigrationTask:
    """Check a cancelled task anew; with `clear_target` exactly the objects that we made are dropped before.

    That is confirmed by the task's name (`typed`; None: the caller has asked in another way), and so is any start again
    once Complete has begun to open the target: what was written there since is in no other place. Raises Refused.
    """
    task = locked(task_id)
    require(Action.START_AGAIN, task)
    if clear_target or was_opened(task):
        require_typed(task, typed)
    _forget_the_run(task)
    left = say("Start again: objects made on the target are cleared first, then the check runs.")
    keep = say("Start again: the check runs; objects made before stay on the target.")
    move(
        task,
        Status.CHECKING,
        actor=actor,
        code="TASK-AGAIN",
        message=left if clear_target else keep,
        clear_target=clear_target,
        **_as_before_its_start(),
    )
    queue.wake("check", str(task.pk), "")
    return task


def _forget_the_run(task: MigrationTask) -> None:
    """Delete what a cancelled run did and found; the events stay, and so does the ledger.

    Whether that run had opened its target says nothing of the next one, which may only find its bookmark still there.
    """
    forget_opening(task)
    Step.objects.filter(task=task).delete()
    task.tables.all().delete()
    task.entries.all().delete()
    task.databases.all().delete()
    task.comparisons.all().delete()
    task.notes.all().delete()
    task.recopies.all().delete()
    task.permissions.all().delete()
    task.shape_leaves.all().delete()
    task.new_tables.all().delete()
    CheckItem.objects.filter(task=task).update(status="waiting")


def _as_before_its_start() -> dict[str, Any]:
    """Return the columns of a task as they are before its first start."""
    return {
        "wal_level": "",
        "wal_state": {},
        "recopy_requested": False,
        "notes_count": 0,
        "current_step": "",
        "queued_at": None,
        "started_at": None,
        "finished_at": None,
        "not_before": None,
        "failing_since": None,
        "tries": 0,
        "error_code": "",
        "error_message": "",
        "error_hint": "",
        "conflict": {},
        "drift": {},
        **UNKNOWN,
    }


@transaction.atomic
def try_now(*, task_id: TaskId, actor: Actor) -> MigrationTask:
    """End the wait before the next try of a task that tries again by itself. Raises Refused when it does not wait."""
    task = locked(task_id)
    if task.failing_since is None or task.not_before is None or Status(task.status) not in WORKED:
        raise Refused(_("The task is not waiting for another try now. Look at it again."))
    note(task, say("Try now pressed."), actor=actor, code="RUN-RETRY")
    touch(task, not_before=None, woken_at=clock.now())
    task.refresh_from_db()
    if not task.foreground:
        _wake(task)
    return task


def _wake(task: MigrationTask) -> None:
    if task.status == Status.CANCELLING or (task.current_step not in MIGRATE_STEPS and task.incremental):
        queue.wake("sync", str(task.pk))
    else:
        queue.wake("migrate")


def workers_alive(cluster: str = queue.SYNC) -> bool:
    """Say whether a worker, if not told otherwise one that cleans up and syncs, gave a sign of life within the last 30
    seconds.
    """
    return WorkerBeat.objects.filter(cluster=cluster, at__gt=clock.now() - timedelta(seconds=30)).exists()


@transaction.atomic
def take_to_foreground(*, task_id: TaskId, actor: Actor) -> MigrationTask:
    """Let `task run --resume` drive a started task: the dispatcher leaves it alone from now on. Raises Refused."""
    task = locked(task_id)
    if task.status in (Status.PAUSED, Status.FAILED):
        MigrationTask.objects.filter(pk=task.pk).update(foreground=True)
        task.refresh_from_db()
        go_on(task, actor, "TASK-RESUMED", say("Resumed in the foreground."))
    elif task.status not in (Status.QUEUED, Status.RUNNING, Status.READY, Status.COMPLETING):
        raise Refused(_("Only a task that was started and has not ended can be resumed."))
    touch(task, foreground=True)
    task.refresh_from_db()
    return task
