"""The Fix buttons of the check page: what they say, what they run, and when they refuse."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client
from django.utils import timezone
from pytest_django.asserts import assertContains, assertNotContains, assertRedirects

from migrations_app import services
from migrations_app.engine.errors import ConnectFailed
from migrations_app.models import CheckItem, Event, MigrationTask
from migrations_app.runner import asking, preparing
from migrations_app.services import Refused
from tests import factories
from tests.integration.check_kit import url, warned

pytestmark = pytest.mark.django_db
HTMX = {"HTTP_HX_REQUEST": "true"}


@pytest.fixture
def anna(client: Client) -> Client:
    client.force_login(factories.user("anna"))
    return client


def test_a_fix_says_what_it_runs_and_how_to_take_it_back_before_anything_is_asked(anna: Client) -> None:
    task, item = warned()
    page = anna.get(url("check-fix", task, item.pk))
    assertContains(page, "ALTER TABLE &quot;app&quot;.&quot;log&quot; REPLICA IDENTITY FULL;")
    assertContains(page, "ALTER TABLE &quot;app&quot;.&quot;log&quot; REPLICA IDENTITY DEFAULT;")
    assert not task.tests.filter(kind="fix").exists()


def _ask(anna: Client, task: MigrationTask, item: CheckItem) -> Any:
    return anna.post(url("check-fix", task, item.pk), {"mark": services.fix_for(item).mark})


def test_a_fix_is_asked_of_a_worker_and_the_page_waits_for_it(anna: Client) -> None:
    task, item = warned()
    assertRedirects(_ask(anna, task, item), url("check", task))
    assert task.tests.get(kind="fix").state == "waiting"
    asked = Event.objects.get(task=task, code="FIX-ASKED")
    assert asked.actor == "anna"
    assert asked.detail["undo"] == ['ALTER TABLE "app"."log" REPLICA IDENTITY DEFAULT;']
    page = anna.get(url("check", task))
    assertContains(page, "A worker runs the fix of")
    assertContains(page, "data-poll")


def test_a_second_fix_waits_for_the_first(anna: Client) -> None:
    task, item = warned()
    _ask(anna, task, item)
    assert anna.post(url("check-fix", task, item.pk), {"mark": services.fix_for(item).mark}, **HTMX).status_code == 409
    assert task.tests.filter(kind="fix").count() == 1


def test_statements_that_changed_since_they_were_read_are_not_run(anna: Client) -> None:
    task, item = warned()
    mark = services.fix_for(item).mark
    item.fix_arguments = {"database": "shop", "tables": [["app", "another", "", "d"]]}
    item.save()
    answer = anna.post(url("check-fix", task, item.pk), {"mark": mark}, **HTMX)
    assertContains(answer, "Read it again", status_code=409)
    assert not task.tests.filter(kind="fix").exists()


@pytest.mark.parametrize("changes", [{"fix": ""}, {"fix": "of another version"}, {"status": "passed"}])
def test_nothing_is_offered_where_nothing_can_be_done(changes: dict[str, str], anna: Client) -> None:
    task, item = warned(**changes)
    assertNotContains(anna.get(url("check", task)), f'id="fix-{item.pk}"')
    assert anna.get(url("check-fix", task, item.pk)).status_code == 409
    with pytest.raises(Refused):
        services.fix_for(item)


def test_a_passed_item_offers_to_make_early_what_the_start_would_make(anna: Client) -> None:
    task, item = warned(status="passed", fix="schemas", fix_arguments={"database": "shop", "schemas": ["Sales"]})
    assertContains(anna.get(url("check", task)), f'id="fix-{item.pk}"')
    assertContains(anna.get(url("check-fix", task, item.pk)), "CREATE SCHEMA IF NOT EXISTS &quot;Sales&quot;;")


def test_a_fix_that_was_run_is_told_and_its_item_looked_at_again(anna: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    task, item = warned()
    _ask(anna, task, item)
    monkeypatch.setattr(preparing, "run_fix", lambda plan, fix: None)
    asking.run_connection_test(str(task.tests.get(kind="fix").pk))
    assert Event.objects.get(task=task, code="FIX-DONE").detail["undo"]
    task.refresh_from_db()
    assert task.status == "checking"
    assert set(task.check_items.filter(status="waiting").values_list("code", flat=True)) == {"table-keys"}
    assertContains(anna.get(url("check", task)), "the fix is done")


def test_a_fix_is_not_run_when_the_task_changed_since(anna: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(plan: object, fix: object) -> None:
        raise AssertionError("run on another server")

    task, item = warned()
    _ask(anna, task, item)
    assert task.source is not None
    task.source.host = "another.internal"
    task.source.save()
    monkeypatch.setattr(preparing, "run_fix", run)
    asking.run_connection_test(str(task.tests.get(kind="fix").pk))
    assert task.tests.get(kind="fix").code == "FIX-STALE"


def test_a_refused_fix_shows_the_servers_reason_until_the_next_check(
    anna: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(plan: object, fix: object) -> None:
        raise ConnectFailed("The source refused: must be owner of table log (42501).", hint="Ask the owner.")

    task, item = warned()
    _ask(anna, task, item)
    monkeypatch.setattr(preparing, "run_fix", refuse)
    asking.run_connection_test(str(task.tests.get(kind="fix").pk))
    page = anna.get(url("check", task))
    assertContains(page, "must be owner of table log (42501).")
    assertContains(page, "Ask the owner.")
    assert Event.objects.filter(task=task, code="FIX-FAILED").exists()
    MigrationTask.objects.filter(pk=task.pk).update(checked_at=timezone.now())
    assertNotContains(anna.get(url("check", task)), "must be owner")
