"""A task with a set time: what pages say of it, another time, and taking the start back."""

from __future__ import annotations

import re
from datetime import datetime, timedelta

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from pytest_django.asserts import assertContains, assertNotContains

from migrations_app import services
from migrations_app.engine.states import Status
from migrations_app.models import AuditEntry, Event, MigrationTask, Step, TaskDatabase
from tests import factories

pytestmark = pytest.mark.django_db
HTMX = {"HTTP_HX_REQUEST": "true"}


@pytest.fixture
def anna(client: Client) -> Client:
    client.force_login(factories.user("anna"))
    return client


def _at() -> datetime:
    """A time tomorrow, in whole minutes as forms send them."""
    return (timezone.now() + timedelta(days=1)).replace(second=0, microsecond=0)


def _scheduled() -> MigrationTask:
    return services.start_task(task_id=factories.checked_task(scheduled_at=_at()).pk, actor=None)


def _act(client: Client, task: MigrationTask, action: str, **data: str) -> int:
    return client.post(reverse("tasks:action", args=[task.pk, action]), data).status_code


def _as_typed(moment: datetime) -> str:
    return timezone.localtime(moment).strftime("%Y-%m-%dT%H:%M")


def test_another_time_is_set_and_written_down(anna: Client) -> None:
    task, later = _scheduled(), _at() + timedelta(hours=5)
    assert _act(anna, task, "reschedule", scheduled_at=_as_typed(later)) == 302
    before = task.version
    task.refresh_from_db()
    assert (task.status, task.scheduled_at) == ("scheduled", later)
    assert task.version > before
    event = Event.objects.get(task=task, code="TASK-RESCHEDULED")
    assert (event.actor, " instead of " in event.message) == ("anna", True)
    entry = AuditEntry.objects.latest("id")
    assert (entry.actor, entry.action, entry.message) == ("anna", "tasks:action-reschedule", event.message)


@pytest.mark.parametrize("typed", ["", "soon", "2001-01-01T10:00", "9999-12-31T23:59"])
def test_a_time_at_which_nothing_can_start_is_refused_at_its_field(anna: Client, typed: str) -> None:
    task = _scheduled()
    url = reverse("tasks:action", args=[task.pk, "reschedule"])
    answer = anna.post(url, {"scheduled_at": typed}, **HTMX)
    assertContains(answer, "is-invalid", status_code=422)
    assertContains(anna.post(url, {"scheduled_at": typed}), "is-invalid", status_code=422)
    assert MigrationTask.objects.get(pk=task.pk).scheduled_at == task.scheduled_at


def test_the_dialog_shows_the_time_that_is_set(anna: Client) -> None:
    task = _scheduled()
    dialog = anna.get(reverse("tasks:confirm", args=[task.pk, "reschedule"]), **HTMX)
    assert task.scheduled_at is not None
    assertContains(dialog, f'value="{_as_typed(task.scheduled_at)}"')
    assertContains(dialog, "Times are in")


def test_a_time_that_passed_meanwhile_is_refused_by_the_service() -> None:
    task = _scheduled()
    with pytest.raises(services.Refused, match="has passed"):
        services.reschedule_task(task_id=task.pk, actor=None, scheduled_at=timezone.now())


def test_a_start_that_is_taken_back_leaves_a_checked_task_without_a_time(anna: Client) -> None:
    task = _scheduled()
    assert Step.objects.filter(task=task).exists()
    assert _act(anna, task, "unschedule") == 302
    task.refresh_from_db()
    assert (task.status, task.scheduled_at) == ("check_passed", None)
    assert not Step.objects.filter(task=task).exists()
    assert not TaskDatabase.objects.filter(task=task).exists()
    assert Event.objects.get(task=task, code="TASK-UNSCHEDULED").actor == "anna"
    assert AuditEntry.objects.latest("id").action == "tasks:action-unschedule"
    services.start_task(task_id=task.pk, actor=None)
    task.refresh_from_db()
    assert task.status == "queued"


