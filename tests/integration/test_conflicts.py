"""What an operator decides about the change that stopped the sync: stored first, then the task goes on."""

from __future__ import annotations

from collections.abc import Callable
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.test import Client
from django.urls import reverse

from migrations_app import selectors, services
from migrations_app.engine.conflicts import Conflict, ConflictKind, Permission, Use
from migrations_app.engine.errors import ConflictError
from migrations_app.engine.ports import NEVER
from migrations_app.engine.states import StepName
from migrations_app.engine.wording import say
from migrations_app.models import AuditEntry, Event, MigrationTask, Recopy, RowPermission, TableCopy, User
from migrations_app.services import work
from tests import factories

ORDERS = {"database": "shop", "schema": "public", "name": "orders"}
Decide = Callable[..., MigrationTask]
CHOICES: dict[str, Decide] = {
    "take_source": services.take_source_row,
    "recopy": services.recopy_conflict,
    "quarantine": services.quarantine_conflict,
    "drop": services.drop_conflict,
}


@pytest.fixture
def task(db: None) -> MigrationTask:
    return factories.conflict(factories.running_task("sync"))


def state(task: MigrationTask) -> tuple[str, int | None]:
    row = TableCopy.objects.get(task=task, name="orders")
    return row.status, row.watermark


def client(role: str) -> Client:
    made = Client()
    made.force_login(factories.user(f"the-{role}", role=role))
    return made


def test_a_failed_task_keeps_the_facts_of_its_conflict_and_shows_the_key_nowhere(db: None) -> None:
    task = factories.running_task("sync", worker="w")
    error = ConflictError(say("The {what} found no row.", what="update of public.orders (id=7)"))
    error.detail["key"] = "id=7"
    error.conflict = Conflict(
        database="shop",
        schema="public",
        name="orders",
        kind=ConflictKind.ROW_MISSING,
        change="update",
        key="id=7",
        digest="ab",
        lsn=1 << 40,
    )
    work.fail(work.Claim(task_id=str(task.pk), epoch=task.epoch, worker="w"), StepName.SYNC, error)
    task.refresh_from_db()
    assert services.conflict_of(task) == error.conflict
    assert "id=7" not in task.error_message + str(task.words)


@pytest.mark.parametrize("choice", CHOICES)
@pytest.mark.parametrize("step", ["sync", "compare", "complete"])
def test_each_choice_is_stored_and_lets_the_task_go_on(task: MigrationTask, choice: str, step: str) -> None:
    MigrationTask.objects.filter(pk=task.pk).update(current_step=step)
    anna = factories.user("anna")
    CHOICES[choice](task_id=task.pk, actor=anna)
    task.refresh_from_db()
    assert (task.status, task.current_step, task.conflict, task.error_code) == ("running", "sync", {}, "")
    wanted = {"quarantine": ("quarantined", NEVER), "drop": ("dropped", NEVER)}
    assert state(task) == wanted.get(choice, ("done", 100))
    assert Recopy.objects.filter(task=task, **ORDERS).exists() == (choice == "recopy") == task.recopy_requested
    assert RowPermission.objects.filter(task=task).exists() == (choice == "take_source")
    assert Event.objects.filter(task=task, actor="anna").count() == 2
    assert factories.CANARY not in "".join(Event.objects.filter(task=task).values_list("message", flat=True))


@pytest.mark.parametrize("choice", CHOICES)
def test_there_is_nothing_to_choose_where_no_conflict_stopped_the_task(task: MigrationTask, choice: str) -> None:
    MigrationTask.objects.filter(pk=task.pk).update(conflict={})
    with pytest.raises(services.Refused, match="did not stop at a conflict"):
        CHOICES[choice](task_id=task.pk, actor=None)
    assert state(task) == ("done", 100)


