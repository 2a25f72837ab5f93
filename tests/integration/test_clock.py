"""Leases and deadlines go by the clock of the console's own database, so hosts whose clocks differ do not steal."""

from __future__ import annotations

from datetime import datetime, timedelta
from unittest import mock

import pytest
from django.conf import settings
from django.db import connection
from django.utils import timezone

from migrations_app import clock, queue, services
from migrations_app.engine.errors import ConnectionLost
from migrations_app.engine.replication.governed import SlotsLook
from migrations_app.engine.states import Status, StepName
from migrations_app.management.cli import foreground
from migrations_app.models import MigrationTask, Sample, TaskDatabase, User, WorkerBeat
from migrations_app.services import work
from tests import factories

pytestmark = pytest.mark.django_db


@pytest.fixture
def syncing(checked: MigrationTask, alice: User) -> MigrationTask:
    services.start_task(task_id=checked.pk, actor=alice)
    MigrationTask.objects.filter(pk=checked.pk).update(status=Status.RUNNING, current_step=StepName.SYNC)
    return checked


def on_a_host_that_is_ahead(monkeypatch: pytest.MonkeyPatch, by: timedelta) -> None:
    """Let this process believe that it is later; the server's clock stays."""
    real = timezone.now
    monkeypatch.setattr(timezone, "now", lambda: real() + by)


needs_a_server = pytest.mark.skipif(
    settings.DATABASES["default"]["ENGINE"] != "django.db.backends.postgresql",
    reason="with SQLite all workers share one host and its clock",
)


@needs_a_server
@pytest.mark.parametrize("hours", [-1, 24])
def test_a_lease_is_not_stolen_by_a_host_whose_clock_is_wrong(
    syncing: MigrationTask, monkeypatch: pytest.MonkeyPatch, hours: int
) -> None:
    on_a_host_that_is_ahead(monkeypatch, timedelta(hours=hours))
    claim = work.claim_sync(str(syncing.pk), "wrong:1:sync")
    assert claim
    assert work.renew(claim)
    monkeypatch.undo()
    assert work.claim_sync(str(syncing.pk), "right:1:sync") is None
    on_a_host_that_is_ahead(monkeypatch, timedelta(hours=hours))
    assert work.claim_sync(str(syncing.pk), "wrong:2:sync") is None


