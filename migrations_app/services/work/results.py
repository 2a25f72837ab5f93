"""What came of a slice: a step is done, the task has ended, failed, waits for another try, or goes back to the sync."""

from __future__ import annotations

import random
from dataclasses import asdict
from datetime import UTC, datetime, timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import F

from ... import clock
from ...engine.errors import ConflictError, EngineError, SchemaChanged, SourceStumbled, WorkerMemory
from ...engine.ports import TableStatus
from ...engine.states import Status, StepName, copies_from_the_start, may_move, steps_for
from ...engine.wording import Sentence, as_data, closed, count, listing, say, together
from ...models import MigrationTask, Step
from ...refusals import cleans_up_again, past_return
from ..base import move, note, touch
from ..completing import leave_complete
from ..figures import UNKNOWN, forget_sync, rates_unknown
from .claims import Claim, held_task, release
from .endings import ended, fail_cancel, fail_clean_up, forget_spools, left_words

_NAMED = 5
_FULL = frozenset({"SRC-FULL", "DST-FULL", "SRC-LIMIT", "DST-LIMIT", "WORKER-FULL"})
_MOST_TRIES: dict[type[EngineError], int] = {WorkerMemory: 2, SourceStumbled: 12}
"""Of what seldom passes by itself: each so often without anything moving forward, whatever else fails in between."""

_STAYS_READY = timedelta(seconds=30)
"""A connection that is back sooner has cost nothing worth telling; later nobody knows whether the target is in sync."""


@transaction.atomic
def finish_step(claim: Claim, step: StepName) -> StepName | None:
    """Mark a step done and return the next one. None when the task has ended, was lost, or was stopped by somebody.

    The lease stays. A last step that ended after Pause is done again after Resume, when it finds nothing left to do.
    """
    task = held_task(claim)
    if task is None or task.status == Status.CANCELLING:
        return None
    names = steps_for(incremental=task.incremental)
    later = names[names.index(step) + 1 :]
    if not later and not may_move(Status(task.status), Status.COMPLETED):
        return None
    now = clock.now()
    Step.objects.filter(task=task, name=step).update(state="done", finished_at=now)
    if later:
        Step.objects.filter(task=task, name=later[0]).update(state="running", started_at=now, finished_at=None)
        touch(
            task,
            current_step=later[0],
            failing_since=None,
            tries=0,
            **rates_unknown(),
        )
        return later[0]
    _completed(task, now)
    return None


def _completed(task: MigrationTask, now: datetime) -> None:
    forget_spools(task)
    left, late = left_words(task), _late(task)
    told = [left, late, _notes(task), _dropped(task)]
    move(
        task,
        Status.COMPLETED,
        code="TASK-COMPLETED",
        message=ended(not_compared=task.skip_compare and not task.incremental, clean=not left)
        + together(["", *filter(None, told)] if any(told) else []),
        level="warning" if any(told) else "info",
        finished_at=now,
        lease_until=None,
        worker="",
        error_code="",
        error_message="",
        error_hint="",
        **UNKNOWN,
    )


def _late(task: MigrationTask) -> str:
    """Say that the source was written to after the last change that came along, if that was seen."""
    pressed = task.events.filter(code="TASK-COMPLETING").order_by("-id").values_list("id", flat=True).first() or 0
    if not task.events.filter(code="SRC-LATE", id__gt=pressed).exists():
        return ""
    return say("What was written on the source at the very end is not on the target: the history tells which tables.")


def _notes(task: MigrationTask) -> str:
    if not task.notes_count:
        return ""
    return say(
        "{notes} on what of the structure is not as on the source.",
        notes=count(task.notes_count, "{number} note", "{number} notes"),
    )


def _dropped(task: MigrationTask) -> str:
    names = [f"{row.schema}.{row.name}" for row in task.tables.filter(status=TableStatus.DROPPED)]
    if not names:
        return ""
    return say(
        "Dropped from the task, so not synced to the end and not compared: {names}.", names=listing(names, _NAMED)
    )


