"""Accounts in a browser: the first administrator, a new user, both languages; every page accessible at two widths."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.urls import reverse
from playwright.sync_api import Page, expect

from migrations_app import services
from migrations_app.models import AuditEntry, User
from tests import factories

pytestmark = [pytest.mark.browser, pytest.mark.long, pytest.mark.django_db(transaction=True)]
GOOD = "a boat under the old bridge"


def _choose(page: Page, name: str) -> None:
    page.locator("header summary").click()
    page.locator("header").get_by_role("button", name=name, exact=True).click()


def test_the_first_administrator_makes_a_user_and_both_read_their_own_language(watched: Page, live_server: Any) -> None:
    page = watched
    page.goto(f"{live_server.url}/setup/{services.new_setup_token()}/")
    page.locator("#id_account").fill("root")
    page.locator("#id_password").fill(GOOD)
    page.locator("#id_repeated").fill(GOOD)
    page.get_by_role("button", name="Create administrator and sign in", exact=True).click()
    expect(page.get_by_role("heading", name="Migrations", exact=True)).to_be_visible()

    page.get_by_role("link", name="Users", exact=True).click()
    page.get_by_role("link", name="New user", exact=True).click()
    page.locator("#id_account").fill("nina")
    page.get_by_role("button", name="Create user", exact=True).click()
    one_time = page.locator("#one-time").inner_text()
    page.get_by_role("link", name="Done", exact=True).click()
    _choose(page, "简体中文")
    expect(page.get_by_role("heading", name="用户", exact=True)).to_be_visible()
    expect(page.locator("html")).to_have_attribute("lang", "zh-Hans")
    page.locator("header summary").click()
    page.get_by_role("button", name="退出登录", exact=True).click()

    expect(page.get_by_role("heading", name="登录", exact=True)).to_be_visible()
    page.locator("header").get_by_role("button", name="English", exact=True).click()
    expect(page.get_by_role("heading", name="Sign in", exact=True)).to_be_visible()
    page.locator("#id_username").fill("nina")
    page.locator("#id_password").fill(one_time)
    page.get_by_role("button", name="Sign in", exact=True).click()
    expect(page.get_by_text("You signed in with a one-time password.")).to_be_visible()
    page.locator("#id_old").fill(one_time)
    page.locator("#id_password").fill(GOOD)
    page.locator("#id_repeated").fill(GOOD)
    page.get_by_role("button", name="Change password", exact=True).click()
    expect(page.get_by_text("Your password is changed.")).to_be_visible()
    expect(page.get_by_role("link", name="Users", exact=True)).to_have_count(0)
    assert User.objects.get(username="root").language == "zh-hans"


def test_the_account_menu_closes_by_escape_and_by_a_click_elsewhere(sign_in: Callable[[], Page]) -> None:
    page = sign_in()
    summary, leave = page.locator("header summary"), page.get_by_role("button", name="Sign out", exact=True)
    summary.focus()
    page.keyboard.press("Enter")
    expect(leave).to_be_visible()
    page.keyboard.press("Escape")
    expect(leave).to_be_hidden()
    expect(summary).to_be_focused()
    summary.click()
    expect(leave).to_be_visible()
    page.locator("main").click(position={"x": 5, "y": 200})
    expect(leave).to_be_hidden()


def _scenes() -> dict[str, str]:
    other = factories.user("n" * 60, role="viewer", must_change_password=True)
    factories.user("gone", is_active=False)
    task = factories.task(name="shop to 18")
    for number in range(55):
        AuditEntry.objects.create(
            actor="anna", action="tasks:action-start", subject=f"shop {number}", address="2001:db8::1", task=task
        )
    return {
        "users": reverse("users:list"),
        "new": reverse("users:create"),
        "user": reverse("users:detail", args=[other.pk]),
        "audit": reverse("audit:list"),
        "nothing found": reverse("audit:list") + "?actor=nobody",
        "profile": reverse("profile"),
    }


def test_the_pages_are_accessible_and_fit_at_both_widths_and_themes(
    sign_in: Callable[[], Page], live_server: Any
) -> None:
    page, scenes = sign_in(), _scenes()
    User.objects.filter(username="anna").update(is_superuser=True, role="operator")
    _sign_in_again(page, live_server)
    for name, url in scenes.items():
        for theme, width in (("light", 1280), ("dark", 390)):
            page.emulate_media(color_scheme=theme)  # type: ignore[arg-type]
            page.set_viewport_size({"width": width, "height": 900})
            page.goto(live_server.url + url)
            expect(page.locator("h1")).to_have_count(1)
            page.locator("header summary").click()
            result = Axe().run(page)
            assert result.violations_count == 0, f"{name}: {result.generate_report()}"
            wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
            assert wide <= 0, f"{name} scrolls sideways at {width} px by {wide}"


def _sign_in_again(page: Page, live_server: Any) -> None:
    """The change of role has ended the session."""
    page.goto(live_server.url)
    expect(page).to_have_url(re.compile("/login/"))
    page.locator("#id_username").fill("anna")
    page.locator("#id_password").fill(factories.PASSWORD)
    page.get_by_role("button", name="Sign in", exact=True).click()
    expect(page.get_by_role("link", name="Audit", exact=True)).to_be_visible()
