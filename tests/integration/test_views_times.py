"""Pages and reports print UTC and say so, whatever the time zone of the console."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from pytest_django.asserts import assertContains, assertNotContains

from console.templatetags.console_extras import clock
from migrations_app import selectors, services
from migrations_app.models import MigrationTask, ResourceListing, Sample
from tests import factories

pytestmark = pytest.mark.django_db
AT = datetime(2099, 3, 1, 22, 30, tzinfo=UTC)  # the next day in Shanghai


@pytest.fixture(autouse=True)
def _shanghai() -> Iterator[None]:
    with timezone.override("Asia/Shanghai"):
        yield


@pytest.fixture
def anna(client: Client) -> Client:
    client.force_login(factories.user("anna", role="admin"))
    return client


def _url(name: str, task: MigrationTask) -> str:
    return reverse(f"tasks:{name}", args=[task.id])


def test_the_check_page_says_in_which_zone_its_time_is(anna: Client) -> None:
    page = anna.get(_url("check", factories.checked_task(scheduled_at=AT)))
    assertContains(page, '<time datetime="2099-03-01T22:30:00Z" tabindex="0">1 Mar 2099</time> UTC.')
    assertNotContains(page, "Asia/Shanghai")


def test_the_audit_page_tells_times_and_days_apart(anna: Client) -> None:
    page = anna.get(reverse("audit:list"))
    assertContains(page, "Times in UTC; the days of the filter begin at midnight in Asia/Shanghai.")


def test_both_reports_write_times_in_utc(anna: Client) -> None:
    task = factories.checked_task(checked_at=AT)
    check = anna.get(reverse("tasks:check-report", args=[task.id, "json"]))
    assert _json(check)["checked_at"] == "2099-03-01T22:30:00+00:00"
    MigrationTask.objects.filter(pk=task.pk).update(created_at=AT)
    text = anna.get(_url("report-json", task)).content.decode()
    assert "2099-03-01T22:30:00" in text
    assert "+08:00" not in text + check.content.decode()


def _json(answer: Any) -> dict[str, Any]:
    found: dict[str, Any] = answer.json()
    return found


def test_every_time_of_a_chart_and_a_list_of_resources_tells_the_local_one_on_hover(anna: Client) -> None:
    task = factories.running_task("sync", status="ready")
    for minutes in (9, 1):
        Sample.objects.create(task=task, at=timezone.now() - timedelta(minutes=minutes), lag_seconds=2.0)
    axis = anna.get(_url("detail", task)).text.partition('class="axis"')[2].partition("</div>")[0]
    assert axis.count("<time datetime=") == 2
    ResourceListing.objects.create(provider="tencent", kind="region", region="", refreshed_at=AT)
    fields = anna.get(reverse("endpoints:fields", args=["source"]), {"source-kind": "cvm"})
    assertContains(fields, 'Lists as of <time datetime="2099-03-01T22:30:00Z"')


def test_an_event_tells_a_time_in_utc() -> None:
    task = factories.checked_task(scheduled_at=AT)
    services.start_task(task_id=task.id, actor=None)
    assert task.events.get(code="TASK-SCHEDULED").message == "Scheduled for 2099-03-01 22:30 UTC."


def _shown(client: Client, task: MigrationTask) -> str:
    """Return what stands below the name of a task in the list, without its markup."""
    part = client.get(reverse("tasks:list")).text.partition(f'id="since-{task.id}"')[2].partition("</span>")[0]
    return re.sub("<[^>]*>", "", part.partition(">")[2])


NOW = timezone.now()


def _ago(hours: int) -> datetime:
    return NOW - timedelta(hours=hours)


@pytest.mark.parametrize(
    ("status", "column"), [("check_passed", "checked_at"), ("check_failed", "checked_at"), ("queued", "queued_at")]
)
def test_a_status_before_the_start_is_as_old_as_what_led_to_it(status: str, column: str, anna: Client) -> None:
    task = factories.task(status=status, created_at=_ago(5), **{column: _ago(2)})
    assert _shown(anna, task) == f"since {clock(_ago(2))}"


@pytest.mark.parametrize("status", ["paused", "failed", "ready", "completing", "cancelling", "running", "queued"])
def test_a_status_is_as_old_as_the_move_into_it(status: str, anna: Client) -> None:
    task = factories.running_task("sync", status=status, started_at=_ago(5), queued_at=_ago(6))
    factories.event(task, "Moved.", from_status="x", to_status=status, at=_ago(3))
    factories.event(task, "Moved elsewhere.", from_status=status, to_status="x", at=_ago(2))
    factories.event(task, "A note.", at=_ago(1))
    assert _shown(anna, task) == f"since {clock(_ago(3))}"
    assert selectors.task_row(MigrationTask.objects.get(pk=task.pk)).since == _ago(3)


@pytest.mark.parametrize(("status", "words"), [("draft", "created"), ("completed", "ended"), ("cancelled", "ended")])
def test_a_draft_tells_its_making_and_a_task_that_has_ended_its_end(status: str, words: str, anna: Client) -> None:
    task = factories.task(status=status, created_at=_ago(4), finished_at=_ago(2))
    assert _shown(anna, task) == f"{words} {clock(_ago(4 if status == 'draft' else 2))}"
