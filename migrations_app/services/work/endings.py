"""How a task ends whose clean-up is over: what a server did not let go is counted, and told."""

from __future__ import annotations

from datetime import timedelta

from django.db import transaction
from django.db.models import F

from ... import clock
from ...engine.errors import EngineError
from ...engine.states import Status
from ...engine.wording import Sentence, count, say, together
from ...models import MigrationTask, Step
from ...refusals import cleans_up_again, left_at_the_end, leftovers
from ..base import move, note, touch
from ..figures import UNKNOWN
from ..leftovers import next_clean_up
from ..lifecycle import start_again
from .claims import Claim, held_task


def ended(*, not_compared: bool, clean: bool) -> Sentence:
    """Return what a completed task says of itself. `clean`: nothing of ours is left on either server."""
    if not_compared and clean:
        return say("Completed, not compared, as was asked for. Nothing of ours is left on either server.")
    if not_compared:
        return say("Completed, not compared, as was asked for.")
    if clean:
        return say("Completed. The target holds the data; nothing of ours is left on either server.")
    return say("Completed. The target holds the data.")


def left_words(task: MigrationTask) -> str:
    """Say how much of ours a server did not let go; files of the worker are removed with its folder."""
    left = left_at_the_end(task).count()
    return _not_removed(left) if left else ""


def _not_removed(left: int) -> Sentence:
    things = count(left, "{number} thing", "{number} things")
    return say("Not removed: {things}; the task page says how.", things=things)


def forget_spools(task: MigrationTask) -> None:
    """Forget them: the work folder of the task is removed, and with it what was left of any spool."""
    task.databases.exclude(spool_host="").update(spool_host="", spool_ends=None, spool_bytes=0)


@transaction.atomic
def cancelled(claim: Claim, left: int) -> None:
    """Close a cancelled task. `left` counts what could not be removed from the servers."""
    task = held_task(claim)
    if task is None:
        return
    Step.objects.filter(task=task, state__in=["running", "pending"]).update(state="pending", finished_at=None)
    made = task.ledger.filter(removed_at=None, side="target").count()
    now = clock.now()
    parts = [say("Cancelled.")]
    parts.append(_not_removed(left) if left else say("Nothing of ours runs or waits on either server."))
    if made:
        parts.append(say("The objects made on the target stay there and are listed on the task page."))
    move(
        task,
        Status.CANCELLED,
        code="CANCEL-LEFT" if left else "TASK-CANCELLED",
        level="warning" if left else "info",
        message=together(parts),
        finished_at=task.finished_at or now,  # a clean-up that is tried again does not end it once more
        not_before=next_clean_up(task, now) if left else None,
        lease_until=None,
        worker="",
        wal_level="",
        wal_state={},
        **UNKNOWN,
    )
    forget_spools(task)
    if task.new_copy:
        _begin_new_copy(task, left)


def _begin_new_copy(task: MigrationTask, left: int) -> None:
    """Start a cancelled task again by itself, with its target objects cleared, unless something is still left."""
    if not left:
        start_again(task_id=task.pk, actor=None, clear_target=True)
        return
    text = say("The new copy does not begin by itself, because something of ours is still on a server.")
    note(task, text, code="NEW-COPY-WAITS", level="error")
    touch(task, new_copy=False)


@transaction.atomic
def cleaned_up_again(claim: Claim) -> None:
    """Close a task that had completed before, and has removed what it had to leave then, or part of it."""
    task = held_task(claim)
    if task is None or not cleans_up_again(task):
        return
    left = left_words(task)
    move(
        task,
        Status.COMPLETED,
        code="TASK-CLEANUP",
        # Nothing of what the target holds: that was told when the task completed, with what is not there.
        message=left or say("Cleaned up: nothing of ours is left on either server. The task stays completed."),
        level="warning" if left else "info",
        tries=0,
        not_before=None,
        lease_until=None,
        worker="",
    )


def fail_cancel(claim: Claim, task: MigrationTask, error: EngineError) -> bool:
    """A clean-up that breaks is tried three times; then the task ends and lists what is left."""
    if _tries_soon(task):
        return True
    note(task, error.public_message, code=error.code, level="error")
    cancelled(claim, leftovers(task).count())
    return False


def fail_clean_up(claim: Claim, task: MigrationTask, error: EngineError) -> bool:
    """The same for a task that had completed, and has completed all the same."""
    if _tries_soon(task):
        return True
    note(task, error.public_message, code=error.code, level="error")
    cleaned_up_again(claim)
    return False


def _tries_soon(task: MigrationTask) -> bool:
    if task.tries >= 2:
        return False
    soon = clock.now() + timedelta(seconds=2)
    MigrationTask.objects.filter(pk=task.pk).update(tries=F("tries") + 1, lease_until=None, worker="", not_before=soon)
    return True
