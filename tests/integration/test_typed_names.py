"""What cannot be undone takes the task's name, typed: Delete, Drop from task, and clearing the target, or Start again
once it was opened."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from pytest_django.asserts import assertContains, assertNotContains

from migrations_app import services
from migrations_app.models import AuditEntry, MigrationTask, TableCopy
from tests import factories

pytestmark = pytest.mark.django_db
HTMX = {"HTTP_HX_REQUEST": "true"}
WRONG = "This is not the name of the task."
ORDERS = {"database": "shop", "schema": "public", "name": "orders"}


@pytest.fixture
def anna(client: Client) -> Client:
    client.force_login(factories.user("anna"))
    return client


def _task(**fields: Any) -> MigrationTask:
    return factories.task(name="shop to 18", **fields)


def _act(task: MigrationTask, action: str) -> str:
    return reverse("tasks:action", args=[task.id, action])


@pytest.mark.parametrize("headers", [{}, HTMX], ids=["plain", "htmx"])
@pytest.mark.parametrize("typed", [{}, {"typed": ""}, {"typed": "shop"}, {"typed": "SHOP TO 18"}])
def test_delete_without_the_name_is_refused_at_the_field(
    typed: dict[str, str], headers: dict[str, str], anna: Client
) -> None:
    answer = anna.post(_act(_task(), "delete"), typed, **headers)
    assertContains(answer, WRONG, status_code=422)
    assertContains(answer, 'aria-invalid="true" aria-describedby="typed-error"', status_code=422)
    assertContains(answer, f'value="{typed.get("typed", "")}" aria-invalid', status_code=422)
    assert MigrationTask.objects.exists()


def test_blanks_around_a_typed_name_do_not_matter(anna: Client) -> None:
    assert anna.post(_act(_task(), "delete"), {"typed": " shop to 18 "}).status_code == 302
    assert not MigrationTask.objects.exists()


def test_a_name_with_signs_that_nobody_can_type_is_typed_as_it_is_shown(anna: Client) -> None:
    task = factories.task(name="shop\u202e\r\n18")
    asked = anna.get(reverse("tasks:confirm", args=[task.id, "delete"]))
    assertContains(asked, r"shop\u202e\r\n18")
    assert anna.post(_act(task, "delete"), {"typed": r"shop\u202e\r\n18"}).status_code == 302
    assert not MigrationTask.objects.exists()


def test_clearing_the_target_without_the_name_is_refused_and_stays_ticked(anna: Client) -> None:
    task = _task(status="cancelled")
    factories.ledger_entry(task, side="target", kind="table", name="public.orders")
    answer = anna.post(_act(task, "start_again"), {"clear_target": "1", "typed": "x"}, **HTMX)
    assertContains(answer, WRONG, status_code=422)
    assertContains(answer, 'value="1" checked', status_code=422)
    task.refresh_from_db()
    assert (task.status, task.clear_target) == ("cancelled", False)


def test_starting_again_without_clearing_takes_no_name(anna: Client) -> None:
    task = _task(status="cancelled")
    assert anna.post(_act(task, "start_again")).status_code == 302
    task.refresh_from_db()
    assert task.status == "checking"


@pytest.fixture
def opened() -> MigrationTask:
    """A cancelled task whose Complete had begun to open the target."""
    task = _task(status="cancelled")
    for code in ("TASK-QUEUED", "COMPLETE-OPENING", "TASK-CANCELLED"):
        factories.event(task, code=code)
    return task


@pytest.mark.parametrize("clears", [{}, {"clear_target": "1"}], ids=["as the task is told to", "cleared"])
@pytest.mark.parametrize("typed", [{}, {"typed": "shop"}])
def test_starting_again_over_what_an_application_may_have_written_takes_the_name(
    opened: MigrationTask, anna: Client, typed: dict[str, str], clears: dict[str, str]
) -> None:
    shown = anna.get(reverse("tasks:confirm", args=[opened.id, "start_again"]))
    assertContains(shown, "To start again all the same, type the name of the task:")
    answer = anna.post(_act(opened, "start_again"), typed | clears, **HTMX)
    assertContains(answer, WRONG, status_code=422)
    opened.refresh_from_db()
    assert opened.status == "cancelled"
    anna.post(_act(opened, "start_again"), {"typed": opened.name} | clears)
    opened.refresh_from_db()
    assert (opened.status, opened.clear_target) == ("checking", bool(clears))


def test_the_next_run_of_a_task_that_was_opened_once_starts_again_without_the_name(
    opened: MigrationTask, anna: Client
) -> None:
    factories.event(opened, code="TASK-QUEUED")
    anna.post(_act(opened, "start_again"))
    opened.refresh_from_db()
    assert opened.status == "checking"


@pytest.fixture
def stopped() -> MigrationTask:
    """A task that stopped at a conflict of public.orders."""
    task = factories.running_task("sync", name="shop to 18")
    factories.table_copy(task, "orders", status="done")
    return factories.conflict(task)


def test_dropping_the_table_of_a_conflict_without_the_name_is_refused_at_the_field(
    anna: Client, stopped: MigrationTask
) -> None:
    answer = anna.post(_act(stopped, "drop"), {"typed": "x", "from": "list"}, **HTMX)
    assertContains(answer, WRONG, status_code=422)
    assertContains(answer, 'name="from" value="list"', status_code=422)
    assert (MigrationTask.objects.get().status, TableCopy.objects.get().status) == ("failed", "done")


@pytest.mark.parametrize("headers", [{}, HTMX], ids=["plain", "htmx"])
def test_dropping_a_table_of_the_list_without_the_name_is_refused_at_the_field(
    headers: dict[str, str], anna: Client, stopped: MigrationTask
) -> None:
    answer = anna.post(reverse("tasks:table", args=[stopped.id, "drop"]), ORDERS, **headers)
    assertContains(answer, WRONG, status_code=422)
    assertContains(answer, 'name="name" value="orders"', status_code=422)
    assert TableCopy.objects.get().status == "done"


@pytest.mark.parametrize("action", ["retry", "recopy", "quarantine"])
def test_what_can_be_taken_back_asks_for_no_name(action: str, anna: Client, stopped: MigrationTask) -> None:
    assertNotContains(anna.get(reverse("tasks:confirm", args=[stopped.id, action])), 'name="typed"')
    assert anna.post(_act(stopped, action)).status_code == 302


def test_what_was_refused_for_its_name_is_no_act_in_the_trail(anna: Client) -> None:
    anna.post(_act(_task(), "delete"), {"typed": "x"})
    assert not AuditEntry.objects.exists()


def test_a_task_that_may_not_be_deleted_says_so_before_it_asks_for_a_name() -> None:
    task = factories.running_task("sync", name="shop to 18")
    with pytest.raises(services.Refused, match="must be completed or cancelled"):
        services.delete_task(task_id=task.pk, actor=None, typed="x")
