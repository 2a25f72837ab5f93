"""What was true of a sync is not told as true once nobody can know it: an outage, a pause, a failure, a cancel."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from pytest_django.asserts import assertContains, assertNotContains

from migrations_app import selectors, services
from migrations_app.engine.errors import ConnectionLost, TargetError
from migrations_app.engine.ports import DatabaseState
from migrations_app.engine.states import Status, StepName
from migrations_app.engine.wording import say
from migrations_app.models import Event, MigrationTask, Sample, User
from migrations_app.runner.ports import OrmStore
from migrations_app.services import work
from tests import factories

pytestmark = pytest.mark.django_db
LOST = ConnectionLost(say("Lost connection to the source."))


class _Here:
    """A recorder that writes in the caller's thread."""

    def call(self, write):  # type: ignore[no-untyped-def]
        return write()


@pytest.fixture
def anna() -> User:
    return factories.user("anna")


@pytest.fixture
def console(client: Client, anna: User) -> Client:
    client.force_login(anna)
    return client


@pytest.fixture
def ready() -> MigrationTask:
    """A task that is in sync, with a figure that was taken a minute ago."""
    task = factories.running_task(
        "sync", status="ready", lag_bytes=0, lag_seconds=0.0, rows_per_second=212.0, name="shop to 18"
    )
    task.databases.update(in_sync=True, lag_bytes=0, lag_seconds=0.0, bookmark=0x2_00000000)
    factories.table_copy(task, "orders", status="done", bytes_done=48_000_000)
    Sample.objects.create(
        task=task, at=timezone.now() - timedelta(minutes=1), lag_bytes=0, lag_seconds=0.0, apply_rows_per_second=212.0
    )
    return task


def claimed(task: MigrationTask) -> work.Claim:
    MigrationTask.objects.filter(pk=task.pk).update(not_before=None)
    claim = work.claim_sync(str(task.pk), "here:1:sync")
    assert claim is not None
    return claim


def failing(task: MigrationTask, *, seconds: float = 0) -> MigrationTask:
    """Let a try have failed, the first one `seconds` ago."""
    if seconds:
        since = timezone.now() - timedelta(seconds=seconds)
        MigrationTask.objects.filter(pk=task.pk).update(failing_since=since, tries=1)
    assert work.fail(claimed(task), StepName.SYNC, LOST)
    task.refresh_from_db()
    return task


def state(**values: object) -> DatabaseState:
    known = {"bookmark": 0x2_00000000, "lag_bytes": 0, "lag_seconds": 0.0, "in_sync": True}
    return DatabaseState(source_name="shop", target_name="shop", **(known | values))  # type: ignore[arg-type]


def store_of(claim: work.Claim) -> OrmStore:
    store = OrmStore(claim, _Here(), {})  # type: ignore[arg-type]
    store.current = StepName.SYNC
    return store


def test_a_failing_try_makes_lag_and_rate_unknown(ready: MigrationTask) -> None:
    task = failing(ready)
    assert (task.lag_bytes, task.lag_seconds, task.rows_per_second) == (None, None, None)
    (database,) = task.databases.all()
    assert (database.in_sync, database.lag_bytes, database.lag_seconds) == (False, None, None)


def test_a_short_outage_leaves_the_task_ready(ready: MigrationTask) -> None:
    assert failing(ready).status == Status.READY


def test_a_try_whose_next_one_comes_after_half_a_minute_ends_ready(ready: MigrationTask) -> None:
    task = failing(ready, seconds=29)
    assert task.status == Status.RUNNING
    told = Event.objects.get(task=task, code="TASK-BEHIND")
    assert "interrupted since" in told.message
    assert task.error_code == "RUN-RETRY"


def test_the_dispatcher_ends_ready_while_a_try_hangs(ready: MigrationTask) -> None:
    task = failing(ready)
    work.dispatch(timezone.now() + timedelta(seconds=20))
    task.refresh_from_db()
    assert task.status == Status.READY
    work.dispatch(timezone.now() + timedelta(seconds=31))
    task.refresh_from_db()
    assert task.status == Status.RUNNING
    assert Event.objects.filter(task=task, code="TASK-BEHIND").count() == 1


