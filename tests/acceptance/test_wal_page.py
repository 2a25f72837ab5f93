"""The form of the WAL budget on the task page, in a browser as wide as a phone."""

from __future__ import annotations

from typing import Any

import pytest
from django.conf import settings
from django.test import Client
from django.urls import reverse
from playwright.sync_api import Browser, expect

from tests import factories

pytestmark = [pytest.mark.browser, pytest.mark.long, pytest.mark.django_db(transaction=True)]
_PATIENCE = 60_000


def test_the_form_fits_a_phone_and_sets_the_budget(browser: Browser, live_server: Any) -> None:
    task = factories.running_task("sync", status="paused")
    client = Client()
    client.force_login(factories.user("anna"))
    context = browser.new_context(viewport={"width": 390, "height": 800})
    cookie = client.cookies[settings.SESSION_COOKIE_NAME].value
    context.add_cookies([{"name": settings.SESSION_COOKIE_NAME, "value": cookie, "url": live_server.url}])
    page = context.new_page()
    page.set_default_timeout(_PATIENCE)
    try:
        page.goto(live_server.url + reverse("tasks:detail", args=[task.pk]))
        page.locator("#wal-options > summary").click()
        budget = page.get_by_label("Most WAL that the source may keep")
        expect(budget).to_be_visible(timeout=_PATIENCE)
        assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
        budget.fill("20 GB")
        page.get_by_label("At the budget").select_option("pause_others")
        page.get_by_role("button", name="Set WAL budget").click()
        expect(page.locator("#wal-options > summary")).to_contain_text("20 GB", timeout=_PATIENCE)
    finally:
        context.close()
    task.refresh_from_db()
    assert (task.wal_budget_bytes, task.wal_policy) == (20 * 10**9, "pause_others")