@needs_a_server
def test_the_window_of_an_outage_is_not_over_because_a_clock_is_wrong(
    syncing: MigrationTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    claim = work.claim_sync(str(syncing.pk), "right:1:sync")
    assert claim
    assert work.fail(claim, StepName.SYNC, ConnectionLost("away"))
    MigrationTask.objects.filter(pk=syncing.pk).update(not_before=None)
    on_a_host_that_is_ahead(monkeypatch, timedelta(days=1))
    again = work.claim_sync(str(syncing.pk), "wrong:1:sync")
    assert again
    assert work.fail(again, StepName.SYNC, ConnectionLost("away"))
    syncing.refresh_from_db()
    assert syncing.status != "failed"


@pytest.fixture
def ahead(monkeypatch: pytest.MonkeyPatch) -> timedelta:
    """The clock of the console's own database is a day ahead of this host's."""
    by, real = timedelta(days=1), timezone.now
    monkeypatch.setattr(clock, "now", lambda: real() + by)
    return by


def soon(moment: datetime | None, ahead: timedelta) -> bool:
    """Say whether a moment is about now by the clock that is ahead."""
    return moment is not None and abs(moment - timezone.now() - ahead) < timedelta(hours=1)


def test_a_start_wakes_by_the_clock_of_the_database(checked: MigrationTask, alice: User, ahead: timedelta) -> None:
    task = services.start_task(task_id=checked.pk, actor=alice)
    assert (soon(task.woken_at, ahead), soon(task.queued_at, ahead)) == (True, True)


@pytest.mark.parametrize("step", ["copy", "sync"])
def test_a_retry_wakes_by_the_clock_of_the_database(step: str, ahead: timedelta) -> None:
    task = services.retry_task(task_id=factories.running_task(step, status="failed").pk, actor=None)
    assert soon(task.woken_at, ahead)


def test_a_source_that_could_not_be_looked_at_waits_by_the_clock_of_the_database(ahead: timedelta) -> None:
    task = factories.running_task("sync")
    services.could_not_look(str(task.pk))
    task.refresh_from_db()
    assert soon(task.wal_looked_at, ahead)


def test_a_lease_that_is_over_by_the_clock_of_the_database_leaves_the_samples_to_the_looks(ahead: timedelta) -> None:
    task = factories.running_task("sync", lease_until=timezone.now() + ahead / 2)
    TaskDatabase.objects.filter(task=task).update(slot="towpath_1")
    services.record_look(str(task.pk), ["towpath_1"], SlotsLook(kept_bytes=5))
    assert Sample.objects.filter(task=task).count() == 1


def test_task_run_looks_by_the_clock_of_the_database(ahead: timedelta, monkeypatch: pytest.MonkeyPatch) -> None:
    run = foreground.ForegroundRun(mock.Mock(incremental=True, complete=False), mock.Mock(), mock.Mock())
    run.task_id = str(factories.running_task("sync").pk)
    looks: list[datetime] = []

    def look(_: str, now: datetime) -> bool:
        looks.append(now)
        run._ended.set()
        return False

    monkeypatch.setattr(services, "take_look", look)
    monkeypatch.setattr(foreground, "connection", mock.Mock())  # the test's own, which the watcher would close
    run._watch()
    assert [soon(at, ahead) for at in looks] == [True]


def test_a_target_that_runs_ahead_again_is_counted_by_the_clock_of_the_database(
    syncing: MigrationTask, ahead: timedelta
) -> None:
    for number in range(syncing.databases.count() + 2):
        claim = work.claim_sync(str(syncing.pk), "here:1:sync")
        assert claim
        work.outrun(claim, StepName.SYNC, 40 + 10 * number)
    syncing.refresh_from_db()
    assert (syncing.status, syncing.error_code) == ("failed", "RUN-TWICE")


def test_the_clock_of_the_consoles_own_database_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    host = timezone.now()
    on_a_host_that_is_ahead(monkeypatch, timedelta(days=1))
    seen = clock.now() - host
    expected = timedelta(0) if connection.vendor == "postgresql" else timedelta(days=1)
    assert abs(seen - expected) < timedelta(hours=1)


def set_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """Set the clock of the console's own database back by an hour."""
    real = clock.now
    monkeypatch.setattr(clock, "now", lambda: real() - timedelta(hours=1))


def woken(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    messages: list[tuple[str, ...]] = []
    monkeypatch.setattr(queue, "wake", lambda *message: messages.append(message))
    return messages


def test_a_try_is_due_although_the_clock_was_set_back(monkeypatch: pytest.MonkeyPatch) -> None:
    task = factories.running_task("sync", status="ready")
    claim = work.claim_sync(str(task.pk), "here:1:sync")
    assert claim
    assert work.fail(claim, StepName.SYNC, ConnectionLost("away"))
    set_back(monkeypatch)
    messages = woken(monkeypatch)
    work.dispatch()
    assert ("sync", str(task.pk)) in messages
    again = work.claim_sync(str(task.pk), "here:1:sync")
    assert again
    assert work.fail(again, StepName.SYNC, ConnectionLost("away"))
    task.refresh_from_db()
    assert task.failing_since is not None
    assert task.failing_since <= clock.now()


def test_the_turn_of_a_full_migration_comes_although_the_clock_was_set_back(monkeypatch: pytest.MonkeyPatch) -> None:
    task = factories.running_task("copy", queued_at=clock.now())
    claim = work.claim_migration("here:1:migrate")
    assert claim
    assert work.fail(claim, StepName.COPY, ConnectionLost("away"))
    set_back(monkeypatch)
    again = work.claim_migration("here:1:migrate")
    assert again
    assert again.task_id == str(task.pk)


@pytest.mark.parametrize("drive", ["workers", "task run", "check"])
def test_a_lease_that_the_clock_left_ahead_ends_as_any_other(monkeypatch: pytest.MonkeyPatch, drive: str) -> None:
    task = factories.running_task("sync", status="checking" if drive == "check" else "running")
    claim = {"workers": work.claim_sync, "task run": work.claim_foreground, "check": work.claim_check}[drive]
    assert claim(str(task.pk), "elsewhere:1:sync")
    set_back(monkeypatch)
    if drive == "workers":
        work.dispatch()
    assert claim(str(task.pk), "here:2:sync") is None  # its worker may live, and had no time to push it on
    task.refresh_from_db()
    assert task.lease_until == pytest.approx(
        clock.now() + timedelta(seconds=settings.LEASE_SECONDS), abs=timedelta(seconds=5)
    )


def test_the_wal_is_looked_at_although_the_clock_was_set_back(monkeypatch: pytest.MonkeyPatch) -> None:
    task = factories.running_task("sync", wal_looked_at=clock.now())
    TaskDatabase.objects.filter(task=task).update(slot="towpath_1")
    set_back(monkeypatch)
    messages = woken(monkeypatch)
    work.dispatch()
    assert ("wal", str(task.pk)) in messages


def test_a_check_is_asked_for_again_although_the_clock_was_set_back(monkeypatch: pytest.MonkeyPatch) -> None:
    task = factories.task(status="checking", woken_at=clock.now())
    factories.event(task, "Check asked for.", to_status="checking", at=clock.now())
    set_back(monkeypatch)
    messages = woken(monkeypatch)
    work.dispatch()
    assert ("check", str(task.pk), "") in messages


def test_a_sign_of_life_that_the_clock_left_ahead_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    WorkerBeat.objects.create(cluster="sync", host="elsewhere", pid=1, at=clock.now())
    set_back(monkeypatch)
    work.dispatch()
    assert not services.workers_alive()
