"""What an operator decides about a table that changed on the source: stored first, then the task goes on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from io import StringIO

import pytest
from django.core.management import call_command
from django.test import Client
from django.urls import reverse
from django.utils import translation

from migrations_app import selectors, services
from migrations_app.engine.drift import ChangeKind, Column, Leave, Partition
from migrations_app.engine.drifting import compare, new_partition, renamed_table
from migrations_app.engine.errors import SchemaChanged
from migrations_app.engine.ports import NEVER, TableState
from migrations_app.engine.selection import Selection
from migrations_app.engine.states import StepName
from migrations_app.engine.wording import say
from migrations_app.models import AuditEntry, Event, MigrationTask, Recopy, ShapeLeave, TableCopy
from migrations_app.services import work
from tests import factories

ORDERS = {"database": "shop", "schema": "public", "name": "orders"}
STATEMENT = 'ALTER TABLE "public"."orders" ADD COLUMN "note" text'
CHOICES: dict[str, Callable[..., MigrationTask]] = {
    "apply": services.apply_drift,
    "recopy": services.recopy_conflict,
    "drop": services.drop_conflict,
}


@pytest.fixture
def task(db: None) -> MigrationTask:
    return factories.drift(factories.running_task("sync"))


def client(role: str) -> Client:
    made = Client()
    made.force_login(factories.user(f"the-{role}", role=role))
    return made


def test_a_failed_task_keeps_what_changed_old_and_new(db: None) -> None:
    task = factories.running_task("sync", worker="w")
    old = [Column(name="id", type_name="integer")]
    error = SchemaChanged(say("Table public.orders does not have the same columns any more."))
    error.drift = compare(("public", "orders"), ("public", "orders"), old, [*old, Column(name="c", type_name="date")])
    work.fail(work.Claim(task_id=str(task.pk), epoch=task.epoch, worker="w"), StepName.SYNC, error)
    task.refresh_from_db()
    assert task.drift["changes"] == [{"kind": "added", "name": "c", "old": "", "new": "date"}]
    view = selectors.task_row(task).drift
    assert view is not None
    assert view.statements == ['ALTER TABLE "public"."orders" ADD COLUMN "c" date']


@pytest.mark.parametrize("choice", CHOICES)
@pytest.mark.parametrize("step", ["sync", "compare", "complete"])
def test_each_choice_is_stored_and_lets_the_task_go_on(task: MigrationTask, choice: str, step: str) -> None:
    MigrationTask.objects.filter(pk=task.pk).update(current_step=step)
    CHOICES[choice](task_id=task.pk, actor=factories.user("anna"))
    task.refresh_from_db()
    assert (task.status, task.current_step, task.drift, task.error_code) == ("running", "sync", {}, "")
    row = TableCopy.objects.get(task=task, name="orders")
    assert (row.status, row.watermark) == (("dropped", NEVER) if choice == "drop" else ("done", 100))
    assert Recopy.objects.filter(task=task, **ORDERS).exists() == (choice == "recopy")
    assert ShapeLeave.objects.filter(task=task, **ORDERS).exists() == (choice == "apply")
    assert Event.objects.filter(task=task, actor="anna").count() == 2


def test_leave_is_what_the_engine_gets_and_is_used_up_once(task: MigrationTask) -> None:
    digest = task.drift["digest"]
    services.apply_drift(task_id=task.pk, actor=factories.user("anna"))
    (leave,) = work.leaves(task.pk, "shop")
    wanted = Leave(number=leave.number, schema="public", name="orders", digest=digest, lsn=0x16B3748)
    assert leave == wanted
    assert work.leaves(task.pk, "another") == []
    for _ in range(2):
        work.leave_used(task.pk, leave)
    assert work.leaves(task.pk, "shop") == []
    row = ShapeLeave.objects.get(task=task)
    assert (row.statements, row.asked_by, row.used_at is not None) == ([STATEMENT], "anna", True)


@pytest.mark.parametrize("choice", CHOICES)
def test_there_is_nothing_to_choose_where_no_changed_table_stopped_the_task(task: MigrationTask, choice: str) -> None:
    MigrationTask.objects.filter(pk=task.pk).update(drift={})
    with pytest.raises(services.Refused, match="did not stop at"):
        CHOICES[choice](task_id=task.pk, actor=None)
    assert MigrationTask.objects.get(pk=task.pk).status == "failed"


def test_what_is_not_certain_to_be_right_cannot_be_applied(task: MigrationTask) -> None:
    old = [Column(name="id", type_name="integer")]
    place = ("public", "orders")
    found = compare(place, place, old, [*old, Column(name="c", type_name="float", default="random()")])
    factories.drift(task, found)
    with pytest.raises(services.Refused, match="nothing to apply"):
        services.apply_drift(task_id=task.pk, actor=None)
    view = selectors.task_row(task).drift
    assert view is not None
    assert [choice.name for choice in view.choices] == ["retry", "recopy", "drop"]
    assert "no statement is certain" in view.doubt


def test_a_renamed_table_can_be_renamed_on_the_target_too_or_be_dropped(task: MigrationTask) -> None:
    bills = ("public", "bills")
    factories.drift(task, renamed_table(("public", "orders"), bills, (("public", "orders"), bills)))
    view = selectors.task_row(task).drift
    assert view is not None
    assert [choice.name for choice in view.choices] == ["retry", "apply", "drop"]
    assert view.statements == ['ALTER TABLE "public"."orders" RENAME TO "bills"']
    with pytest.raises(services.Refused, match="no table of this name"):
        services.recopy_conflict(task_id=task.pk, actor=None)
    services.apply_drift(task_id=task.pk, actor=None)
    assert len(work.leaves(task.pk, "shop")) == 1


def test_a_renamed_table_keeps_what_was_asked_about_it_and_stays_selected(task: MigrationTask) -> None:
    only = Selection().choose(("shop", "public", "orders"), "data")
    MigrationTask.objects.filter(pk=task.pk).update(selection=only.to_json())
    Recopy.objects.create(task=task, **ORDERS)
    state = TableState(database="shop", schema="public", name="orders", oid=1)
    for _ in range(2):
        work.renamed(task.pk, state, "public", "bills")
    assert not TableCopy.objects.filter(task=task, name="orders").exists()
    assert TableCopy.objects.filter(task=task, name="bills").count() == 1
    assert Recopy.objects.get(task=task).name == "bills"
    task.refresh_from_db()
    assert Selection.from_json(task.selection).mode("shop", "public", "bills") == "data"


def test_where_the_new_name_is_in_use_a_renamed_table_can_only_be_dropped_or_renamed_back(task: MigrationTask) -> None:
    factories.drift(task, renamed_table(("public", "orders"), ("public", "bills")))
    with pytest.raises(services.Refused, match="no table of this name"):
        services.recopy_conflict(task_id=task.pk, actor=None)
    view = selectors.task_row(task).drift
    assert view is not None
    assert [choice.name for choice in view.choices] == ["retry", "drop"]
    assert [(line.old, line.new) for line in view.lines] == [("public.orders", "public.bills")]


def test_a_partitioned_table_whose_new_name_is_in_use_is_not_told_to_be_dropped(task: MigrationTask) -> None:
    drift = renamed_table(("public", "orders"), ("public", "bills"), kind=ChangeKind.TOP_RENAMED)
    factories.drift(task, drift)
    view = selectors.task_row(task).drift
    assert view is not None
    assert [choice.name for choice in view.choices] == ["retry"]
    assert "drop it from the task" not in view.doubt
    assert "the target has another table of the new name" in view.doubt


@pytest.mark.parametrize(("role", "decides"), [("viewer", False), ("operator", True)])
@pytest.mark.parametrize("page", ["detail", "list"])
def test_pages_show_old_and_new_and_the_statement_to_everybody_and_the_choices_to_operators(
    task: MigrationTask, page: str, role: str, decides: bool
) -> None:
    address = reverse("tasks:list") if page == "list" else reverse("tasks:detail", args=[task.pk])
    text = client(role).get(address).content.decode()
    for words in ("Column added", "note", "not there", "ADD COLUMN &quot;note&quot; text;"):
        assert words in text
    assert (f"drift-apply-{task.pk}" in text) == decides


def test_the_choices_are_told_in_chinese(task: MigrationTask) -> None:
    with translation.override("zh-hans"):
        view = selectors.task_row(task).drift
        assert view is not None
        assert [choice.label for choice in view.choices] == ["重试", "应用并继续", "重新拷贝", "移出任务"]
        assert [(line.what, line.old) for line in view.lines] == [("新增列", "不存在")]


@pytest.mark.parametrize("choice", CHOICES)
def test_each_choice_is_asked_in_words_then_done_and_audited(task: MigrationTask, choice: str) -> None:
    anna, address = client("operator"), reverse("tasks:confirm", args=[task.pk, choice])
    asked = anna.get(address).content.decode()
    assert "public.orders" in asked
    assert "ADD COLUMN &quot;note&quot; text;" in asked
    assert MigrationTask.objects.get(pk=task.pk).status == "failed"
    typed = {"typed": task.name} if choice == "drop" else {}
    assert anna.post(reverse("tasks:action", args=[task.pk, choice]), typed).status_code == 302
    assert MigrationTask.objects.get(pk=task.pk).status == "running"
    entry = AuditEntry.objects.get(action=f"tasks:action-{choice}")
    assert (entry.actor, "public.orders" in entry.message) == ("the-operator", True)
    assert ("ADD COLUMN" in entry.message) == (choice == "apply")


def test_a_viewer_decides_nothing(task: MigrationTask) -> None:
    assert client("viewer").post(reverse("tasks:action", args=[task.pk, "apply"])).status_code == 403
    assert not ShapeLeave.objects.exists()


def test_the_command_line_shows_the_change_and_applies_it(task: MigrationTask) -> None:
    out = StringIO()
    call_command("task", "conflict", str(task.pk), stdout=out)
    shown = out.getvalue()
    assert "changed on the source: public.orders of shop" in shown
    assert "Column added: note: not there <-> text" in shown
    assert f"{STATEMENT};" in shown
    assert "--retry | --apply | --recopy | --drop" in shown
    call_command("task", "conflict", str(task.pk), "--apply", stdout=out)
    assert ShapeLeave.objects.get(task=task).statements == [STATEMENT]
    assert MigrationTask.objects.get(pk=task.pk).status == "running"


def test_the_command_line_shows_what_stopped_a_task_that_leaves_no_such_choice(task: MigrationTask) -> None:
    told = {"error_message": "The target refused it.", "error_hint": "Remove what is in the way and press Retry."}
    MigrationTask.objects.filter(pk=task.pk).update(drift={}, **told)
    out = StringIO()
    call_command("task", "conflict", str(task.pk), stdout=out)
    assert "no changed table and no conflict stopped this task" in out.getvalue()
    assert all(text in out.getvalue() for text in told.values())


def test_the_report_holds_old_and_new(task: MigrationTask) -> None:
    found = selectors.task_report(task)["drift"]
    assert found["changes"] == [{"kind": "added", "name": "note", "old": "", "new": "text"}]
    assert found["statements"] == [STATEMENT]


def test_starting_again_forgets_what_was_allowed(task: MigrationTask) -> None:
    services.apply_drift(task_id=task.pk, actor=None)
    MigrationTask.objects.filter(pk=task.pk).update(status="cancelled", drift={"left": "over"})
    services.start_again(task_id=task.pk, actor=None, clear_target=False)
    task.refresh_from_db()
    assert (task.drift, ShapeLeave.objects.count()) == ({}, 0)


def test_the_same_change_asked_twice_is_allowed_once(task: MigrationTask) -> None:
    facts = task.drift
    for _ in range(2):
        services.apply_drift(task_id=task.pk, actor=None)
        MigrationTask.objects.filter(pk=task.pk).update(status="failed", drift=facts)
    assert ShapeLeave.objects.count() == 1


def test_the_digest_survives_the_way_through_the_row(task: MigrationTask) -> None:
    old = [Column(name="id", type_name="integer")]
    place = ("public", "orders")
    found = compare(place, place, old, [*old, Column(name="note", type_name="text")])
    assert found is not None
    assert task.drift["digest"] == replace(found, lsn=1).digest


def test_a_new_partition_that_is_dropped_or_copied_becomes_a_table_of_the_task(task: MigrationTask) -> None:
    found = new_partition(
        Partition(oid=77, place=("public", "p2"), parent=("public", "p"), bounds="DEFAULT", born=False),
        ("public", "p2"),
        ("public", "p"),
    )
    for choice, status in (("recopy", "quarantined"), ("drop", "dropped")):
        TableCopy.objects.filter(name="p2").delete()
        factories.drift(task, found)
        CHOICES[choice](task_id=task.pk, actor=None)
        row = TableCopy.objects.get(task=task, name="p2")
        assert (row.oid, row.status, row.watermark) == (77, status, NEVER)
    assert not Recopy.objects.filter(task=task, name="p2").exists()


def test_whether_additions_are_followed_is_chosen_in_the_wizard_and_voids_the_check(db: None) -> None:
    task, anna = factories.checked_task(), client("operator")
    page = anna.get(reverse("tasks:objects", args=[task.pk])).content.decode()
    assert 'name="follow"' in page
    anna.post(reverse("tasks:follow", args=[task.pk]), {"follow": "additions"})
    task.refresh_from_db()
    assert (Selection.from_json(task.selection).follow, task.status) == ("additions", "draft")
    with pytest.raises(services.Refused):
        services.set_follow(task_id=task.pk, actor=None, follow="everything")
