"""The dispatcher's tick: set times, outages that last, tasks that wait without a worker, requests without an answer."""

from __future__ import annotations

import time
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import Q

from ... import clock, queue
from ...engine.states import Status
from ...engine.wording import as_data, say
from ...models import ConnectionTest, EndpointTest, Event, MigrationTask, WorkerBeat
from .. import audit, governing
from ..base import move
from ..leftovers import try_clean_ups
from ..sampling import thin_samples
from .checks import give_up_check
from .claims import full_phase, shorten_leases, sync_phase, waiting, wake_task
from .results import leave_stale_ready

_REWAKE_SECONDS = 5
_THIN_SECONDS = 60.0
_thinned = [float("-inf")]


_ENDED_LONG_AGO = timedelta(minutes=1)
_LONGEST_REQUEST = timedelta(minutes=30)
_NO_WORKER = say("No worker answered within a minute.")
_SEE_WORKERS = say("See whether the workers run (manage.py up), then try again.")


@transaction.atomic
def dispatch(now: datetime | None = None) -> int:
    """One tick: queue what is due, wake whatever waits without a worker. Returns how many wake-ups were sent."""
    now = now or clock.now()
    for task in MigrationTask.objects.select_for_update().filter(status=Status.SCHEDULED, scheduled_at__lte=now):
        move(
            task,
            Status.QUEUED,
            code="TASK-QUEUED",
            message=say("Scheduled time reached; the task waits for its turn."),
            queued_at=now,
        )
    _expire_dead_leases(now)
    shorten_leases(now)
    leave_stale_ready(now)
    try_clean_ups(now)
    again = timedelta(seconds=_REWAKE_SECONDS)
    stale = Q(woken_at=None) | Q(woken_at__lt=now - again) | Q(woken_at__gt=now + again)  # the clock was set back
    due = list(waiting(now).filter(stale).filter(full_phase() | sync_phase()))
    for task in due:
        MigrationTask.objects.filter(pk=task.pk).update(woken_at=now)
        wake_task(task)
    governing.wake_looks(now)
    governing.release_orphans()
    audit.settle_unanswered(now)
    _thin_now_and_then()
    return len(due) + _rewake_requests(now)


def _thin_now_and_then() -> None:
    if time.monotonic() - _thinned[0] >= _THIN_SECONDS:
        _thinned[0] = time.monotonic()
        thin_samples()


def _expire_dead_leases(now: datetime) -> None:
    """End the leases of workers on this host whose process is gone: no need to wait for them to run out."""
    host = queue.host_name()
    for task in MigrationTask.objects.filter(lease_until__gte=now, worker__startswith=f"{host}:"):
        pid = task.worker.split(":")[1]
        if not queue.process_exists(int(pid)):
            held = MigrationTask.objects.filter(pk=task.pk, epoch=task.epoch)
            held.update(lease_until=now - timedelta(seconds=1), woken_at=None)


def _is_alive(test: ConnectionTest | EndpointTest, now: datetime) -> bool:
    """Say whether the worker that took a request has given a sign of life of late."""
    host, pid, cluster = [*str(test.detail.get("worker", "")).rsplit(":", 2), "", ""][:3]
    beats = WorkerBeat.objects.filter(cluster=cluster, host=host, at__gt=now - timedelta(seconds=30))
    return pid.isdecimal() and beats.filter(pid=int(pid)).exists()


def _rewake_requests(now: datetime) -> int:
    """Checks and connection tests whose worker was killed: asked again once, then reported."""
    old = now - timedelta(seconds=60)
    sent = 0
    late = {"state__in": ["waiting", "running"], "created_at__lt": old}
    kind: type[ConnectionTest | EndpointTest]
    for kind in (ConnectionTest, EndpointTest):
        for test in kind.objects.filter(**late):
            if test.state == "running" and test.created_at > now - _LONGEST_REQUEST and _is_alive(test, now):
                continue  # the objects of a large source take longer than a minute
            kind.objects.filter(pk=test.pk).update(
                state="failed",
                code="WORKER-GONE",
                message=_NO_WORKER,
                hint=_SEE_WORKERS,
                words=as_data(message=_NO_WORKER, hint=_SEE_WORKERS),
                finished_at=now,
            )
    for task in MigrationTask.objects.filter(status=Status.CHECKING, foreground=False):
        last = Event.objects.filter(task=task, to_status=Status.CHECKING).first()
        stale = task.lease_until is None or task.lease_until < now
        if last and _not_lately(last.at, now) and stale and (task.woken_at is None or _not_lately(task.woken_at, now)):
            MigrationTask.objects.filter(pk=task.pk).update(woken_at=now)
            queue.wake("check", str(task.pk), "")
            sent += 1
    for task in MigrationTask.objects.filter(_check_ended_long_ago(now), status=Status.CHECKING, foreground=True):
        last = Event.objects.filter(task=task, to_status=Status.CHECKING).first()
        if last and abs(now - last.at) > _ENDED_LONG_AGO:  # `task run` alone would go on with it
            give_up_check(str(task.pk), now)
    old_beats = Q(at__lt=now - timedelta(minutes=10)) | Q(at__gt=now + timedelta(minutes=10))
    WorkerBeat.objects.filter(old_beats).delete()
    return sent


def _check_ended_long_ago(now: datetime) -> Q:
    return Q(lease_until=None) | Q(lease_until__lt=now - _ENDED_LONG_AGO)


def _not_lately(moment: datetime, now: datetime) -> bool:
    """Say whether a moment is 15 seconds past, or lies ahead because the clock was set back."""
    return abs(now - moment) > timedelta(seconds=15)
