"""What the first steps of the wizard do in a browser: settings, tests of connections, the tree of objects."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.db.models import F
from django.urls import reverse
from django.utils import timezone
from playwright.sync_api import Page, expect

from migrations_app.models import ConnectionTest, MigrationTask
from tests import factories

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
SignIn = Callable[[], Page]


def _shot(page: Page, name: str) -> None:
    if folder := os.environ.get("TOWPATH_SHOTS"):
        page.screenshot(path=f"{folder}/{name}.png", full_page=True)


def _change(task: MigrationTask, **fields: Any) -> None:
    MigrationTask.objects.filter(pk=task.pk).update(version=F("version") + 1, **fields)


def _accessible(page: Page) -> None:
    result = Axe().run(page)
    assert result.violations_count == 0, result.generate_report()


def test_the_tree_loads_a_level_once_and_a_box_changes_ancestors_and_counter(sign_in: SignIn, live_server: Any) -> None:
    page = sign_in()
    task = factories.task()
    factories.inventory(task, tables=5)
    page.goto(live_server.url + reverse("tasks:objects", args=[task.id]))
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if "/level/" in request.url else None)
    page.locator("summary", has_text="shop").click()
    page.locator("summary", has_text="public").click()
    table = page.get_by_role("checkbox", name="shop.public.table_002")
    expect(table).to_have_attribute("aria-checked", "true")
    table.click()
    expect(table).to_have_attribute("aria-checked", "false")
    for name in ("Whole instance", "shop", "shop.public"):
        expect(page.get_by_role("checkbox", name=name, exact=True)).to_have_attribute("aria-checked", "mixed")
    expect(page.locator("#counter")).to_contain_text("4 of 5 tables")
    _accessible(page)
    _shot(page, "tree")
    page.locator("summary", has_text="public").click()
    page.locator("summary", has_text="public").click()
    assert len(asked) == 2


@pytest.mark.long
def test_a_box_of_a_whole_database_takes_what_is_below_with_it(sign_in: SignIn, live_server: Any) -> None:
    page = sign_in()
    task = factories.task()
    factories.inventory(task, tables=2)
    page.goto(live_server.url + reverse("tasks:objects", args=[task.id]))
    page.locator("summary", has_text="shop").click()
    schema = page.get_by_role("checkbox", name="shop.public", exact=True)
    expect(schema).to_have_attribute("aria-checked", "true")
    page.get_by_role("checkbox", name="shop", exact=True).click()
    expect(schema).to_have_attribute("aria-checked", "false")
    expect(page.locator("#counter")).to_contain_text("0 of 2 tables")
    schema.click()
    expect(page.locator("#counter")).to_contain_text("2 of 2 tables")
    expect(page.get_by_role("checkbox", name="shop", exact=True)).to_have_attribute("aria-checked", "mixed")


def test_search_asks_the_server(sign_in: SignIn, live_server: Any) -> None:
    page = sign_in()
    task = factories.task()
    factories.inventory(task, tables=30)
    page.goto(live_server.url + reverse("tasks:objects", args=[task.id]))
    page.get_by_label("Search table or schema").fill("table_02")
    expect(page.get_by_role("checkbox", name="shop.public.table_021")).to_be_visible()
    expect(page.get_by_role("checkbox", name="shop.public.table_001")).to_have_count(0)


def test_reading_the_objects_ends_in_the_tree(sign_in: SignIn, live_server: Any) -> None:
    page = sign_in()
    task = factories.task()
    reading = factories.connection_test(task, kind="inventory", state="running")
    page.goto(live_server.url + reverse("tasks:objects", args=[task.id]))
    expect(page.get_by_text("Reading objects from db1.internal:5432")).to_be_visible()
    _accessible(page)
    factories.inventory(task, at=timezone.now())
    ConnectionTest.objects.filter(pk=reading.pk).delete()
    expect(page.get_by_role("checkbox", name="Whole instance")).to_be_visible()
    expect(page.get_by_role("button", name="Next: Check Task")).to_be_enabled()


@pytest.mark.long
def test_what_the_target_has_stands_beside_the_objects_as_soon_as_a_worker_has_looked(
    sign_in: SignIn, live_server: Any
) -> None:
    page = sign_in()
    task = factories.task()
    factories.inventory(task, tables=2)
    look = factories.connection_test(task, "target", kind="inventory", state="running")
    page.goto(live_server.url + reverse("tasks:objects", args=[task.id]))
    page.locator("summary", has_text="shop").click()
    expect(page.get_by_role("checkbox", name="shop.public", exact=True)).to_be_visible()
    expect(page.get_by_text("exists on the target")).to_have_count(0)
    task.source_objects.filter(database="shop", kind__in=["database", "schema"]).update(at_target="there")
    ConnectionTest.objects.filter(pk=look.pk).update(state="passed", finished_at=timezone.now())
    expect(page.get_by_text("exists on the target")).to_have_count(2)


@pytest.mark.long
def test_test_connection_saves_the_draft_and_answers_in_place(sign_in: SignIn, live_server: Any) -> None:
    page = sign_in()
    page.get_by_role("link", name="Create Task").first.click()
    page.get_by_label("Task name").fill("shop to 18")
    for side, host in (("Source", "db1.internal"), ("Target", "10.0.4.9")):
        part = page.get_by_role("region", name=side)
        part.get_by_label("Server address").fill(host)
        part.get_by_label("Account").fill("mover")
        part.get_by_label(re.compile(r"^\s*Password")).fill(factories.CANARY)
    source = page.get_by_role("region", name="Source")
    source.get_by_role("button", name="Test connection").press("Enter")
    expect(source.get_by_text("Connecting")).to_be_visible()
    expect(source.get_by_role("button", name="Test connection")).to_be_focused()
    test = ConnectionTest.objects.get()
    expect(page).to_have_url(f"{live_server.url}{reverse('tasks:settings', args=[test.task_id])}?source={test.id}")
    ConnectionTest.objects.update(
        state="passed", message="PostgreSQL 16.4, answered in 3 ms, TLS 1.3.", finished_at=timezone.now()
    )
    expect(source.get_by_text("PostgreSQL 16.4, answered in 3 ms, TLS 1.3.")).to_be_visible()
    expect(source.get_by_label(re.compile(r"^\s*Password"))).to_have_value("")
    expect(source.get_by_label(re.compile(r"^\s*Password"))).to_have_attribute(
        "placeholder", "stored, leave empty to keep"
    )
    page.get_by_role("region", name="Target").get_by_role("button", name="Test connection").click()
    expect(source.get_by_text("PostgreSQL 16.4, answered in 3 ms, TLS 1.3.")).to_be_visible()
    assert MigrationTask.objects.count() == 1
    assert factories.CANARY not in page.content()


@pytest.mark.long
def test_an_invalid_form_comes_back_with_messages_at_the_fields(sign_in: SignIn, live_server: Any) -> None:
    page = sign_in()
    page.goto(live_server.url + reverse("tasks:create"))
    page.get_by_role("button", name="Next: Objects").last.click()
    expect(page.get_by_text("5 fields need another look. Nothing was saved.")).to_be_visible()
    expect(page.get_by_text("Give the task a name, for example the application that moves.")).to_be_visible()
    expect(page.get_by_label("Task name")).to_be_focused()
    _accessible(page)
    _shot(page, "invalid")
    assert MigrationTask.objects.count() == 0


@pytest.mark.long
def test_the_start_time_shows_only_when_it_is_wanted(sign_in: SignIn, live_server: Any) -> None:
    page = sign_in()
    page.goto(live_server.url + reverse("tasks:create"))
    expect(page.get_by_label("Start at")).to_be_hidden()
    page.get_by_label("At a set time").check()
    expect(page.get_by_label("Start at")).to_be_visible()
    expect(page.get_by_text("Times are in UTC.")).to_be_visible()


def test_a_test_of_the_source_leaves_what_was_typed_for_the_target(sign_in: SignIn, live_server: Any) -> None:
    page = sign_in()
    page.goto(live_server.url + reverse("tasks:create"))
    for name, value in (("host", "db1.internal"), ("account", "mover"), ("password", factories.CANARY)):
        page.locator(f'[name="source-{name}"]').fill(value)
    page.locator('[name="target-host"]').fill("half.internal")
    page.locator('[name="target-password"]').fill("typed too early")
    page.locator("#test-source").click()
    expect(page.locator("#test-bar-source")).to_contain_text("Connecting")
    task = MigrationTask.objects.get()
    expect(page).to_have_url(re.compile(rf"/tasks/{task.pk}/settings/\?source="))
    expect(page.locator('[name="target-host"]')).to_have_value("half.internal")
    expect(page.locator('[name="target-password"]')).to_have_value("typed too early")
    expect(page.locator("#test-bar-source")).not_to_contain_text("another look")
    _accessible(page)
    _shot(page, "test-one-side")
    page.locator('[name="name"]').fill("shop to 18")
    page.locator('[name="target-account"]').fill("mover")
    page.get_by_role("button", name="Next: Objects").last.click()
    expect(page).to_have_url(re.compile(rf"/tasks/{task.pk}/objects/"))
    task = MigrationTask.objects.get()
    assert (task.name, str(task.target and task.target.password)) == ("shop to 18", "typed too early")


@pytest.mark.long
def test_errors_of_the_tested_side_show_at_its_fields_and_leave_the_other_side(
    sign_in: SignIn, live_server: Any
) -> None:
    page = sign_in()
    page.goto(live_server.url + reverse("tasks:create"))
    page.locator('[name="target-port"]').fill("0")
    page.locator('[name="source-password"]').fill("typed too early")
    page.locator("#test-target").click()
    expect(page.locator("#form-errors")).to_contain_text("need another look")
    expect(page.locator("#target-card .invalid-feedback").first).to_be_visible()
    expect(page.locator("#target-card .is-invalid").first).to_be_focused()
    expect(page.locator("#source-card .invalid-feedback")).to_have_count(0)
    expect(page.locator('[name="source-password"]')).to_have_value("typed too early")
    _accessible(page)
    assert not MigrationTask.objects.exists()