@pytest.mark.parametrize("status", [status for status in Status if status != Status.SCHEDULED])
@pytest.mark.parametrize("action", ["reschedule", "unschedule"])
def test_in_every_other_status_both_are_refused(anna: Client, status: Status, action: str) -> None:
    task = factories.running_task(status=status)
    answer = anna.post(reverse("tasks:action", args=[task.pk, action]), {"scheduled_at": _as_typed(_at())}, **HTMX)
    assertContains(answer, "is not possible", status_code=409)
    assert MigrationTask.objects.get(pk=task.pk).status == status


@pytest.mark.parametrize("action", ["reschedule", "unschedule"])
def test_a_viewer_can_do_neither(client: Client, action: str) -> None:
    task = _scheduled()
    client.force_login(factories.user("clara", role="viewer"))
    assert _act(client, task, action, scheduled_at=_as_typed(_at())) == 403
    assertNotContains(client.get(reverse("tasks:detail", args=[task.pk])), "Unschedule")


def test_the_page_of_a_scheduled_task_offers_both_and_the_list_neither(anna: Client) -> None:
    task = _scheduled()
    page = anna.get(reverse("tasks:detail", args=[task.pk]))
    for action in ("reschedule", "unschedule"):
        assertContains(page, f'id="{action}-{task.pk}"')
        assertNotContains(anna.get("/"), f'id="{action}-{task.pk}"')


def test_the_page_of_a_scheduled_task_says_what_it_will_copy(anna: Client) -> None:
    task = factories.task(status="scheduled", scheduled_at=_at())
    factories.inventory(task, tables=3)
    page = " ".join(re.sub(r"<[^>]*>", " ", anna.get(reverse("tasks:detail", args=[task.pk])).text).split())
    planned = anna.get(reverse("tasks:detail", args=[task.pk])).context["planned"]
    assert f"Tables 0 of {planned.chosen} Data 0 B of about" in page
    assert "of about 0 B" not in page
    assert planned.chosen >= 3


def test_what_nobody_has_counted_is_not_told_as_nothing(anna: Client) -> None:
    task = factories.task(status="scheduled", scheduled_at=_at())
    page = anna.get(reverse("tasks:detail", args=[task.pk]))
    assertNotContains(page, "of 0<")
    assertNotContains(page, "of about 0 B")


def test_a_checked_task_with_a_time_tells_it_in_the_list(anna: Client) -> None:
    factories.checked_task(scheduled_at=_at())
    assertContains(anna.get("/"), "Ready to start, not before <time")


def test_start_says_that_a_task_with_a_time_is_scheduled(anna: Client) -> None:
    task = factories.checked_task(scheduled_at=_at())
    answer = anna.post(reverse("tasks:action", args=[task.pk, "start"]), follow=True)
    assertContains(answer, "Scheduled for ")
    assertNotContains(answer, "The task runs when its turn comes.")


def test_many_ticked_tasks_are_started_or_scheduled_and_each_is_told_apart(anna: Client) -> None:
    now, later = factories.checked_task(name="now"), factories.checked_task(name="later", scheduled_at=_at())
    past = factories.checked_task(name="past", scheduled_at=timezone.now() - timedelta(hours=1))
    picked = {"pick": [str(now.pk), str(later.pk), str(past.pk)]}
    asked = anna.get(reverse("tasks:many-confirm", args=["start"]), picked, **HTMX)
    started, scheduled = asked.text.split("Will be scheduled")
    assert (">now<" in started, ">past<" in started, ">later<" in scheduled) == (True, True, True)
    assert re.search(r"for <time[^>]*>[^<]+</time> UTC", scheduled)
    done = anna.post(reverse("tasks:many", args=["start"]), picked, **HTMX)
    assertContains(done, "2 tasks started, 1 scheduled")
    alone = factories.checked_task(scheduled_at=_at())
    done = anna.post(reverse("tasks:many", args=["start"]), {"pick": str(alone.pk)}, **HTMX)
    assertContains(done, "1 task scheduled")
