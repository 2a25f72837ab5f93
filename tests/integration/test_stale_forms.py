"""Two tabs at the same draft: whoever saves second is told, and loses nothing that was typed."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest
from django.db import connection
from django.http import HttpResponse
from django.test import Client
from django.urls import reverse
from pytest_django.asserts import assertContains, assertNotContains, assertRedirects

from migrations_app import services
from migrations_app.engine.selection import Selection
from migrations_app.models import Endpoint, Event, MigrationTask
from tests import factories
from tests.integration.test_forms import settings_data

HTMX = {"HTTP_HX_REQUEST": "true"}


@pytest.fixture
def anna(client: Client) -> Client:
    client.force_login(factories.user("anna"))
    return client


def _url(name: str, task: MigrationTask) -> str:
    return reverse(f"tasks:{name}", args=[task.id])


def _seen(answer: HttpResponse, form: str = "") -> str:
    """What the page's form (the one that goes to the address `form`) was drawn from."""
    page = answer.content.decode()
    return re.findall(r'name="seen" value="([0-9a-f]+)"', page[page.index(form) :])[0]


@pytest.mark.django_db
@pytest.mark.parametrize("headers", [{}, HTMX], ids=["plain", "htmx"])
def test_settings_that_somebody_saved_meanwhile_are_not_overwritten(anna: Client, headers: dict[str, str]) -> None:
    task = factories.task()
    opened = _seen(anna.get(_url("settings", task)))
    anna.post(_url("settings", task), settings_data(name="theirs", seen=opened))
    answer = anna.post(_url("settings", task), settings_data(name="mine", seen=opened), **headers)
    assertContains(answer, "Somebody saved this draft after you opened it", status_code=409)
    assertContains(answer, 'value="mine"', status_code=409)
    task.refresh_from_db()
    assert task.name == "theirs"


@pytest.mark.django_db
def test_settings_that_were_told_as_stale_are_saved_by_the_next_press(anna: Client) -> None:
    task = factories.task()
    opened = _seen(anna.get(_url("settings", task)))
    anna.post(_url("settings", task), settings_data(name="theirs", seen=opened))
    told = anna.post(_url("settings", task), settings_data(name="mine", seen=opened))
    assertRedirects(
        anna.post(_url("settings", task), settings_data(name="mine", seen=_seen(told))), _url("objects", task)
    )
    task.refresh_from_db()
    assert task.name == "mine"


@pytest.mark.django_db
def test_a_page_that_came_back_with_errors_is_still_compared_with_what_was_opened(anna: Client) -> None:
    task = factories.task()
    opened = _seen(anna.get(_url("settings", task)))
    anna.post(_url("settings", task), settings_data(name="theirs", seen=opened))
    wrong = anna.post(_url("settings", task), settings_data(source__port="0", seen=opened))
    assert (wrong.status_code, _seen(wrong)) == (422, opened)


@pytest.mark.django_db
def test_a_changed_selection_does_not_make_the_settings_stale(anna: Client) -> None:
    task = factories.task()
    factories.inventory(task)
    opened = _seen(anna.get(_url("settings", task)))
    services.set_selected(task_id=task.pk, actor=None, path=("shop",), selected=False)
    assertRedirects(anna.post(_url("settings", task), settings_data(seen=opened)), _url("objects", task))


def _names(task: MigrationTask, name: str, seen: str) -> dict[str, Any]:
    return {"path": [json.dumps(["shop"])], "target": [name], "seen": seen}


@pytest.mark.django_db
def test_names_that_somebody_saved_meanwhile_stand_beside_what_was_typed(anna: Client) -> None:
    task = factories.task()
    factories.inventory(task)
    url = _url("mapping", task) + "?q=shop"
    opened = _seen(anna.get(url))
    assertRedirects(anna.post(url, _names(task, "theirs", opened)), _url("objects", task))
    answer = anna.post(url, _names(task, "mine", opened))
    assertContains(answer, "saved now: theirs", status_code=409)
    assertContains(answer, 'value="mine"', status_code=409)
    assertRedirects(anna.post(url, _names(task, "mine", _seen(answer))), _url("objects", task))
    task.refresh_from_db()
    assert Selection.from_json(task.selection).targets == {"shop": "mine"}


