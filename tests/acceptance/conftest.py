"""Fixtures: a world with workers; Debian's chromium, and watchers for what must never happen on a page."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.conf import settings
from django.core.signals import request_finished, request_started
from django.dispatch import receiver
from django.test import Client
from playwright.sync_api import ConsoleMessage, Page

from migrations_app.demo.clusters import Cluster
from tests import factories
from tests.acceptance.kit import World, open_world
from tests.fakes import wait_until


@pytest.fixture(scope="session")
def world(
    source_cluster: Cluster, target_cluster: Cluster, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    """An installation with all its workers, shared by all tests: each makes databases and a task of its own."""
    with open_world(source_cluster, target_cluster, tmp_path_factory.mktemp("world")) as opened:
        yield opened


_under_way: set[int] = set()
"""Threads of the web server that answer a request."""


@receiver(request_started)
def _began(**_: object) -> None:
    _under_way.add(threading.get_ident())


@receiver(request_finished)
def _ended(**_: object) -> None:
    _under_way.discard(threading.get_ident())


# A request that a newer one has replaced is reported too, and is none; one that failed says sendError as well.
_REPLACED = ("htmx:afterRequest,", "htmx:sendAbort,")


def _is_fault(message: ConsoleMessage, asked: re.Pattern[str]) -> bool:
    return message.type == "error" and not asked.search(message.text) and not message.text.startswith(_REPLACED)


def questions(page: Page) -> list[str]:
    """Return a list that fills with what the page asks from now on; files are fetched when the browser likes."""
    asked: list[str] = []
    page.on("request", lambda request: None if "/static/" in request.url else asked.append(request.url))
    return asked


@pytest.fixture
def watched(page: Page, live_server: Any) -> Iterator[Page]:
    """A page that fails the test on a console error, a script error, a dialog, or a request to another host."""
    seen: list[str] = []
    # A 404 or 422 that a test asks for is reported by the browser as well; that is no fault of the page.
    asked = re.compile(r"status of 4(04|09|22) ")
    page.on("console", lambda message: seen.append(message.text) if _is_fault(message, asked) else None)
    page.on("pageerror", lambda error: seen.append(str(error)))
    page.on("dialog", lambda dialog: (seen.append(f"dialog: {dialog.message}"), dialog.dismiss()))
    page.on(
        "request",
        lambda request: None if request.url.startswith((live_server.url, "data:")) else seen.append(request.url),
    )
    yield page
    told = list(seen)
    page.goto("about:blank")  # a page asks on and on, and what it asks for must not reach the next test's tables
    wait_until(lambda: not _under_way, 30, "the last answer of the web server")
    assert told == []


@pytest.fixture
def sign_in(watched: Page, live_server: Any) -> Callable[[], Page]:
    """Open the list as a signed-in operator; the form itself has a test of its own."""

    def perform() -> Page:
        client = Client()
        client.force_login(factories.user("anna"))
        cookie = client.cookies[settings.SESSION_COOKIE_NAME].value
        watched.context.add_cookies([{"name": settings.SESSION_COOKIE_NAME, "value": cookie, "url": live_server.url}])
        watched.goto(f"{live_server.url}/")
        return watched

    return perform
