"""No page holds a stored secret, or code and looks of its own: every address that can be looked at, in every state."""

from __future__ import annotations

import time
from html.parser import HTMLParser
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from console.proof import FORBIDDEN
from migrations_app.models import CheckItem, Endpoint, MigrationTask, ProviderAccount, Resource
from tests import factories
from tests.integration.test_access_matrix import OPEN, ROUTES, _body, known  # noqa: F401 - a fixture

STATES = ("ready", "draft", "check_passed", "failed", "cancelled")


@pytest.fixture
def everything(known: dict[str, Any]) -> dict[str, Any]:  # noqa: F811
    """Ids that lead to a page each; every field that keeps a secret holds the same one."""
    secrets = dict.fromkeys(("password", "client_key_pem", "ssh_password", "ssh_private_key"), factories.CANARY)
    saved = factories.endpoint(saved_name="Shop", ssh_host="bastion.example", ssh_user="towpath")
    for one in Endpoint.objects.all():
        vars(one).update(secrets)
        one.save()
    ProviderAccount.objects.create(provider="tencent", secret_id="who", secret_key=factories.CANARY)
    resource = Resource.objects.create(provider="local", kind="region", external_id="here", name="Here")
    item = CheckItem.objects.filter(task=known["task_id"])[0]
    CheckItem.objects.filter(pk=item.pk).update(fix="settings", fix_arguments={"settings": [], "restart": False})
    ids = {"saved_id": saved.pk, "resource_id": resource.pk, "item_id": item.pk}
    return {**known, **ids, "action": "complete", "form": "html"}


class _Inline(HTMLParser):
    """Collects what a page under our policy must not hold."""

    def __init__(self, *, own_looks: bool) -> None:
        super().__init__()
        self.found: list[str] = []
        self._own_looks = own_looks

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        said = self.get_starttag_text() or tag
        if tag == "script" and not values.get("src", "").startswith("/static/"):
            self.found.append(said)
        if (tag == "style" or "style" in values) and not self._own_looks:
            self.found.append(said)
        if any(name.startswith("on") or value.lower().startswith("javascript:") for name, value in values.items()):
            self.found.append(said)


def _inline(answer: Any) -> list[str]:
    if "html" not in answer.headers.get("Content-Type", ""):
        return []
    parser = _Inline(own_looks="attachment" in answer.headers.get("Content-Disposition", ""))
    parser.feed(_body(answer))
    return parser.found


def _holds_nothing(answer: Any, where: str) -> None:
    assert factories.CANARY not in str(answer.headers) + _body(answer), where
    assert _inline(answer) == [], where


@pytest.fixture
def boss(db: None) -> Client:
    client = Client()
    client.force_login(factories.user("boss", role="admin"))
    return client


def test_no_page_holds_a_secret_or_code_of_its_own(boss: Client, everything: dict[str, Any]) -> None:
    shown = set()
    for number, status in enumerate(STATES):
        MigrationTask.objects.filter(pk=everything["task_id"]).update(status=status)
        for name in [name for name in OPEN if not number or name.startswith("tasks:")]:
            for headers in ({}, {"HX-Request": "true"}) if not number else ({},):
                action = {"tasks:table": "quarantine", "tasks:confirm": "cancel"}.get(name)
                parts = everything | ({"action": action} if action else {})
                answer = boss.get(ROUTES[name].url(parts), headers=headers)
                _holds_nothing(answer, f"{name} while a task is {status}")
                shown |= {name} if answer.status_code == 200 else set()
    told = {"login", "setup", "ready", "endpoints:test-result", "tasks:many-confirm"}
    assert set(OPEN) - shown <= told, "these were never really shown"


def test_no_answer_to_a_form_holds_a_secret_or_code_of_its_own(boss: Client, everything: dict[str, Any]) -> None:
    task = everything["task_id"]
    wrong = {f"{side}-password": factories.CANARY for side in ("source", "target")}
    forms = {
        "tasks:create": wrong,
        "tasks:settings": wrong,
        "tasks:access": wrong,
        "endpoints:create": {"endpoint-password": factories.CANARY},
        "endpoints:edit": {"endpoint-password": factories.CANARY},
        "resources:account": {"secret_key": factories.CANARY},
        "login": {"username": "boss", "password": factories.CANARY},
        "profile-password": {"old_password": factories.CANARY, "new_password1": factories.CANARY},
        "users:password": {"password": ""},
    }
    MigrationTask.objects.filter(pk=task).update(status="draft")
    for name, fields in forms.items():
        answer = boss.post(ROUTES[name].url(everything), fields)
        _holds_nothing(answer, name)


def test_no_page_about_an_error_holds_code_of_its_own(everything: dict[str, Any]) -> None:
    admin, viewer = Client(enforce_csrf_checks=True), Client()
    admin.force_login(factories.user("other-boss", role="admin"))
    viewer.force_login(factories.user("reader", role="viewer"))
    stale = Client()
    stale.force_login(factories.user("stale", role="admin"))
    session = stale.session
    session["began"], session["seen"] = int(time.time()) - 31 * 60, int(time.time())
    session.save()
    answers = {
        400: viewer.get("/", HTTP_HOST="no host!"),
        404: viewer.get("/nothing-here/"),
        403: viewer.get(reverse("users:list")),
        "token": admin.post(reverse("users:create")),
        "proof": stale.post(reverse("users:create"), {"account": "x", "role": "viewer"}),
    }
    assert [answer.status_code for answer in answers.values()] == [400, 404, 403, 403, FORBIDDEN]
    for what, answer in answers.items():
        _holds_nothing(answer, str(what))
