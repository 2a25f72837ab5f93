"""Every address × method × role, generated from the addresses themselves: a new one without a line fails here."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from html.parser import HTMLParser
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.db import connection
from django.http import HttpResponseBase
from django.test import Client
from django.urls import Resolver404, URLPattern, URLResolver, get_resolver, resolve, reverse

from console import access
from migrations_app.models import AuditEntry, MigrationTask, User
from tests import factories

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
WHO = ("anonymous", "viewer", "operator", "admin")
CANARY = "row-value-canary-77aa"
HOW = (
    "Add a line to RULES in console/access.py: look() for a page that only shows (VIEWER unless another role is given; "
    "polled=True when the page asks for it by itself), act() for a POST, form() for a page with a form sent to itself "
    "(both OPERATOR unless another role is given)."
)


@dataclass(frozen=True)
class Route:
    """One address of the console, with the kinds of its parts."""

    name: str
    parts: tuple[tuple[str, str], ...]

    def url(self, known: dict[str, Any]) -> str:
        """Return a concrete address; ids that are not known lead to nothing."""
        samples: dict[str, Any] = {"uuid": uuid.uuid4(), "int": 987_654, "slug": "start", "str": "source"}
        values = {name: known.get(name, samples.get(kind, "source")) for name, kind in self.parts}
        return reverse(self.name, kwargs=values)


def _routes(patterns: list[Any], namespace: str = "") -> Iterator[Route]:
    for pattern in patterns:
        if isinstance(pattern, URLResolver):
            inner = f"{namespace}{pattern.namespace}:" if pattern.namespace else namespace
            yield from _routes(pattern.url_patterns, inner)
        elif isinstance(pattern, URLPattern):
            assert pattern.name, f"{pattern.pattern} has no name"
            kinds = pattern.pattern.converters
            parts = ((name, type(kind).__name__.removesuffix("Converter").lower()) for name, kind in kinds.items())
            name_parts = tuple((name, {"string": "str"}.get(kind, kind)) for name, kind in parts)
            yield Route(f"{namespace}{pattern.name}", name_parts)


ROUTES = {route.name: route for route in _routes(get_resolver().url_patterns)}
LISTED = [name for name in ROUTES if name in access.RULES]
UNSAFE = [name for name in LISTED if "POST" in access.RULES[name].roles]
OPEN = [name for name in LISTED if "GET" in access.RULES[name].roles]


def test_every_address_has_a_line_in_the_table() -> None:
    missing = sorted(set(ROUTES) - set(access.RULES))
    assert not missing, f"{', '.join(missing)}: refused to everybody. {HOW}"


@pytest.fixture
def known(db: None) -> dict[str, Any]:
    """A task with everything that a page could show, and the ids that lead to it."""
    task = factories.running_task("sync", status="ready", name="canary task")
    factories.table_copy(task)
    factories.new_table(task)
    factories.new_table(task, "passed_by", choice="ignored")
    factories.check_item(task, "slots", "warning")
    factories.event(task)
    factories.ledger_entry(task)
    factories.inventory(task)
    difference = {
        "schema": "public",
        "name": "orders",
        "verdict": "differs",
        "source_rows": 2,
        "target_rows": 1,
        "sample_keys": [f"id={CANARY}"],
        "reason": "",
    }
    factories.comparison(task, equal=False, differences=[difference])
    other = factories.user("other", role="viewer")
    test = factories.connection_test(task)
    return {"task_id": task.id, "user_id": other.pk, "test_id": test.id, "token": "no-such-token"}


def _client(who: str, **options: Any) -> Client:
    client = Client(**options)
    if who != "anonymous":
        client.force_login(factories.user(f"the-{who}", role=who))
    return client


def _ask(client: Client, method: str, url: str) -> HttpResponseBase:
    return client.generic(method, url)


def _is_sign_in(response: HttpResponseBase) -> bool:
    return response.status_code == 302 and str(response["Location"]).startswith(f"{reverse('login')}?next=")


def _expected(name: str, method: str, who: str) -> str:
    rule, role = access.RULES[name], access.least(name, method)
    if who == "anonymous" and access.ANYBODY not in rule.roles.values():
        return "sign in"
    if role is None:
        return "405"
    ranks = ["anonymous", "viewer", "operator", "admin"]
    return "reached" if role == access.ANYBODY or ranks.index(who) >= ranks.index(role) else "403"


def _outcome(response: HttpResponseBase) -> str:
    if _is_sign_in(response):
        return "sign in"
    return str(response.status_code) if response.status_code in (403, 405) else "reached"


@pytest.mark.parametrize("who", WHO)
def test_every_address_and_method_is_open_to_exactly_the_roles_of_the_table(who: str, known: dict[str, Any]) -> None:
    client = _client(who)
    for name in LISTED:
        for method in METHODS:
            response = _ask(client, method, ROUTES[name].url(known))
            expected = {_expected(name, method, who), *(["405"] if method == "HEAD" else [])}
            assert _outcome(response) in expected, f"{method} {name} as {who}. {HOW}"
            if name == "logout" and who != "anonymous":
                client.force_login(User.objects.get(username=f"the-{who}"))


def test_an_address_without_a_line_is_refused_even_to_administrators(
    known: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(access.RULES, "tasks:list")
    assert _client("admin").get(reverse("tasks:list")).status_code == 403


def test_every_unsafe_address_wants_the_token_against_forged_requests(known: dict[str, Any]) -> None:
    client = _client("admin", enforce_csrf_checks=True)
    before = _dump()
    for name in UNSAFE:
        response = client.post(ROUTES[name].url(known), {"language": "en"})
        assert response.status_code == 403, name
    assert _dump() == before


def _dump() -> str:
    """Everything in our tables but sessions: looking at a page keeps one alive."""
    lines = []
    with connection.cursor() as cursor:
        for table in sorted(connection.introspection.table_names(cursor)):
            if table != "django_session":
                cursor.execute(f"SELECT * FROM {connection.ops.quote_name(table)}")
                lines += [f"{table} {row}" for row in sorted(cursor.fetchall(), key=repr)]
    return "\n".join(lines)


@pytest.mark.sample(1)
@pytest.mark.parametrize("who", ["anonymous", "viewer", "admin"])
def test_looking_changes_nothing(who: str, known: dict[str, Any]) -> None:
    client = _client(who)
    before = _dump()
    for name in OPEN:
        for headers in ({}, {"HX-Request": "true"}):
            client.get(ROUTES[name].url(known), headers=headers)
    assert _dump() == before, f"one of these changes the database: {', '.join(_changing(client, known)) or OPEN}"


def _changing(client: Client, known: dict[str, Any]) -> Iterator[str]:
    for name in OPEN:
        before = _dump()
        client.get(ROUTES[name].url(known))
        if _dump() != before:
            yield name


def test_every_unsafe_request_that_did_something_writes_exactly_one_entry(known: dict[str, Any]) -> None:
    for name in UNSAFE:
        client = Client()
        client.force_login(User.objects.filter(username="boss").first() or factories.user("boss", role="admin"))
        before = AuditEntry.objects.count()
        response = client.post(ROUTES[name].url(known), _FORMS.get(name, {}))
        written = AuditEntry.objects.count() - before
        did = response.status_code < 400 and not getattr(response.wsgi_request, "refused", False)
        audited = access.RULES[name].audited
        assert written == int(did and audited), f"{name} answered {response.status_code} and wrote {written} entries"


_FORMS: dict[str, dict[str, str]] = {
    "users:create": {"account": "new", "role": "viewer"},
    "users:role": {"role": "operator"},
    "users:active": {"active": "0"},
    "users:password": {"password": ""},
    "language": {"language": "en"},
}


def _body(response: Any) -> str:
    content = b"".join(response.streaming_content) if response.streaming else response.content
    return bytes(content).decode(errors="replace")


def test_no_page_shows_a_row_value_to_a_viewer(known: dict[str, Any]) -> None:
    client = _client("viewer")
    for name in OPEN:
        assert CANARY not in _body(client.get(ROUTES[name].url(known))), (
            f"{name} shows keys of differing rows to a viewer: put {{% if can.operate %}} around them"
        )


def test_an_operator_sees_the_keys_of_differing_rows(known: dict[str, Any]) -> None:
    page = _client("operator").get(reverse("tasks:detail", args=[known["task_id"]]))
    assert CANARY in page.content.decode()


@pytest.mark.sample(1)
@pytest.mark.parametrize("who", ["anonymous", "admin"])
def test_every_answer_forbids_framing_sniffing_and_storing(who: str, known: dict[str, Any]) -> None:
    client = _client(who)
    for path in [*(ROUTES[name].url(known) for name in OPEN), "/nothing-here/"]:
        headers = client.get(path).headers
        assert headers["X-Frame-Options"] == "DENY", path
        assert headers["X-Content-Type-Options"] == "nosniff", path
        assert headers["Cross-Origin-Opener-Policy"] == "same-origin", path
        assert headers["Referrer-Policy"] == "same-origin", path
        assert "frame-ancestors 'none'" in headers["Content-Security-Policy"], path
        assert who == "anonymous" or "no-store" in headers["Cache-Control"], path


class _Offers(HTMLParser):
    """Collects what a page offers: addresses of links, buttons and forms, with their methods."""

    def __init__(self) -> None:
        super().__init__()
        self.found: set[tuple[str, str]] = set()
        self._method = "post"  # of a fragment, whose form stands around it

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        if tag == "form":
            self._method = values.get("method", "get")
            self.found.add((self._method.upper(), values.get("action", "")))
        if "disabled" in values:
            return
        if tag == "a" and "href" in values:
            self.found.add(("GET", values["href"]))
        if "formaction" in values:
            self.found.add((values.get("formmethod", self._method).upper(), values["formaction"]))
        for name, method in (("hx-get", "GET"), ("hx-post", "POST")):
            if name in values:
                self.found.add((method, values[name]))


@pytest.mark.long
@pytest.mark.parametrize("who", ["viewer", "operator"])
def test_no_page_offers_what_the_role_may_not_do(who: str, known: dict[str, Any]) -> None:
    client = _client(who)
    user = User.objects.get(username=f"the-{who}")
    for status in ("draft", "check_passed", "ready"):
        MigrationTask.objects.filter(pk=known["task_id"]).update(status=status)
        for name in [name for name in OPEN if access.may(user, name) and (status == "ready" or "tasks:" in name)]:
            response = client.get(ROUTES[name].url(known))
            if response.status_code != 200 or "html" not in response["Content-Type"]:
                continue
            for method, address in _offers(_body(response), response.wsgi_request.path):
                assert access.may(user, address, method), (
                    f"{name} offers {method} {address} to a {who} while a task is {status}: "
                    "put {% if can.operate %} or {% if can.administer %} around it"
                )


def _offers(page: str, here: str) -> Iterator[tuple[str, str]]:
    parser = _Offers()
    parser.feed(page)
    for method, address in sorted(parser.found):
        path = urlsplit(address).path
        if address.startswith(("#", "http")):
            continue
        try:
            yield method, resolve(path or here).view_name
        except Resolver404:
            assert address == "", f"{address} leads nowhere"
