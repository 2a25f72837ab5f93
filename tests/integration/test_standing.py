"""What a task says beside its status: what stands still, what is lost for good, and what somebody has to do."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from pytest_django.asserts import assertContains, assertNotContains

from migrations_app import services
from migrations_app.models import MigrationTask, Recopy
from tests import factories

pytestmark = pytest.mark.django_db


@pytest.fixture
def anna() -> Client:
    client = Client()
    client.force_login(factories.user("anna"))
    return client


def _standing(anna: Client, task: MigrationTask) -> str:
    page: str = anna.get(reverse("tasks:detail", args=[task.pk])).text
    return page.partition('id="standing"')[2].partition("</div>")[0]


@pytest.mark.parametrize(
    ("step", "fields", "words"),
    [
        ("sync", {}, "Resume goes on where it was; until then the source keeps every change"),
        ("copy", {"incremental": False}, "Resume copies every table from the beginning"),
        ("compare", {"incremental": False}, "All rows are on the target"),
    ],
)
def test_a_paused_task_says_what_resume_does(anna: Client, step: str, fields: dict[str, Any], words: str) -> None:
    assert words in _standing(anna, factories.running_task(step, status="paused", **fields))


def test_a_task_that_was_paused_for_another_one_says_that_it_goes_on_by_itself(anna: Client) -> None:
    task = factories.running_task("sync", status="paused", paused_for=factories.running_task("sync"))
    assert "It goes on by itself" in _standing(anna, task)


def test_a_completing_task_says_what_is_done_and_how_to_go_back(anna: Client) -> None:
    task = factories.running_task("compare", status="completing")
    told = _standing(anna, task)
    assert "every row is compared" in told
    assert "Back to sync lets the sync go on instead" in told
    MigrationTask.objects.filter(pk=task.pk).update(back_requested=True)
    assert "it stops as soon as it can" in _standing(anna, task)


def test_past_the_point_of_return_nothing_offers_a_way_back(anna: Client) -> None:
    told = _standing(anna, factories.running_task("cleanup", status="completing"))
    assert "Complete was pressed" in told
    assert "Back to sync" not in told


@pytest.mark.parametrize(("side", "words"), [("source", "which keeps WAL for it"), ("target", "Start again can clear")])
def test_a_cancelled_task_says_what_is_left_and_what_to_do(anna: Client, side: str, words: str) -> None:
    task = factories.running_task("sync", status="cancelled")
    assert _standing(anna, task) == ""
    factories.ledger_entry(task, side=side)
    assert words in _standing(anna, task)


@pytest.mark.parametrize(
    ("incremental", "words"), [(True, "the source forgets the changes"), (False, "copies everything")]
)
def test_cancel_names_what_is_lost_for_good(anna: Client, incremental: bool, words: str) -> None:
    task = factories.running_task("copy", incremental=incremental)
    address = reverse("tasks:confirm", args=[task.pk, "cancel"])
    assertNotContains(anna.get(address), "cannot be taken up again later")
    factories.table_copy(task, status="done", bytes_done=10)
    asked = anna.get(address)
    assertContains(asked, "cannot be taken up again later")
    assertContains(asked, words)


def test_complete_says_at_once_which_tables_it_waits_for(anna: Client) -> None:
    task = factories.running_task("sync", status="ready")
    address = reverse("tasks:confirm", args=[task.pk, "complete"])
    assertContains(anna.get(address), "hx-post")
    factories.new_table(task, "later")
    asked = anna.get(address)
    assertContains(asked, "nobody has decided about tables that are new on the source: public.later", status_code=409)
    assertNotContains(asked, "hx-post", status_code=409)
    factories.table_copy(task, "orders", status="quarantined")
    assertContains(anna.get(address), "tables are quarantined", status_code=409)


def test_a_ready_task_with_tables_to_decide_looks_other_than_one_without(anna: Client) -> None:
    clean, waits = (factories.running_task("sync", status="ready") for _ in range(2))
    factories.new_table(waits, "later")
    for name in ("orders", "prices"):
        factories.table_copy(waits, name, status="quarantined")
    factories.event(waits, "public.orders is quarantined.", code="TABLE-QUARANTINED")
    page = anna.get("/").text
    shown = {task: page.partition(f'id="status-{task.pk}"')[2].partition("</td>")[0] for task in (clean, waits)}
    assert "2 tables quarantined" in shown[waits]
    assert "1 new table to decide" in shown[waits]
    assert shown[clean].count('class="state') == 1


def test_a_table_that_changed_offers_retry_once_in_the_list(anna: Client) -> None:
    task = factories.drift(factories.running_task("sync"))
    page = anna.get("/")
    assertContains(page, f'href="/tasks/{task.pk}/retry/', count=1)
    assertContains(page, f'id="drift-retry-{task.pk}"', count=1)


@pytest.mark.parametrize(
    ("step", "incremental", "words"),
    [("sync", True, "All other tables stay in sync meanwhile"), ("compare", False, "before the rows are compared")],
)
def test_copying_a_table_again_asks_first_and_names_it(anna: Client, step: str, incremental: bool, words: str) -> None:
    task = factories.running_task(step, status="failed", incremental=incremental)
    factories.table_copy(task, "orders", status="done", rows_done=1204, bytes_total=48_000_000)
    address = reverse("tasks:table", args=[task.pk, "recopy"])
    place = {"database": "shop", "schema": "public", "name": "orders"}
    asked = anna.get(address, place)
    for said in ("public.orders", "shop", "1,204", "48 MB", words):
        assertContains(asked, said)
    assert not Recopy.objects.exists()
    answer = anna.post(address, place, follow=True)
    assertContains(answer, "as soon as the task goes on")
    assert Recopy.objects.get().name == "orders"


@pytest.mark.parametrize(("status", "action"), [("paused", "resume"), ("failed", "retry")])
@pytest.mark.parametrize(("incremental", "words"), [(True, "goes on"), (False, "copied from the beginning")])
def test_what_is_said_of_going_on_is_what_happens(
    anna: Client, status: str, action: str, incremental: bool, words: str
) -> None:
    task = factories.running_task("copy", status=status, incremental=incremental)
    assertContains(anna.post(reverse("tasks:action", args=[task.pk, action]), follow=True), words)


def test_a_table_that_is_to_be_copied_again_says_so_and_is_not_offered_twice(anna: Client) -> None:
    task = factories.running_task("sync", status="ready")
    table = factories.table_copy(task, "orders", status="done")
    services.recopy_table(task_id=task.pk, actor=None, database="shop", schema="public", name="orders")
    page = anna.get(reverse("tasks:detail", args=[task.pk]))
    assertContains(page, "To be copied again, as soon as it is its turn.")
    assertNotContains(page, f'id="recopy-t{table.pk}"')


def test_a_ready_task_whose_last_comparison_found_differences_is_told_from_others(anna: Client) -> None:
    task = factories.running_task("sync", status="ready")
    factories.comparison(task, equal=False)
    assertContains(anna.get("/"), "Differences found")
    page = anna.get(reverse("tasks:detail", args=[task.pk]))
    assertContains(page, "did not find everything equal")
    assertNotContains(page, "The target holds everything")
    factories.comparison(task, equal=True)
    MigrationTask.objects.filter(pk=task.pk).update(version=task.version + 1)
    assertNotContains(anna.get("/"), "Differences found")
    assertContains(anna.get(reverse("tasks:detail", args=[task.pk])), "The target holds everything")


_LATE = "shop: still written to on the source after the last change that is on the target: public.orders (8 changes)."


def _completed(*codes: str) -> MigrationTask:
    task = factories.running_task("cleanup", status="completed")
    for code in codes:
        level = {"SRC-LATE": "error", "SRC-UNSEEN": "warning"}.get(code, "info")
        factories.event(task, _LATE if code.startswith("SRC") else code, code=code, level=level)
    return task


def _head(anna: Client, task: MigrationTask) -> str:
    return anna.get(reverse("tasks:detail", args=[task.pk])).text.partition('id="head"')[2].partition("task-tools")[0]


@pytest.mark.parametrize("codes", [["SRC-LATE"], ["SRC-UNSEEN", "SRC-LATE"]], ids=" ".join)
def test_what_did_not_come_along_at_the_end_stands_at_the_top_of_the_completed_task(
    anna: Client, codes: list[str]
) -> None:
    head = _head(anna, _completed("TASK-COMPLETING", *codes, "TASK-COMPLETED"))
    assert _LATE in head
    assert 'class="note bad"' in head
    assert "make the changes of these tables on the target too" in head
    assert "Point the application at the target" not in head
    assert "see to that before you point the application at the target" in head
    assert 'class="note ok"' not in head


def test_what_could_not_be_seen_at_the_end_is_a_warning_and_keeps_nobody_from_the_target(anna: Client) -> None:
    task = _completed("TASK-COMPLETING", "SRC-UNSEEN", "TASK-COMPLETED")
    head = _head(anna, task)
    assert _LATE in head
    assert "Make sure that nothing writes on the source any more" in head
    assert "Point the application at the target" in head
    assert "see to that before" not in head
    assert 'class="note bad"' not in head
    assert 'class="note ok"' not in head
    report = anna.get(reverse("tasks:report", args=[task.pk])).text
    assert '<p class="warn"><code>SRC-UNSEEN</code>' in report


def test_late_writes_of_a_former_complete_are_not_told_again(anna: Client) -> None:
    head = _head(anna, _completed("TASK-COMPLETING", "SRC-LATE", "TASK-COMPLETING", "TASK-COMPLETED"))
    assert _LATE not in head
    assert "Point the application at the target" in head


def test_the_list_marks_a_completed_task_that_left_changes_on_the_source(anna: Client) -> None:
    tasks = [_completed("TASK-COMPLETING", *late, "TASK-COMPLETED") for late in (["SRC-LATE"], ["SRC-UNSEEN"], [])]
    page = anna.get("/").text
    cells = [page.partition(f'id="status-{task.pk}"')[2].partition("</td>")[0] for task in tasks]
    assert ["Changes left on the source" in cell for cell in cells] == [True, False, False]


def test_delete_says_at_once_what_is_still_on_the_source(anna: Client) -> None:
    task = factories.running_task("sync", status="cancelled")
    address = reverse("tasks:confirm", args=[task.pk, "delete"])
    factories.ledger_entry(task, side="target", kind="table", schema="public", name="orders")
    assertContains(anna.get(address), "The list of them is deleted too")
    factories.ledger_entry(task)
    asked = anna.get(address)
    assertContains(asked, "On the source now: 1 object of this task.")
    assertContains(asked, "This stays on the servers, and nobody knows of it any more")
