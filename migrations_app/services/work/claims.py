"""Claims and leases: the right to work on a task.

A claim is one conditional UPDATE that grows the epoch. Whoever finds the epoch changed has lost the task and must not
touch anything any more; on the servers the epoch is in every session's name and in the bookmark.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import F, Q, QuerySet

from ... import clock, queue
from ...engine.failpoints import durable
from ...engine.states import Status, StepName
from ...engine.values import frozen
from ...engine.wording import as_data, noun, say
from ...models import MigrationTask, Step, WorkerBeat
from ..base import move, note, touch

_ALIVE_SECONDS = 60
_KEEPS_PLACE = timedelta(minutes=5)
"""So long after it was interrupted a full migration gives its place to the next one."""
_LONGEST_WAIT = timedelta(minutes=2)
"""No back-off is longer: a try that is due later than this was set before the clock was set back."""
_TURN = timedelta(minutes=2)
"""Whoever is due for longer than this waits for a place, not for a worker to wake up."""
MIGRATE_STEPS = ["", StepName.SCHEMA, StepName.COPY, StepName.INDEX]


@frozen
class Claim:
    """The right to work on a task until the lease runs out. `epoch` fences it."""

    task_id: str
    epoch: int
    worker: str


def _free(now: datetime) -> Q:
    unclaimed = Q(lease_until=None) | Q(lease_until__lt=now)
    return unclaimed & (Q(not_before=None) | Q(not_before__lte=now) | Q(not_before__gt=now + _LONGEST_WAIT))


def shorten_leases(now: datetime) -> None:
    """Let no lease last longer than one that is given now: the clock was set back since. Nobody is robbed by that:
    a worker that lives pushes its lease on each second.
    """
    longest = now + timedelta(seconds=settings.LEASE_SECONDS)
    MigrationTask.objects.filter(lease_until__gt=longest + _LONGEST_WAIT).update(lease_until=longest)


def full_phase() -> Q:
    """Tasks that belong to the `migrate` cluster: before the sync, or full-only all the way."""
    early = Q(current_step__in=MIGRATE_STEPS) | Q(incremental=False)
    return early & Q(status__in=[Status.QUEUED, Status.RUNNING])


def sync_phase() -> Q:
    """Tasks that belong to the `sync` cluster: syncing ones, and those that clean up after Cancel."""
    late = ~Q(current_step__in=MIGRATE_STEPS) & Q(incremental=True)
    # Queued: one that was paused and resumed before its worker saw it, which went on and ended the last step before.
    worked = [Status.QUEUED, Status.RUNNING, Status.READY, Status.COMPLETING]
    return (late & Q(status__in=worked)) | Q(status=Status.CANCELLING) | cleaning_up_again()


def cleaning_up_again() -> Q:
    """Tasks that have completed, and remove what they had to leave: `refusals.cleans_up_again`."""
    return Q(status=Status.COMPLETING, finished_at__isnull=False)


def waiting(now: datetime) -> QuerySet[MigrationTask]:
    """Tasks without a lease that are due; the caller narrows them to a phase."""
    return MigrationTask.objects.filter(_free(now), foreground=False)


@transaction.atomic
def claim_migration(worker: str) -> Claim | None:
    """Claim the full migration whose turn it is: interrupted ones first, then by queuing time. None = nothing to do.

    One that waits for another try keeps its place for the first minutes of an outage.
    """
    now = clock.now()
    # Everybody locks the candidates in one order, so that two workers cannot both count a free slot.
    candidates = list(
        MigrationTask.objects.select_for_update().filter(full_phase(), foreground=False).order_by("queued_at", "pk")
    )
    free = [one for one in candidates if _is_free(one, now) and not _waits_for_another_host(one, now, "migrate")]
    busy = [one for one in candidates if one not in free and (_is_leased(one, now) or _keeps_place(one, now))]
    if not free or len(busy) >= queue.migration_slots():
        return None
    chosen = min(
        free, key=lambda task: (not _keeps_place(task, now), task.status != Status.RUNNING, task.queued_at or now)
    )
    if len(busy) + 1 >= queue.migration_slots():
        _tell_passed_by(one for one in candidates if one not in [chosen, *busy])
    _begin_window_anew(chosen, now)
    return _claim(chosen, worker, now)


def _keeps_place(task: MigrationTask, now: datetime) -> bool:
    """Say whether a migration was interrupted so lately that nobody else gets its place meanwhile."""
    since = task.failing_since
    return task.status == Status.RUNNING and since is not None and now - since < _KEEPS_PLACE


def _tell_passed_by(others: Iterable[MigrationTask]) -> None:
    """Say of each migration that waits for another try that no place is left for it: it may take hours."""
    for task in others:
        if task.status != Status.RUNNING or task.failing_since is None:
            continue
        at = task.failing_since.astimezone(UTC).strftime("%H:%M UTC")
        text = say(
            "Interrupted since {at}, so another migration has its place now. It is tried again when a place is free.",
            at=at,
        )
        if task.error_message != text:
            note(task, text, code="RUN-RETRY", level="warning")
            touch(task, error_message=text, words={**task.words, **as_data(error_message=text)})


def _begin_window_anew(task: MigrationTask, now: datetime) -> None:
    """A migration that could have been tried long ago waited for its turn: that time says nothing of the outage."""
    if task.failing_since is not None and task.not_before is not None and now - task.not_before > _TURN:
        MigrationTask.objects.filter(pk=task.pk).update(failing_since=now)


def _is_free(task: MigrationTask, now: datetime) -> bool:
    waits = task.not_before is not None and now < task.not_before <= now + _LONGEST_WAIT
    return not _is_leased(task, now) and not waits


def _is_leased(task: MigrationTask, now: datetime) -> bool:
    return task.lease_until is not None and task.lease_until >= now


@transaction.atomic
def claim_sync(task_id: str, worker: str) -> Claim | None:
    """Claim this task for a sync slice, Complete or the clean-up of Cancel. None = not claimable (a duplicate)."""
    now = clock.now()
    task = (
        MigrationTask.objects.select_for_update().filter(sync_phase(), _free(now), pk=task_id, foreground=False).first()
    )
    return _claim(task, worker, now) if task and not _waits_for_another_host(task, now) else None


def _waits_for_another_host(task: MigrationTask, now: datetime, cluster: str = "sync") -> bool:
    """Say whether a spool of the task lies on another host that has workers: one of those has to take the task.

    When that host has none, whoever comes takes it, and the engine says what is missing.
    """
    hosts = set(task.databases.exclude(spool_host="").values_list("spool_host", flat=True)) - {queue.host_name()}
    if not hosts:
        return False
    beats = WorkerBeat.objects.filter(cluster=cluster, at__gt=now - timedelta(seconds=_ALIVE_SECONDS))
    return not hosts.isdisjoint(queue.as_host_name(host) for host in beats.values_list("host", flat=True).distinct())


@transaction.atomic
def claim_foreground(task_id: str, worker: str) -> Claim | None:
    """Claim a task that `task run` drives itself, whatever phase it is in."""
    now = clock.now()
    worked = [Status.QUEUED, Status.RUNNING, Status.READY, Status.COMPLETING, Status.CANCELLING]
    task = MigrationTask.objects.select_for_update().filter(_free(now), pk=task_id, status__in=worked).first()
    if task is None:
        shorten_leases(now)  # there may be no dispatcher that does it
    return _claim(task, worker, now) if task else None


def _claim(task: MigrationTask, worker: str, now: datetime) -> Claim | None:
    with durable("task.claim"):
        changed = MigrationTask.objects.filter(pk=task.pk, epoch=task.epoch).update(
            epoch=F("epoch") + 1,
            worker=worker,
            lease_until=now + timedelta(seconds=settings.LEASE_SECONDS),
            not_before=None,
        )
    if not changed:
        return None
    task.databases.update(snapshot_since=None)  # those of a worker that was killed end with its sessions
    resumed = task.lease_until is not None  # a clean release clears it: the last worker was killed
    task.refresh_from_db()
    if task.status == Status.QUEUED:
        first = task.started_at is None
        step = task.current_step or StepName.SCHEMA
        move(
            task,
            Status.RUNNING,
            code="TASK-RUNNING",
            message=say("Migration started.") if first else say("Migration goes on."),
            started_at=task.started_at or now,
            current_step=step,
        )
    elif resumed:
        text = say(
            "The worker stopped without notice; another one goes on with step {step}.", step=noun(task.current_step)
        )
        compares = task.compare_requested or task.current_step == StepName.COMPARE
        if compares and task.status != Status.CANCELLING:
            # A verdict holds for the moment at which both sides were read, and that moment went with the worker.
            text += say(" The comparison begins again with all tables, at a moment of its own.")
        note(task, text, code="RUN-RESUMED", level="warning")
    Step.objects.filter(task=task, name=task.current_step, state="pending").update(state="running", started_at=now)
    return Claim(task_id=str(task.pk), epoch=task.epoch, worker=worker)


def renew(claim: Claim) -> MigrationTask | None:
    """Push the lease on and return the task as it stands now; None when the task is no longer ours."""
    until = clock.now() + timedelta(seconds=settings.LEASE_SECONDS)
    held = MigrationTask.objects.filter(pk=claim.task_id, epoch=claim.epoch, worker=claim.worker)
    if not held.update(lease_until=until):
        return None
    return held.first()


def others_wait_for_sync(claim: Claim) -> bool:
    """Say whether another task has been waiting for a sync worker for over a second."""
    now = clock.now()
    others = waiting(now).filter(sync_phase(), woken_at__lt=now - timedelta(seconds=1))
    return others.exclude(pk=claim.task_id).exists()


def syncs() -> int:
    """Return how many tasks share the sync workers now."""
    return MigrationTask.objects.filter(sync_phase(), foreground=False).count()


@transaction.atomic
def release(claim: Claim) -> None:
    """Give the task back without a result; whoever is due next is woken. Does nothing when the claim was lost."""
    task = held_task(claim)
    if task is None:
        return
    free = {"lease_until": None, "worker": "", "woken_at": clock.now(), "not_before": None}
    MigrationTask.objects.filter(pk=task.pk).update(**free)
    wake_task(task)


def held_task(claim: Claim) -> MigrationTask | None:
    """Return the task, locked for the transaction, while the claim is still good; else None."""
    return (
        MigrationTask.objects.select_for_update()
        .filter(pk=claim.task_id, epoch=claim.epoch, worker=claim.worker)
        .first()
    )


def wake_task(task: MigrationTask) -> None:
    """Queue the wake-up that fits the phase of a task; none when nobody has to work on it."""
    if task.foreground:
        return
    if MigrationTask.objects.filter(sync_phase(), pk=task.pk).exists():
        queue.wake("sync", str(task.pk))
    elif MigrationTask.objects.filter(full_phase(), pk=task.pk).exists():
        queue.wake("migrate")


def claim_check(task_id: str, worker: str) -> Claim | None:
    """Claim the check of a task: a second delivery finds the lease and walks away."""
    now = clock.now()
    with transaction.atomic():
        task = MigrationTask.objects.select_for_update().filter(_free(now), pk=task_id, status=Status.CHECKING).first()
        if task is None:
            shorten_leases(now)
        return _claim(task, worker, now) if task else None


def release_check(claim: Claim) -> None:
    """Give the check's lease back."""
    MigrationTask.objects.filter(pk=claim.task_id, epoch=claim.epoch, worker=claim.worker).update(
        lease_until=None, worker=""
    )
