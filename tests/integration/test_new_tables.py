"""What an operator decides about tables that are new on the source, and what workers make of it."""

from __future__ import annotations

import uuid
from io import StringIO

import pytest
from django.core.management import call_command
from django.test import Client
from django.urls import reverse
from django.utils import translation

from migrations_app import selectors, services
from migrations_app.engine.drift import NewTable
from migrations_app.engine.ports import NEVER
from migrations_app.engine.states import Action, Status
from migrations_app.engine.wording import say
from migrations_app.models import AuditEntry, Event, MigrationTask, Recopy, TableCopy
from migrations_app.models import NewTable as Row
from migrations_app.runner import rechecking
from migrations_app.services import work
from tests import factories
from tests.fakes import FakeControl

PLACE = {"database": "shop", "schema": "public", "name": "later"}
LATER = NewTable(oid=4242, schema="public", name="later")


class _Direct:
    """A recorder that calls at once."""

    def call(self, function):  # type: ignore[no-untyped-def]
        return function()


@pytest.fixture
def task(db: None) -> MigrationTask:
    return factories.running_task("sync", status="ready")


def client(role: str) -> Client:
    made = Client()
    made.force_login(factories.user(f"the-{role}", role=role))
    return made


def choice(task: MigrationTask, name: str = "later") -> str:
    return Row.objects.get(task=task, name=name).choice


def page(task: MigrationTask, role: str) -> str:
    return client(role).get(reverse("tasks:detail", args=[task.pk])).content.decode()


def post(task: MigrationTask, role: str, action: str, **place: str) -> int:
    address = reverse("tasks:new-table", args=[task.pk, action])
    return int(client(role).post(address, PLACE | place).status_code)


# What workers find


def test_what_a_worker_finds_is_told_once_and_waits_for_a_decision(task: MigrationTask) -> None:
    other = NewTable(oid=7, schema="s", name="tree", tables=3)
    assert work.new_tables_found(task.pk, "shop", [LATER, other]) == [LATER, other]
    assert work.new_tables_found(task.pk, "shop", [LATER, other]) == []
    assert list(Row.objects.values_list("name", "tables", "choice")) == [("later", 1, ""), ("tree", 3, "")]
    task.refresh_from_db()
    assert not task.recopy_requested


def test_an_undecided_table_that_is_gone_is_forgotten_and_an_ignored_one_stays_ignored(task: MigrationTask) -> None:
    factories.new_table(task)
    factories.new_table(task, "passed_by", choice="ignored")
    work.new_tables_found(task.pk, "shop", [])
    assert list(Row.objects.values_list("name", "choice")) == [("passed_by", "ignored")]
    again = NewTable(oid=99, schema="public", name="passed_by")
    assert work.new_tables_found(task.pk, "shop", [again]) == []
    assert list(Row.objects.values_list("oid", "choice")) == [(99, "ignored")]


def test_a_partition_that_is_followed_by_itself_is_to_be_added_at_once(task: MigrationTask) -> None:
    work.new_tables_found(task.pk, "shop", [NewTable(oid=5, schema="public", name="p9", partition=True, wanted=True)])
    task.refresh_from_db()
    assert task.recopy_requested
    assert [table.name for table in work.additions(task.pk, "shop")] == ["p9"]
    assert work.additions(task.pk, "another") == []


def test_a_table_that_was_added_is_no_new_one_any_more(task: MigrationTask) -> None:
    services.add_new_table(task_id=factories.new_table(task).task_id, actor=None, **PLACE)
    (table,) = work.additions(task.pk, "shop")
    for _ in range(2):
        work.added(task.pk, "shop", table)
    assert not Row.objects.exists()


def test_a_table_that_cannot_be_added_waits_again_with_the_reason(task: MigrationTask) -> None:
    services.add_new_table(task_id=factories.new_table(task).task_id, actor=factories.user("anna"), **PLACE)
    factories.table_copy(task, "later", status="waiting", watermark=NEVER)
    factories.table_copy(task, "again", status="copying", watermark=NEVER)
    Recopy.objects.create(task=task, database="shop", schema="public", name="again")
    why = say("There is no table {schema}.{name} any more.", schema="public", name="later")
    work.not_added(task.pk, "shop", LATER, why)
    assert list(TableCopy.objects.values_list("name", flat=True)) == ["again"]
    assert choice(task) == ""
    assert "no table public.later any more" in page(task, "viewer")
    with translation.override("zh-hans"):
        view = selectors.new_tables(task)
    assert view is not None
    assert view.undecided[0].problem == "public.later 表已不存在。"