def test_a_try_that_succeeds_makes_the_task_ready_again(ready: MigrationTask) -> None:
    task = failing(ready, seconds=40)
    store_of(claimed(task)).save_database(state())
    task.refresh_from_db()
    assert (task.status, task.failing_since, task.lag_seconds, task.error_code) == (Status.READY, None, 0.0, "")
    assert task.databases.get().in_sync


def test_complete_is_refused_while_a_task_is_failing_and_says_what_to_do(ready: MigrationTask, anna: User) -> None:
    task = failing(ready)
    with pytest.raises(services.Refused, match=r"interrupted since .*Try now"):
        services.complete_task(task_id=task.pk, actor=anna)
    with pytest.raises(CommandError, match="interrupted since"):
        call_command("task", "complete", task.pk.hex[:8])
    task.refresh_from_db()
    assert task.status == Status.READY


def test_the_page_of_a_failing_task_offers_no_complete_and_says_why(ready: MigrationTask, console: Client) -> None:
    task = failing(ready)
    shown = console.get(reverse("tasks:detail", args=[task.id]))
    assertNotContains(shown, f'id="complete-{task.id}"')
    assertContains(shown, "Complete is not possible now")
    assertNotContains(console.get(reverse("tasks:list")), f'id="complete-{task.id}"')
    asked = console.get(reverse("tasks:confirm", args=[task.id, "complete"]))
    assert asked.status_code == 409
    assertContains(asked, "interrupted since", status_code=409)


def test_the_page_of_a_failing_task_tells_its_lag_as_the_last_known_one(ready: MigrationTask, console: Client) -> None:
    shown = console.get(reverse("tasks:detail", args=[failing(ready).id]))
    facts = shown.text.partition('<dl class="facts">')[2].partition("</dl>")[0]
    assert "last known 0 s at" in facts
    databases = shown.text.partition('id="h-databases"')[2].partition("</section>")[0]
    assert "Trying again" in databases
    assert "In sync" not in databases
    listed = console.get(reverse("tasks:list")).text.partition(f'id="lag-{ready.id}"')[2].partition("</td>")[0]
    assert "–" in listed
    assertNotContains(shown, 'class="state ok">In sync')


def test_a_failing_task_is_not_green_in_the_list(ready: MigrationTask, console: Client) -> None:
    step = console.get(reverse("tasks:list")).text.partition(f'id="step-{ready.id}"')[2].partition("</td>")[0]
    assert '<progress class="ok"' in step
    failing(ready)
    step = console.get(reverse("tasks:list")).text.partition(f'id="step-{ready.id}"')[2].partition("</td>")[0]
    assert '<progress class="ok"' not in step


def test_the_report_of_a_failing_task_says_that_nothing_is_known(ready: MigrationTask) -> None:
    out = StringIO()
    call_command("task", "show", failing(ready).pk.hex[:8], "--json", stdout=out)
    assert json.loads(out.getvalue())["lag"] == {"bytes": None, "seconds": None}


def conflicting(task: MigrationTask) -> MigrationTask:
    return factories.conflict(task)


def broken(task: MigrationTask) -> MigrationTask:
    """Let a worker have met an error that waiting does not mend."""
    work.fail(claimed(task), StepName.SYNC, TargetError(say("No space."), code="DST-FULL"))
    task.refresh_from_db()
    return task


def paused(task: MigrationTask) -> MigrationTask:
    return services.pause_task(task_id=task.pk, actor=None)


def cancelled(task: MigrationTask) -> MigrationTask:
    services.cancel_task(task_id=task.pk, actor=None)
    work.cancelled(claimed(task), left=0)
    task.refresh_from_db()
    return task


def test_a_failed_task_is_behind_by_nobody_knows_how_much(ready: MigrationTask) -> None:
    task = broken(ready)
    assert (task.status, task.lag_bytes, task.lag_seconds) == (Status.FAILED, None, None)
    assert not task.databases.get().in_sync


