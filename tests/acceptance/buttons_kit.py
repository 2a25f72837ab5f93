"""One browser page for many tests of buttons, and tasks in every status."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.conf import settings
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from playwright.sync_api import Browser, BrowserContext, Page

from migrations_app.engine.states import Status
from migrations_app.models import MigrationTask
from tests import factories

PATIENCE = 20_000  # milliseconds; a busy machine, not a busy page


def in_status(status: Status) -> MigrationTask:
    """A task as it stands in a status."""
    tomorrow = timezone.now() + timedelta(days=1)
    made: dict[Status, Callable[[], MigrationTask]] = {
        Status.DRAFT: factories.task,
        Status.CHECKING: lambda: factories.task(status="checking"),
        Status.CHECK_FAILED: lambda: factories.task(status="check_failed"),
        Status.CHECK_PASSED: factories.checked_task,
        Status.SCHEDULED: lambda: factories.task(status="scheduled", scheduled_at=tomorrow),
        Status.QUEUED: lambda: factories.task(status="queued", queued_at=timezone.now()),
        Status.READY: lambda: factories.running_task("sync", status="ready"),
        Status.COMPLETING: lambda: factories.running_task("complete", status="completing"),
    }
    task = made.get(status, lambda: factories.running_task("copy", status=status.value))()
    assert task.status == status
    return task


@pytest.fixture(scope="module")
def tab(browser: Browser) -> Iterator[Page]:
    """One page for all cases: a new one for each would cost more than the cases themselves."""
    context = browser.new_context()
    page = context.new_page()
    page.set_default_timeout(PATIENCE)
    yield page
    context.close()


@pytest.fixture
def signed_in(tab: Page, live_server: Any, transactional_db: None) -> Iterator[Callable[..., Page]]:
    """Sign the tab in as somebody of a role; a script error or a dialog of the browser's own fails the test."""
    seen: list[str] = []

    def note(error: object) -> None:
        seen.append(str(error))

    def perform(role: str = "operator") -> Page:
        client = Client()
        client.force_login(factories.user("anna", role=role))
        cookie = client.cookies[settings.SESSION_COOKIE_NAME].value
        context: BrowserContext = tab.context
        context.clear_cookies()
        context.add_cookies([{"name": settings.SESSION_COOKIE_NAME, "value": cookie, "url": live_server.url}])
        return tab

    tab.on("pageerror", note)
    yield perform
    tab.goto("about:blank")  # a poll that is on its way must not meet the next test's rows
    tab.remove_listener("pageerror", note)
    assert seen == []


def address(server: Any, page: str, task: MigrationTask) -> str:
    return str(server.url) + (reverse("tasks:list") if page == "list" else reverse(f"tasks:{page}", args=[task.pk]))