@pytest.mark.parametrize(
    ("obstacle", "words"),
    [
        ("other_key", "another key"),
        ("not_whole", "large value"),
        ("refused", "does not take"),
        ("at_the_end", "end of a transaction"),
    ],
)
def test_the_row_of_the_source_is_refused_where_it_cannot_be_taken(
    task: MigrationTask, obstacle: str, words: str
) -> None:
    factories.conflict(task, obstacle=obstacle)
    with pytest.raises(services.Refused, match=words):
        services.take_source_row(task_id=task.pk, actor=None)
    view = selectors.task_row(task).conflict
    assert view is not None
    assert [choice.name for choice in view.choices] == ["retry", "recopy", "quarantine", "drop"]


def test_a_permission_is_what_the_engine_gets_and_is_used_up_once(task: MigrationTask) -> None:
    services.take_source_row(task_id=task.pk, actor=factories.user("anna"))
    (permission,) = work.permissions(task.pk, "shop")
    assert permission == Permission(
        number=permission.number, schema="public", name="orders", digest="d" * 32, lsn=0x16B3748
    )
    assert work.permissions(task.pk, "another") == []
    for use in (Use.TAKEN, Use.UNKNOWN):
        work.permission_used(task.pk, permission, use)
    assert work.permissions(task.pk, "shop") == []
    event = Event.objects.get(task=task, code="CONFLICT-TAKEN")
    assert event.message == (
        "The source's row took the place of what was on the target: update of public.orders in shop, at 0/16B3748."
    )
    assert event.detail == {"key": f"id={factories.CANARY}", "asked_by": "anna"}
    assert [row["use"] for row in selectors.task_report(task)["rows_taken"]] == ["taken"]


def test_complete_names_the_quarantined_tables_until_each_is_settled(task: MigrationTask) -> None:
    services.quarantine_conflict(task_id=task.pk, actor=None)
    MigrationTask.objects.filter(pk=task.pk).update(status="ready")
    with pytest.raises(services.Refused, match=r"while tables are quarantined.*public\.orders"):
        services.complete_task(task_id=task.pk, actor=None)
    services.drop_table(task_id=task.pk, actor=None, **ORDERS)
    assert services.complete_task(task_id=task.pk, actor=None).status == "completing"


def test_a_quarantined_table_that_is_being_copied_again_cannot_be_dropped_beneath(task: MigrationTask) -> None:
    services.quarantine_conflict(task_id=task.pk, actor=None)
    services.recopy_table(task_id=task.pk, actor=None, **ORDERS)
    with pytest.raises(services.Refused, match="not being copied again"):
        services.drop_table(task_id=task.pk, actor=None, **ORDERS)
    assert state(task)[0] == "quarantined"


def test_only_a_quarantined_table_is_dropped_while_the_others_sync(task: MigrationTask) -> None:
    services.retry_task(task_id=task.pk, actor=None)
    with pytest.raises(services.Refused, match="Only a quarantined table"):
        services.drop_table(task_id=task.pk, actor=None, **ORDERS)


def test_setting_a_table_aside_takes_back_the_request_to_copy_it(task: MigrationTask) -> None:
    services.recopy_table(task_id=task.pk, actor=None, **ORDERS)
    services.quarantine_table(task_id=task.pk, actor=None, **ORDERS)
    task.refresh_from_db()
    assert (task.status, task.recopy_requested, Recopy.objects.count()) == ("failed", False, 0)


def test_a_dropped_table_never_comes_back(task: MigrationTask) -> None:
    services.drop_table(task_id=task.pk, actor=None, **ORDERS)
    for decide in (services.recopy_table, services.quarantine_table, services.drop_table):
        with pytest.raises(services.Refused, match="dropped from the task already"):
            decide(task_id=task.pk, actor=None, **ORDERS)
    assert state(task) == ("dropped", NEVER)


@pytest.mark.parametrize(
    ("step", "decide"),
    [
        ("copy", services.quarantine_table),
        *(
            (step, decide)
            for step in ("index", "cleanup")
            for decide in (services.quarantine_table, services.drop_table)
        ),
    ],
)
def test_no_table_is_set_aside_before_or_after_the_sync(task: MigrationTask, step: str, decide: Decide) -> None:
    MigrationTask.objects.filter(pk=task.pk).update(current_step=step)
    with pytest.raises(services.Refused, match="once the sync has begun"):
        decide(task_id=task.pk, actor=None, **ORDERS)


