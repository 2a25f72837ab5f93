"""The wizard: settings and objects."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from pytest_django import DjangoAssertNumQueries
from pytest_django.asserts import assertContains, assertNotContains, assertRedirects

from migrations_app.models import ConnectionTest, Endpoint, MigrationTask, SourceObject
from tests import factories
from tests.integration.test_forms import settings_data

pytestmark = pytest.mark.django_db
HTMX = {"HTTP_HX_REQUEST": "true"}


@pytest.fixture
def anna(client: Client) -> Client:
    client.force_login(factories.user("anna"))
    return client


def _url(name: str, task: MigrationTask, *more: Any) -> str:
    return reverse(f"tasks:{name}", args=[task.id, *more])


def _pick(anna: Client, task: MigrationTask, *path: str, selected: bool, **headers: str) -> Any:
    return anna.post(_url("toggle", task), {"pick": json.dumps({"path": path, "selected": selected})}, **headers)


def test_the_first_save_makes_a_draft_and_asks_for_the_objects(anna: Client) -> None:
    answer = anna.post(reverse("tasks:create"), settings_data())
    task = MigrationTask.objects.get()
    assertRedirects(answer, _url("objects", task))
    assert (task.status, task.owner.username, task.incremental) == ("draft", "anna", True)
    assert ConnectionTest.objects.get(task=task).kind == "inventory"


def test_objects_that_were_read_are_not_read_again(anna: Client) -> None:
    task = factories.task()
    factories.inventory(task)
    anna.post(_url("settings", task), settings_data())
    assert ConnectionTest.objects.filter(task=task, kind="inventory").count() == 1


def test_another_source_is_read_anew(anna: Client) -> None:
    task = factories.task()
    factories.inventory(task)
    anna.post(_url("settings", task), settings_data(source__host="db2.internal"))
    assert not SourceObject.objects.exists()
    assert ConnectionTest.objects.filter(task=task, kind="inventory", state="waiting").count() == 1


def test_save_and_close_ends_on_the_list(anna: Client) -> None:
    answer = anna.post(reverse("tasks:create"), settings_data(press="close"), follow=True)
    assertContains(answer, "shop to 18 is saved as a draft.")
    assert not ConnectionTest.objects.exists()


@pytest.mark.parametrize("headers", [{}, HTMX], ids=["plain", "htmx"])
def test_an_invalid_form_comes_back_with_422_and_what_was_typed(headers: dict[str, str], anna: Client) -> None:
    answer = anna.post(reverse("tasks:create"), settings_data(source__port="0", name="kept"), **headers)
    assertContains(answer, "A port lies between 1 and 65535", status_code=422)
    assertContains(answer, 'value="kept"', status_code=422)
    assertNotContains(answer, factories.CANARY, status_code=422)
    assert not MigrationTask.objects.exists()


def test_fields_that_the_form_does_not_have_are_ignored(anna: Client) -> None:
    anna.post(reverse("tasks:create"), settings_data(status="completed", owner="1", version="99", selection="{}"))
    task = MigrationTask.objects.get()
    assert (task.status, task.owner.username) == ("draft", "anna")


def test_editing_voids_a_passed_check(anna: Client) -> None:
    task = factories.checked_task()
    anna.post(_url("settings", task), settings_data(source__database="other"))
    assertContains(anna.get(_url("check", task)), "void since the settings changed")
    assert anna.post(_url("action", task, "start"), **HTMX).status_code == 409


def test_test_connection_saves_and_leads_back_with_both_results(anna: Client) -> None:
    task = factories.task()
    old = factories.connection_test(task, "target", state="failed", message="refused")
    data = settings_data(press="test-source", test_target=str(old.id), source__database="shop")
    answer = anna.post(_url("settings", task), data)
    new = ConnectionTest.objects.get(side="source")
    page = anna.get(answer["Location"])
    assertContains(page, reverse("tasks:test-result", args=[new.id]))
    assertContains(page, "refused")
    assert Endpoint.objects.get(source_of=task).database == "shop"


@pytest.mark.parametrize("value", ["x", "", "00000000-0000-0000-0000-000000000000"])
def test_a_test_that_does_not_exist_is_not_shown(value: str, anna: Client) -> None:
    assertContains(anna.get(_url("settings", factories.task()), {"source": value}), "Saves the draft")


def test_a_test_of_another_task_is_not_shown(anna: Client) -> None:
    foreign = factories.connection_test(factories.task(), state="passed", message="of another task")
    assertNotContains(anna.get(_url("settings", factories.task()), {"source": str(foreign.id)}), "of another task")


@pytest.mark.parametrize(
    ("state", "polls"), [("waiting", True), ("running", True), ("passed", False), ("failed", False)]
)
def test_a_test_polls_until_it_has_ended(state: str, polls: bool, anna: Client) -> None:
    test = factories.connection_test(factories.task(), state=state, message="answered", hint="do this")
    answer = anna.get(reverse("tasks:test-result", args=[test.id]))
    assert ("hx-trigger" in answer.text) is polls
    assert ("do this" in answer.text) is not polls


def test_a_side_that_does_not_exist_is_not_found(anna: Client) -> None:
    assert anna.post(_url("test", factories.task(), "middle")).status_code == 404


def test_reading_is_asked_for_once(anna: Client) -> None:
    task = factories.task()
    for _ in range(2):
        assertRedirects(anna.post(_url("read", task)), _url("objects", task))
    assert ConnectionTest.objects.count() == 1
    assertContains(anna.get(_url("objects", task)), 'hx-trigger="every 1s"')


def test_a_failed_reading_says_why_and_offers_another(anna: Client) -> None:
    task = factories.task()
    factories.connection_test(task, kind="inventory", state="failed", message="No answer.", hint="Open the port.")
    page = anna.get(_url("objects", task))
    for words in ("No answer.", "Open the port.", "Try again"):
        assertContains(page, words)
    assertNotContains(page, 'hx-trigger="every')


def test_a_toggle_answers_with_node_ancestors_and_counter(anna: Client) -> None:
    task = factories.task()
    factories.inventory(task)
    answer = _pick(anna, task, "shop", "public", "table_001", selected=False, **HTMX)
    assert answer.text.count('aria-checked="mixed"') == 3
    assert answer.text.count('aria-checked="false"') == 1
    assertContains(answer, "2 of 3 tables")
    task.refresh_from_db()
    assert [["shop", "public", "table_001"], False] in task.selection["rules"]


def test_a_repeated_toggle_changes_nothing_more(anna: Client) -> None:
    task = factories.task()
    factories.inventory(task)
    for _ in range(2):
        assert _pick(anna, task, "shop", selected=False).status_code == 302
        task.refresh_from_db()
        assert task.selection["rules"] == [[[], True], [["shop"], False]]


@pytest.mark.parametrize(
    "pick",
    [
        "",
        "x",
        "[]",
        "1",
        '{"path": "shop", "selected": true}',
        '{"path": [1], "selected": true}',
        '{"path": ["a"]}',
        '{"path": ["a","b","c","d"], "selected": true}',
        '{"path": ["a"], "selected": "no"}',
    ],
)
def test_an_unreadable_toggle_is_refused(pick: str, anna: Client) -> None:
    task = factories.task()
    assert anna.post(_url("toggle", task), {"pick": pick}).status_code == 400
    task.refresh_from_db()
    assert task.selection == {"rules": [[[], True]], "targets": {}}


def test_a_level_has_pages_and_few_queries(anna: Client, django_assert_max_num_queries: DjangoAssertNumQueries) -> None:
    task = factories.task()
    factories.inventory(task, tables=250)
    url = _url("tree", task)
    with django_assert_max_num_queries(10):
        first = anna.get(url, {"path": ["shop", "public"]})
    assert first.text.count('role="checkbox"') == 200
    assertContains(first, "Show more of 250")
    second = anna.get(url, {"path": ["shop", "public"], "page": "2"})
    assert second.text.count('role="checkbox"') == 50
    assertNotContains(second, "Show more")


@pytest.mark.parametrize("page", ["0", "-1", "x", "999999999999", "1e3"])
def test_a_page_that_does_not_exist_is_another_page(page: str, anna: Client) -> None:
    task = factories.task()
    factories.inventory(task)
    assert anna.get(_url("tree", task), {"path": ["shop", "public"], "page": page}).status_code == 200
    assert anna.get(_url("detail", task), {"page": page}).status_code == 200


def test_a_level_that_does_not_exist_is_not_found(anna: Client) -> None:
    assert anna.get(_url("tree", factories.task()), {"path": ["a", "b", "c"]}).status_code == 404


def test_a_very_long_search_is_cut(anna: Client) -> None:
    task = factories.task()
    factories.inventory(task)
    assert anna.get(_url("tree", task), {"q": "x" * 100_000}).status_code == 200


def test_what_cannot_be_selected_is_greyed_with_the_reason(anna: Client) -> None:
    task = factories.task()
    factories.inventory(task)
    page = anna.get(_url("objects", task))
    assertContains(page, "Templates are never migrated.")
    assertContains(page, " disabled hx-post", count=1)


def test_parents_left_out_are_named_and_can_be_included(anna: Client) -> None:
    task = factories.task(selection={"rules": [[["shop", "public", "table_001"], True]], "targets": {}})
    factories.inventory(task)
    assertContains(anna.get(_url("objects", task)), "shop.public.table_001 → shop.public.table_000")
    assertContains(anna.post(_url("parents", task), follow=True), "1 parent table included.")
    assertNotContains(anna.get(_url("objects", task)), "Include parents")


def _unchosen() -> MigrationTask:
    task = factories.task(selection={"rules": [], "targets": {}})
    factories.inventory(task)
    return task


def test_next_is_shut_while_nothing_is_selected(anna: Client) -> None:
    task = _unchosen()
    assertContains(anna.get(_url("objects", task)), "Nothing is selected yet.")
    opened = _pick(anna, task, "shop", "public", "table_000", selected=True, **HTMX)
    assert re.search(
        r'id="next" hx-swap-oob="true".*<button class="btn btn-primary" id="onward">Next: Check Task', opened.text
    )
    shut = _pick(anna, task, "shop", "public", "table_000", selected=False, **HTMX)
    assertContains(shut, '<button class="btn btn-primary" id="onward" disabled aria-describedby="why-next">', count=1)
    assert anna.post(_url("check-run", task), **HTMX).status_code == 409
    task.refresh_from_db()
    assert task.status == "draft"


def test_a_selection_without_a_table_may_go_on(anna: Client) -> None:
    """Functions and types move as well; the check has a warning for it."""
    task = _unchosen()
    _pick(anna, task, "analytics", selected=True, **HTMX)
    page = anna.get(_url("objects", task))
    assertContains(page, "No table is selected.")
    assertNotContains(page, "Nothing is selected")
    assert anna.post(_url("check-run", task)).status_code == 302
    task.refresh_from_db()
    assert task.status == "checking"


def test_the_head_of_the_wizard_follows_a_toggle(anna: Client) -> None:
    task = _unchosen()
    assertContains(anna.get(_url("objects", task)), 'id="wizard-names">nothing selected<')
    assertContains(_pick(anna, task, "shop", selected=True, **HTMX), 'id="wizard-names" hx-swap-oob="true">shop<')
