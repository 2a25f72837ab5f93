"""The console's own database is older than the target: told once, gone on after it; two consoles are told apart."""

from __future__ import annotations

import pytest

from migrations_app import services
from migrations_app.engine.states import Status, StepName
from migrations_app.models import Event, MigrationTask, User
from migrations_app.services import work

pytestmark = pytest.mark.django_db


def claimed(task: MigrationTask) -> work.Claim:
    found = work.claim_sync(str(task.pk), "here:1:sync")
    assert found is not None
    return found


@pytest.fixture
def syncing(checked: MigrationTask, alice: User) -> MigrationTask:
    services.start_task(task_id=checked.pk, actor=alice)
    MigrationTask.objects.filter(pk=checked.pk).update(status=Status.RUNNING, current_step=StepName.SYNC)
    checked.refresh_from_db()
    return checked


def test_the_next_claim_is_later_than_what_the_target_has_seen(syncing: MigrationTask) -> None:
    claim = claimed(syncing)
    work.outrun(claim, StepName.SYNC, 40)
    syncing.refresh_from_db()
    assert (syncing.epoch, syncing.worker, syncing.lease_until) == (40, "", None)
    (told,) = Event.objects.filter(task=syncing, code="RUN-EPOCH")
    assert "epoch 40" in told.message
    assert claimed(syncing).epoch == 41


def test_a_claim_that_was_lost_changes_nothing(syncing: MigrationTask) -> None:
    claim = claimed(syncing)
    MigrationTask.objects.filter(pk=syncing.pk).update(epoch=claim.epoch + 1)
    work.outrun(claim, StepName.SYNC, 40)
    syncing.refresh_from_db()
    assert syncing.epoch == claim.epoch + 1
    assert not Event.objects.filter(task=syncing, code="RUN-EPOCH").exists()


def test_a_target_that_runs_ahead_again_and_again_has_another_console(syncing: MigrationTask) -> None:
    found = 40
    for _ in range(syncing.databases.count() + 1):
        work.outrun(claimed(syncing), StepName.SYNC, found)
        found += 10
    work.outrun(claimed(syncing), StepName.SYNC, found)
    syncing.refresh_from_db()
    assert (syncing.status, syncing.error_code) == ("failed", "RUN-TWICE")
    assert "other console" in syncing.error_hint
