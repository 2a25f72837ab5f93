"""The check page and the pages around it: groups, acknowledgements, reports, Prepare the source."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone
from pytest_django.asserts import assertContains, assertNotContains, assertRedirects

from migrations_app import services
from migrations_app.draft_facts import draft_hash
from migrations_app.engine.errors import ConnectFailed
from migrations_app.models import Event, MigrationTask
from migrations_app.runner import asking
from migrations_app.services import work
from tests import factories
from tests.integration.check_kit import KEYS, result, url, warned

pytestmark = pytest.mark.django_db
HTMX = {"HTTP_HX_REQUEST": "true"}


@pytest.fixture
def anna(client: Client) -> Client:
    client.force_login(factories.user("anna"))
    return client


def test_next_runs_the_check_and_leads_to_it(anna: Client) -> None:
    task = factories.task()
    assertRedirects(anna.post(url("check-run", task)), url("check", task))
    task.refresh_from_db()
    assert task.status == "checking"
    assertContains(anna.get(url("check", task)), 'hx-trigger="every 1s"')


def test_one_item_can_be_checked_alone(anna: Client) -> None:
    task = factories.checked_task()
    factories.check_item(task, "slots", "failed")
    anna.post(url("check-run", task), {"code": "slots"})
    assert set(task.check_items.filter(status="waiting").values_list("code", flat=True)) == {"slots"}


def test_what_fails_of_the_sync_alone_can_be_left_out_with_it(anna: Client) -> None:
    task = factories.task(status="check_failed", checked_at=timezone.now())
    factories.check_item(task, "logical-decoding", "failed", group="Incremental sync")
    assertContains(anna.get(url("check", task)), "Continue without incremental sync")
    assertRedirects(anna.post(url("check-without-sync", task)), url("check", task))
    task.refresh_from_db()
    assert (task.incremental, task.status) == (False, "checking")
    assert list(Event.objects.filter(task=task, code="TASK-FULL-ONLY").values_list("actor", flat=True)) == ["anna"]
    assertNotContains(anna.get(url("check", task)), "Continue without incremental sync")


def test_the_sync_stays_on_where_the_check_without_it_is_refused(anna: Client) -> None:
    task = factories.task(status="check_failed", incremental=True, selection={"rules": [], "targets": {}})
    anna.post(url("check-without-sync", task))
    task.refresh_from_db()
    assert (task.incremental, task.status) == (True, "check_failed")
    assert not Event.objects.filter(task=task).exists()


@pytest.mark.parametrize("incremental", [True, False])
def test_nothing_is_to_be_left_out_where_the_sync_is_no_obstacle(incremental: bool, anna: Client) -> None:
    task = factories.task(status="check_failed", checked_at=timezone.now(), incremental=incremental)
    factories.check_item(task, "wal-level", "warning" if incremental else "failed", group="Incremental sync")
    factories.check_item(task, "b", "failed", group="Privileges")
    assertNotContains(anna.get(url("check", task)), "Continue without incremental sync")


def test_an_item_that_does_not_exist_is_refused(anna: Client) -> None:
    task = factories.checked_task()
    assert anna.post(url("check-run", task), {"code": "nothing"}, **HTMX).status_code == 409


def test_failed_groups_come_first_and_passed_ones_are_folded(anna: Client) -> None:
    task = factories.task(status="check_failed", checked_at=timezone.now())
    factories.check_item(task, "a", group="Connectivity")
    factories.check_item(task, "b", "failed", group="Privileges", hint="Grant it.", sql="GRANT x TO y;")
    page = anna.get(url("check", task)).text
    assert page.index("Privileges") < page.index("Connectivity")
    assert page.count('<details class="group"') == 2
    assert page.count(" open>") == 1
    for words in ("1 Failed", "1 Passed", "Grant it.", "GRANT x TO y;", "Copy SQL"):
        assert words in page


@pytest.mark.parametrize("status", ["draft", "check_failed", "checking"])
def test_start_is_disabled_with_the_reason_until_the_check_allows_it(status: str, anna: Client) -> None:
    task = factories.checked_task(status=status)
    page = anna.get(url("check", task))
    assertContains(page, 'id="start" disabled aria-describedby="why-start"')


def test_start_is_offered_when_nothing_is_failed(anna: Client) -> None:
    task = factories.checked_task()
    factories.check_item(task, "keys", "warning")
    page = anna.get(url("check", task))
    assertContains(page, url("confirm", task, "start"))
    assertNotContains(page, 'id="start" disabled')


def test_the_check_poll_is_empty_while_nothing_changes(anna: Client) -> None:
    task = factories.task(status="checking")
    item = factories.check_item(task, status="waiting")
    first = anna.get(url("check-items", task))
    seen = first.text.split("?seen=")[1].split('"')[0]
    assert anna.get(url("check-items", task), {"seen": seen}).status_code == 204
    task.check_items.filter(pk=item.pk).update(status="passed")
    assert anna.get(url("check-items", task), {"seen": seen}).status_code == 200


def test_what_is_per_database_stands_under_one_item(anna: Client) -> None:
    task, _ = warned()
    factories.check_item(task, "table-keys", title="Tables have keys", database="crm", found="Every table has a key.")
    page = anna.get(url("check", task)).text
    assert page.count(">Tables have keys</span>") == 1
    assert "Other databases:" in page


def test_problems_of_many_databases_are_folded_after_the_third(anna: Client) -> None:
    task, _ = warned()
    for number in range(5):
        factories.check_item(task, **(KEYS | {"database": f"shop{number}"}))
    page = anna.get(url("check", task)).text
    assert "3 more databases" in page
    assert page.index("shop1") < page.index("3 more databases") < page.index("shop3")


def test_problems_only_leaves_out_what_passed_and_keeps_to_it_while_polling(anna: Client) -> None:
    task, _ = warned()
    page = anna.get(url("check", task), {"show": "problems"})
    assertContains(page, "1 table without a key")
    assertNotContains(page, "wal_level is logical")
    MigrationTask.objects.filter(pk=task.pk).update(status="checking")
    assertContains(anna.get(url("check", task), {"show": "problems"}), "&amp;show=problems")


def test_a_group_can_be_checked_alone_and_only_while_the_rest_still_holds(anna: Client) -> None:
    task, _ = warned(group="Other")
    anna.post(url("check-run", task), {"group": "Other"})
    assert set(task.check_items.filter(status="waiting").values_list("code", flat=True)) == {"table-keys"}
    work.finish_check(str(task.pk), hash_checked=draft_hash(task))
    MigrationTask.objects.filter(pk=task.pk).update(checked_hash="of another draft")
    anna.post(url("check-run", task), {"group": "Other"})
    assert not task.check_items.exclude(status="waiting").exists()


def test_a_group_that_does_not_exist_is_refused(anna: Client) -> None:
    task = factories.checked_task()
    assert anna.post(url("check-run", task), {"group": "nothing"}, **HTMX).status_code == 409


def test_checking_one_item_makes_the_others_no_younger() -> None:
    task, item = warned()
    before = timezone.now() - timedelta(hours=3)
    MigrationTask.objects.filter(pk=task.pk).update(checked_at=before)
    services.request_check(task_id=task.pk, actor=None, code=item.code)
    task.check_items.update(status="passed")
    work.finish_check(str(task.pk), hash_checked=draft_hash(task), partial=True)
    task.refresh_from_db()
    assert task.checked_at == before


def test_an_acknowledgement_keeps_name_and_reason_and_is_an_event(anna: Client) -> None:
    task, item = warned()
    answer = anna.post(url("check-acknowledge", task, item.pk), {"reason": " nobody   updates it "}, follow=True)
    assertContains(answer, "nobody updates it")
    assertContains(answer, "Acknowledged by")
    item.refresh_from_db()
    assert (item.acknowledged_by, item.acknowledged_reason) == ("anna", "nobody updates it")
    assert Event.objects.get(task=task, code="CHECK-ACKNOWLEDGED").actor == "anna"
    anna.post(url("check-withdraw", task, item.pk))
    item.refresh_from_db()
    assert item.acknowledged_at is None


@pytest.mark.parametrize(
    ("reason", "status"), [("", "warning"), ("   ", "warning"), ("x" * 501, "warning"), ("ok", "failed")]
)
def test_an_acknowledgement_without_a_reason_or_a_warning_is_refused(reason: str, status: str, anna: Client) -> None:
    task, item = warned(status=status)
    assert anna.post(url("check-acknowledge", task, item.pk), {"reason": reason}, **HTMX).status_code == 409
    item.refresh_from_db()
    assert item.acknowledged_at is None


def test_a_warning_of_many_databases_is_acknowledged_at_once_where_asked_for(anna: Client) -> None:
    task, item = warned()
    other = factories.check_item(task, **(KEYS | {"database": "crm"}))
    assertContains(anna.get(url("check", task)), "In all 2 databases with this warning", count=2)
    anna.post(url("check-acknowledge", task, item.pk), {"reason": "known", "everywhere": "1"})
    other.refresh_from_db()
    assert other.acknowledged_reason == "known"
    assert set(Event.objects.get(task=task, code="CHECK-ACKNOWLEDGED").detail["found"]) == {"shop", "crm"}


def test_items_of_other_tasks_can_be_neither_acknowledged_nor_fixed(anna: Client) -> None:
    _, item = warned()
    other = factories.checked_task()
    assert anna.post(url("check-acknowledge", other, item.pk), {"reason": "x"}, **HTMX).status_code == 409
    assert anna.post(url("check-withdraw", other, item.pk), **HTMX).status_code == 409
    assert anna.get(url("check-fix", other, item.pk)).status_code == 409
    assert anna.post(url("check-fix", other, item.pk), {"mark": "x"}, **HTMX).status_code == 409


def test_the_same_finding_keeps_its_acknowledgement_and_another_voids_it() -> None:
    task, item = warned()
    services.acknowledge(task_id=task.pk, item_id=item.pk, actor=None, reason="known")
    work.store_results(task, [(0, result())])
    item.refresh_from_db()
    assert item.acknowledged_reason == "known"
    work.store_results(task, [(0, result(found="2 tables without a key: app.log, app.more."))])
    item.refresh_from_db()
    assert (item.acknowledged_reason, item.acknowledged_at) == ("", None)


def test_the_start_tells_how_many_warnings_nobody_acknowledged_and_does_not_need_it(anna: Client) -> None:
    task, item = warned()
    assertContains(anna.get(url("check", task)), "1 warning is not acknowledged.")
    assertContains(anna.get(url("confirm", task, "start")), "1 warning of the check is not acknowledged.")
    services.acknowledge(task_id=task.pk, item_id=item.pk, actor=None, reason="known")
    assertNotContains(anna.get(url("confirm", task, "start")), "not acknowledged")
    assert services.start_task(task_id=task.pk, actor=None).status == "queued"


def test_a_started_task_offers_no_buttons_on_its_check(anna: Client) -> None:
    task, item = warned()
    MigrationTask.objects.filter(pk=task.pk).update(status="running")
    page = anna.get(url("check", task))
    for words in (f'id="fix-{item.pk}"', "Check this", "Check again", '<summary class="btn'):
        assertNotContains(page, words)


def test_a_viewer_sees_the_check_without_buttons(client: Client) -> None:
    client.force_login(factories.user("viola", role="viewer"))
    task, item = warned()
    page = client.get(url("check", task))
    assertContains(page, "1 table without a key")
    assertNotContains(page, f'id="fix-{item.pk}"')
    assertNotContains(page, "Check this")
    assert client.get(url("check-fix", task, item.pk)).status_code == 403


def test_the_report_comes_in_three_forms_and_holds_no_secret(anna: Client) -> None:
    task, item = warned(found=f"{factories.HOSTILE} has no key", sql="ALTER TABLE x;")
    services.acknowledge(task_id=task.pk, item_id=item.pk, actor=None, reason="known")
    for form, words in (("html", "ALTER TABLE x;"), ("json", "ALTER TABLE x;"), ("txt", "SQL:   ALTER TABLE x;")):
        answer = anna.get(url("check-report", task, form))
        assert f'attachment; filename="check-shop-to-18.{form}"' == answer["Content-Disposition"]
        assert words in answer.text
        assert "known" in answer.text
        assert factories.CANARY not in answer.text
        if form != "json":
            assert "\u202e" not in answer.text
        if form == "html":
            assert "<script" not in answer.text
    facts = json.loads(anna.get(url("check-report", task, "json")).text)
    assert facts["counts"] == {"failed": 0, "warning": 1, "acknowledged": 1, "passed": 1, "waiting": 0}
    assert facts["holds"] is True
    assert anna.get(url("check-report", task, "exe")).status_code == 404


def test_a_task_that_was_never_checked_has_an_empty_report(anna: Client) -> None:
    task = factories.task()
    assertContains(anna.get(url("check-report", task, "txt")), "Checked never")


def test_prepare_the_source_asks_a_worker_once_and_shows_its_answer(
    anna: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = factories.task(source=factories.endpoint(host="192.0.2.1", port=1, password=factories.CANARY))
    factories.inventory(task)
    assertContains(anna.get(url("prepare", task)), "Look at the source")
    for _ in range(2):
        assertRedirects(anna.post(url("prepare-look", task)), url("prepare", task))
    test = task.tests.get(kind="prepare")
    page = anna.get(url("prepare", task))
    assertContains(page, "A worker looks at the source")
    seen = page.text.split("?seen=")[1].split('"')[0]
    assert seen == ""
    monkeypatch.setattr("migrations_app.engine.source_facts._session", _away)
    asking.run_connection_test(str(test.pk))
    answer = anna.get(url("prepare-result", task))
    for words in ("is away", "wal_level = logical", "CREATE ROLE &quot;mover&quot; LOGIN REPLICATION", "hostssl"):
        assertContains(answer, words)
    assertNotContains(answer, factories.CANARY)
    assertNotContains(answer, "data-poll")
    assertNotContains(answer, "settings changed since")
    MigrationTask.objects.filter(pk=task.pk).update(incremental=False)
    assertContains(anna.get(url("prepare", task)), "settings changed since")


def _away(*_: object, **__: object) -> Any:
    raise ConnectFailed("The source is away.", hint="Bring it back.")