@pytest.mark.parametrize("incremental", [True, False])
def test_a_table_that_stops_the_copy_is_dropped_and_the_page_offers_it(task: MigrationTask, incremental: bool) -> None:
    MigrationTask.objects.filter(pk=task.pk).update(current_step="copy", incremental=incremental)
    TableCopy.objects.filter(task=task, name="orders").update(status="copying")
    page = client("operator").get(reverse("tasks:detail", args=[task.pk])).content.decode()
    assert "/table/drop/" in page
    assert "/table/quarantine/" not in page
    services.drop_table(task_id=task.pk, actor=None, **ORDERS)
    assert state(task) == ("dropped", NEVER)
    assert services.retry_task(task_id=task.pk, actor=None).status in ("queued", "running")


def test_a_table_is_not_dropped_while_the_copy_runs(task: MigrationTask) -> None:
    services.retry_task(task_id=task.pk, actor=None)
    MigrationTask.objects.filter(pk=task.pk).update(current_step="copy", status="running")
    with pytest.raises(services.Refused, match="Only a quarantined table"):
        services.drop_table(task_id=task.pk, actor=None, **ORDERS)
    assert "/table/drop/" not in client("operator").get(reverse("tasks:detail", args=[task.pk])).content.decode()


def test_a_completed_task_says_which_tables_were_dropped(task: MigrationTask) -> None:
    services.drop_conflict(task_id=task.pk, actor=None)
    MigrationTask.objects.filter(pk=task.pk).update(status="completing", current_step="cleanup", worker="w")
    task.refresh_from_db()
    work.finish_step(work.Claim(task_id=str(task.pk), epoch=task.epoch, worker="w"), StepName.CLEANUP)
    event = Event.objects.get(task=task, code="TASK-COMPLETED")
    assert event.level == "warning"
    assert event.message.endswith("Dropped from the task, so not synced to the end and not compared: public.orders.")


@pytest.mark.parametrize(("role", "sees"), [("viewer", False), ("operator", True), ("admin", True)])
@pytest.mark.parametrize("page", ["detail", "list"])
def test_only_who_may_see_values_of_rows_sees_the_key_and_the_choices(
    task: MigrationTask, page: str, role: str, sees: bool
) -> None:
    address = reverse("tasks:list") if page == "list" else reverse("tasks:detail", args=[task.pk])
    text = client(role).get(address).content.decode()
    assert "Row missing" in text
    assert "update of public.orders in shop" in text
    assert (factories.CANARY in text) == sees
    assert (f"conflict-take_source-{task.pk}" in text) == sees


def test_the_report_of_a_viewer_has_no_key(task: MigrationTask) -> None:
    services.take_source_row(task_id=task.pk, actor=None)
    factories.conflict(task)
    viewer = client("viewer")
    for name in ("tasks:report", "tasks:report-json"):
        text = viewer.get(reverse(name, args=[task.pk])).content.decode()
        assert factories.CANARY not in text
    assert selectors.task_report(task)["conflict"]["kind"] == "row_missing"


@pytest.mark.parametrize("choice", CHOICES)
def test_each_choice_is_asked_in_words_then_done_and_audited(task: MigrationTask, choice: str) -> None:
    anna, address = client("operator"), reverse("tasks:confirm", args=[task.pk, choice])
    asked = anna.get(address).content.decode()
    assert "public.orders" in asked
    assert factories.CANARY in asked
    assert MigrationTask.objects.get(pk=task.pk).status == "failed"
    sent = {"typed": task.name} if choice == "drop" else {}
    assert anna.post(reverse("tasks:action", args=[task.pk, choice]), sent).status_code == 302
    assert MigrationTask.objects.get(pk=task.pk).status == "running"
    entry = AuditEntry.objects.get(action=f"tasks:action-{choice}")
    assert (entry.actor, factories.CANARY in entry.message) == ("the-operator", False)
    assert "orders" in entry.message


