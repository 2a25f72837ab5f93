"""The object tree in a browser, with 50,000 tables: boxes, modes, searches, what is missing, names on the target."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.urls import reverse
from playwright.sync_api import Page, Route, expect

from migrations_app.engine.selection import Selection
from migrations_app.models import MigrationTask, SourceObject
from tests import factories
from tests.fakes import wait_until

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
SignIn = Callable[[], Page]
SLOW = 30_000
"""Milliseconds: a busy machine may take its time over 50,000 rows."""


@pytest.fixture
def task(transactional_db: None) -> MigrationTask:
    made = factories.task(selection={"rules": [], "targets": {}})
    factories.inventory(made)
    root = {"parent_schema": "public", "parent": "events", "root_schema": "public", "root": "events"}
    for name, kind, fields in (("events", "partitioned", {}), ("events_01", "partition", root), ("v", "view", {})):
        SourceObject.objects.create(task=made, database="shop", schema="public", name=name, kind=kind, **fields)
    return made


def _open(sign_in: SignIn, live_server: Any, task: MigrationTask) -> Page:
    page = sign_in()
    page.goto(live_server.url + reverse("tasks:objects", args=[task.pk]))
    return page


def _unfold(page: Page, *paths: str) -> None:
    """Open databases and schemas, each named by its path, one inside the other."""
    for path in paths:
        page.locator("summary").filter(has=page.get_by_text(path.rpartition(".")[2], exact=True)).first.click()
        expect(page.locator(f"ul[aria-label='{path}'] > li .pick").first).to_be_visible(timeout=SLOW)


def _accessible(page: Page) -> None:
    result = Axe().run(page)
    assert result.violations_count == 0, result.generate_report()


def _selection(task: MigrationTask) -> Selection:
    task.refresh_from_db()
    return Selection.from_json(task.selection)


def test_a_branch_that_takes_long_to_come_shows_where_its_rows_will_be(
    sign_in: SignIn, live_server: Any, task: MigrationTask
) -> None:
    page, held = _open(sign_in, live_server, task), []
    page.route("**/objects/level/**", lambda route: held.append(route))
    page.locator("summary").filter(has=page.get_by_text("shop", exact=True)).first.click()
    shown = "getComputedStyle(document.querySelector(\"ul[aria-label='shop'] > .more\"), '::before')"
    is_shown = f"{shown}.content !== 'none' && {shown}.opacity === '1'"
    wait_until(lambda: page.evaluate(is_shown), 30, "the place of the rows being shown")
    assert page.evaluate(f"{shown}.animationDelay") == "0.3s"
    assert len(held) == 1
    held[0].continue_()
    expect(page.locator("ul[aria-label='shop'] > li .pick").first).to_be_visible(timeout=SLOW)
    assert page.evaluate("document.querySelector(\"ul[aria-label='shop'] > .more\")") is None


def test_boxes_modes_and_counter_follow_one_another(sign_in: SignIn, live_server: Any, task: MigrationTask) -> None:
    page = _open(sign_in, live_server, task)
    _unfold(page, "shop", "shop.public")
    expect(page.locator("#counter")).to_contain_text("0 of 4 tables")
    box = page.get_by_role("checkbox", name="shop.public.table_001", exact=True)
    box.click()
    expect(page.locator("#counter")).to_contain_text("1 of 4 tables")
    expect(page.get_by_role("checkbox", name="shop", exact=True)).to_have_attribute("aria-checked", "mixed")
    page.get_by_role("button", name="shop.public.table_001: structure and data.").click()
    expect(page.locator("#counter")).to_contain_text("1 of them without data")
    page.get_by_role("checkbox", name="shop.public", exact=True).press("Space")
    expect(page.locator("#counter")).to_contain_text("4 of 4 tables")
    # The list below was fetched anew: its modes are those of the schema again.
    expect(page.get_by_role("button", name="shop.public.table_001: structure and data.")).to_be_visible()
    page.get_by_role("button", name="shop.public: structure and data.").click()
    expect(page.get_by_role("button", name="shop.public.table_002: structure only.")).to_be_visible()
    _accessible(page)
    assert _selection(task).mode("shop", "public", "table_000") == "structure"


@pytest.mark.long
def test_what_is_found_by_a_pattern_is_selected_as_one_rule(
    sign_in: SignIn, live_server: Any, task: MigrationTask
) -> None:
    page = _open(sign_in, live_server, task)
    search = page.get_by_role("searchbox", name="Search table or schema", exact=True)
    search.fill("table_*")
    expect(page.locator("#level")).to_contain_text("3 tables match")
    page.get_by_role("button", name="Select all", exact=True).click()
    expect(page.locator("#counter")).to_contain_text("3 of 4 tables")
    expect(page.get_by_role("checkbox", name="shop.public.table_000", exact=True)).to_be_checked()
    search.fill("/(table/")
    expect(page.locator("#level").get_by_role("alert")).to_contain_text("bracket")
    page.get_by_role("button", name="Forget the pattern table_* of shop", exact=True).click()
    expect(page.locator("#counter")).to_contain_text("0 of 4 tables")


@pytest.mark.long
def test_parents_are_listed_and_then_included(sign_in: SignIn, live_server: Any, task: MigrationTask) -> None:
    MigrationTask.objects.filter(pk=task.pk).update(
        selection=Selection().toggle(("shop", "public", "table_001"), True).to_json()
    )
    page = _open(sign_in, live_server, task)
    page.get_by_role("link", name="Include parents, or go without", exact=True).click()
    expect(page.get_by_role("rowheader", name="shop.public.table_000", exact=True)).to_be_visible()
    _accessible(page)
    page.get_by_role("button", name="Migrate without these foreign keys", exact=True).click()
    expect(page.locator("#counter")).to_contain_text("1 foreign key will not be made")
    page.get_by_role("link", name="Look at them", exact=True).click()
    page.get_by_role("button", name="Include parents", exact=True).click()
    expect(page.locator("#counter")).to_contain_text("2 of 4 tables")


def test_a_wrong_name_on_the_target_is_said_beside_its_field(
    sign_in: SignIn, live_server: Any, task: MigrationTask
) -> None:
    MigrationTask.objects.filter(pk=task.pk).update(selection=Selection.everything().to_json())
    page = _open(sign_in, live_server, task)
    page.get_by_role("link", name="Change names", exact=True).click()
    page.get_by_label("Name of shop.public on the target", exact=True).fill("pg_mine")
    page.get_by_role("button", name="Save names", exact=True).click()
    expect(page.get_by_text("Names that begin with pg_ are reserved for the server.", exact=True)).to_be_visible()
    _accessible(page)
    page.get_by_label("Name of shop.public on the target", exact=True).fill("app")
    page.get_by_role("button", name="Save names", exact=True).click()
    expect(page.locator("#target-side")).to_contain_text("1 name is different there.")
    assert _selection(task).target_schema("shop", "public") == "app"


@pytest.mark.long
def test_two_tabs_see_each_other_after_a_toggle(sign_in: SignIn, live_server: Any, task: MigrationTask) -> None:
    first = _open(sign_in, live_server, task)
    second = first.context.new_page()
    second.goto(first.url)
    first.get_by_role("checkbox", name="shop", exact=True).click()
    expect(first.locator("#counter")).to_contain_text("4 of 4 tables")
    second.get_by_role("checkbox", name="analytics", exact=True).click()
    expect(second.locator("#counter")).to_contain_text("4 of 4 tables")
    assert _selection(task).state("analytics") == _selection(task).state("shop") == "all"
    second.close()


@pytest.mark.long
def test_fifty_thousand_tables_are_paged_searched_and_toggled(
    sign_in: SignIn, live_server: Any, task: MigrationTask
) -> None:
    rows = (
        SourceObject(task=task, database="shop", schema="public", name=f"many_{n:05}", kind="table", bytes=8192)
        for n in range(50_000)
    )
    SourceObject.objects.bulk_create(rows, batch_size=2000)
    page = _open(sign_in, live_server, task)
    _unfold(page, "shop", "shop.public")
    expect(page.locator("ul[aria-label='shop.public'] > li .pick")).to_have_count(200, timeout=SLOW)
    page.get_by_role("link", name="Show more of 50,004", exact=True).click()
    expect(page.locator("ul[aria-label='shop.public'] > li .pick")).to_have_count(400, timeout=SLOW)
    page.get_by_role("checkbox", name="shop.public", exact=True).click()
    expect(page.locator("#counter")).to_contain_text("50,004 of 50,004 tables", timeout=SLOW)
    page.get_by_role("searchbox", name="Search table or schema", exact=True).fill("/^many_4999[0-9]$/")
    expect(page.locator("#level")).to_contain_text("10 tables match", timeout=SLOW)
    page.get_by_role("checkbox", name="shop.public.many_49999", exact=True).click()
    expect(page.locator("#counter")).to_contain_text("50,003 of 50,004 tables", timeout=SLOW)


def test_clicks_that_follow_fast_count_in_the_order_of_the_clicks(
    sign_in: SignIn, live_server: Any, task: MigrationTask
) -> None:
    page = _open(sign_in, live_server, task)
    held: list[Route] = []
    page.route("**/objects/toggle/", lambda route: route.continue_() if held else held.append(route))
    page.get_by_role("checkbox", name="Whole instance", exact=True).click()
    for name in ("shop", "analytics", "analytics"):
        page.get_by_role("checkbox", name=name, exact=True).click()
    wait_until(lambda: bool(held), 30, "the first change on its way")
    held[0].continue_()
    expect(page.locator("#counter")).to_contain_text("of 4 tables")
    expect(page.get_by_role("checkbox", name="Whole instance", exact=True)).to_have_attribute("aria-checked", "mixed")
    expect(page.get_by_role("checkbox", name="analytics", exact=True)).to_be_checked()
    selection = _selection(task)
    assert (selection.state("shop"), selection.state("analytics")) == ("none", "all")


def test_who_goes_on_at_once_takes_the_last_click_along(sign_in: SignIn, live_server: Any, task: MigrationTask) -> None:
    page = _open(sign_in, live_server, task)
    held: list[Route] = []
    page.route("**/objects/toggle/", lambda route: route.continue_() if held else held.append(route))
    for name in ("shop", "analytics"):
        page.get_by_role("checkbox", name=name, exact=True).click()
    page.get_by_role("button", name="Next: Check Task", exact=True).click()
    wait_until(lambda: bool(held), 30, "the first change on its way")
    held[0].continue_()
    expect(page.get_by_role("heading", name="Select objects", exact=True)).to_be_hidden()
    selection = _selection(task)
    assert (selection.state("shop"), selection.state("analytics")) == ("all", "all")


def test_who_goes_on_after_the_last_box_was_emptied_stays(
    sign_in: SignIn, live_server: Any, task: MigrationTask
) -> None:
    page = _open(sign_in, live_server, task)
    onward = page.get_by_role("button", name="Next: Check Task", exact=True)
    expect(onward).to_be_disabled()
    page.get_by_role("checkbox", name="shop", exact=True).click()
    expect(page.locator("#wizard-names")).to_have_text("shop")
    held: list[Route] = []
    page.route("**/objects/toggle/", lambda route: held.append(route))
    page.get_by_role("checkbox", name="shop", exact=True).click()
    onward.click()
    wait_until(lambda: bool(held), 30, "the change on its way")
    held[0].continue_()
    expect(page.locator("#why-next")).to_have_text("Nothing is selected yet.")
    expect(onward).to_be_disabled()
    assert MigrationTask.objects.get(pk=task.pk).status == "draft"


def test_what_is_opened_in_the_moment_in_which_the_tree_is_replaced_stays_open(
    sign_in: SignIn, live_server: Any, task: MigrationTask
) -> None:
    page = _open(sign_in, live_server, task)
    page.evaluate("""
        const level = document.getElementById("level");
        const opening = () => level.querySelector("details[id^='d'] > summary").click();
        level.addEventListener("htmx:beforeSwap", opening, { once: true });
        htmx.trigger(level, "again");
    """)
    expect(page.locator("#level details[open] > ul > li .pick").first).to_be_visible(timeout=SLOW)
