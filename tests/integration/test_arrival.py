"""Notes on the structure, options for roles and for what the target has, and tables that are copied once more."""

from __future__ import annotations

import json
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from pytest_django.asserts import assertContains, assertNotContains, assertRedirects

from migrations_app import selectors, services
from migrations_app.engine.selection import Selection
from migrations_app.engine.states import StepName
from migrations_app.models import AuditEntry, Event, MigrationTask, Recopy, StructureNote, TaskDatabase
from migrations_app.services import work
from tests import factories

pytestmark = pytest.mark.django_db


@pytest.fixture
def anna(client: Client) -> Client:
    client.force_login(factories.user("anna"))
    return client


def noted(**fields: Any) -> MigrationTask:
    """A task whose structure comparison has left two notes."""
    task = factories.running_task("complete", **fields)
    database = TaskDatabase.objects.get(task=task)
    TaskDatabase.objects.filter(pk=database.pk).update(structure_at=timezone.now(), structure_count=120)
    rows = [("index by_day on shop.orders", "missing on the target"), (factories.HOSTILE, factories.HOSTILE)]
    for title, what in rows:
        StructureNote.objects.create(
            task=task,
            database=database.source_name,
            kind="index",
            title=title,
            what=what,
            statement="CREATE INDEX by_day ON shop.orders (day);",
            words="missing right: permission denied (42501)",
        )
    MigrationTask.objects.filter(pk=task.pk).update(notes_count=2)
    task.refresh_from_db()
    return task


def test_the_task_page_lists_the_notes_with_what_mends_them(anna: Client) -> None:
    task = noted(status="completed")
    page = anna.get(reverse("tasks:detail", args=[task.pk]))
    assertContains(page, "2 notes")
    assertContains(page, "120 objects compared")
    assertContains(page, "index by_day on shop.orders")
    assertContains(page, "CREATE INDEX by_day ON shop.orders (day);")
    assertContains(page, "missing right: permission denied (42501)")
    assertContains(page, "Completed, with notes")
    assertNotContains(page, "<script>alert(1)")


@pytest.mark.parametrize("left", [False, True])
def test_a_completed_task_says_whether_anything_of_ours_is_left(anna: Client, left: bool) -> None:
    task = noted(status="completed")
    if left:
        factories.ledger_entry(task)
    page = anna.get(reverse("tasks:detail", args=[task.pk])).content.decode()
    assert ("has left nothing of its own" in page) == (not left)
    assert (
        "could be removed from the servers: remove it as the list below says, and then press Try clean-up" in page
    ) == left


def test_the_report_holds_the_notes_in_both_forms(anna: Client) -> None:
    task = noted()
    body = json.loads(anna.get(reverse("tasks:report-json", args=[task.pk])).content)
    (line,) = body["structure"]
    assert line["objects"] == 120
    assert line["notes"][0] == {
        "object": "index by_day on shop.orders",
        "kind": "index",
        "what": "missing on the target",
        "statement": "CREATE INDEX by_day ON shop.orders (day);",
        "words": "missing right: permission denied (42501)",
    }
    assertContains(anna.get(reverse("tasks:report", args=[task.pk])), "index by_day on shop.orders")


def test_the_command_line_prints_the_notes_as_text_and_as_json() -> None:
    task, text, data = noted(), StringIO(), StringIO()
    call_command("task", "show", str(task.pk), stdout=text)
    assert "2 NOTES, 120 objects compared" in text.getvalue()
    assert "index by_day on shop.orders: missing on the target" in text.getvalue()
    call_command("task", "show", str(task.pk), "--json", stdout=data)
    assert json.loads(data.getvalue())["structure"][0]["notes"][0]["what"] == "missing on the target"


def test_a_task_with_notes_ends_completed_and_says_so() -> None:
    task = noted(status="completing")
    claim = work.Claim(task_id=str(task.pk), epoch=task.epoch, worker="w")
    later = timezone.now() + timedelta(minutes=1)
    MigrationTask.objects.filter(pk=task.pk).update(worker="w", lease_until=later)
    assert work.finish_step(claim, StepName.CLEANUP) is None
    task.refresh_from_db()
    assert task.status == "completed"
    event = Event.objects.filter(task=task, code="TASK-COMPLETED").get()
    assert "2 notes on what" in event.message
    assert event.level == "warning"


def test_emptying_and_dropping_take_the_name_of_the_task(anna: Client) -> None:
    task = factories.task(name="shop to 18")
    url = reverse("tasks:existing", args=[task.pk])
    for typed in ("", "shop to 17"):
        anna.post(url, {"policy": "truncate", "typed": typed})
        task.refresh_from_db()
        assert Selection.from_json(task.selection).existing == "refuse"
    anna.post(url, {"policy": "truncate", "typed": "shop to 18"})
    task.refresh_from_db()
    assert Selection.from_json(task.selection).existing == "truncate"
    assert Event.objects.get(task=task, code="TASK-EXISTING").actor == "anna"
    assert "Confirmed by the task's name" in AuditEntry.objects.filter(action="tasks:existing").latest("id").message


