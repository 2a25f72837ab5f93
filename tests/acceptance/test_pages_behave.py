"""What the pages do in a browser: live rows, hints, dialog, theme, hostile names."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.db.models import F
from django.urls import reverse
from django.utils import timezone
from playwright.sync_api import Page, expect

from migrations_app.models import CheckItem, MigrationTask, SourceObject, TableCopy
from tests import factories
from tests.acceptance.conftest import questions

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


def test_an_operator_signs_in_and_out(watched: Page, live_server: Any) -> None:
    factories.user("anna")
    watched.goto(f"{live_server.url}/")
    watched.get_by_label("Account").fill("anna")
    watched.get_by_label("Password").fill("wrong")
    watched.get_by_role("button", name="Sign in").click()
    expect(watched.get_by_role("alert")).to_contain_text("This account and password do not match.")
    _accessible(watched)
    watched.get_by_label("Password").fill(factories.PASSWORD)
    watched.get_by_role("button", name="Sign in").click()
    expect(watched.get_by_role("heading", name="Migrations", exact=True)).to_be_visible()
    watched.get_by_label("Your account", exact=True).click()
    watched.get_by_role("button", name="Sign out", exact=True).click()
    expect(watched.get_by_role("heading", name="Sign in")).to_be_visible()


def test_the_list_shows_a_change_without_reload(sign_in: SignIn, live_server: Any) -> None:
    page = sign_in()
    task = factories.running_task(name="billing move")
    page.reload()
    expect(page.get_by_text("Copy data 62 %")).to_be_visible()
    task.steps.filter(name="copy").update(progress_done=71)
    _change(task, rows_per_second=12345)
    expect(page.get_by_text("Copy data 71 %")).to_be_visible()
    expect(page.get_by_role("cell", name="12.3 k rows/s", exact=True)).to_be_visible()


@pytest.mark.long
def test_a_new_status_is_announced_once_in_the_live_region(sign_in: SignIn, live_server: Any) -> None:
    page = sign_in()
    task = factories.running_task("sync", name="billing move")
    page.reload()
    _change(task, status="ready")
    expect(page.locator("#announce")).to_have_text("billing move: In sync, ready to complete.")


@pytest.mark.long
def test_the_list_stops_asking_when_nothing_can_change(sign_in: SignIn, live_server: Any) -> None:
    page = sign_in()
    task = factories.running_task(name="billing move")
    page.reload()
    expect(page.locator("#poller[data-poll]")).to_have_count(1)
    _change(task, status="completed", finished_at=timezone.now())
    expect(page.get_by_text("All steps done")).to_be_visible()
    expect(page.locator("#poller[data-poll]")).to_have_count(0)
    asked = questions(page)
    page.wait_for_timeout(2500)  # longer than the poll's interval
    assert asked == []


@pytest.mark.long
def test_a_cell_that_holds_the_focus_is_not_replaced_and_catches_up_afterwards(
    sign_in: SignIn, live_server: Any
) -> None:
    page = sign_in()
    task = factories.running_task("sync", name="billing move")
    page.reload()
    cancel = page.get_by_role("link", name="Cancel")
    cancel.focus()
    _change(task, status="ready")
    expect(page.get_by_text("In sync, ready to complete").first).to_be_visible()
    expect(cancel).to_be_focused()
    expect(page.get_by_role("link", name="Complete", exact=True)).to_have_count(0)
    cancel.blur()
    expect(page.get_by_role("link", name="Complete", exact=True)).to_be_visible()


@pytest.mark.long
def test_a_hidden_tab_does_not_ask(sign_in: SignIn, live_server: Any) -> None:
    page = sign_in()
    factories.running_task(name="billing move")
    page.reload()
    page.evaluate("Object.defineProperty(document, 'hidden', { get: () => true })")
    asked = questions(page)
    page.wait_for_timeout(2500)  # longer than the poll's interval
    assert asked == []


@pytest.mark.long
def test_remaining_steps_open_by_hover_and_by_keyboard_and_escape_closes_them(
    sign_in: SignIn, live_server: Any
) -> None:
    page = sign_in()
    factories.running_task(name="billing move")
    page.reload()
    mark, tip = page.get_by_role("button", name="Remaining steps"), page.get_by_role("tooltip")
    expect(tip).to_be_hidden()
    mark.hover()
    expect(tip).to_contain_text("Copy data, now")
    expect(tip).to_contain_text("Incremental sync until you press Complete")
    expect(tip).not_to_contain_text("Schema")
    _accessible(page)
    _shot(page, "hint")
    page.keyboard.press("Escape")
    expect(tip).to_be_hidden()
    page.mouse.move(0, 0)
    mark.focus()
    expect(tip).to_be_visible()
    page.keyboard.press("Escape")
    expect(tip).to_be_hidden()


@pytest.mark.long
@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("step", ["schema", "sync", "complete"])
def test_the_tip_of_the_task_page_can_be_read_and_stays_on_the_page(
    sign_in: SignIn, live_server: Any, width: int, scheme: Any, step: str
) -> None:
    page, task = sign_in(), factories.running_task(step, name="billing move")
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": width, "height": 900})
    page.goto(live_server.url + reverse("tasks:detail", args=[task.id]))
    page.get_by_role("button", name="Remaining steps").hover()
    expect(page.get_by_role("tooltip").filter(has_text="What comes next")).to_be_visible()
    _accessible(page)
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    box = page.locator(f"#tip-{task.id}").bounding_box()
    assert box is not None
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= width


def test_an_operation_is_confirmed_in_a_dialog_and_then_done(sign_in: SignIn, live_server: Any) -> None:
    page = sign_in()
    task = factories.checked_task(name="warehouse")
    page.reload()
    page.get_by_role("link", name="Start", exact=True).click()
    dialog = page.get_by_role("dialog", name="Start: warehouse")
    expect(dialog).to_be_visible()
    _accessible(page)
    _shot(page, "dialog")
    dialog.get_by_role("link", name="Back").click()
    expect(dialog).to_be_hidden()
    page.get_by_role("link", name="Start", exact=True).click()
    dialog.get_by_role("button", name="Start").click()
    expect(page.get_by_text("Start pressed. The task runs when its turn comes.")).to_be_visible()
    task.refresh_from_db()
    assert task.status == "queued"


def test_a_refusal_shows_in_the_dialog(sign_in: SignIn, live_server: Any) -> None:
    page = sign_in()
    task = factories.running_task("sync", status="ready", name="billing move")
    page.reload()
    page.get_by_role("link", name="Complete", exact=True).click()
    button = page.get_by_role("dialog").get_by_role("button", name="Complete")
    expect(button).to_be_visible()
    _change(task, status="paused")
    button.click()
    expect(page.get_by_role("dialog")).to_contain_text("“Complete” is not possible: the task's status is “paused”.")


def test_the_theme_follows_the_system_until_it_is_chosen(sign_in: SignIn, live_server: Any) -> None:
    page = sign_in()
    page.emulate_media(color_scheme="dark")
    expect(page.locator("html")).to_have_attribute("data-bs-theme", "dark")
    page.get_by_role("button", name="Dark colours").click()
    expect(page.locator("html")).to_have_attribute("data-bs-theme", "light")
    page.reload()
    expect(page.locator("html")).to_have_attribute("data-bs-theme", "light")


def test_the_check_page_fills_while_items_run_and_keeps_what_was_opened(sign_in: SignIn, live_server: Any) -> None:
    page = sign_in()
    task = factories.task(status="checking")
    item = factories.check_item(task, status="waiting")
    factories.check_item(task, "reach", title="Source answers", group="Connectivity")
    page.goto(live_server.url + reverse("tasks:check", args=[task.id]))
    page.locator("summary", has_text="Connectivity").click()
    expect(page.get_by_text("Source answers")).to_be_visible()
    CheckItem.objects.filter(pk=item.pk).update(status="failed", found="Found replica.", hint="Set it to logical.")
    _change(task, status="check_failed", checked_at=timezone.now())
    expect(page.get_by_text("1 Failed", exact=True)).to_be_visible()
    expect(page.get_by_text("Source answers")).to_be_visible()
    expect(page.get_by_role("button", name="Start")).to_be_disabled()
    page.get_by_role("button", name="What was found: wal_level is logical", exact=True).focus()
    expect(page.get_by_role("tooltip").first).to_contain_text("Set it to logical.")
    _accessible(page)


def test_sql_that_mends_an_item_can_be_copied(sign_in: SignIn, live_server: Any, context: Any) -> None:
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    page = sign_in()
    task = factories.task(status="check_failed")
    sql = "ALTER SYSTEM SET wal_level = 'logical';"
    factories.check_item(task, status="failed", sql=sql)
    page.goto(live_server.url + reverse("tasks:check", args=[task.id]))
    page.get_by_role("button", name="Copy SQL").click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    assert page.evaluate("navigator.clipboard.readText()") == sql


@pytest.mark.long
def test_the_task_page_follows_tables_and_status(sign_in: SignIn, live_server: Any) -> None:
    page = sign_in()
    task = factories.running_task(name="billing move")
    table = factories.table_copy(task, status="copying", rows_done=10)
    page.goto(live_server.url + reverse("tasks:detail", args=[task.id]))
    TableCopy.objects.filter(pk=table.pk).update(rows_done=123_456)
    expect(page.get_by_text("123,456")).to_be_visible()
    _change(task, status="failed", error_message="The target is full.", error_hint="Free space, then press Retry.")
    expect(page.get_by_role("alert").filter(has_text="The target is full.")).to_be_visible()
    expect(page.get_by_role("link", name="Retry")).to_be_visible()


@pytest.mark.sample(2)
@pytest.mark.parametrize("name", ["list", "detail", "objects", "check", "confirm"])
def test_a_hostile_name_is_only_ever_text(name: str, sign_in: SignIn, live_server: Any) -> None:
    page = sign_in()
    evil = factories.HOSTILE
    task = factories.running_task(
        "sync", status="ready", name=evil, error_message=evil, error_hint=evil, source=factories.endpoint(host="h")
    )
    factories.table_copy(task, evil[:63], schema=factories.LONG, database=evil[:63])
    task.databases.update(source_name=evil[:63], target_name=factories.LONG)
    factories.check_item(task, status="failed", found=evil, hint=evil, sql=evil, title=evil, database=evil[:63])
    factories.event(task, evil, actor=evil)
    factories.ledger_entry(task, side="target", kind="table", schema=evil, name=evil)
    difference = {
        "schema": evil,
        "name": evil,
        "verdict": evil,
        "source_rows": 1,
        "target_rows": 2,
        "sample_keys": [evil],
    }
    factories.comparison(task, database=evil[:63], equal=False, differences=[difference | {"reason": evil}])
    factories.inventory(task)
    SourceObject.objects.filter(task=task, name="table_000").update(name=evil[:63], reason=evil, selectable=False)
    SourceObject.objects.filter(task=task, database="shop").update(database=evil[:63])
    SourceObject.objects.filter(task=task, schema="public").update(schema=factories.LONG)
    if name == "objects":  # which a started task does not show
        MigrationTask.objects.filter(pk=task.pk).update(status="check_failed")
    urls = {
        "list": reverse("tasks:list"),
        "detail": reverse("tasks:detail", args=[task.id]),
        "objects": reverse("tasks:objects", args=[task.id]),
        "check": reverse("tasks:check", args=[task.id]),
        "confirm": reverse("tasks:confirm", args=[task.id, "cancel"]),
    }
    for width in (1280, 390):
        page.set_viewport_size({"width": width, "height": 900})
        page.goto(live_server.url + urls[name])
        if name == "objects":
            page.locator("summary", has_text="<script>").click()
            page.locator("summary", has_text=factories.LONG).click()
            expect(page.locator(".leaf", has_text="<script>")).to_be_visible()
        expect(page.locator("main")).to_contain_text(r"<script>alert(1)</script>\n\u202egnp")
        assert "\u202e" not in page.locator("main").inner_text()
        assert page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") <= 0
        _shot(page, f"hostile-{name}-{width}")


@pytest.mark.long
def test_a_session_that_ended_leads_to_the_sign_in_page(sign_in: SignIn, live_server: Any) -> None:
    page = sign_in()
    factories.running_task(name="billing move")
    page.reload()
    page.context.clear_cookies()
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()


def test_pages_work_without_javascript(sign_in: SignIn, live_server: Any, browser: Any) -> None:
    page = sign_in()
    context = browser.new_context(java_script_enabled=False, storage_state=page.context.storage_state())
    plain = context.new_page()
    task = factories.checked_task(name="warehouse")
    plain.goto(live_server.url + reverse("tasks:objects", args=[task.id]))
    plain.get_by_role("checkbox", name="analytics").click()
    expect(plain.get_by_role("checkbox", name="analytics")).to_have_attribute("aria-checked", "false")
    plain.get_by_role("checkbox", name="analytics").click()
    plain.goto(live_server.url + reverse("tasks:check", args=[task.id]))
    task.refresh_from_db()
    assert task.status == "draft"
    MigrationTask.objects.filter(pk=task.pk).update(status="check_passed", checked_at=timezone.now())
    plain.goto(live_server.url + reverse("tasks:list"))
    plain.get_by_role("link", name="Start", exact=True).click()
    plain.get_by_role("button", name="Start").click()
    expect(plain.get_by_text("Start pressed.")).to_be_visible()
    task.refresh_from_db()
    assert task.status == "queued"
    context.close()