@transaction.atomic
def back_to_sync(claim: Claim, error: EngineError) -> None:
    """After a comparison that found differences, or when Complete waited in vain: the sync goes on, Complete can be
    pressed again. What somebody asked for is no error. A task that was paused or cancelled meanwhile stays so. One that
    has begun to open its target never goes back, whatever was found: it has failed, and Retry ends it.
    """
    task = held_task(claim)
    if task is None or Status(task.status) in (Status.PAUSED, Status.CANCELLING):
        return
    if past_return(task):
        step = StepName(task.current_step)
        _fail_for_good(task, step, error, hint=_what_next(step, incremental=task.incremental))
    else:
        leave_complete(task, error)


@transaction.atomic
def comparison_done(claim: Claim) -> None:
    """Take back the request of Compare now."""
    task = held_task(claim)
    if task is not None:
        touch(task, compare_requested=False)


@transaction.atomic
def recopies_done(claim: Claim) -> None:
    """Take back the request to copy tables once more, unless another one has come meanwhile."""
    task = held_task(claim)
    if task is not None:
        touch(task, recopy_requested=task.recopies.exists() or task.new_tables.filter(choice="add").exists())


@transaction.atomic
def set_ready(claim: Claim, in_sync: bool) -> None:
    """Move between running and ready as the sync catches up or falls behind."""
    task = held_task(claim)
    if task is None or not task.incremental:
        return
    if in_sync and task.status == Status.RUNNING:
        move(
            task,
            Status.READY,
            code="TASK-READY",
            message=say("In sync. Press Complete when the application is ready to move."),
        )
    elif not in_sync and task.status == Status.READY:
        move(
            task,
            Status.RUNNING,
            code="TASK-BEHIND",
            message=say("The source writes faster than changes arrive; catching up."),
        )


@transaction.atomic
def fail(claim: Claim, step: StepName, error: EngineError) -> bool:
    """Record a failed slice. Retryable errors wait with back-off inside the window; others end in failed.

    A task that was paused meanwhile stays paused. Returns True when the task will be tried again by itself.
    """
    task = held_task(claim)
    if task is None:
        return False
    if task.status == Status.PAUSED:
        _fail_paused(claim, task, error)
        return False
    if cleans_up_again(task):
        return fail_clean_up(claim, task, error)
    now = clock.now()
    since = min(task.failing_since or now - timedelta(seconds=error.failing_for), now)  # ahead: the clock was set back
    in_window = now - since < timedelta(minutes=settings.RETRY_WINDOW_MINUTES)
    if error.retryable and not _given_up(task, error) and in_window and task.status != Status.CANCELLING:
        _wait_for_another_try(task, error, since)
        return True
    if task.status == Status.CANCELLING:
        return fail_cancel(claim, task, error)
    _fail_for_good(task, step, error)
    return False


def _fail_paused(claim: Claim, task: MigrationTask, error: EngineError) -> None:
    """Give back a task whose slice broke after Pause. What waiting does not mend is told: Resume meets it again."""
    if not error.retryable:
        again = say(" The task was paused in that moment. Resume tries it again.")
        note(task, closed(error.public_message) + again, code=error.code, level="warning")
    release(claim)


def _fail_for_good(task: MigrationTask, step: StepName, error: EngineError, hint: str = "") -> None:
    hint = hint or error.hint or _what_next(step, incremental=task.incremental)
    if error.code in _FULL:  # whoever makes room wants to know what for
        hint = say("{hint} {kept}", hint=hint, kept=_what_is_kept(step, incremental=task.incremental))
    Step.objects.filter(task=task, name=step).update(state="failed", finished_at=clock.now())
    conflict = error.conflict if isinstance(error, ConflictError) else None
    drift = error.drift if isinstance(error, SchemaChanged) else None
    move(
        task,
        Status.FAILED,
        code=error.code,
        level="error",
        message=error.public_message,
        detail=dict(error.detail),
        error_code=error.code,
        error_message=error.public_message,
        error_hint=hint,
        conflict=asdict(conflict) if conflict else {},
        drift=asdict(drift) if drift else {},
        words=as_data(error_message=error.public_message, error_hint=hint),
        lease_until=None,
        worker="",
        **UNKNOWN,
    )
    forget_sync(task)