def test_what_a_worker_sees_after_a_pause_is_not_told_as_present(ready: MigrationTask, anna: User) -> None:
    claim = claimed(ready)
    task = paused(ready)
    store_of(claim).save_database(state())
    task.refresh_from_db()
    assert (task.lag_bytes, task.lag_seconds, task.rows_per_second) == (None, None, None)
    (line,) = selectors.databases(task)
    assert (line.in_sync, line.lag_seconds) == (False, None)
    assert not services.resume_task(task_id=task.pk, actor=anna).databases.get().in_sync


def test_a_pause_ends_what_was_said_of_the_next_try(ready: MigrationTask) -> None:
    task = paused(failing(ready))
    assert (task.error_message, task.failing_since, task.not_before) == ("", None, None)


@pytest.mark.parametrize("stop", [conflicting, broken, paused, cancelled])
def test_nothing_of_a_task_that_stands_is_green_or_moving(
    stop: Callable[[MigrationTask], MigrationTask], ready: MigrationTask, console: Client
) -> None:
    shown = console.get(reverse("tasks:detail", args=[stop(ready).id])).text
    assert 'class="state ok"' not in shown
    assert "rows/s" not in shown.partition('id="charts"')[0]
    assert '<li class="running"' not in shown
    assert "In sync" not in shown.partition('id="rest"')[2].partition('id="h-events"')[0]
    facts = shown.partition('<dl class="facts">')[2].partition("</dl>")[0]
    assert "0 s<" not in facts.replace("last known 0 s", "")


@pytest.mark.parametrize(("stop", "known"), [(conflicting, True), (paused, True), (cancelled, False)])
def test_the_last_known_lag_is_told_while_the_sync_can_go_on(
    stop: Callable[[MigrationTask], MigrationTask], known: bool, ready: MigrationTask, console: Client
) -> None:
    assert ("last known 0 s at" in console.get(reverse("tasks:detail", args=[stop(ready).id])).text) == known


def test_the_step_of_a_paused_task_is_paused(ready: MigrationTask, console: Client) -> None:
    task = paused(ready)
    assert [line.state for line in selectors.steps(task)][3] == "paused"
    assertContains(console.get(reverse("tasks:detail", args=[task.id])), '<li class="paused" aria-current="step">')


def test_the_step_of_a_task_that_is_being_cancelled_is_stopped(ready: MigrationTask) -> None:
    services.cancel_task(task_id=ready.pk, actor=None)
    ready.refresh_from_db()
    assert [line.state for line in selectors.steps(ready)][3] == "stopped"


def compared(task: MigrationTask, applied_then: int | None, applied_now: int, **fields: Any) -> str:
    """Let a comparison have been taken when so many changes were applied; return its part of the page."""
    factories.comparison(task, rows_applied=applied_then, lsn=0x2_00000000, **fields)
    task.databases.update(rows_applied=applied_now)
    return comparison_part(task)


def comparison_part(task: MigrationTask) -> str:
    client = Client()
    client.force_login(factories.user())
    shown = client.get(reverse("tasks:detail", args=[task.id])).text
    return shown.partition('id="h-comparison"')[2].partition("</section>")[0]


def test_a_comparison_that_saw_the_last_change_is_equal_in_green(ready: MigrationTask) -> None:
    shown = compared(ready, 1200, 1200)
    assert '<span class="state ok">Equal' in shown
    assert "CMP-STALE" not in shown


def test_a_comparison_before_the_last_change_says_so(ready: MigrationTask) -> None:
    shown = compared(ready, 1200, 2404)
    assert '<span class="state">Equal' in shown
    assert "Older than the last change: 1,204 changes have been applied since" in shown
    assert "Compare now does it without closing" in shown
    assert "2/0" in shown


def test_of_a_comparison_that_counted_nothing_nothing_is_said(ready: MigrationTask) -> None:
    assert "CMP-STALE" not in compared(ready, None, 2404)


def test_the_report_says_how_many_changes_a_comparison_has_not_seen(ready: MigrationTask) -> None:
    compared(ready, 1, 3)
    out = StringIO()
    call_command("task", "show", ready.pk.hex[:8], "--json", stdout=out)
    assert json.loads(out.getvalue())["comparisons"][0]["applied_since"] == 2
    assert selectors.task_report(ready)["comparisons"][0]["applied_since"] == 2
