"""Who goes to a later step, by its address or a form, is refused: nothing begins that the step before did not allow."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone
from pytest_django.asserts import assertContains, assertNotContains

from migrations_app import services
from migrations_app.models import Event, MigrationTask
from tests import factories
from tests.integration.check_kit import url

pytestmark = pytest.mark.django_db
LATER = ("start", "start_now", "pause", "resume", "complete", "retry", "start_again", "new_copy", "compare")


@pytest.fixture
def anna(client: Client) -> Client:
    client.force_login(factories.user("anna"))
    return client


@pytest.mark.parametrize("action", LATER)
def test_what_comes_after_the_check_is_refused_for_a_draft(action: str, anna: Client) -> None:
    task = factories.task()
    answer = anna.post(url("action", task, action), follow=True)
    assertContains(answer, "is not possible: the task" if action != "new_copy" else "It has not been started yet")
    task.refresh_from_db()
    assert (task.status, Event.objects.filter(task=task).count()) == ("draft", 0)


@pytest.mark.parametrize("action", ["start", "complete"])
def test_the_question_before_it_is_refused_as_well(action: str, anna: Client) -> None:
    answer = anna.get(url("confirm", factories.task(), action))
    assertContains(
        answer, {"start": "Run the check first.", "complete": "It has not been started yet."}[action], status_code=409
    )


def test_a_check_without_a_target_is_refused(anna: Client) -> None:
    task = factories.task()
    MigrationTask.objects.filter(pk=task.pk).update(target=None)
    anna.post(url("check-run", task))
    task.refresh_from_db()
    assert task.status == "draft"


def test_a_start_that_relies_on_an_older_draft_is_refused(anna: Client) -> None:
    task = factories.checked_task()
    MigrationTask.objects.filter(pk=task.pk).update(selection={"rules": [[["shop"], True]], "targets": {}})
    answer = anna.post(url("action", task, "start"), follow=True)
    assertContains(answer, "settings changed after the check")
    task.refresh_from_db()
    assert task.status != "queued"


def test_a_check_that_has_expired_allows_no_start_and_says_so(anna: Client, settings: Any) -> None:
    task = factories.checked_task()
    old = timezone.now() - timedelta(hours=settings.CHECK_VALID_HOURS, minutes=1)
    MigrationTask.objects.filter(pk=task.pk).update(checked_at=old)
    page = anna.get(url("check", task))
    assertContains(page, 'id="start" disabled')
    assertContains(page, "The check is too old; run it again.")
    assertContains(anna.post(url("action", task, "start"), follow=True), "The check is older than")


WIZARD = ("settings", "objects", "mapping", "closure")


@pytest.mark.parametrize("page", WIZARD)
@pytest.mark.parametrize("status", ["queued", "running", "ready", "completed", "cancelled", "failed"])
def test_a_step_of_the_wizard_that_can_no_longer_be_edited_is_not_shown_as_if_it_could(
    page: str, status: str, anna: Client
) -> None:
    task = factories.running_task("sync", status=status)
    answer = anna.get(url(page, task), follow=True)
    assert answer.redirect_chain == [(url("detail", task), 302)]
    assertContains(answer, "Only a task that has not been started can be edited. Clone it, and edit the clone.")


@pytest.mark.parametrize("page", WIZARD)
def test_while_the_check_runs_the_other_steps_lead_to_it(page: str, anna: Client) -> None:
    task = factories.task(status="checking")
    assert anna.get(url(page, task)).headers["Location"] == url("check", task)


def test_the_check_of_a_started_task_offers_no_way_back_into_the_wizard(anna: Client) -> None:
    checked, started = factories.checked_task(), factories.running_task("sync", status="ready")
    assertContains(anna.get(url("check", checked)), url("objects", checked))
    for page in ("settings", "objects"):
        assertNotContains(anna.get(url("check", started)), url(page, started))


@pytest.mark.parametrize("status", ["running", "ready"])
def test_a_start_of_what_runs_already_is_told_so(status: str) -> None:
    task = factories.task(status=status)
    with pytest.raises(services.Refused, match="It was started already, and is at work"):
        services.start_task(task_id=task.pk, actor=None)


def test_a_second_complete_is_told_that_it_was_pressed_already() -> None:
    task = factories.task(status="completing")
    with pytest.raises(services.Refused, match=r"“completing”\. Complete was pressed already"):
        services.complete_task(task_id=task.pk, actor=None)
