"""Every page of the console as the walks of the tests meet it: those with an address, and those that answer a form."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

from django.http import HttpRequest, HttpResponseBase
from django.test import Client
from django.urls import reverse
from playwright.sync_api import Page

from console import access
from console.views.errors import broken
from migrations_app import services
from migrations_app.models import CheckItem, MigrationTask, Resource, TargetPassword, User
from tests import factories
from tests.acceptance import surroundings


def _of(name: str) -> Callable[[dict[str, MigrationTask]], str]:
    return lambda made: reverse(name)


def _task(name: str, which: str) -> Callable[[dict[str, MigrationTask]], str]:
    return lambda made: reverse(name, args=[made[which].pk])


def _passwords(made: dict[str, MigrationTask]) -> str:
    for role, server in (("postgres", "shop"), (factories.HOSTILE, "shop"), ("app", "")):
        place = {"database": "shop" if server else "", "server": server, "role": role}
        TargetPassword.objects.get_or_create(task=made["sync"], **place, defaults={"user": "reader"})
    return reverse("tasks:passwords", args=[made["sync"].pk])


PAGES: dict[str, Callable[[dict[str, MigrationTask]], str]] = {
    "tasks:list": _of("tasks:list"),
    "tasks:create": _of("tasks:create"),
    "tasks:settings": _task("tasks:settings", "draft"),
    "tasks:objects": _task("tasks:objects", "draft"),
    "tasks:closure": _task("tasks:closure", "draft"),
    "tasks:mapping": _task("tasks:mapping", "draft"),
    "tasks:check": _task("tasks:check", "problems"),
    "tasks:check-fix": lambda made: reverse(
        "tasks:check-fix",
        args=[made["problems"].pk, CheckItem.objects.filter(task=made["problems"]).exclude(fix="")[0].pk],
    ),
    "tasks:prepare": _task("tasks:prepare", "draft"),
    "tasks:passwords": _passwords,
    "tasks:detail": _task("tasks:detail", "sync"),
    "tasks:confirm": lambda made: reverse("tasks:confirm", args=[made["sync"].pk, "complete"]),
    "tasks:table": lambda made: (
        reverse("tasks:table", args=[made["failed"].pk, "quarantine"])
        + "?"
        + urlencode({"database": "shop", "schema": "sales", "name": factories.HOSTILE})
    ),
    "tasks:access": _task("tasks:access", "failed"),
    "tasks:many-confirm": lambda made: reverse("tasks:many-confirm", args=["start"]) + f"?pick={made['passed'].pk}",
    "endpoints:list": _of("endpoints:list"),
    "endpoints:create": _of("endpoints:create"),
    "endpoints:edit": lambda made: reverse("endpoints:edit", args=[surroundings.saved("ERP behind the bastion").pk]),
    "resources:list": _of("resources:list"),
    "resources:create": _of("resources:create"),
    "resources:edit": lambda made: reverse("resources:edit", args=[Resource.objects.filter(provider="local")[0].pk]),
    "resources:import": _of("resources:import"),
    "resources:account": _of("resources:account"),
    "users:list": _of("users:list"),
    "users:create": _of("users:create"),
    "users:detail": lambda made: reverse("users:detail", args=[User.objects.get(username="ben").pk]),
    "audit:list": _of("audit:list"),
    "profile": _of("profile"),
    "login": _of("login"),
    "setup": lambda made: reverse("setup", args=[services.new_setup_token()]),
}
# What a page asks for, and files: nothing that somebody walks through.
NO_PAGES = {"health", "ready", "endpoints:fields", "tasks:tree", "tasks:report-json", "audit:export"} | {
    name for name, rule in access.RULES.items() if rule.polled
}


def _client(user: User, **options: Any) -> Client:
    client = Client(**options)
    client.force_login(user)
    return client


def _proof(anna: User, made: dict[str, MigrationTask]) -> HttpResponseBase:
    client = _client(anna)
    session = client.session
    session["began"], session["seen"] = int(time.time()) - 31 * 60, int(time.time())
    session.save()
    return client.post(reverse("users:create"), {"account": "eve", "role": "viewer"})


def _reader() -> Client:
    return _client(factories.user("reader", role="viewer"))


def show(tab: Page, url: str, response: Any) -> None:
    """Open what the console answered, as it came."""
    file = "attachment" in response.get("Content-Disposition", "")  # read from a disk, without the console's headers
    headers = {"Content-Type": response["Content-Type"]} if file else dict(response.items())
    body = b"".join(response.streaming_content) if response.streaming else response.content
    tab.route(url, lambda route: route.fulfill(status=200, headers=headers, body=body))
    tab.goto(url)
    tab.unroute(url)


ANSWERS: dict[str, tuple[int, Callable[[User, dict[str, MigrationTask]], HttpResponseBase]]] = {
    "proof": (403, _proof),
    "users:password": (
        200,
        lambda anna, made: _client(anna).post(
            reverse("users:password", args=[User.objects.get(role="viewer").pk]), {"password": ""}
        ),
    ),
    "tasks:many": (
        200,
        lambda anna, made: _client(anna).post(
            reverse("tasks:many", args=["start"]), {"pick": [made["passed"].pk, made["draft"].pk]}
        ),
    ),
    "tasks:report": (200, lambda anna, made: _client(anna).get(reverse("tasks:report", args=[made["completed"].pk]))),
    "tasks:check-report": (
        200,
        lambda anna, made: _client(anna).get(reverse("tasks:check-report", args=[made["problems"].pk, "html"])),
    ),
    "400": (400, lambda anna, made: _client(anna).get("/", HTTP_HOST="no host!")),
    "403": (403, lambda anna, made: _reader().get(reverse("users:list"))),
    "403, an old page": (
        403,
        lambda anna, made: _client(anna, enforce_csrf_checks=True).post(reverse("users:create")),
    ),
    "500": (500, lambda anna, made: broken(HttpRequest())),
}
"""Pages that answer a form, an error or a download: the status, and how to get there."""
