"""What nobody goes on with is closed and told: a check whose process is gone, a comparison that Complete makes."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from migrations_app import services
from migrations_app.engine.states import Status
from migrations_app.models import MigrationTask
from migrations_app.services import work
from tests import factories

pytestmark = pytest.mark.django_db


def _checking(*, foreground: bool, lease: timedelta | None = None) -> MigrationTask:
    """A task whose check began: `lease` is when it ends, from now."""
    task = factories.checked_task(foreground=foreground)
    services.request_check(task_id=task.pk, actor=None)
    if lease is not None:
        MigrationTask.objects.filter(pk=task.pk).update(
            worker="another-host:1:foreground", lease_until=timezone.now() + lease
        )
    task.refresh_from_db()
    assert task.status == Status.CHECKING
    return task


@pytest.mark.parametrize("lease", [None, timedelta(seconds=10)], ids=["released", "killed"])
def test_a_check_in_a_terminal_that_is_gone_does_not_run_for_ever(lease: timedelta | None) -> None:
    task = _checking(foreground=True, lease=lease)
    work.dispatch(timezone.now() + timedelta(seconds=30))
    task.refresh_from_db()
    assert task.status == Status.CHECKING, "whoever started it may go on with it"
    work.dispatch(timezone.now() + timedelta(seconds=90))
    task.refresh_from_db()
    assert task.status == Status.CHECK_FAILED
    assert task.events.get(code="CHECK-STOPPED").level == "warning"
    services.request_check(task_id=task.pk, actor=None)


def test_a_check_in_a_terminal_that_lives_is_left_alone() -> None:
    task = _checking(foreground=True, lease=timedelta(seconds=100))
    work.dispatch(timezone.now() + timedelta(seconds=90))
    task.refresh_from_db()
    assert task.status == Status.CHECKING


def test_the_check_of_a_worker_is_asked_for_again_instead() -> None:
    task = _checking(foreground=False)
    assert work.dispatch(timezone.now() + timedelta(seconds=90)) == 1
    task.refresh_from_db()
    assert task.status == Status.CHECKING


def test_complete_tells_that_it_takes_the_place_of_a_comparison() -> None:
    task = factories.running_task("sync", status="ready")
    services.compare_task(task_id=task.pk, actor=None)
    services.complete_task(task_id=task.pk, actor=None)
    assert task.events.filter(message__contains="is given up: Complete compares every row by itself").exists()
    task.refresh_from_db()
    assert not task.compare_requested
