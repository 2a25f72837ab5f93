"""Leases and deadlines go by the clock of the console's own database, so hosts whose clocks differ do not steal."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.conf import settings
from django.db import connection
from django.utils import timezone

from migrations_app import clock, services
from migrations_app.engine.errors import ConnectionLost
from migrations_app.engine.states import Status, StepName
from migrations_app.models import MigrationTask, User
from migrations_app.services import work

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


def test_the_clock_of_the_consoles_own_database_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    host = timezone.now()
    on_a_host_that_is_ahead(monkeypatch, timedelta(days=1))
    seen = clock.now() - host
    expected = timedelta(0) if connection.vendor == "postgresql" else timedelta(days=1)
    assert abs(seen - expected) < timedelta(hours=1)