# What somebody decides


@pytest.mark.parametrize("status", ["running", "ready", "paused", "failed"])
@pytest.mark.parametrize(("action", "chosen"), [("add_table", "add"), ("ignore_table", "ignored")])
def test_one_press_decides_and_is_told_and_audited(task: MigrationTask, status: str, action: str, chosen: str) -> None:
    MigrationTask.objects.filter(pk=task.pk).update(status=status)
    factories.new_table(task)
    assert post(task, "operator", action) == 302
    row = Row.objects.get(task=task)
    assert (row.choice, row.decided_by, row.decided_at is not None) == (chosen, "the-operator", True)
    task.refresh_from_db()
    assert (task.status, task.recopy_requested) == (status, chosen == "add")
    assert "public.later of shop" in Event.objects.get(task=task, actor="the-operator").message
    assert "public.later" in AuditEntry.objects.get(action=f"tasks:new-table-{action}").message


@pytest.mark.parametrize("status", sorted(set(Status) - {"running", "ready", "paused", "failed"}))
def test_nothing_is_decided_in_any_other_status(task: MigrationTask, status: str) -> None:
    factories.new_table(task)
    MigrationTask.objects.filter(pk=task.pk).update(status=status)
    for decide in (services.add_new_table, services.ignore_new_table):
        with pytest.raises(services.Refused, match=r"^“(Add|Ignore)” is not possible: the task's status is"):
            decide(task_id=task.pk, actor=None, **PLACE)
    assert choice(task) == ""
    assert "add_table" not in page(task, "operator")


def test_a_viewer_sees_the_question_and_decides_nothing(task: MigrationTask) -> None:
    factories.new_table(task)
    assert "1 table is new on the source" in (text := page(task, "viewer"))
    assert ("public.later" in text, "new-table/" in text) == (True, False)
    for action in ("add_table", "ignore_table"):
        assert Client().post(reverse("tasks:new-table", args=[task.pk, action]), PLACE).status_code == 302
    viewer = Client()
    viewer.force_login(factories.user("looker", role="viewer"))
    assert viewer.post(reverse("tasks:new-table", args=[task.pk, "add_table"]), PLACE).status_code == 403
    assert choice(task) == ""


def test_an_ignored_table_is_shown_apart_and_can_still_be_added(task: MigrationTask) -> None:
    row = factories.new_table(task)
    services.ignore_new_table(task_id=task.pk, actor=None, **PLACE)
    text = page(task, "operator")
    assert ('id="new-tables"' in text, 'id="ignored-tables"' in text) == (False, True)
    assert (f"add-n{row.pk}" in text, f"ignore-n{row.pk}" in text) == (True, False)
    services.add_new_table(task_id=task.pk, actor=None, **PLACE)
    assert choice(task) == "add"


def test_a_table_that_is_being_added_cannot_be_ignored(task: MigrationTask) -> None:
    factories.new_table(task, choice="add")
    with pytest.raises(services.Refused, match="being added"):
        services.ignore_new_table(task_id=task.pk, actor=None, **PLACE)


def test_a_partition_of_a_migrated_table_can_only_be_added(task: MigrationTask) -> None:
    row = factories.new_table(task, partition=True)
    with pytest.raises(services.Refused, match="partition"):
        services.ignore_new_table(task_id=task.pk, actor=None, **PLACE)
    text = page(task, "operator")
    assert (f"add-n{row.pk}" in text, f"ignore-n{row.pk}" in text) == (True, False)


def test_a_table_that_nobody_found_is_refused(task: MigrationTask) -> None:
    for decide in (services.add_new_table, services.ignore_new_table):
        with pytest.raises(services.Refused, match="knows no such new table"):
            decide(task_id=task.pk, actor=None, **PLACE)
    assert post(task, "operator", "drop") == 404


def test_a_table_that_is_being_added_can_be_dropped_where_that_failed_but_not_copied_again(task: MigrationTask) -> None:
    factories.new_table(task, choice="add")
    factories.table_copy(task, "later", status="waiting", watermark=NEVER)
    with pytest.raises(services.Refused, match="being added"):
        services.recopy_table(task_id=task.pk, actor=None, **PLACE)
    MigrationTask.objects.filter(pk=task.pk).update(status="failed", recopy_requested=True)
    services.drop_table(task_id=task.pk, actor=None, **PLACE)
    task.refresh_from_db()
    assert (Row.objects.exists(), task.recopy_requested) == (False, False)
    assert TableCopy.objects.get(name="later").status == "dropped"


