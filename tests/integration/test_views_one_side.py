"""Test connection on step 1 of the wizard: one side is enough, whatever stands in the other fields."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from pytest_django.asserts import assertContains, assertNotContains, assertRedirects

from migrations_app import services
from migrations_app.models import ConnectionTest, Endpoint, MigrationTask
from tests import factories
from tests.integration.test_forms import settings_data

pytestmark = pytest.mark.django_db
EMPTY_TARGET = {f"target__{name}": "" for name in ("host", "port", "account", "password", "database")}
EMPTY_SOURCE = {f"source__{name}": "" for name in ("host", "port", "account", "password", "database")}


@pytest.fixture
def anna(client: Client) -> Client:
    client.force_login(factories.user("anna"))
    return client


def _press(anna: Client, press: str, task: MigrationTask | None = None, **changes: Any) -> Any:
    url = reverse("tasks:settings", args=[task.id]) if task else reverse("tasks:create")
    return anna.post(url, settings_data(press=press, **changes), HTTP_HX_REQUEST="true")


def _hidden(page: Any, name: str) -> str:
    found = re.search(rf'<input type="hidden" name="{name}" value="([^"]*)">', page.text)
    assert found, f"no hidden field {name}"
    return found[1]


def test_the_source_is_tested_while_name_and_target_are_empty(anna: Client) -> None:
    page = _press(anna, "test-source", name="", **EMPTY_TARGET)
    assert page.status_code == 200
    test = ConnectionTest.objects.get()
    assert (test.side, test.kind, test.state) == ("source", "test", "waiting")
    assertContains(page, reverse("tasks:test-result", args=[test.id]))
    assertNotContains(page, "needs another look")
    assert (test.task.source.host, test.task.target) == ("db1.internal", None)


def test_the_target_is_tested_while_the_source_is_empty(anna: Client) -> None:
    assert _press(anna, "test-target", **EMPTY_SOURCE).status_code == 200
    test = ConnectionTest.objects.get()
    assert (test.side, test.task.source, test.task.target.host) == ("target", None, "10.0.4.9")
    assert test.task.name == "shop to 18"


@pytest.mark.parametrize(
    "wrong",
    [{"target__port": "0"}, {"target__host": "a b"}, {"when": "at", "scheduled_at": "2001-01-01T00:00"}, {"name": ""}],
    ids=["port", "host", "time", "name"],
)
def test_what_is_wrong_elsewhere_is_not_told_and_stays_as_it_was_typed(wrong: dict[str, str], anna: Client) -> None:
    page = _press(anna, "test-source", **wrong)
    assert page.status_code == 200
    assertNotContains(page, "is-invalid")
    for value in filter(None, wrong.values()):
        if value != "at":
            assertContains(page, f'value="{value}"')


def test_errors_of_the_tested_side_stand_at_its_fields_and_only_they(anna: Client) -> None:
    page = _press(anna, "test-source", name="", source__port="0", source__account="", target__port="0")
    assertContains(page, "2 fields need another look. Nothing was saved.", status_code=422)
    assert set(page.context["forms"].source.errors) == {"port", "account"}
    assertContains(page, "A port lies between 1 and 65535", count=1, status_code=422)
    assert not MigrationTask.objects.exists()
    assert not ConnectionTest.objects.exists()


def test_the_page_says_in_which_draft_it_is_and_the_next_press_goes_there(anna: Client) -> None:
    page = _press(anna, "test-source", **EMPTY_TARGET)
    task = MigrationTask.objects.get()
    assert page["HX-Push-Url"].startswith(reverse("tasks:settings", args=[task.id]))
    more = {"draft": _hidden(page, "draft"), "seen": _hidden(page, "seen"), "source__password": ""}
    answer = anna.post(reverse("tasks:create"), settings_data(**more))
    assertRedirects(answer, reverse("tasks:objects", args=[task.id]))
    task = MigrationTask.objects.get()
    assert (task.name, task.target.host) == ("shop to 18", "10.0.4.9")
    assert str(task.source.password) == factories.CANARY


@pytest.mark.parametrize("draft", ["x", "00000000-0000-0000-0000-000000000000"])
def test_a_draft_that_does_not_exist_is_not_found(draft: str, anna: Client) -> None:
    assert _press(anna, "test-source", draft=draft).status_code == 404
    assert not MigrationTask.objects.exists()


def test_both_sides_are_tested_one_after_the_other_and_both_results_show(anna: Client) -> None:
    first = _press(anna, "test-source", name="")
    more = {name: _hidden(first, name) for name in ("draft", "seen", "test_source")}
    second = _press(anna, "test-target", name="", source__password="", source__host="", **more)
    assert second.status_code == 200
    assert ConnectionTest.objects.count() == 2
    for test in ConnectionTest.objects.all():
        assertContains(second, reverse("tasks:test-result", args=[test.id]))
    assert MigrationTask.objects.get().source.host == "db1.internal"


def test_a_side_of_a_saved_task_is_tested_and_the_other_one_is_kept(anna: Client) -> None:
    task = factories.task()
    before = task.target.host
    assert _press(anna, "test-source", task, source__database="shop", **EMPTY_TARGET).status_code == 200
    task = MigrationTask.objects.get(pk=task.pk)
    assert (task.source.database, task.target.host) == ("shop", before)


def test_a_side_that_somebody_changed_meanwhile_is_not_overwritten(anna: Client) -> None:
    task = factories.task()
    page = _press(anna, "test-source", task, seen="of another day", source__database="shop", **EMPTY_TARGET)
    assertContains(page, "Somebody saved this draft after you opened it.", status_code=409)
    assert Endpoint.objects.get(source_of=task).database != "shop"
    assert not ConnectionTest.objects.exists()


def test_a_refused_test_has_saved_nothing(anna: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def too_many(*args: Any) -> None:
        raise services.Refused("Too many tests of late.")

    monkeypatch.setattr("migrations_app.services.drafts.count_test", too_many)
    page = _press(anna, "test-source", **EMPTY_TARGET)
    assertContains(page, "Too many tests of late.", status_code=422)
    assert not MigrationTask.objects.exists()


def test_without_scripts_the_result_is_asked_for_by_a_button_that_keeps_what_was_typed(anna: Client) -> None:
    first = anna.post(
        reverse("tasks:create"), settings_data(press="test-source", **EMPTY_TARGET | {"target__host": "half"})
    )
    assertContains(first, '<button class="btn btn-sm" name="press" value="see" formnovalidate>')
    test = ConnectionTest.objects.get()
    ConnectionTest.objects.update(state="passed", message="PostgreSQL 16.4, 1 ms, no TLS.")
    more = {name: _hidden(first, name) for name in ("draft", "seen", "test_source")}
    url = reverse("tasks:settings", args=[test.task_id])
    page = anna.post(url, settings_data(press="see", **EMPTY_TARGET | {"target__host": "half"}, **more))
    assertContains(page, "Connected")
    assertContains(page, 'value="half"')


@pytest.mark.parametrize("name", ["check-run", "read", "prepare-look"])
def test_what_needs_the_missing_side_is_refused_in_words(name: str, anna: Client) -> None:
    _press(anna, "test-target", **EMPTY_SOURCE)
    task = MigrationTask.objects.get()
    answer = anna.post(reverse(f"tasks:{name}", args=[task.id]), HTTP_HX_REQUEST="true")
    assertContains(answer, "The source is not filled in yet. Enter it under Source and target.", status_code=409)


@pytest.mark.parametrize("name", ["settings", "objects", "check", "prepare", "detail", "mapping"])
def test_pages_of_a_draft_with_one_side_say_that_the_other_is_missing(name: str, anna: Client) -> None:
    _press(anna, "test-target", **EMPTY_SOURCE)
    page = anna.get(reverse(f"tasks:{name}", args=[MigrationTask.objects.get().id]))
    assertContains(page, "not filled in")
    assertNotContains(page, "None")


def test_a_result_does_not_outlive_the_fields_that_it_was_of(anna: Client) -> None:
    task = factories.task()
    for side in ("source", "target"):
        factories.connection_test(task, side, state="failed", message=f"{side} said no")
    shown = {f"test_{test.side}": str(test.pk) for test in ConnectionTest.objects.all()}
    refused = _press(anna, "next", task, source__host="a b", **shown)
    assert refused.status_code == 422
    assertNotContains(refused, "said no", status_code=422)
    one_side = _press(anna, "test-source", task, source__host="a b", **shown)
    assertNotContains(one_side, "source said no", status_code=422)
    assertContains(one_side, "target said no", status_code=422)


def test_a_typed_password_has_to_be_typed_again_after_a_refusal_and_the_page_says_so(anna: Client) -> None:
    page = _press(anna, "next", source__port="0")
    assertContains(page, 'placeholder="type it again"', count=2, status_code=422)
    assertNotContains(page, factories.CANARY, status_code=422)


def test_a_password_that_is_asked_for_again_is_not_called_stored(anna: Client) -> None:
    page = _press(anna, "next", factories.task(), source__host="db2.internal", source__password="")
    assertContains(page, "Enter the password again", status_code=422)
    assertNotContains(page, "stored, leave empty to keep", status_code=422)
