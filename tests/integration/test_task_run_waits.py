"""`task run` while the console's own database does not answer for a moment: it waits, and does what it was told."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from unittest import mock

import pytest
from django.db import OperationalError, connections

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
    task = factories.running_task("sync", status="ready")
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
