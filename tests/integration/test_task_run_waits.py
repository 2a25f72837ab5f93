"""`task run` while the console's own database does not answer for a moment: it waits, and does what it was told."""

from __future__ import annotations

from collections.abc import Callable
from io import StringIO
from typing import Any
from unittest import mock

import pytest
from django.db import OperationalError, connections

from migrations_app import services
from migrations_app.management.cli import foreground
from migrations_app.models import MigrationTask
from migrations_app.runner import driving
from migrations_app.services import work
from tests import factories

pytestmark = pytest.mark.django_db(transaction=True)


def away_once(call: Callable[..., Any]) -> Callable[..., Any]:
    """Lose the connection at the first call; the later ones find the database again."""
    left = [1]

    def asked(*arguments: Any, **named: Any) -> Any:
        if left:
            left.pop()
            connections["default"].close()
            raise OperationalError("server closed the connection unexpectedly")
        return call(*arguments, **named)

    return asked


@pytest.mark.parametrize("place", ["told_since", "progress_line"])
def test_complete_is_pressed_although_the_database_was_away_for_a_moment(
    monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    task = factories.running_task("sync", status="ready", foreground=True)
    run = foreground.ForegroundRun(mock.Mock(complete=True, incremental=False), mock.Mock(), mock.Mock())
    run.task_id = str(task.pk)
    monkeypatch.setattr(foreground, place, away_once(getattr(foreground, place)))
    looks: list[str] = []

    def wait(_: float) -> bool:
        looks.append(run.task().status)
        return "completing" in looks or len(looks) > 5

    monkeypatch.setattr(run, "_ended", mock.Mock(wait=wait))
    run._watch()
    assert looks[-1] == "completing"


@pytest.mark.parametrize("place", ["claim", "run"])
def test_a_task_is_driven_on_although_the_database_was_away_for_a_moment(
    monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    task = factories.running_task("sync", foreground=True)
    driven: list[str] = []

    def run(claim: work.Claim) -> None:
        driven.append(claim.task_id)
        MigrationTask.objects.filter(pk=task.pk).update(status="failed", lease_until=None)

    if place == "claim":
        monkeypatch.setattr(work, "claim_foreground", away_once(work.claim_foreground))
        monkeypatch.setattr(driving, "_run", run)
    else:
        monkeypatch.setattr(driving, "_run", away_once(run))
        monkeypatch.setattr("django.conf.settings.LEASE_SECONDS", 0)  # nobody gives it back: it runs out
    waited: list[float] = []
    driving.drive_foreground(str(task.pk), waiting=waited.append)
    assert driven == [str(task.pk)]
    assert waited[0] == 1.0


def test_a_terminal_that_comes_back_after_the_hand_over_drives_and_presses_nothing() -> None:
    """As after `fg`: its process was suspended until its lease had run out, and the workers were given the task."""
    task = factories.running_task("sync", status="ready", foreground=True)
    err = StringIO()
    run = foreground.ForegroundRun(mock.Mock(complete=True, incremental=False, as_json=True), mock.Mock(), err)
    run.task_id = str(task.pk)
    driven: list[str] = []

    def slice_(claim: work.Claim) -> None:
        driven.append(claim.task_id)
        work.release(claim)
        services.hand_over_task(task_id=task.pk, actor=None)
        run._look()

    with mock.patch.object(driving, "_run", slice_):
        driving.drive_foreground(run.task_id, waiting=lambda _seconds: None)
    assert driven == [run.task_id]
    task.refresh_from_db()
    assert (task.status, task.foreground, task.lease_until) == ("ready", False, None)
    assert run._end(task) == 130
    assert "Handed over to the workers" in err.getvalue()


def test_a_cancelled_task_is_cleaned_up_by_the_terminal_that_drives_it() -> None:
    task = factories.running_task("sync", foreground=True)
    driven: list[str] = []

    def slice_(claim: work.Claim) -> None:
        driven.append(MigrationTask.objects.get(pk=task.pk).status)
        work.release(claim)
        if len(driven) == 1:
            services.cancel_task(task_id=task.pk, actor=None)
        else:
            MigrationTask.objects.filter(pk=task.pk).update(status="cancelled")

    with mock.patch.object(driving, "_run", slice_):
        driving.drive_foreground(str(task.pk), waiting=lambda _seconds: None)
    assert driven == ["running", "cancelling"]
