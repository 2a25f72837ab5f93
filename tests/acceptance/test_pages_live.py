"""What stays where it is while pages change under it, and what many ticked rows, times and charts do in a browser."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.db.models import F
from django.urls import reverse
from django.utils import timezone
from playwright.sync_api import Page, expect

from migrations_app.models import CheckItem, MigrationTask, Sample, TableCopy
from tests import factories
from tests.acceptance.conftest import questions

pytestmark = [pytest.mark.browser, pytest.mark.long, pytest.mark.django_db(transaction=True)]
SignIn = Callable[[], Page]
PATIENCE = 20_000


def _change(task: MigrationTask, **fields: Any) -> None:
    MigrationTask.objects.filter(pk=task.pk).update(version=F("version") + 1, **fields)


def _accessible(page: Page) -> None:
    result = Axe().run(page)
    assert result.violations_count == 0, result.generate_report()


def _syncing() -> MigrationTask:
    task, now = factories.running_task("sync", name="billing move"), timezone.now()
    factories.table_copy(task, "orders", status="done", rows_done=10)
    factories.ledger_entry(task)
    for number in range(40):
        at = now - timedelta(seconds=5 * (40 - number))
        Sample.objects.create(task=task, at=at, lag_seconds=float(number), wal_kept_bytes=10**6 * number)
    return task


def test_focus_open_details_and_typed_text_survive_a_live_update(sign_in: SignIn, live_server: Any) -> None:
    page, task = sign_in(), _syncing()
    page.goto(live_server.url + reverse("tasks:detail", args=[task.id]))
    page.locator("#left-source > summary").click()
    page.locator("#values-lag > summary").click()
    page.locator("#event-text").fill("half a wor")
    page.evaluate("document.querySelector('#rest').dataset.same = 'yes'")
    factories.event(task, "A change arrived.")
    _change(task, lag_seconds=7.0)
    expect(page.get_by_text("A change arrived.")).to_be_visible(timeout=PATIENCE)
    expect(page.locator("#event-text")).to_have_value("half a wor")
    expect(page.locator("#event-text")).to_be_focused()
    expect(page.locator("#left-source")).to_have_attribute("open", "")
    expect(page.locator("#values-lag")).to_have_attribute("open", "")
    _accessible(page)


def test_a_cell_that_did_not_change_is_the_same_element_afterwards(sign_in: SignIn, live_server: Any) -> None:
    page, task = sign_in(), _syncing()
    other = factories.table_copy(task, "lines", status="done", rows_done=20)
    page.goto(live_server.url + reverse("tasks:detail", args=[task.id]))
    page.evaluate("document.querySelectorAll('#table-rows td').forEach((cell) => { cell.marked = true; })")
    TableCopy.objects.filter(pk=other.pk).update(rows_done=21)
    expect(page.get_by_role("cell", name="21", exact=True)).to_be_visible(timeout=PATIENCE)
    assert page.evaluate("[...document.querySelectorAll('#table-rows td')].every((cell) => cell.marked)")


def test_only_a_new_status_is_spoken(sign_in: SignIn, live_server: Any) -> None:
    page, task = sign_in(), _syncing()
    page.goto(live_server.url + reverse("tasks:detail", args=[task.id]))
    page.evaluate(
        "window.spoken = []; new MutationObserver(() => spoken.push(document.querySelector('#status').textContent))"
        ".observe(document.querySelector('#status'), { childList: true, characterData: true, subtree: true })"
    )
    _change(task, lag_seconds=9.0)
    expect(page.locator("#steps").get_by_text("9 s")).to_be_visible(timeout=PATIENCE)
    _change(task, status="ready")
    expect(page.locator("#status")).to_have_text("In sync, ready to complete", timeout=PATIENCE)
    assert set(page.evaluate("spoken")) == {"In sync, ready to complete"}


def test_the_filters_follow_their_numbers_under_the_focus(sign_in: SignIn, live_server: Any) -> None:
    factories.running_task("sync", name="billing move")
    other = factories.task(name="shop", status="check_passed")
    page = sign_in()
    page.locator("#filter-running").focus()
    page.evaluate("document.querySelector('#filter-running').marked = true")
    _change(other, status="running")
    expect(page.locator("#filter-running .num")).to_have_text("2", timeout=PATIENCE)
    expect(page.locator("#filter-running")).to_be_focused()
    assert page.evaluate("document.querySelector('#filter-running').marked")
    expect(page.locator("#filter-waiting")).to_have_count(0)
    expect(page.locator("#summary")).to_have_text("2 running")
    _accessible(page)


def test_what_many_started_tasks_do_next_shows_without_a_reload(sign_in: SignIn) -> None:
    task = factories.checked_task(name="shop")
    page = sign_in()
    page.locator(f"input[name='pick'][value='{task.pk}']").check()
    page.get_by_role("button", name="Start ticked").click()
    page.locator("#dialog").get_by_role("button", name="Start 1 task").click()
    expect(page.locator("#dialog")).to_contain_text("1 task started")
    page.keyboard.press("Escape")
    expect(page.locator(f"#status-{task.pk}")).to_have_text("Queued", timeout=PATIENCE)
    expect(page.locator("#filter-queued .num")).to_have_text("1")


def test_what_was_said_of_a_pressed_button_goes_once_the_task_stands_elsewhere(
    sign_in: SignIn, live_server: Any
) -> None:
    page, task = sign_in(), factories.running_task("sync", status="paused", name="billing move")
    page.goto(live_server.url + reverse("tasks:detail", args=[task.id]))
    page.locator(f"#resume-{task.id}").click()
    page.locator("#dialog").get_by_role("button", name="Resume").click()
    said = page.locator("main > .note.success")
    expect(said).to_have_count(1)
    with page.expect_response(lambda answer: "progress" in answer.url and answer.status == 200, timeout=PATIENCE):
        _change(task, lag_seconds=9.0)
    expect(said).to_have_count(1)
    _change(task, status="failed", error_message="The source is gone.")
    expect(page.locator("#status")).to_have_text("Failed", timeout=PATIENCE)
    expect(said).to_have_count(0)


def test_the_page_of_a_failed_task_follows_what_another_tab_does(sign_in: SignIn, live_server: Any) -> None:
    page, task = sign_in(), factories.running_task("sync", status="failed", name="billing move")
    page.goto(live_server.url + reverse("tasks:detail", args=[task.id]))
    expect(page.locator("#status")).to_have_text("Failed")
    _change(task, status="running")
    expect(page.locator("#status")).to_have_text("Running", timeout=PATIENCE)
    _change(task, status="ready")
    with page.expect_response(lambda answer: "progress" in answer.url, timeout=4_000):  # it polls quickly again
        expect(page.locator("#status")).to_have_text("In sync, ready to complete", timeout=PATIENCE)


def test_a_check_that_runs_changes_its_items_and_leaves_the_rest_where_it_is(sign_in: SignIn, live_server: Any) -> None:
    page, task = sign_in(), factories.task(status="checking")
    waiting = factories.check_item(task, "keys", "waiting", title="Keys", group="Tables")
    factories.check_item(task, "wal", "failed", title="WAL level", sql="SELECT 1;", hint="Set it.")
    page.goto(live_server.url + reverse("tasks:check", args=[task.id]))
    page.evaluate(
        "document.querySelectorAll('.item').forEach((item) => { item.marked = true; }); window.spoken = [];"
        "new MutationObserver(() => spoken.push(document.querySelector('#check-said').textContent))"
        ".observe(document.querySelector('#check-said'), { childList: true, characterData: true, subtree: true })"
    )
    page.locator("#mark-wal").focus()
    CheckItem.objects.filter(pk=waiting.pk).update(status="warning", found="One has none.")
    expect(page.locator("p.found", has_text="One has none.")).to_be_visible(
        timeout=PATIENCE
    )  # its group has opened by itself
    expect(page.locator("#mark-wal")).to_be_focused()
    assert page.evaluate("[...document.querySelectorAll('.item')].every((item) => item.marked)")
    assert page.evaluate("spoken") == []
    MigrationTask.objects.filter(pk=task.pk).update(status="check_failed", checked_at=timezone.now())
    expect(page.locator("#check-said")).to_have_text("Checked: 1 Failed, 1 Warning, 0 Passed.", timeout=PATIENCE)
    expect(page.locator("#mark-wal")).to_be_focused()
    expect(page.locator("#check[data-poll]")).to_have_count(0)
    _accessible(page)


def test_trouble_that_is_tried_again_is_spoken_once(sign_in: SignIn, live_server: Any) -> None:
    page, task = sign_in(), _syncing()
    _change(task, error_code="RUN-RETRY", error_message="Try 1 failed.")
    page.goto(live_server.url + reverse("tasks:detail", args=[task.id]))
    alert = page.locator("#head").get_by_role("alert")
    expect(alert).to_have_count(1)
    page.evaluate(
        "window.spoken = []; new MutationObserver(() => spoken.push('again'))"
        ".observe(document.querySelector('#trouble'), { childList: true, characterData: true, subtree: true })"
    )
    _change(task, error_message="Try 2 failed.")
    expect(page.get_by_text("Try 2 failed.")).to_be_visible(timeout=PATIENCE)
    expect(alert).to_contain_text("There is trouble (RUN-RETRY)")
    assert page.evaluate("spoken") == []


def test_a_task_page_in_a_hidden_tab_does_not_ask_and_asks_when_it_comes_back(
    sign_in: SignIn, live_server: Any
) -> None:
    page, task = sign_in(), _syncing()
    page.goto(live_server.url + reverse("tasks:detail", args=[task.id]))
    page.evaluate("window.away = true; Object.defineProperty(document, 'hidden', { get: () => window.away })")
    asked = questions(page)
    page.wait_for_timeout(2500)  # longer than the poll's interval
    assert asked == []
    with page.expect_request(re.compile("/progress/"), timeout=PATIENCE):
        page.evaluate("window.away = false; document.dispatchEvent(new Event('visibilitychange'))")
    _change(task, status="paused")
    expect(page.locator("#status")).to_have_text("Paused", timeout=PATIENCE)


def test_a_time_tells_the_local_one_on_hover_and_on_focus(sign_in: SignIn, live_server: Any) -> None:
    page = sign_in()
    factories.running_task(name="billing move")
    page.reload()
    moment, tip = page.locator("tbody time").first, page.locator("#local-time")
    assert re.fullmatch(r"[0-9]{2}:[0-9]{2}|.* [0-9]{2}:[0-9]{2}", moment.inner_text())
    moment.hover()
    expect(tip).to_be_visible()
    expect(tip).to_contain_text("UTC")
    page.mouse.move(0, 0)
    expect(tip).to_be_hidden()
    moment.focus()
    expect(tip).to_be_visible()
    _accessible(page)
    page.keyboard.press("Escape")
    expect(tip).to_be_hidden()


def test_ticked_tasks_are_started_after_one_confirmation(sign_in: SignIn, live_server: Any) -> None:
    page = sign_in()
    ready, draft = factories.checked_task(name="warehouse"), factories.task(name="wiki")
    page.reload()
    start = page.get_by_role("button", name="Start ticked", exact=True)
    expect(start).to_be_disabled()
    page.get_by_label("Tick all rows of this page").check()
    expect(page.get_by_text("2 ticked", exact=True)).to_be_visible()
    start.click()
    dialog = page.get_by_role("dialog", name="Start 1 task")
    expect(dialog).to_contain_text("The check has not run yet.")
    _accessible(page)
    dialog.get_by_role("button", name="Start 1 task", exact=True).click()
    expect(page.get_by_role("dialog", name="1 task started")).to_be_visible()
    page.get_by_role("link", name="Back to the list", exact=True).click()
    expect(page.get_by_text("1st in the queue", exact=True)).to_be_visible()
    ready.refresh_from_db()
    draft.refresh_from_db()
    assert (ready.status, draft.status) == ("queued", "draft")


def test_ticks_survive_a_live_update(sign_in: SignIn, live_server: Any) -> None:
    page = sign_in()
    task = factories.running_task("sync", name="billing move")
    page.reload()
    page.get_by_label("Tick billing move", exact=True).check()
    _change(task, status="ready")
    expect(page.get_by_text("In sync, ready to complete", exact=True)).to_be_visible(timeout=PATIENCE)
    expect(page.get_by_label("Tick billing move", exact=True)).to_be_checked()


@pytest.mark.parametrize("scene", ["many", "access", "charts", "filtered"])
def test_new_pages_are_accessible_in_both_themes_and_widths(scene: str, sign_in: SignIn, live_server: Any) -> None:
    page = sign_in()
    factories.workers()
    ready, failed = factories.checked_task(name="warehouse"), factories.running_task("copy", status="failed")
    factories.ledger_entry(failed)
    urls = {
        "many": reverse("tasks:many-confirm", args=["start"]) + f"?pick={ready.id}&pick={failed.id}",
        "access": reverse("tasks:access", args=[failed.id]),
        "charts": reverse("tasks:detail", args=[_syncing().id]),
        "filtered": "/?q=nothing-like-it&sort=-lag",
    }
    for theme, width in (("light", 1280), ("dark", 1280), ("light", 390), ("dark", 390)):
        page.emulate_media(color_scheme=theme)  # type: ignore[arg-type]
        page.set_viewport_size({"width": width, "height": 900})
        page.goto(live_server.url + urls[scene])
        _accessible(page)
        assert page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") <= 0
