"""A task of a terminal that is taken up on a page: the workers do what was pressed, since nobody else would."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.core.management import call_command
from django.test import Client
from django.urls import reverse
from django_q.models import OrmQ
from pytest_django.asserts import assertContains, assertNotContains

from migrations_app import clock, services
from migrations_app.models import MigrationTask, User
from migrations_app.runner.lease import Lease
from migrations_app.services import work
from tests import factories

pytestmark = pytest.mark.django_db
PRESSES: dict[str, tuple[Callable[[], MigrationTask], Callable[..., Any]]] = {
    "check": (lambda: factories.checked_task(foreground=True), services.request_check),
    "start": (lambda: factories.checked_task(foreground=True), services.start_task),
    "resume": (lambda: factories.running_task("sync", status="paused", foreground=True), services.resume_task),
    "retry": (lambda: factories.running_task("sync", status="failed", foreground=True), services.retry_task),
    "retry the copy": (lambda: factories.running_task(status="failed", foreground=True), services.retry_task),
}


@pytest.fixture
def anna(db: None) -> User:
    return factories.user("anna")


def _claimable(task: MigrationTask) -> bool:
    key = str(task.pk)
    return any(
        (work.claim_migration("w:1:migrate"), work.claim_sync(key, "w:1:sync"), work.claim_check(key, "w:1:console"))
    )


@pytest.mark.parametrize("press", PRESSES)
def test_what_is_pressed_on_a_page_is_done_by_workers(press: str, anna: User) -> None:
    make, do = PRESSES[press]
    task = make()
    do(task_id=task.pk, actor=anna)
    assert OrmQ.objects.count() == 1, "somebody is woken"
    task.refresh_from_db()
    assert not task.foreground
    assert _claimable(task)


@pytest.mark.parametrize("press", PRESSES)
def test_what_the_command_line_does_stays_in_the_terminal(press: str) -> None:
    make, do = PRESSES[press]
    task = make()
    do(task_id=task.pk, actor=None)
    assert OrmQ.objects.count() == 0
    task.refresh_from_db()
    assert task.foreground


def _driven(step: str, status: str, **fields: Any) -> MigrationTask:
    """A task of a terminal that was killed: its lease has run out."""
    over = clock.now() - timedelta(seconds=1)
    return factories.running_task(step, status=status, foreground=True, lease_until=over, worker="x:1:y", **fields)


LEFT = [("schema", "queued"), ("copy", "running"), ("sync", "running"), ("sync", "ready"), ("sync", "completing")]
LEFT += [(step, "completing") for step in ("compare", "complete", "cleanup")]


@pytest.mark.parametrize(("step", "status"), LEFT)
def test_what_a_terminal_has_left_is_handed_over_on_its_page(step: str, status: str, client: Client) -> None:
    client.force_login(factories.user("anna"))
    task = _driven(step, status)
    page = client.get(reverse("tasks:detail", args=[task.pk]))
    assertContains(page, "Nobody works on this task")
    assertContains(page, f"task run --resume {task.pk}")
    assertContains(client.get(reverse("tasks:confirm", args=[task.pk, "hand_over"])), "Let workers go on")
    assert not _claimable(task), "workers leave alone what a terminal drives"
    assert client.post(reverse("tasks:action", args=[task.pk, "hand_over"])).status_code == 302
    assert OrmQ.objects.count() == 1, "somebody is woken"
    task.refresh_from_db()
    assert (task.status, task.foreground) == (status, False)
    assert task.events.get(code="TASK-HANDEDOVER").actor == "anna"
    assertNotContains(client.get(reverse("tasks:detail", args=[task.pk])), "Nobody works on this task")
    assert _claimable(task)


def test_back_to_sync_of_a_task_whose_terminal_was_killed_is_done_by_whoever_gets_it() -> None:
    task = _driven("compare", "completing")
    services.keep_syncing(task_id=task.pk, actor=None)
    services.hand_over_task(task_id=task.pk, actor=None)
    claim = work.claim_sync(str(task.pk), "w:1:sync")
    assert claim is not None
    lease = Lease(claim)
    lease._look()
    assert lease.back_requested()


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"foreground": False}, "No terminal drives this task"),
        ({"foreground": True, "lease": 20}, "is at work on it"),
        ({"foreground": True, "not_before": 20, "lease": -1}, "is at work on it"),
    ],
    ids=["of the workers", "at work", "between two tries"],
)
def test_what_somebody_is_at_is_not_handed_over(fields: dict[str, Any], why: str, client: Client) -> None:
    client.force_login(factories.user("anna"))
    later = {name: clock.now() + timedelta(seconds=fields[name]) for name in ("lease", "not_before") if name in fields}
    task = factories.running_task("sync", status="ready", foreground=fields["foreground"])
    MigrationTask.objects.filter(pk=task.pk).update(
        lease_until=later.get("lease"), not_before=later.get("not_before"), worker="x:1:y"
    )
    page = client.get(reverse("tasks:detail", args=[task.pk]))
    assertNotContains(page, "Nobody works on this task")
    assertNotContains(page, reverse("tasks:confirm", args=[task.pk, "hand_over"]))
    with pytest.raises(services.Refused, match=why):
        services.hand_over_task(task_id=task.pk, actor=None)


@pytest.mark.parametrize(("words", "step", "status"), [("complete", "sync", "ready"), ("start", "", "check_passed")])
def test_the_command_line_says_how_a_task_of_a_terminal_goes_on(
    words: str, step: str, status: str, capsys: pytest.CaptureFixture[str]
) -> None:
    made = factories.checked_task(foreground=True) if words == "start" else _driven(step, status)
    call_command("task", words, str(made.pk))
    assert f"Go on with: manage.py task run --resume {made.pk}" in capsys.readouterr().err


def test_a_run_that_has_failed_at_cleaning_up_begins_again_with_all_its_tries() -> None:
    task = factories.task(status="cancelled", tries=2)
    services.start_again(task_id=task.pk, actor=None, clear_target=False)
    task.refresh_from_db()
    assert task.tries == 0