@pytest.mark.django_db
def test_names_of_other_databases_do_not_make_a_page_stale(anna: Client) -> None:
    task = factories.task()
    factories.inventory(task)
    url = _url("mapping", task) + "?q=shop"
    opened = _seen(anna.get(url))
    services.set_targets(task_id=task.pk, actor=None, databases={"analytics": "figures"}, schemas={})
    assertRedirects(anna.post(url, _names(task, "mine", opened)), _url("objects", task))


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("address", "theirs", "mine", "stored"),
    [
        ("roles", {"roles": "all"}, {"roles": "needed"}, lambda now: now.roles == "all"),
        ("existing", {"policy": "keep"}, {"policy": "refuse"}, lambda now: now.existing == "keep"),
    ],
)
def test_a_choice_that_somebody_made_meanwhile_is_not_undone(
    anna: Client, address: str, theirs: dict[str, str], mine: dict[str, str], stored: Callable[[Selection], bool]
) -> None:
    task = factories.task()
    factories.inventory(task)
    opened = _seen(anna.get(_url("objects", task)), _url(address, task))
    anna.post(_url(address, task), {**theirs, "seen": opened})
    answer = anna.post(_url(address, task), {**mine, "seen": opened}, follow=True)
    assertContains(answer, "Somebody chose something else here meanwhile")
    task.refresh_from_db()
    assert stored(Selection.from_json(task.selection))


@pytest.mark.django_db
def test_a_saved_endpoint_that_somebody_changed_meanwhile_is_not_overwritten(anna: Client) -> None:
    saved = factories.endpoint(saved_name="shop")
    url = reverse("endpoints:edit", args=[saved.pk])
    opened = _seen(anna.get(url))
    typed = {
        name: value
        for name, value in settings_data(seen=opened).items()
        if name.startswith("source-") or name == "seen"
    }
    named = {**typed, "press": "save"}
    assertRedirects(anna.post(url, {**named, "source-saved_name": "theirs"}), reverse("endpoints:list"))
    answer = anna.post(url, {**named, "source-saved_name": "mine"})
    assertContains(answer, "Somebody saved this endpoint after you opened it", status_code=409)
    assertNotContains(answer, factories.CANARY, status_code=409)
    assert Endpoint.objects.get(pk=saved.pk).saved_name == "theirs"
    again = {**named, "source-saved_name": "mine", "seen": _seen(answer)}
    assertRedirects(anna.post(url, again), reverse("endpoints:list"))


def _at_once(press: Callable[[], object]) -> list[str]:
    """Press six times at the same moment; return how each press ended."""
    ready = Barrier(6)

    def one(_: int) -> str:
        try:
            ready.wait(30)
            press()
        except services.Refused:
            return "refused"
        else:
            return "done"
        finally:
            connection.close()

    with ThreadPoolExecutor(6) as pool:
        return sorted(pool.map(one, range(6)))


@pytest.mark.django_db(transaction=True)
def test_start_and_cancel_and_complete_pressed_at_once_have_one_winner() -> None:
    factories.workers()
    ada = factories.user("ada")
    started = factories.checked_task()
    assert _at_once(lambda: services.start_task(task_id=started.pk, actor=ada)) == ["done", *["refused"] * 5]
    ready = factories.running_task("sync", status="ready")
    assert _at_once(lambda: services.complete_task(task_id=ready.pk, actor=ada)) == ["done", *["refused"] * 5]
    running = factories.running_task()
    assert _at_once(lambda: services.cancel_task(task_id=running.pk, actor=ada)) == ["done", *["refused"] * 5]
    moves = [Event.objects.filter(task=task).exclude(to_status="").count() for task in (started, ready, running)]
    assert moves == [1, 1, 1]


@pytest.mark.django_db(transaction=True)
def test_two_tabs_that_save_a_draft_at_once_have_one_winner() -> None:
    from migrations_app.draft_facts import settings_mark

    task = factories.task()
    seen = settings_mark(task)
    sides = {
        side: services.EndpointData(host=f"{side}.internal", port=5432, account="mover", password="x")
        for side in ("source", "target")
    }

    def save() -> None:
        services.save_settings(
            task_id=task.pk, actor=None, name="ours", scheduled_at=None, incremental=True, seen=seen, **sides
        )

    assert _at_once(save) == ["done", *["refused"] * 5]
