"""The way back from Complete: by hand, or because the last changes did not arrive in time."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from io import StringIO
from unittest import mock

import pytest
from django.core.management.base import OutputWrapper
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from migrations_app import queue, services
from migrations_app.engine.errors import CompareDiffers, CompleteStopped, DrainLate, EngineError, PauseRequested
from migrations_app.engine.ports import DatabaseState
from migrations_app.engine.states import StepName
from migrations_app.engine.wording import say
from migrations_app.management.cli.foreground import ForegroundRun
from migrations_app.models import MigrationTask
from migrations_app.runner.lease import Lease
from migrations_app.runner.ports import OrmStore
from migrations_app.runner.recorder import Recorder
from migrations_app.services import work
from tests import factories

pytestmark = pytest.mark.django_db


def claimed(task: MigrationTask) -> work.Claim:
    claim = work.claim_sync(str(task.pk), "here:1:sync")
    assert claim is not None
    return claim


def test_without_a_worker_at_it_the_sync_goes_on_at_once() -> None:
    task = factories.running_task("compare", status="completing")
    services.keep_syncing(task_id=task.pk, actor=factories.user("ann"))
    task.refresh_from_db()
    assert (task.status, task.current_step, task.error_code) == ("ready", "sync", "")
    assert task.events.latest("id").actor == "ann"


@pytest.mark.parametrize(("foreground", "wakes"), [(False, 1), (True, 0)])
def test_the_queue_of_the_sync_is_woken_unless_task_run_drives_it(
    monkeypatch: pytest.MonkeyPatch, foreground: bool, wakes: int
) -> None:
    woken: list[tuple[str, ...]] = []
    monkeypatch.setattr(queue, "wake", lambda *message: woken.append(message))
    task = factories.running_task("compare", status="completing", foreground=foreground)
    services.keep_syncing(task_id=task.pk, actor=None)
    assert woken == [("sync", str(task.pk))] * wakes


def test_a_paused_sync_may_come_to_its_next_commit_before_it_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    task = factories.running_task("sync", status="ready")
    lease = Lease(claimed(task))
    lease._look()
    assert not lease.pause_requested()
    services.pause_task(task_id=task.pk, actor=None)
    lease._look()
    lease.check()
    assert lease.pause_requested()
    monkeypatch.setattr("migrations_app.runner.lease._GRACE_SECONDS", 0)
    lease._look()
    with pytest.raises(PauseRequested):
        lease.check()


@pytest.mark.django_db(transaction=True)
def test_a_worker_that_has_lost_the_task_stores_no_state() -> None:
    task = factories.running_task("sync", status="ready")
    old = claimed(task)
    work.release(old)
    MigrationTask.objects.filter(pk=task.pk).update(woken_at=None)
    new = work.claim_sync(str(task.pk), "there:2:sync")
    assert new is not None
    with Recorder() as recorder:
        for claim, rows in ((new, 8), (old, 5)):
            store = OrmStore(claim, recorder, {})
            store.current = StepName.SYNC
            store.save_database(DatabaseState(source_name="shop", target_name="shop", rows_applied=rows))
        assert store.database("shop").rows_applied == 8


def test_asking_again_while_the_worker_is_at_it_is_told_once() -> None:
    task = factories.running_task("compare", status="completing")
    claimed(task)
    for _ in range(3):
        services.keep_syncing(task_id=task.pk, actor=None)
    assert task.events.filter(code="COMPLETE-BACK").count() == 1


@pytest.mark.parametrize("step", ["sync", "compare", "complete"])
def test_a_worker_at_it_is_asked_and_puts_the_task_back(step: str) -> None:
    task = factories.running_task(step, status="completing")
    claim = claimed(task)
    services.keep_syncing(task_id=task.pk, actor=None)
    lease = Lease(claim)
    lease._look()
    assert lease.back_requested()
    task.refresh_from_db()
    assert task.status == "completing"
    work.back_to_sync(claim, CompleteStopped())
    task.refresh_from_db()
    assert (task.status, task.current_step, task.error_code, task.back_requested) == ("ready", "sync", "", False)


def test_the_wish_is_forgotten_when_complete_is_pressed_again() -> None:
    task = factories.running_task("sync", status="ready", back_requested=True)
    services.complete_task(task_id=task.pk, actor=None)
    task.refresh_from_db()
    assert not task.back_requested


def test_once_the_clean_up_runs_it_is_too_late(client: Client) -> None:
    task = factories.running_task("cleanup", status="completing")
    with pytest.raises(services.Refused, match="past the point"):
        services.keep_syncing(task_id=task.pk, actor=None)
    client.force_login(factories.user())
    page = client.get(reverse("tasks:detail", args=[task.pk])).content.decode()
    assert reverse("tasks:action", args=[task.pk, "keep_syncing"]) not in page


def test_once_a_target_was_being_opened_it_is_too_late(client: Client) -> None:
    task = factories.running_task("complete", status="completing")
    task.ledger.create(
        side="target", database="shop", kind="bookmark", name="towpath", detail={"task": task.key, "opening": True}
    )
    with pytest.raises(services.Refused, match="the target is open"):
        services.keep_syncing(task_id=task.pk, actor=None)
    client.force_login(factories.user())
    page = client.get(reverse("tasks:detail", args=[task.pk])).content.decode()
    assert reverse("tasks:action", args=[task.pk, "keep_syncing"]) not in page


def test_a_drain_that_took_too_long_is_told_with_its_reason_and_what_to_do(client: Client) -> None:
    task = factories.running_task("complete", status="completing")
    work.back_to_sync(claimed(task), DrainLate(900, say("12 MB of changes are not on the target yet")))
    task.refresh_from_db()
    assert (task.status, task.current_step, task.error_code) == ("ready", StepName.SYNC, "COMPLETE-LATE")
    client.force_login(factories.user())
    page = client.get(reverse("tasks:detail", args=[task.pk])).content.decode()
    assert "Complete has waited 15 minutes for the last changes: 12 MB of changes are not on the target yet." in page
    assert "then press Complete again" in page


def test_task_run_does_not_press_complete_again_after_back_to_sync() -> None:
    task = factories.running_task("sync", status="ready")
    told = StringIO()
    run = ForegroundRun(mock.Mock(complete=True), OutputWrapper(StringIO()), OutputWrapper(told))
    run.task_id = str(task.pk)
    run._press_complete(run.task())
    task = run.task()
    assert task.status == "completing"
    work.back_to_sync(claimed(task), CompleteStopped())
    for _ in range(2):
        run._press_complete(run.task())
    assert run.task().status == "ready"
    assert told.getvalue().count("Back to sync was pressed") == 1


def opening(step: str, **fields: object) -> MigrationTask:
    """A task that has begun to open its target."""
    task = factories.running_task(step, **fields)
    task.ledger.create(
        side="target", database="shop", kind="bookmark", name="towpath", detail={"task": task.key, "opening": True}
    )
    return task


@pytest.mark.parametrize("opened", [False, True])
def test_a_wish_that_came_too_late_is_told_as_that(client: Client, opened: bool) -> None:
    make = opening if opened else factories.running_task
    task = make("complete", status="completing", back_requested=True)
    client.force_login(factories.user())
    page = client.get(reverse("tasks:detail", args=[task.pk])).content.decode()
    assert ("Back to sync came too late: the target has been opened." in page) == opened
    assert ("it stops as soon as it can" in page) != opened


@pytest.mark.parametrize("step", ["complete", "cleanup"])
def test_retry_goes_on_with_complete_once_a_target_was_being_opened(step: str) -> None:
    task = opening(step, status="failed")
    services.retry_task(task_id=task.pk, actor=None)
    task.refresh_from_db()
    assert (task.status, task.current_step) == ("completing", step)
    claimed(task)
    assert task.steps.get(name="sync").state != "running"


def test_retry_before_any_target_was_opened_goes_back_to_the_sync() -> None:
    task = factories.running_task("complete", status="failed")
    services.retry_task(task_id=task.pk, actor=None)
    task.refresh_from_db()
    assert (task.status, task.current_step) == ("running", "sync")


@pytest.mark.parametrize("status", ["completing", "failed"])
def test_what_opens_its_target_or_failed_to_can_be_cancelled(status: str) -> None:
    task = opening("complete", status=status)
    services.cancel_task(task_id=task.pk, actor=None)
    task.refresh_from_db()
    assert task.status == "cancelling"


@pytest.mark.parametrize("found", [CompareDiffers("t differs"), DrainLate(900, say("a lock")), CompleteStopped()])
def test_whatever_is_found_once_a_target_was_being_opened_nothing_leads_back(found: EngineError) -> None:
    task = opening("complete", status="completing")
    work.back_to_sync(claimed(task), found)
    task.refresh_from_db()
    assert (task.status, task.current_step, task.error_code) == ("failed", "complete", found.code)
    assert "press Retry" in task.error_hint
    assert task.ledger.get().detail["opening"]
    with pytest.raises(services.Refused, match="nothing is cleared there any more"):
        services.restart_with_new_copy(task_id=task.pk, actor=None)
    services.retry_task(task_id=task.pk, actor=None)
    task.refresh_from_db()
    assert (task.status, task.current_step) == ("completing", "complete")


@pytest.mark.parametrize("ask", [services.quarantine_table, services.drop_table])
def test_no_table_is_set_aside_once_a_target_was_being_opened(ask: Callable[..., object]) -> None:
    task = opening("complete", status="failed")
    factories.table_copy(task, "t", database="shop", schema="public")
    with pytest.raises(services.Refused, match="no table is synced or compared there any more"):
        ask(task_id=task.pk, actor=None, database="shop", schema="public", name="t")


@pytest.mark.parametrize(
    ("codes", "warned"),
    [
        (["TASK-QUEUED", "COMPLETE-OPENING"], True),
        (["TASK-QUEUED"], False),
        (["COMPLETE-OPENING", "TASK-QUEUED"], False),
    ],
)
def test_start_again_warns_of_what_the_application_wrote_on_an_opened_target(
    client: Client, codes: list[str], warned: bool
) -> None:
    task = factories.running_task("complete", status="cancelled")
    for code in codes:
        factories.event(task, code=code)
    client.force_login(factories.user())
    page = client.get(reverse("tasks:confirm", args=[task.pk, "start_again"])).content.decode()
    assert ("What the application has written there since is lost" in page) == warned


def test_a_bookmark_that_could_not_be_removed_does_not_make_the_next_run_look_opened() -> None:
    task = opening("complete", status="cancelled")
    task.ledger.update(detail={"task": task.key, "opening": True, "stages": ["deferred"]})
    services.start_again(task_id=task.pk, actor=None, clear_target=False)
    assert task.ledger.get().detail == {"task": task.key}


@pytest.mark.parametrize(
    ("step", "fields", "again"),
    [("sync", {"compare_requested": True}, True), ("compare", {"status": "completing"}, True), ("sync", {}, False)],
)
def test_that_a_comparison_begins_anew_after_a_worker_died_is_told(
    step: str, fields: dict[str, object], again: bool
) -> None:
    ended = timezone.now() - timedelta(seconds=1)
    task = factories.running_task(step, **({"status": "ready", "worker": "gone", "lease_until": ended} | fields))
    claimed(task)
    assert ("comparison begins again" in task.events.get(code="RUN-RESUMED").message) == again


def test_a_mark_of_opening_that_a_run_before_has_left_does_not_hold_up_the_sync() -> None:
    task = opening("sync", status="failed")
    services.retry_task(task_id=task.pk, actor=None)
    task.refresh_from_db()
    assert (task.status, task.ledger.get().detail) == ("running", {"task": task.key})


def test_the_end_of_a_cancelled_comparison_promises_no_other_one() -> None:
    ended = timezone.now() - timedelta(seconds=1)
    task = factories.running_task("compare", status="cancelling", worker="gone", lease_until=ended)
    claimed(task)
    assert "comparison begins again" not in task.events.get(code="RUN-RESUMED").message