@pytest.mark.parametrize("action", ["quarantine", "drop"])
def test_a_table_of_the_list_is_set_aside_after_a_question(task: MigrationTask, action: str) -> None:
    anna, address = client("operator"), reverse("tasks:table", args=[task.pk, action])
    page = anna.get(reverse("tasks:detail", args=[task.pk])).content.decode()
    table = TableCopy.objects.get(task=task)
    assert f'id="{action}-t{table.pk}"' in page
    assert "public.orders" in anna.get(address, ORDERS).content.decode()
    assert state(task)[0] == "done"
    assert anna.post(address, ORDERS | ({"typed": task.name} if action == "drop" else {})).status_code == 302
    assert state(task) == ({"quarantine": "quarantined", "drop": "dropped"}[action], NEVER)
    assert client("viewer").get(address, ORDERS).status_code == 403


def test_the_task_page_shows_what_is_set_aside(task: MigrationTask) -> None:
    factories.table_copy(task, "gone", status="dropped")
    services.quarantine_conflict(task_id=task.pk, actor=None)
    MigrationTask.objects.filter(pk=task.pk).update(status="ready")
    text = client("operator").get(reverse("tasks:detail", args=[task.pk])).content.decode()
    assert "1 table is quarantined: public.orders." in text
    assert "1 table was dropped from the task: public.gone." in text
    assert "The target holds everything" not in text
    counts = selectors.TableView(MigrationTask.objects.get(pk=task.pk)).counts()
    assert (counts.states, counts.done) == ({"quarantined": 1, "dropped": 1}, 2)


def test_a_quarantined_table_that_differed_before_is_shown_as_quarantined(task: MigrationTask) -> None:
    difference = {"schema": "public", "name": "orders", "verdict": "differs", "sample_keys": [], "reason": ""}
    factories.comparison(task, equal=False, differences=[difference])
    services.quarantine_table(task_id=task.pk, actor=None, **ORDERS)
    view = selectors.TableView(MigrationTask.objects.get(pk=task.pk))
    assert view.counts().states == {"quarantined": 1}
    for chosen in ("", "quarantined"):
        assert [line.state for line in view.page(selectors.TableFilter(state=chosen))] == ["quarantined"]
    assert list(view.page(selectors.TableFilter(state="mismatch"))) == []


# Command line


def command(*arguments: str) -> str:
    out = StringIO()
    call_command("task", *arguments, stdout=out)
    return out.getvalue()


def test_the_command_line_shows_the_conflict_and_how_it_is_decided(task: MigrationTask) -> None:
    shown = command("conflict", str(task.pk))
    assert f"update of public.orders in shop (id={factories.CANARY}): Row missing" in shown
    assert "--retry | --take-source | --recopy | --quarantine | --drop" in shown
    assert shown.strip() in command("show", str(task.pk))
    assert MigrationTask.objects.get(pk=task.pk).status == "failed"


@pytest.mark.parametrize("option", ["retry", "take-source", "recopy", "quarantine", "drop"])
def test_the_command_line_decides_a_conflict(task: MigrationTask, option: str) -> None:
    assert "Running" in command("conflict", str(task.pk), f"--{option}")
    assert RowPermission.objects.exists() == (option == "take-source")
    assert Recopy.objects.exists() == (option == "recopy")
    assert state(task)[0] == {"quarantine": "quarantined", "drop": "dropped"}.get(option, "done")
    assert command("conflict", str(task.pk)).endswith("no conflict stopped this task.\n")


@pytest.mark.parametrize(("name", "status"), [("quarantine", "quarantined"), ("drop", "dropped")])
def test_the_command_line_sets_a_table_aside(task: MigrationTask, name: str, status: str) -> None:
    command(name, str(task.pk), "public.orders")
    assert state(task) == (status, NEVER)
    with pytest.raises(CommandError, match=r"does not copy such a table"):
        command(name, str(task.pk), "public.no_such_table")


def test_each_decision_needs_more_than_a_viewer(task: MigrationTask) -> None:
    viewer: Any = client("viewer")
    assert isinstance(User.objects.get(username="the-viewer"), User)
    for choice in CHOICES:
        assert viewer.post(reverse("tasks:action", args=[task.pk, choice])).status_code == 403
    assert MigrationTask.objects.get(pk=task.pk).status == "failed"
