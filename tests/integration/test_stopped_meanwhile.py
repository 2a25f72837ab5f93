"""Pause or Cancel comes in the moment in which a slice ends: what the operator asked for holds, and nothing breaks."""

from __future__ import annotations

import pytest
from django.test import Client
from django.urls import reverse

from migrations_app import services
from migrations_app.engine.errors import CompareDiffers, CompleteStopped, ConnectionLost, EngineError, TargetError
from migrations_app.engine.states import Status, StepName
from migrations_app.models import MigrationTask
from migrations_app.runner.driving import _record_failure
from migrations_app.services import work
from tests import factories

pytestmark = pytest.mark.django_db

LOST, REFUSED = ConnectionLost("the source is away"), TargetError("permission denied")


def at_work(step: StepName, status: Status = Status.RUNNING, **fields: object) -> tuple[MigrationTask, work.Claim]:
    """A task that a worker holds at this step."""
    task = factories.running_task(step, status=status, **fields)
    claim = work.claim_foreground(str(task.pk), "here:1:worker")
    assert claim is not None
    return task, claim


def given_back(task: MigrationTask) -> str:
    """Return the status of a task that no worker holds any more."""
    task.refresh_from_db()
    assert (task.lease_until, task.worker) == (None, "")
    return task.status


@pytest.mark.parametrize("error", [LOST, REFUSED], ids=["that passes", "that does not pass"])
@pytest.mark.parametrize("step", [StepName.COPY, StepName.SYNC])
def test_a_task_that_was_paused_while_a_slice_broke_stays_paused(step: StepName, error: EngineError) -> None:
    task, claim = at_work(step)
    services.pause_task(task_id=task.pk, actor=None)
    _record_failure(claim, step, error)
    assert given_back(task) == "paused"
    assert (task.error_message, task.failing_since, task.not_before) == ("", None, None)


def test_what_a_paused_task_ended_with_is_told() -> None:
    task, claim = at_work(StepName.COPY)
    services.pause_task(task_id=task.pk, actor=None)
    _record_failure(claim, StepName.COPY, REFUSED)
    event = task.events.latest("id")
    assert (event.code, event.level) == (REFUSED.code, "warning")
    assert "permission denied" in event.message
    assert "Resume" in event.message


@pytest.mark.parametrize("error", [LOST, REFUSED], ids=["that passes", "that does not pass"])
def test_a_task_that_was_cancelled_while_a_slice_broke_is_cleaned_up(error: EngineError) -> None:
    task, claim = at_work(StepName.COPY)
    services.cancel_task(task_id=task.pk, actor=None)
    _record_failure(claim, StepName.COPY, error)
    assert given_back(task) == "cancelling"


@pytest.mark.parametrize("error", [CompareDiffers("t differs"), CompleteStopped()], ids=["differs", "back"])
def test_cancel_while_complete_goes_back_to_the_sync_is_a_cancel(error: EngineError) -> None:
    task, claim = at_work(StepName.COMPARE, Status.COMPLETING)
    services.cancel_task(task_id=task.pk, actor=None)
    _record_failure(claim, StepName.COMPARE, error)
    assert given_back(task) == "cancelling"
    assert work.claim_sync(str(task.pk), "here:2:sync") is not None


def test_pause_while_a_comparison_of_the_sync_ends_with_differences_is_a_pause() -> None:
    task, claim = at_work(StepName.SYNC, Status.READY)
    services.pause_task(task_id=task.pk, actor=None)
    _record_failure(claim, StepName.SYNC, CompareDiffers("t differs"))
    assert given_back(task) == "paused"


@pytest.mark.parametrize("pressed", ["pause", "cancel"])
def test_a_check_before_the_start_that_failed_does_not_undo_what_was_pressed(pressed: str) -> None:
    task, claim = at_work(StepName.SCHEMA)
    {"pause": services.pause_task, "cancel": services.cancel_task}[pressed](task_id=task.pk, actor=None)
    work.start_refused(claim, [])
    work.release(claim)
    assert given_back(task) == {"pause": "paused", "cancel": "cancelling"}[pressed]
    assert task.steps.exists()


@pytest.mark.parametrize("resumed", [False, True])
def test_the_last_step_of_a_paused_task_ends_with_resume(resumed: bool) -> None:
    task, claim = at_work(StepName.COMPLETE, incremental=False)
    services.pause_task(task_id=task.pk, actor=None)
    assert work.finish_step(claim, StepName.COMPLETE) == StepName.CLEANUP
    if resumed:  # before the worker has seen any of it
        services.resume_task(task_id=task.pk, actor=None)
    assert work.finish_step(claim, StepName.CLEANUP) is None
    work.release(claim)
    assert given_back(task) == ("queued" if resumed else "paused")
    if not resumed:
        services.resume_task(task_id=task.pk, actor=None)
    again = work.claim_migration("here:2:migrate")
    assert again is not None
    assert work.finish_step(again, StepName.CLEANUP) is None
    assert given_back(task) == "completed"


@pytest.mark.parametrize("step", [StepName.COPY, StepName.COMPLETE, StepName.CLEANUP])
def test_no_step_follows_a_step_that_ends_after_cancel(step: StepName) -> None:
    task, claim = at_work(StepName.COMPLETE, Status.COMPLETING)
    services.cancel_task(task_id=task.pk, actor=None)
    assert work.finish_step(claim, step) is None
    work.release(claim)
    assert given_back(task) == "cancelling"


def test_the_clean_up_of_a_task_without_sync_is_neither_paused_nor_cancelled(client: Client) -> None:
    task, _ = at_work(StepName.CLEANUP, incremental=False)
    for ask in (services.pause_task, services.cancel_task):
        with pytest.raises(services.Refused, match="ends by itself"):
            ask(task_id=task.pk, actor=None)
    client.force_login(factories.user())
    page = client.get(reverse("tasks:detail", args=[task.pk])).content.decode()
    assert [name for name in ("pause", "cancel") if reverse("tasks:action", args=[task.pk, name]) in page] == []
