"""Who has the places of full migrations while one of them waits for another try."""

from __future__ import annotations

from datetime import timedelta

import pytest

from migrations_app import clock
from migrations_app.engine.errors import ConnectionLost
from migrations_app.engine.states import StepName
from migrations_app.models import MigrationTask
from migrations_app.services import work
from tests import factories

pytestmark = pytest.mark.django_db


def passes(monkeypatch: pytest.MonkeyPatch, minutes: float) -> None:
    """Let so many minutes pass by the clock of the console's own database."""
    now = clock.now() + timedelta(minutes=minutes)
    monkeypatch.setattr(clock, "now", lambda: now)


def queued(name: str, minutes_ago: int) -> MigrationTask:
    return factories.running_task("copy", name=name, queued_at=clock.now() - timedelta(minutes=minutes_ago))


def claimed() -> work.Claim:
    claim = work.claim_migration("here:1:migrate")
    assert claim is not None
    return claim


def broken(name: str = "first", minutes_ago: int = 9) -> MigrationTask:
    """A migration that has just lost its connection."""
    task = queued(name, minutes_ago)
    claim = claimed()
    assert claim.task_id == str(task.pk)
    assert work.fail(claim, StepName.COPY, ConnectionLost("the source is away"))
    return task


def test_a_migration_that_waits_for_another_try_keeps_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    first = broken()
    queued("second", 5)
    assert work.claim_migration("here:1:migrate") is None
    passes(monkeypatch, 0.1)
    assert claimed().task_id == str(first.pk)


def test_a_place_that_is_free_beside_it_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("django.conf.settings.MIGRATION_SLOTS", 2)
    broken()
    second = queued("second", 5)
    assert claimed().task_id == str(second.pk)
    assert work.claim_migration("here:1:migrate") is None


def passed_by(monkeypatch: pytest.MonkeyPatch) -> tuple[MigrationTask, work.Claim]:
    """A migration whose outage lasts, so that a second one has its place."""
    first = broken()
    second = queued("second", 5)
    for _ in range(5):
        passes(monkeypatch, 1.2)
        assert work.fail(claimed(), StepName.COPY, ConnectionLost("the source is away"))
    claim = claimed()
    assert claim.task_id == str(second.pk)
    first.refresh_from_db()
    return first, claim


def test_an_outage_that_lasts_gives_the_place_away_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = passed_by(monkeypatch)
    assert "another migration has its place now" in first.error_message
    assert first.words["error_message"]
    told = first.events.filter(code="RUN-RETRY", message=first.error_message)
    assert [event.level for event in told] == ["warning"]
    passes(monkeypatch, 1)
    assert work.renew(second)
    assert work.claim_migration("here:2:migrate") is None


def test_the_time_in_which_it_was_passed_by_is_no_outage(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = passed_by(monkeypatch)
    passes(monkeypatch, 180)
    MigrationTask.objects.filter(pk=second.task_id).update(current_step=StepName.SYNC)
    work.release(second)
    claim = claimed()
    assert claim.task_id == str(first.pk)
    assert work.fail(claim, StepName.COPY, ConnectionLost("the source is away"))
    queued("third", 1)
    assert work.claim_migration("here:1:migrate") is None


def test_who_keeps_its_place_goes_before_who_was_passed_by(monkeypatch: pytest.MonkeyPatch) -> None:
    _, second = passed_by(monkeypatch)
    assert work.fail(second, StepName.COPY, ConnectionLost("the source is away"))
    passes(monkeypatch, 2)
    assert claimed().task_id == second.task_id