# Complete


def test_complete_waits_for_a_decision_and_names_the_tables(task: MigrationTask) -> None:
    factories.new_table(task)
    with pytest.raises(services.Refused, match=r"new on the source: public\.later\. Add or ignore"):
        services.complete_task(task_id=task.pk, actor=None)
    services.add_new_table(task_id=task.pk, actor=None, **PLACE)
    with pytest.raises(services.Refused, match=r"being added: public\.later\."):
        services.complete_task(task_id=task.pk, actor=None)
    Row.objects.update(choice="ignored")
    assert services.complete_task(task_id=task.pk, actor=None).status == "completing"


def test_a_table_that_appears_after_complete_was_pressed_brings_the_task_back(task: MigrationTask) -> None:
    factories.new_table(task)
    claim = work.Claim(task_id=str(task.pk), epoch=task.epoch, worker="w")
    with pytest.raises(rechecking.CompleteRefused, match=r"new on the source: public\.later") as caught:
        rechecking.before_complete(claim, None, FakeControl(), _Direct())  # type: ignore[arg-type]
    assert "Add or ignore" in caught.value.hint


def test_starting_again_forgets_the_decisions(task: MigrationTask) -> None:
    factories.new_table(task, choice="ignored")
    MigrationTask.objects.filter(pk=task.pk).update(status="cancelled")
    services.start_again(task_id=task.pk, actor=None, clear_target=False)
    assert not Row.objects.exists()


# Everywhere else


def test_the_command_line_lists_and_decides(task: MigrationTask) -> None:
    factories.new_table(task)
    factories.new_table(task, "other")
    out = StringIO()
    call_command("task", "show", str(task.pk), stdout=out)
    assert "new on the source: public.later of shop, undecided" in out.getvalue()
    assert f"manage.py task add {task.pk} SCHEMA.TABLE" in out.getvalue()
    call_command("task", "add", str(task.pk), "public.later", stdout=out)
    call_command("task", "ignore", str(task.pk), "public.other", stdout=out)
    assert (choice(task), choice(task, "other")) == ("add", "ignored")


def test_the_report_lists_them(task: MigrationTask) -> None:
    factories.new_table(task, tables=3)
    (line,) = selectors.task_report(task)["new_tables"]
    assert (line["schema"], line["name"], line["tables"], line["choice"]) == ("public", "later", 3, "")


def test_the_panel_is_told_in_chinese(task: MigrationTask) -> None:
    factories.new_table(task)
    chinese = client("operator")
    chinese.cookies["django_language"] = "zh-hans"
    text = chinese.get(reverse("tasks:detail", args=[task.pk])).content.decode()
    assert "源库有 1 个新表" in text
    assert (">添加<span" in text, ">忽略<span" in text) == (True, True)


def test_both_actions_have_the_same_statuses_as_the_other_choices_about_tables() -> None:
    from migrations_app.engine.states import RULES

    assert RULES[Action.ADD_TABLE].allowed_from == RULES[Action.RECOPY].allowed_from
    assert RULES[Action.IGNORE_TABLE].allowed_from == RULES[Action.RECOPY].allowed_from


def test_a_task_of_somebody_else_is_not_there(task: MigrationTask) -> None:
    address = reverse("tasks:new-table", args=[uuid.uuid4(), "add_table"])
    assert client("operator").post(address, PLACE).status_code == 404


def test_what_is_decided_where_the_sync_stopped_at_an_attached_partition_answers_the_question_about_it(
    task: MigrationTask,
) -> None:
    work.new_tables_found(task.pk, "shop", [NewTable(oid=77, schema="public", name="m2", partition=True)])
    facts = {"database": "shop", "schema": "public", "name": "m2", "oid": 77, "doubt": "attached"}
    MigrationTask.objects.filter(pk=task.pk).update(status="failed", drift=facts)
    services.recopy_conflict(task_id=task.pk, actor=None)
    assert not Row.objects.filter(task=task).exists()
    assert TableCopy.objects.get(task=task, name="m2").oid == 77
