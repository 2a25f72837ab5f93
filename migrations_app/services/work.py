"""What workers and the dispatcher do to a task: claim it under a lease, give it back, finish a step, fail.

A claim is one conditional UPDATE that grows the epoch. Whoever finds the epoch changed has lost the task and must not
touch anything any more; on the servers the epoch is in every session's name and in the bookmark.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import F, Q, QuerySet
from django.utils import timezone

from .. import queue
from ..draft_facts import draft_hash
from ..engine.errors import EngineError
from ..engine.states import Status, StepName, steps_for
from ..models import CheckItem, ConnectionTest, Event, MigrationTask, Step, WorkerBeat
from .base import move, note, touch
from .lifecycle import _back_to_sync

MIGRATE_STEPS = ["", StepName.SCHEMA, StepName.COPY, StepName.INDEX]
_REWAKE_SECONDS = 5


@dataclass(frozen=True, kw_only=True)
class Claim:
    """The right to work on a task until the lease runs out. `epoch` fences it."""

    task_id: str
    epoch: int
    worker: str


def _free(now: datetime) -> Q:
    unclaimed = Q(lease_until=None) | Q(lease_until__lt=now)
    return unclaimed & (Q(not_before=None) | Q(not_before__lte=now))


def _full_phase() -> Q:
    """Tasks that belong to the `migrate` cluster: before the sync, or full-only all the way."""
    early = Q(current_step__in=MIGRATE_STEPS) | Q(incremental=False)
    return early & Q(status__in=[Status.QUEUED, Status.RUNNING])


def _sync_phase() -> Q:
    late = ~Q(current_step__in=MIGRATE_STEPS) & Q(incremental=True)
    return (late & Q(status__in=[Status.RUNNING, Status.READY, Status.COMPLETING])) | Q(status=Status.CANCELLING)


def _waiting(now: datetime) -> QuerySet[MigrationTask]:
    return MigrationTask.objects.filter(_free(now), foreground=False)


@transaction.atomic
def claim_migration(worker: str) -> Claim | None:
    """Claim the full migration whose turn it is: interrupted ones first, then by queuing time. None = nothing to do."""
    now = timezone.now()
    # Everybody locks the candidates in one order, so that two workers cannot both count a free slot.
    candidates = list(
        MigrationTask.objects.select_for_update().filter(_full_phase(), foreground=False).order_by("queued_at", "pk")
    )
    busy = sum(1 for task in candidates if task.lease_until and task.lease_until >= now)
    if busy >= queue.migration_slots():
        return None
    free = [task for task in candidates if _is_free(task, now)]
    free.sort(key=lambda task: (task.status != Status.RUNNING, task.queued_at or now))
    return _claim(free[0], worker, now) if free else None


def _is_free(task: MigrationTask, now: datetime) -> bool:
    leased = task.lease_until is not None and task.lease_until >= now
    return not leased and (task.not_before is None or task.not_before <= now)


@transaction.atomic
def claim_sync(task_id: str, worker: str) -> Claim | None:
    """Claim this task for a sync slice, Complete or the clean-up of Cancel. None = not claimable (a duplicate)."""
    now = timezone.now()
    task = (
        MigrationTask.objects.select_for_update()
        .filter(_sync_phase(), _free(now), pk=task_id, foreground=False)
        .first()
    )
    return _claim(task, worker, now) if task else None


@transaction.atomic
def claim_foreground(task_id: str, worker: str) -> Claim | None:
    """Claim a task that `task run` drives itself, whatever phase it is in."""
    now = timezone.now()
    worked = [Status.QUEUED, Status.RUNNING, Status.READY, Status.COMPLETING, Status.CANCELLING]
    task = MigrationTask.objects.select_for_update().filter(_free(now), pk=task_id, status__in=worked).first()
    return _claim(task, worker, now) if task else None


def _claim(task: MigrationTask, worker: str, now: datetime) -> Claim | None:
    changed = MigrationTask.objects.filter(pk=task.pk, epoch=task.epoch).update(
        epoch=F("epoch") + 1,
        worker=worker,
        lease_until=now + timedelta(seconds=settings.LEASE_SECONDS),
        not_before=None,
    )
    if not changed:
        return None
    resumed = task.lease_until is not None  # a clean release clears it: the last worker was killed
    task.refresh_from_db()
    if task.status == Status.QUEUED:
        first = task.started_at is None
        step = task.current_step or StepName.SCHEMA
        move(
            task,
            Status.RUNNING,
            code="TASK-RUNNING",
            message="Migration started." if first else "Migration goes on.",
            started_at=task.started_at or now,
            current_step=step,
        )
    elif resumed:
        text = f"The worker stopped without notice; another one goes on with step {task.current_step}."
        note(task, text, code="RUN-RESUMED", level="warning")
    Step.objects.filter(task=task, name=task.current_step, state="pending").update(state="running", started_at=now)
    return Claim(task_id=str(task.pk), epoch=task.epoch, worker=worker)


def renew(claim: Claim) -> MigrationTask | None:
    """Push the lease on and return the task as it stands now; None when the task is no longer ours."""
    until = timezone.now() + timedelta(seconds=settings.LEASE_SECONDS)
    held = MigrationTask.objects.filter(pk=claim.task_id, epoch=claim.epoch, worker=claim.worker)
    if not held.update(lease_until=until):
        return None
    return held.first()


def others_wait_for_sync(claim: Claim) -> bool:
    """Say whether another task has been waiting for a sync worker for over a second."""
    now = timezone.now()
    waiting = _waiting(now).filter(_sync_phase(), woken_at__lt=now - timedelta(seconds=1))
    return waiting.exclude(pk=claim.task_id).exists()


@transaction.atomic
def release(claim: Claim, *, delay_seconds: float = 0) -> None:
    """Give the task back without a result; whoever is due next is woken. Does nothing when the claim was lost."""
    task = _held(claim)
    if task is None:
        return
    now = timezone.now()
    MigrationTask.objects.filter(pk=task.pk).update(
        lease_until=None,
        worker="",
        woken_at=now,
        not_before=now + timedelta(seconds=delay_seconds) if delay_seconds else None,
    )
    if not delay_seconds:
        _wake(task)


def _held(claim: Claim) -> MigrationTask | None:
    return (
        MigrationTask.objects.select_for_update()
        .filter(pk=claim.task_id, epoch=claim.epoch, worker=claim.worker)
        .first()
    )


def _wake(task: MigrationTask) -> None:
    if task.foreground:
        return
    if MigrationTask.objects.filter(_sync_phase(), pk=task.pk).exists():
        queue.wake("sync", str(task.pk))
    elif MigrationTask.objects.filter(_full_phase(), pk=task.pk).exists():
        queue.wake("migrate")


@transaction.atomic
def finish_step(claim: Claim, step: StepName) -> StepName | None:
    """Mark a step done and return the next one; None when the task has ended or was lost. The lease stays."""
    task = _held(claim)
    if task is None:
        return None
    now = timezone.now()
    Step.objects.filter(task=task, name=step).update(state="done", finished_at=now)
    names = steps_for(incremental=task.incremental)
    later = names[names.index(step) + 1 :]
    if later:
        Step.objects.filter(task=task, name=later[0]).update(state="running", started_at=now, finished_at=None)
        touch(
            task,
            current_step=later[0],
            rows_per_second=None,
            bytes_per_second=None,
            eta_at=None,
            failing_since=None,
            tries=0,
        )
        return later[0]
    move(
        task,
        Status.COMPLETED,
        code="TASK-COMPLETED",
        message="Completed. The target holds the data; nothing of ours is left on either server.",
        finished_at=now,
        lease_until=None,
        worker="",
        lag_bytes=None,
        lag_seconds=None,
        rows_per_second=None,
        error_code="",
        error_message="",
        error_hint="",
    )
    return None


@transaction.atomic
def cancelled(claim: Claim, left: int) -> None:
    """Close a cancelled task. `left` counts what could not be removed from the servers."""
    task = _held(claim)
    if task is None:
        return
    Step.objects.filter(task=task, state__in=["running", "pending"]).update(state="pending", finished_at=None)
    made = task.ledger.filter(removed_at=None, side="target").count()
    parts = ["Cancelled."]
    parts.append(
        f"{left} things of ours could not be removed; the task page says how."
        if left
        else "Nothing of ours runs or waits on either server."
    )
    if made:
        parts.append("The objects made on the target stay there and are listed on the task page.")
    move(
        task,
        Status.CANCELLED,
        code="CANCEL-LEFT" if left else "TASK-CANCELLED",
        level="warning" if left else "info",
        message=" ".join(parts),
        finished_at=timezone.now(),
        lease_until=None,
        worker="",
        lag_bytes=None,
        lag_seconds=None,
        rows_per_second=None,
        bytes_per_second=None,
        eta_at=None,
    )


@transaction.atomic
def back_to_sync(claim: Claim, error: EngineError) -> None:
    """After a comparison that found differences: the sync goes on, Complete can be pressed again."""
    task = _held(claim)
    if task is None:
        return
    _back_to_sync(task)
    task.refresh_from_db()
    move(
        task,
        Status.READY,
        code=error.code,
        level="error",
        message=error.message,
        error_code=error.code,
        error_message=error.message,
        error_hint=error.hint,
    )


@transaction.atomic
def comparison_done(claim: Claim) -> None:
    """Take back the request of Compare now."""
    task = _held(claim)
    if task is not None:
        touch(task, compare_requested=False)


@transaction.atomic
def set_ready(claim: Claim, in_sync: bool) -> None:
    """Move between running and ready as the sync catches up or falls behind."""
    task = _held(claim)
    if task is None or not task.incremental:
        return
    if in_sync and task.status == Status.RUNNING:
        move(
            task,
            Status.READY,
            code="TASK-READY",
            message="In sync. Press Complete when the application is ready to move.",
        )
    elif not in_sync and task.status == Status.READY:
        move(
            task,
            Status.RUNNING,
            code="TASK-BEHIND",
            message="The source writes faster than changes arrive; catching up.",
        )


@transaction.atomic
def fail(claim: Claim, step: StepName, error: EngineError) -> bool:
    """Record a failed slice. Retryable errors wait with back-off inside the window; others end in failed.

    Returns True when the task will be tried again by itself.
    """
    task = _held(claim)
    if task is None:
        return False
    now = timezone.now()
    since = task.failing_since or now
    in_window = now - since < timedelta(minutes=settings.RETRY_WINDOW_MINUTES)
    if error.retryable and in_window and task.status != Status.CANCELLING:
        delay = min(60.0, 2.0 ** min(task.tries, 6)) * random.uniform(0.8, 1.2)  # noqa: S311 - jitter, not secrecy
        gives_up = timezone.localtime(since + timedelta(minutes=settings.RETRY_WINDOW_MINUTES)).strftime("%H:%M")
        text = (
            f"{error.message} Trying again in {delay:.0f} s (try {task.tries + 1}, gives up {gives_up}). "
            "Nothing is lost: the position is kept."
        )
        if task.tries in (0, 3) or task.tries % 20 == 0:
            note(task, text, code="RUN-RETRY", level="warning", cause=error.code)
        MigrationTask.objects.filter(pk=task.pk).update(
            version=F("version") + 1,
            failing_since=since,
            tries=F("tries") + 1,
            error_code="RUN-RETRY",
            error_message=text,
            error_hint=error.hint,
            lease_until=None,
            worker="",
            not_before=now + timedelta(seconds=delay),
            woken_at=now,
        )
        return True
    if task.status == Status.CANCELLING:
        return _fail_cancel(claim, task, error)
    Step.objects.filter(task=task, name=step).update(state="failed", finished_at=now)
    move(
        task,
        Status.FAILED,
        code=error.code,
        level="error",
        message=error.message,
        error_code=error.code,
        error_message=error.message,
        error_hint=error.hint or "Everything that was done is kept. Mend the cause and press Retry, or Cancel.",
        lease_until=None,
        worker="",
        rows_per_second=None,
        bytes_per_second=None,
        eta_at=None,
    )
    return False


def _fail_cancel(claim: Claim, task: MigrationTask, error: EngineError) -> bool:
    """A clean-up that breaks is tried three times; then the task ends and lists what is left."""
    if task.tries < 2:
        soon = timezone.now() + timedelta(seconds=2)
        MigrationTask.objects.filter(pk=task.pk).update(
            tries=F("tries") + 1, lease_until=None, worker="", not_before=soon
        )
        return True
    note(task, error.message, code=error.code, level="error")
    cancelled(claim, task.ledger.filter(removed_at=None, side="source").count())
    return False


def progressed(claim: Claim) -> None:
    """Forget earlier tries: the task moves again."""
    MigrationTask.objects.filter(pk=claim.task_id, epoch=claim.epoch).exclude(failing_since=None).update(
        failing_since=None, tries=0, error_code="", error_message="", error_hint="", version=F("version") + 1
    )


@transaction.atomic
def finish_check(task_id: str, *, hash_checked: str) -> None:
    """Close a check: passed when nothing is Failed. A draft that changed meanwhile is checked for nothing."""
    task = MigrationTask.objects.select_for_update().get(pk=task_id)
    if task.status != Status.CHECKING:
        return
    counts = {
        status: CheckItem.objects.filter(task=task, status=status).count()
        for status in ("failed", "warning", "passed", "waiting")
    }
    failed = counts["failed"] > 0 or counts["waiting"] > 0 or counts["passed"] == 0 or hash_checked != draft_hash(task)
    move(
        task,
        Status.CHECK_FAILED if failed else Status.CHECK_PASSED,
        code="CHECK-FAILED" if failed else "CHECK-PASSED",
        level="warning" if failed else "info",
        message=f"Check ended: {counts['failed']} Failed, {counts['warning']} Warning, {counts['passed']} Passed.",
        detail=counts,
        checked_at=timezone.now(),
        checked_hash=hash_checked,
    )


@transaction.atomic
def dispatch(now: datetime | None = None) -> int:
    """One tick: queue what is due, wake whatever waits without a worker. Returns how many wake-ups were sent."""
    now = now or timezone.now()
    for task in MigrationTask.objects.select_for_update().filter(status=Status.SCHEDULED, scheduled_at__lte=now):
        move(
            task,
            Status.QUEUED,
            code="TASK-QUEUED",
            message="Scheduled time reached; the task waits for its turn.",
            queued_at=now,
        )
    _expire_dead_leases(now)
    stale = Q(woken_at=None) | Q(woken_at__lt=now - timedelta(seconds=_REWAKE_SECONDS))
    due = list(_waiting(now).filter(stale).filter(_full_phase() | _sync_phase()))
    for task in due:
        MigrationTask.objects.filter(pk=task.pk).update(woken_at=now)
        _wake(task)
    return len(due) + _rewake_requests(now)


def _expire_dead_leases(now: datetime) -> None:
    """End the leases of workers on this host whose process is gone: no need to wait for them to run out."""
    host = queue.host_name()
    for task in MigrationTask.objects.filter(lease_until__gte=now, worker__startswith=f"{host}:"):
        pid = task.worker.split(":")[1]
        if not queue.process_exists(int(pid)):
            held = MigrationTask.objects.filter(pk=task.pk, epoch=task.epoch)
            held.update(lease_until=now - timedelta(seconds=1), woken_at=None)


def _rewake_requests(now: datetime) -> int:
    """Checks and connection tests whose worker was killed: asked again once, then reported."""
    old = now - timedelta(seconds=60)
    sent = 0
    for test in ConnectionTest.objects.filter(state__in=["waiting", "running"], created_at__lt=old):
        ConnectionTest.objects.filter(pk=test.pk).update(
            state="failed",
            code="WORKER-GONE",
            message="No worker answered within a minute.",
            hint="See whether the workers run (manage.py up), then try again.",
            finished_at=now,
        )
    for task in MigrationTask.objects.filter(status=Status.CHECKING, foreground=False):
        last = Event.objects.filter(task=task, to_status=Status.CHECKING).first()
        stale = task.lease_until is None or task.lease_until < now
        if (
            last
            and last.at < now - timedelta(seconds=15)
            and stale
            and (task.woken_at is None or task.woken_at < now - timedelta(seconds=15))
        ):
            MigrationTask.objects.filter(pk=task.pk).update(woken_at=now)
            queue.wake("check", str(task.pk), "")
            sent += 1
    WorkerBeat.objects.filter(at__lt=now - timedelta(minutes=10)).delete()
    return sent


def claim_check(task_id: str, worker: str) -> Claim | None:
    """Claim the check of a task: a second delivery finds the lease and walks away."""
    now = timezone.now()
    with transaction.atomic():
        task = MigrationTask.objects.select_for_update().filter(_free(now), pk=task_id, status=Status.CHECKING).first()
        return _claim(task, worker, now) if task else None


def release_check(claim: Claim) -> None:
    """Give the check's lease back."""
    MigrationTask.objects.filter(pk=claim.task_id, epoch=claim.epoch, worker=claim.worker).update(
        lease_until=None, worker=""
    )