def _given_up(task: MigrationTask, error: EngineError) -> bool:
    most = _MOST_TRIES.get(type(error))
    return most is not None and _tries_of(task).get(type(error).__name__, 0) >= most


def _tries_of(task: MigrationTask) -> dict[str, int]:
    """Return how often each cause of a limited number of tries was met since the task last moved forward."""
    return dict(task.tries_of) if task.failing_since else {}


def _with_another_try(task: MigrationTask, error: EngineError) -> dict[str, int]:
    counted, name = _tries_of(task), type(error).__name__
    return {**counted, name: counted.get(name, 0) + 1} if type(error) in _MOST_TRIES else counted


def _what_next(step: StepName, *, incremental: bool) -> str:
    if copies_from_the_start(step, incremental=incremental):
        return say("Mend the cause and press Retry, which copies every table from the beginning, or Cancel.")
    return say("Everything that was done is kept. Mend the cause and press Retry, or Cancel.")


def _what_is_kept(step: StepName, *, incremental: bool) -> Sentence:
    if copies_from_the_start(step, incremental=incremental):
        return say("The copy begins again then: without sync all rows come from one moment of the source.")
    if incremental:
        return say("Everything that was done is kept, and the source keeps the changes, which takes disk space there.")
    return say("Everything that was done is kept.")


def _wait_for_another_try(task: MigrationTask, error: EngineError, since: datetime) -> None:
    """Give the lease back, and say when the task is tried again; an event tells only some of many tries."""
    now = clock.now()
    delay = min(60.0, 2.0 ** min(task.tries, 6)) * random.uniform(0.8, 1.2)  # noqa: S311 - jitter, not secrecy
    gives_up = (since + timedelta(minutes=settings.RETRY_WINDOW_MINUTES)).astimezone(UTC).strftime("%H:%M UTC")
    text = closed(error.public_message) + say(
        " Trying again in {seconds} s (try {number}, gives up {gives_up}). Nothing is lost: the position is kept.",
        seconds=f"{delay:.0f}",
        number=task.tries + 1,
        gives_up=gives_up,
    )
    if task.tries in (0, 3) or task.tries % 20 == 0:
        note(task, text, code="RUN-RETRY", level="warning", cause=error.code)
    touch(
        task,
        failing_since=since,
        tries=F("tries") + 1,
        tries_of=_with_another_try(task, error),
        error_code="RUN-RETRY",
        error_message=text,
        error_hint=error.hint,
        words=as_data(error_message=text, error_hint=error.hint),
        lease_until=None,
        worker="",
        not_before=now + timedelta(seconds=delay),
        woken_at=now,
        **UNKNOWN,
    )
    forget_sync(task)
    if now + timedelta(seconds=delay) - since > _STAYS_READY:
        task.refresh_from_db()
        _leave_ready(task)


def _leave_ready(task: MigrationTask) -> None:
    """A task that has been failing for long is not ready any more; a try that succeeds makes it so again."""
    if task.status == Status.READY and task.failing_since is not None:
        at = task.failing_since.astimezone(UTC).strftime("%H:%M UTC")
        text = say("The sync has been interrupted since {at}: the target may be behind. It is tried again.", at=at)
        move(task, Status.RUNNING, code="TASK-BEHIND", message=text)


def leave_stale_ready(now: datetime) -> None:
    """Do so for every task whose tries have been failing for half a minute: one that hangs says nothing by itself.

    Must run inside a transaction.
    """
    late = MigrationTask.objects.select_for_update().filter(status=Status.READY, failing_since__lte=now - _STAYS_READY)
    for task in late:
        _leave_ready(task)


def progressed(claim: Claim) -> None:
    """Forget earlier tries: the task moves again."""
    MigrationTask.objects.filter(pk=claim.task_id, epoch=claim.epoch).exclude(failing_since=None).update(
        failing_since=None, tries=0, error_code="", error_message="", error_hint="", version=F("version") + 1
    )
