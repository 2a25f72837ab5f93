"""The check page and the pages around it: groups, fixes, acknowledgements, reports, Prepare the source."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any
from unittest import mock

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from pytest_django.asserts import assertContains, assertNotContains, assertRedirects

from migrations_app import runner, services
from migrations_app.draft_facts import draft_hash
from migrations_app.engine.checks.registry import CheckResult, CheckStatus, Group
from migrations_app.engine.errors import ConnectFailed
from migrations_app.management.cli.foreground import ForegroundRun
from migrations_app.models import CheckItem, Event, LedgerEntry, MigrationTask
from migrations_app.runner import preparing, rechecking
from migrations_app.runner.planning import build_plan
from migrations_app.services import Refused, work
from tests import factories

pytestmark = pytest.mark.django_db
HTMX = {"HTTP_HX_REQUEST": "true"}
KEYS: dict[str, Any] = {
    "code": "table-keys",
    "status": "warning",
    "title": "Tables have keys",
    "database": "shop",
    "found": "1 table without a key: app.log.",
    "hint": "A primary key avoids that.",
    "fix": "replica-identity",
    "fix_arguments": {"database": "shop", "tables": [["app", "log", "", "d"]]},
}


@pytest.fixture
def anna(client: Client) -> Client:
    client.force_login(factories.user("anna"))
    return client


def _url(name: str, task: MigrationTask, *more: Any) -> str:
    return reverse(f"tasks:{name}", args=[task.id, *more])


def _warned(**fields: Any) -> tuple[MigrationTask, CheckItem]:
    """A checked task with one warning that can be fixed."""
    task = factories.checked_task()
    return task, factories.check_item(task, **(KEYS | fields))


def _result(code: str = "table-keys", status: str = "warning", **fields: Any) -> CheckResult:
    values: dict[str, Any] = {
        "title": "Tables have keys",
        "group": Group.SYNC,
        "found": KEYS["found"],
        "database": "shop",
    }
    return CheckResult(code=code, status=CheckStatus(status), **(values | fields))


def test_next_runs_the_check_and_leads_to_it(anna: Client) -> None:
    task = factories.task()
    assertRedirects(anna.post(_url("check-run", task)), _url("check", task))
    task.refresh_from_db()
    assert task.status == "checking"
    assertContains(anna.get(_url("check", task)), 'hx-trigger="every 1s"')


def test_one_item_can_be_checked_alone(anna: Client) -> None:
    task = factories.checked_task()
    factories.check_item(task, "slots", "failed")
    anna.post(_url("check-run", task), {"code": "slots"})
    assert set(task.check_items.filter(status="waiting").values_list("code", flat=True)) == {"slots"}


def test_an_item_that_does_not_exist_is_refused(anna: Client) -> None:
    task = factories.checked_task()
    assert anna.post(_url("check-run", task), {"code": "nothing"}, **HTMX).status_code == 409


def test_failed_groups_come_first_and_passed_ones_are_folded(anna: Client) -> None:
    task = factories.task(status="check_failed", checked_at=timezone.now())
    factories.check_item(task, "a", group="Connectivity")
    factories.check_item(task, "b", "failed", group="Privileges", hint="Grant it.", sql="GRANT x TO y;")
    page = anna.get(_url("check", task)).text
    assert page.index("Privileges") < page.index("Connectivity")
    assert page.count('<details class="group"') == 2
    assert page.count(" open>") == 1
    for words in ("1 Failed", "1 Passed", "Grant it.", "GRANT x TO y;", "Copy SQL"):
        assert words in page


@pytest.mark.parametrize("status", ["draft", "check_failed", "checking"])
def test_start_is_disabled_with_the_reason_until_the_check_allows_it(status: str, anna: Client) -> None:
    task = factories.checked_task(status=status)
    page = anna.get(_url("check", task))
    assertContains(page, 'id="start" disabled aria-describedby="why-start"')


def test_start_is_offered_when_nothing_is_failed(anna: Client) -> None:
    task = factories.checked_task()
    factories.check_item(task, "keys", "warning")
    page = anna.get(_url("check", task))
    assertContains(page, _url("confirm", task, "start"))
    assertNotContains(page, 'id="start" disabled')


def test_the_check_poll_is_empty_while_nothing_changes(anna: Client) -> None:
    task = factories.task(status="checking")
    item = factories.check_item(task, status="waiting")
    first = anna.get(_url("check-items", task))
    seen = first.text.split("?seen=")[1].split('"')[0]
    assert anna.get(_url("check-items", task), {"seen": seen}).status_code == 204
    task.check_items.filter(pk=item.pk).update(status="passed")
    assert anna.get(_url("check-items", task), {"seen": seen}).status_code == 200


def test_what_is_per_database_stands_under_one_item(anna: Client) -> None:
    task, _ = _warned()
    factories.check_item(task, "table-keys", title="Tables have keys", database="crm", found="Every table has a key.")
    page = anna.get(_url("check", task)).text
    assert page.count(">Tables have keys</span>") == 1
    assert "Other databases:" in page


def test_problems_of_many_databases_are_folded_after_the_third(anna: Client) -> None:
    task, _ = _warned()
    for number in range(5):
        factories.check_item(task, **(KEYS | {"database": f"db{number}"}))
    page = anna.get(_url("check", task)).text
    assert "3 more databases" in page
    assert page.index("db1") < page.index("3 more databases") < page.index("db3")


def test_problems_only_leaves_out_what_passed_and_keeps_to_it_while_polling(anna: Client) -> None:
    task, _ = _warned()
    page = anna.get(_url("check", task), {"show": "problems"})
    assertContains(page, "1 table without a key")
    assertNotContains(page, "wal_level is logical")
    MigrationTask.objects.filter(pk=task.pk).update(status="checking")
    assertContains(anna.get(_url("check", task), {"show": "problems"}), "&amp;show=problems")


def test_a_group_can_be_checked_alone_and_only_while_the_rest_still_holds(anna: Client) -> None:
    task, _ = _warned(group="Other")
    anna.post(_url("check-run", task), {"group": "Other"})
    assert set(task.check_items.filter(status="waiting").values_list("code", flat=True)) == {"table-keys"}
    work.finish_check(str(task.pk), hash_checked=draft_hash(task))
    MigrationTask.objects.filter(pk=task.pk).update(checked_hash="of another draft")
    anna.post(_url("check-run", task), {"group": "Other"})
    assert not task.check_items.exclude(status="waiting").exists()


def test_a_group_that_does_not_exist_is_refused(anna: Client) -> None:
    task = factories.checked_task()
    assert anna.post(_url("check-run", task), {"group": "nothing"}, **HTMX).status_code == 409


def test_checking_one_item_makes_the_others_no_younger() -> None:
    task, item = _warned()
    before = timezone.now() - timedelta(hours=3)
    MigrationTask.objects.filter(pk=task.pk).update(checked_at=before)
    services.request_check(task_id=task.pk, actor=None, code=item.code)
    task.check_items.update(status="passed")
    work.finish_check(str(task.pk), hash_checked=draft_hash(task), partial=True)
    task.refresh_from_db()
    assert task.checked_at == before


def test_an_acknowledgement_keeps_name_and_reason_and_is_an_event(anna: Client) -> None:
    task, item = _warned()
    answer = anna.post(_url("check-acknowledge", task, item.pk), {"reason": " nobody   updates it "}, follow=True)
    assertContains(answer, "nobody updates it")
    assertContains(answer, "Acknowledged by")
    item.refresh_from_db()
    assert (item.acknowledged_by, item.acknowledged_reason) == ("anna", "nobody updates it")
    assert Event.objects.get(task=task, code="CHECK-ACKNOWLEDGED").actor == "anna"
    anna.post(_url("check-withdraw", task, item.pk))
    item.refresh_from_db()
    assert item.acknowledged_at is None


@pytest.mark.parametrize(
    ("reason", "status"), [("", "warning"), ("   ", "warning"), ("x" * 501, "warning"), ("ok", "failed")]
)
def test_an_acknowledgement_without_a_reason_or_a_warning_is_refused(reason: str, status: str, anna: Client) -> None:
    task, item = _warned(status=status)
    assert anna.post(_url("check-acknowledge", task, item.pk), {"reason": reason}, **HTMX).status_code == 409
    item.refresh_from_db()
    assert item.acknowledged_at is None


def test_a_warning_of_many_databases_is_acknowledged_at_once_where_asked_for(anna: Client) -> None:
    task, item = _warned()
    other = factories.check_item(task, **(KEYS | {"database": "crm"}))
    assertContains(anna.get(_url("check", task)), "In all 2 databases with this warning", count=2)
    anna.post(_url("check-acknowledge", task, item.pk), {"reason": "known", "everywhere": "1"})
    other.refresh_from_db()
    assert other.acknowledged_reason == "known"
    assert set(Event.objects.get(task=task, code="CHECK-ACKNOWLEDGED").detail["found"]) == {"shop", "crm"}


def test_items_of_other_tasks_can_be_neither_acknowledged_nor_fixed(anna: Client) -> None:
    _, item = _warned()
    other = factories.checked_task()
    assert anna.post(_url("check-acknowledge", other, item.pk), {"reason": "x"}, **HTMX).status_code == 409
    assert anna.post(_url("check-withdraw", other, item.pk), **HTMX).status_code == 409
    assert anna.get(_url("check-fix", other, item.pk)).status_code == 409
    assert anna.post(_url("check-fix", other, item.pk), {"mark": "x"}, **HTMX).status_code == 409


def test_the_same_finding_keeps_its_acknowledgement_and_another_voids_it() -> None:
    task, item = _warned()
    services.acknowledge(task_id=task.pk, item_id=item.pk, actor=None, reason="known")
    work.store_results(task, [(0, _result())])
    item.refresh_from_db()
    assert item.acknowledged_reason == "known"
    work.store_results(task, [(0, _result(found="2 tables without a key: app.log, app.more."))])
    item.refresh_from_db()
    assert (item.acknowledged_reason, item.acknowledged_at) == ("", None)


def test_the_start_tells_how_many_warnings_nobody_acknowledged_and_does_not_need_it(anna: Client) -> None:
    task, item = _warned()
    assertContains(anna.get(_url("check", task)), "1 warning is not acknowledged.")
    assertContains(anna.get(_url("confirm", task, "start")), "1 warning of the check is not acknowledged.")
    services.acknowledge(task_id=task.pk, item_id=item.pk, actor=None, reason="known")
    assertNotContains(anna.get(_url("confirm", task, "start")), "not acknowledged")
    assert services.start_task(task_id=task.pk, actor=None).status == "queued"


def test_a_fix_says_what_it_runs_and_how_to_take_it_back_before_anything_is_asked(anna: Client) -> None:
    task, item = _warned()
    page = anna.get(_url("check-fix", task, item.pk))
    assertContains(page, "ALTER TABLE &quot;app&quot;.&quot;log&quot; REPLICA IDENTITY FULL;")
    assertContains(page, "ALTER TABLE &quot;app&quot;.&quot;log&quot; REPLICA IDENTITY DEFAULT;")
    assert not task.tests.filter(kind="fix").exists()


def _ask(anna: Client, task: MigrationTask, item: CheckItem) -> Any:
    return anna.post(_url("check-fix", task, item.pk), {"mark": services.fix_for(item).mark})


def test_a_fix_is_asked_of_a_worker_and_the_page_waits_for_it(anna: Client) -> None:
    task, item = _warned()
    assertRedirects(_ask(anna, task, item), _url("check", task))
    assert task.tests.get(kind="fix").state == "waiting"
    asked = Event.objects.get(task=task, code="FIX-ASKED")
    assert asked.actor == "anna"
    assert asked.detail["undo"] == ['ALTER TABLE "app"."log" REPLICA IDENTITY DEFAULT;']
    page = anna.get(_url("check", task))
    assertContains(page, "A worker runs the fix of")
    assertContains(page, "data-poll")


def test_a_second_fix_waits_for_the_first(anna: Client) -> None:
    task, item = _warned()
    _ask(anna, task, item)
    assert anna.post(_url("check-fix", task, item.pk), {"mark": services.fix_for(item).mark}, **HTMX).status_code == 409
    assert task.tests.filter(kind="fix").count() == 1


def test_statements_that_changed_since_they_were_read_are_not_run(anna: Client) -> None:
    task, item = _warned()
    mark = services.fix_for(item).mark
    item.fix_arguments = {"database": "shop", "tables": [["app", "another", "", "d"]]}
    item.save()
    answer = anna.post(_url("check-fix", task, item.pk), {"mark": mark}, **HTMX)
    assertContains(answer, "Read it again", status_code=409)
    assert not task.tests.filter(kind="fix").exists()


@pytest.mark.parametrize("changes", [{"fix": ""}, {"fix": "of another version"}, {"status": "passed"}])
def test_nothing_is_offered_where_nothing_can_be_done(changes: dict[str, str], anna: Client) -> None:
    task, item = _warned(**changes)
    assertNotContains(anna.get(_url("check", task)), f'id="fix-{item.pk}"')
    assert anna.get(_url("check-fix", task, item.pk)).status_code == 409
    with pytest.raises(Refused):
        services.fix_for(item)


def test_a_started_task_offers_no_buttons_on_its_check(anna: Client) -> None:
    task, item = _warned()
    MigrationTask.objects.filter(pk=task.pk).update(status="running")
    page = anna.get(_url("check", task))
    for words in (f'id="fix-{item.pk}"', "Check this", "Check again", '<summary class="btn'):
        assertNotContains(page, words)


def test_a_viewer_sees_the_check_without_buttons(client: Client) -> None:
    client.force_login(factories.user("viola", role="viewer"))
    task, item = _warned()
    page = client.get(_url("check", task))
    assertContains(page, "1 table without a key")
    assertNotContains(page, f'id="fix-{item.pk}"')
    assertNotContains(page, "Check this")
    assert client.get(_url("check-fix", task, item.pk)).status_code == 403


def test_a_fix_that_was_run_is_told_and_its_item_looked_at_again(anna: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    task, item = _warned()
    _ask(anna, task, item)
    monkeypatch.setattr(preparing, "run_fix", lambda plan, fix: None)
    runner.run_connection_test(str(task.tests.get(kind="fix").pk))
    assert Event.objects.get(task=task, code="FIX-DONE").detail["undo"]
    task.refresh_from_db()
    assert task.status == "checking"
    assert set(task.check_items.filter(status="waiting").values_list("code", flat=True)) == {"table-keys"}
    assertContains(anna.get(_url("check", task)), "the fix is done")


def test_a_fix_is_not_run_when_the_task_changed_since(anna: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(plan: object, fix: object) -> None:
        raise AssertionError("run on another server")

    task, item = _warned()
    _ask(anna, task, item)
    assert task.source is not None
    task.source.host = "another.internal"
    task.source.save()
    monkeypatch.setattr(preparing, "run_fix", run)
    runner.run_connection_test(str(task.tests.get(kind="fix").pk))
    assert task.tests.get(kind="fix").code == "FIX-STALE"


def test_a_refused_fix_shows_the_servers_reason_until_the_next_check(
    anna: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(plan: object, fix: object) -> None:
        raise ConnectFailed("The source refused: must be owner of table log (42501).", hint="Ask the owner.")

    task, item = _warned()
    _ask(anna, task, item)
    monkeypatch.setattr(preparing, "run_fix", refuse)
    runner.run_connection_test(str(task.tests.get(kind="fix").pk))
    page = anna.get(_url("check", task))
    assertContains(page, "must be owner of table log (42501).")
    assertContains(page, "Ask the owner.")
    assert Event.objects.filter(task=task, code="FIX-FAILED").exists()
    MigrationTask.objects.filter(pk=task.pk).update(checked_at=timezone.now())
    assertNotContains(anna.get(_url("check", task)), "must be owner")


def test_the_report_comes_in_three_forms_and_holds_no_secret(anna: Client) -> None:
    task, item = _warned(found=f"{factories.HOSTILE} has no key", sql="ALTER TABLE x;")
    services.acknowledge(task_id=task.pk, item_id=item.pk, actor=None, reason="known")
    for form, words in (("html", "ALTER TABLE x;"), ("json", "ALTER TABLE x;"), ("txt", "SQL:   ALTER TABLE x;")):
        answer = anna.get(_url("check-report", task, form))
        assert f'attachment; filename="check-shop-to-18.{form}"' == answer["Content-Disposition"]
        assert words in answer.text
        assert "known" in answer.text
        assert factories.CANARY not in answer.text
        if form != "json":
            assert "\u202e" not in answer.text
        if form == "html":
            assert "<script" not in answer.text
    facts = json.loads(anna.get(_url("check-report", task, "json")).text)
    assert facts["counts"] == {"failed": 0, "warning": 1, "acknowledged": 1, "passed": 1, "waiting": 0}
    assert facts["holds"] is True
    assert anna.get(_url("check-report", task, "exe")).status_code == 404


def test_a_task_that_was_never_checked_has_an_empty_report(anna: Client) -> None:
    task = factories.task()
    assertContains(anna.get(_url("check-report", task, "txt")), "Checked never")


def test_prepare_the_source_asks_a_worker_once_and_shows_its_answer(
    anna: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = factories.task(source=factories.endpoint(host="192.0.2.1", port=1, password=factories.CANARY))
    factories.inventory(task)
    assertContains(anna.get(_url("prepare", task)), "Look at the source")
    for _ in range(2):
        assertRedirects(anna.post(_url("prepare-look", task)), _url("prepare", task))
    test = task.tests.get(kind="prepare")
    page = anna.get(_url("prepare", task))
    assertContains(page, "A worker looks at the source")
    seen = page.text.split("?seen=")[1].split('"')[0]
    assert seen == ""
    monkeypatch.setattr("migrations_app.engine.source_facts._session", _away)
    runner.run_connection_test(str(test.pk))
    answer = anna.get(_url("prepare-result", task))
    for words in ("is away", "wal_level = logical", "CREATE ROLE &quot;mover&quot; LOGIN REPLICATION", "hostssl"):
        assertContains(answer, words)
    assertNotContains(answer, factories.CANARY)
    assertNotContains(answer, "data-poll")
    assertNotContains(answer, "settings changed since")
    MigrationTask.objects.filter(pk=task.pk).update(incremental=False)
    assertContains(anna.get(_url("prepare", task)), "settings changed since")


def _away(*_: object, **__: object) -> Any:
    raise ConnectFailed("The source is away.", hint="Bring it back.")


def _started(**fields: Any) -> MigrationTask:
    task = factories.checked_task()
    services.start_task(task_id=task.pk, actor=None)
    claim = work.claim_migration("here:1:migrate")
    assert claim is not None
    MigrationTask.objects.filter(pk=task.pk).update(**fields)
    task.refresh_from_db()
    return task


def test_an_old_check_runs_again_before_the_start_and_a_fresh_one_does_not() -> None:
    task = _started()
    assert not work.wants_check_before_start(task)
    task.checked_at = timezone.now() - timedelta(hours=1)
    assert work.wants_check_before_start(task)
    LedgerEntry.objects.create(task=task, side="source", kind="slot", name="x")
    assert not work.wants_check_before_start(task)


def test_a_start_that_found_something_failed_is_back_at_its_check_as_if_not_started() -> None:
    task = _started()
    claim = work.Claim(task_id=str(task.pk), epoch=task.epoch, worker=task.worker)
    results = [_result("wal_level", "failed", title="wal_level is logical", database="", found="Found replica.")]
    changed = work.changes(task, results)
    assert [change.words for change in changed] == ["wal_level is logical: Passed, now Failed. Found replica."]
    work.store_again(claim, [], results)
    work.start_refused(claim, changed)
    task.refresh_from_db()
    assert (task.status, task.started_at, task.current_step, task.worker) == ("check_failed", None, "", "")
    assert "now Failed" in task.error_message
    assert not task.steps.exists()
    services.request_check(task_id=task.pk, actor=None)
    task.refresh_from_db()
    assert task.error_message == ""


def test_a_start_whose_check_found_nothing_new_says_so_and_goes_on() -> None:
    task = _started(checked_at=timezone.now() - timedelta(hours=1))
    claim = work.Claim(task_id=str(task.pk), epoch=task.epoch, worker=task.worker)
    work.say_checking(claim)
    assert "checking again" in task.steps.get(name="schema").note
    work.start_goes_on(claim, [])
    task.refresh_from_db()
    assert task.status == "running"
    assert task.steps.get(name="schema").note == ""
    assert not work.wants_check_before_start(task)
    assert "Nothing changed" in Event.objects.get(task=task, code="CHECK-AGAIN").message


def test_an_instance_that_vanished_since_the_check_stops_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    task = _started(checked_at=timezone.now() - timedelta(hours=1))
    assert task.source is not None
    task.source.kind, task.source.instance_id, task.source.provider = "cvm", "ins-gone", "local"
    task.source.save()
    claim = work.Claim(task_id=str(task.pk), epoch=task.epoch, worker=task.worker)
    monkeypatch.setattr(rechecking.checks, "run_checks", lambda *_, **__: [])
    recorder = mock.Mock(call=lambda write: write())
    assert not rechecking.may_start(task, claim, build_plan(task), mock.Mock(), recorder)
    task.refresh_from_db()
    assert task.status == "check_failed"
    assert task.check_items.get(code="instance-source").status == "failed"


def test_results_of_a_worker_that_lost_the_task_are_not_written() -> None:
    task = _started()
    lost = work.Claim(task_id=str(task.pk), epoch=task.epoch - 1, worker=task.worker)
    work.store_again(lost, [], [_result()])
    work.start_goes_on(lost, [])
    work.start_refused(lost, [])
    task.refresh_from_db()
    assert task.status == "running"
    assert not task.check_items.filter(code="table-keys").exists()


def test_rows_of_databases_that_are_selected_no_more_go() -> None:
    task, _ = _warned()
    work.forget_others(task, [_result(database="crm")])
    assert not task.check_items.filter(code="table-keys").exists()


def test_the_foreground_gives_up_when_the_check_refuses_complete(monkeypatch: pytest.MonkeyPatch) -> None:
    stopped: list[bool] = []
    monkeypatch.setattr(runner, "stop_all", lambda: stopped.append(True))
    run = ForegroundRun(mock.Mock(complete=True), mock.Mock(), mock.Mock())
    task = factories.running_task("sync", status="ready")
    run.task_id = str(task.pk)
    run._press_complete(task)
    task.refresh_from_db()
    assert task.status == "completing"
    assert not stopped
    task.status, task.error_code = "ready", "CHECK-COMPLETE"
    run._press_complete(task)
    assert stopped