def test_a_wrong_name_is_told_at_its_field_and_the_choice_is_kept(anna: Client) -> None:
    task = factories.task(name="shop to 18")
    factories.inventory(task)
    url = reverse("tasks:existing", args=[task.pk])
    answer = anna.post(url, {"policy": "recreate", "typed": "shop to 17"})
    assertContains(answer, '<option value="recreate" selected>', status_code=422)
    assertContains(answer, 'value="shop to 17" aria-invalid="true" aria-describedby="typed-error"', status_code=422)
    assertContains(answer, "Type the task&#x27;s name to confirm", status_code=422)
    assert not AuditEntry.objects.filter(action="tasks:existing").exists()
    assertRedirects(
        anna.post(url, {"policy": "recreate", "typed": "shop to 18"}), reverse("tasks:objects", args=[task.pk])
    )


def test_keeping_what_is_there_needs_no_confirmation(anna: Client) -> None:
    task = factories.task()
    anna.post(reverse("tasks:existing", args=[task.pk]), {"policy": "keep"})
    task.refresh_from_db()
    assert Selection.from_json(task.selection).existing == "keep"


def test_a_clone_confirms_nothing() -> None:
    task = factories.task(name="shop")
    services.set_existing(task_id=task.pk, actor=None, policy="recreate", typed="shop")
    copy = services.clone_task(task_id=task.pk, actor=None)
    assert Selection.from_json(copy.selection).existing == "refuse"


def test_a_choice_voids_the_check() -> None:
    task = factories.checked_task()
    services.set_roles(task_id=task.pk, actor=None, roles="needed", passwords=True)
    task.refresh_from_db()
    assert task.status == "draft"
    selection = Selection.from_json(task.selection)
    assert (selection.roles, selection.role_passwords) == ("needed", True)
    services.set_roles(task_id=task.pk, actor=None, roles="none", passwords=True)
    task.refresh_from_db()
    assert not Selection.from_json(task.selection).role_passwords


def test_unknown_choices_are_refused_in_words(anna: Client) -> None:
    task = factories.task()
    with pytest.raises(services.Refused):
        services.set_roles(task_id=task.pk, actor=None, roles="some", passwords=False)
    with pytest.raises(services.Refused):
        services.set_existing(task_id=task.pk, actor=None, policy="burn", typed=task.name)
    assert anna.post(reverse("tasks:roles", args=[task.pk]), {"roles": "x" * 500}).status_code in (302, 409)


@pytest.mark.parametrize("policy", ["truncate", "recreate"])
def test_the_command_line_destroys_nothing_without_the_name(policy: str) -> None:
    addresses = ["--source", "postgresql://a@h/d", "--target", "postgresql://a@h/e", "--name", "move"]
    for more in ([], ["--yes-destroy", "mov"]):
        with pytest.raises(CommandError, match="Confirm it with --yes-destroy"):
            call_command("task", "create", *addresses, "--existing", policy, *more)
    out = StringIO()
    confirmed = ["--existing", policy, "--yes-destroy", "move"]
    call_command("task", "create", *addresses, *confirmed, "--roles", "all", stdout=out)
    selection = Selection.from_json(MigrationTask.objects.get().selection)
    assert (selection.existing, selection.roles) == (policy, "all")


def test_a_table_of_a_syncing_task_can_be_asked_for_once_more(anna: Client) -> None:
    task = factories.running_task("sync", status="ready")
    table = factories.table_copy(task, "orders", status="done")
    place = {"database": table.database, "schema": table.schema, "name": table.name}
    address = reverse("tasks:table", args=[task.pk, "recopy"])
    assertContains(anna.get(reverse("tasks:detail", args=[task.pk])), address)
    for _ in range(2):
        anna.post(address, place)
    task.refresh_from_db()
    assert task.recopy_requested
    assert Recopy.objects.get(task=task).asked_by == "anna"
    assert Event.objects.filter(task=task, code="RECOPY-REQUESTED").count() == 1
    assert "is to be copied once more" in AuditEntry.objects.filter(action="tasks:table-recopy").earliest("id").message


def test_a_table_cannot_be_asked_for_before_all_are_copied_or_if_it_is_not_ours() -> None:
    early, ready = factories.running_task("copy"), factories.running_task("sync", status="ready")
    table = factories.table_copy(early, "orders")
    place = {"database": table.database, "schema": table.schema, "name": table.name}
    for task in (early, ready, factories.task()):
        with pytest.raises(services.Refused):
            services.recopy_table(task_id=task.pk, actor=None, **place)
    assert not Recopy.objects.exists()


def test_the_command_line_asks_for_a_table_too() -> None:
    task = factories.running_task("sync", status="paused")
    table = factories.table_copy(task, "orders", status="done")
    call_command("task", "recopy", str(task.pk), f"{table.schema}.{table.name}", stdout=StringIO())
    assert Recopy.objects.filter(task=task, name="orders").exists()
    with pytest.raises(CommandError, match="Name the table"):
        call_command("task", "recopy", str(task.pk), "orders", stdout=StringIO())


def test_notes_on_roles_stand_beside_those_of_databases() -> None:
    task = noted()
    StructureNote.objects.create(task=task, database="", kind="role", title="role app", what="needs a password")
    assert [line.database for line in selectors.structure(task)][-1] == ""
