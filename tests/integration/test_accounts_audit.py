"""The audit trail: what is written, that nothing is rewritten, how it is read and taken away."""

from __future__ import annotations

import ast
import csv
import io
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from console import access
from console.views.actions import _OF_NEW_TABLES, _OF_TABLES, _PERFORM
from console.views.audit import harmless
from migrations_app import selectors, services
from migrations_app.models import AuditEntry, User
from migrations_app.services import audit
from tests import factories

pytestmark = pytest.mark.django_db

_WITH_A_BUTTON = (
    "tasks:action",
    "tasks:table",
    "tasks:new-table",
    "tasks:many",
)  # which one is pressed is part of the action


@pytest.fixture
def admin() -> Client:
    client = Client()
    client.force_login(factories.user("root", role="admin"))
    return client


def exported(client: Client, query: str = "") -> list[list[str]]:
    response = client.get(f"/audit/export.csv{query}")
    text = b"".join(response.streaming_content).decode()  # type: ignore[attr-defined]
    assert all(line.endswith("\r") for line in text.split("\n")[:-1])
    return list(csv.reader(io.StringIO(text)))[1:]


def test_signing_in_and_out_and_failing_are_written_down_with_the_address() -> None:
    factories.user("olga")
    client = Client(REMOTE_ADDR="192.0.2.7")
    client.post("/login/", {"username": "olga", "password": "wrong"})
    client.post("/login/", {"username": "olga", "password": factories.PASSWORD})
    client.post("/logout/")
    found = [(entry.actor, entry.action, entry.subject, entry.address) for entry in AuditEntry.objects.order_by("id")]
    assert found == [
        ("", "sign-in-failed", "olga", "192.0.2.7"),
        ("olga", "sign-in", "olga", "192.0.2.7"),
        ("olga", "sign-out", "olga", "192.0.2.7"),
    ]


def test_what_was_typed_for_an_unknown_account_is_not_kept() -> None:
    Client().post("/login/", {"username": "my secret passphrase", "password": "x"})
    assert AuditEntry.objects.get().subject == "unknown account"


def test_an_act_on_a_task_names_the_task_and_says_what_happened(admin: Client) -> None:
    task = factories.running_task("sync", status="ready", name="shop to 18")
    admin.post(f"/tasks/{task.id}/pause/")
    entry = AuditEntry.objects.get()
    assert (entry.actor, entry.action, entry.subject, entry.task) == ("root", "tasks:action-pause", "shop to 18", task)
    assert "ause" in entry.message


def test_a_deleted_task_keeps_its_name_in_the_trail(admin: Client) -> None:
    task = factories.task(name="shop to 18")
    admin.post(f"/tasks/{task.id}/delete/", {"typed": "shop to 18"})
    entry = AuditEntry.objects.get()
    assert (entry.action, entry.subject, entry.task) == ("tasks:action-delete", "shop to 18", None)
    assert admin.get("/audit/").status_code == 200


@pytest.mark.parametrize("headers", [{}, {"HTTP_HX_REQUEST": "true"}])
def test_what_was_refused_by_the_state_of_a_task_changed_nothing_and_is_not_written(
    admin: Client, headers: dict[str, str]
) -> None:
    task = factories.task()
    admin.post(f"/tasks/{task.id}/pause/", **headers)
    assert not AuditEntry.objects.exists()


def test_what_the_role_forbids_is_written() -> None:
    client = Client()
    client.force_login(factories.user("vera", role="viewer"))
    task = factories.task(name="shop")
    assert client.post(f"/tasks/{task.id}/delete/").status_code == 403
    entry = AuditEntry.objects.get()
    assert (entry.actor, entry.message) == ("vera", "Refused: the role does not allow it.")


def test_a_name_with_line_breaks_stays_one_line(admin: Client) -> None:
    task = factories.task(name="x\r\n2026 root sign-in\u202e\u2028")
    admin.post(f"/tasks/{task.id}/delete/", {"typed": task.name})
    entry = AuditEntry.objects.get()
    assert entry.subject == r"x\r\n2026 root sign-in\u202e\u2028"


def test_entries_can_be_neither_changed_nor_removed() -> None:
    entry = audit.record(actor="root", action="test")
    for attempt in (
        entry.save,
        entry.delete,
        AuditEntry.objects.all().delete,
        lambda: AuditEntry.objects.update(actor="x"),
    ):
        with pytest.raises(TypeError, match="append-only"):
            attempt()


def test_an_account_and_its_entry_are_made_together_or_not_at_all(
    admin: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(**_: object) -> None:
        raise RuntimeError("disk full")

    monkeypatch.setattr(audit, "record", broken)
    with pytest.raises(RuntimeError, match="disk full"):
        services.create_user(actor=User.objects.get(), account="nina", role="viewer")
    assert User.objects.count() == 1


def test_entries_are_found_by_account_action_and_day(admin: Client) -> None:
    for actor, action, days in (("anna", "sign-in", 0), ("bert", "sign-in", 2), ("anna", "sign-out", 3)):
        AuditEntry.objects.create(actor=actor, action=action, at=timezone.now() - timedelta(days=days))
    today = timezone.localdate()
    assert len(exported(admin)) == 3
    assert len(exported(admin, "?actor=ann")) == 2
    assert len(exported(admin, "?action=sign-in")) == 2
    assert [row[1] for row in exported(admin, f"?first_day={today}&last_day={today}")] == ["anna"]
    assert len(exported(admin, f"?last_day={today - timedelta(days=1)}")) == 2
    page = admin.get("/audit/?actor=ann&action=sign-out").content.decode()
    assert page.count("<tr><td") == 1


def test_a_wrong_day_is_named(admin: Client) -> None:
    page = admin.get("/audit/?first_day=yesterday")
    assert page.status_code == 422
    assert "Enter a valid date." in page.content.decode()
    assert admin.get("/audit/export.csv?first_day=yesterday").status_code == 422


def test_the_trail_has_pages_that_keep_the_filter(admin: Client) -> None:
    AuditEntry.objects.bulk_create(AuditEntry(actor="anna", action="test") for _ in range(51))
    page = admin.get("/audit/?actor=anna").content.decode()
    assert "?page=2&amp;actor=anna" in page
    assert admin.get("/audit/?actor=anna&page=2").content.decode().count("<tr><td") == 1
    assert admin.get("/audit/?page=1000000000").status_code == 200


def test_the_file_is_harmless_in_a_spreadsheet(admin: Client) -> None:
    audit.record(actor="root", action="test", subject='=HYPERLINK("http://evil")', message='a "quoted", text')
    (row,) = exported(admin)
    assert row[4] == '\'=HYPERLINK("http://evil")'
    assert row[5] == 'a "quoted", text'


@pytest.mark.parametrize("cell", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", " =1"])
def test_formulas_are_quoted(cell: str) -> None:
    assert harmless(cell) == f"'{cell}"


def test_the_address_behind_a_proxy_is_the_one_that_the_proxy_wrote(settings: Settings) -> None:
    factories.user("olga")
    data = {"username": "olga", "password": factories.PASSWORD}
    forged = {"HTTP_X_FORWARDED_FOR": "203.0.113.9, 198.51.100.4"}
    Client().post("/login/", data, **forged)
    settings.BEHIND_PROXY = True
    Client().post("/login/", data, **forged)
    addresses = list(AuditEntry.objects.order_by("id").values_list("address", flat=True))
    assert addresses == ["127.0.0.1", "198.51.100.4"]


def _codes() -> Iterator[str]:
    """Yield every action that the trail can hold: of addresses that change something, and of services."""
    for name, rule in access.RULES.items():
        if rule.audited and "POST" in rule.roles and name not in _WITH_A_BUTTON:
            yield name
    yield from (f"tasks:action-{action}" for action in _PERFORM)
    yield from (f"tasks:table-{action}" for action in _OF_TABLES)
    yield from (f"tasks:new-table-{action}" for action in _OF_NEW_TABLES)
    yield from (f"tasks:many-{action}" for action in services.BULK_ACTIONS)
    for path in Path(services.__file__).parent.glob("*.py"):
        calls = (node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call))
        keywords = [word for call in calls if "record" in ast.unparse(call.func) for word in call.keywords]
        yield from (
            word.value.value
            for word in keywords
            if word.arg == "action" and isinstance(word.value, ast.Constant) and isinstance(word.value.value, str)
        )


def test_every_action_has_words_on_the_page() -> None:
    codes = set(_codes())
    assert {"user-created", "tasks:toggle", "tasks:action-pause", "tasks:table-drop", "tasks:many-start"} <= codes
    assert not [code for code in sorted(codes) if selectors.deed(code) == code]


def test_the_page_tells_actions_in_words_and_filters_what_is_called_alike_together(admin: Client) -> None:
    for action in ("user-role", "users:role", "sign-in"):
        audit.record(actor="root", action=action)
    page = admin.get("/audit/?action=user-role").content.decode()
    assert page.count("<tr><td") == 2
    assert page.count("<option") == 3  # all of them, and two kinds
    assert '<option value="user-role" selected>Role changed</option>' in page
    assert '<td data-label="Action" title="users:role">Role changed</td>' in page


def test_many_tasks_have_an_entry_each_and_what_was_refused_has_none(admin: Client) -> None:
    ready, other = factories.checked_task(name="shop to 18"), factories.checked_task(name="billing to 18")
    refused = factories.task(name="a draft")
    admin.post("/tasks/many/start/", {"pick": [str(task.pk) for task in (ready, other, refused)]})
    entries = AuditEntry.objects.filter(action="tasks:many-start").order_by("id")
    assert [(entry.subject, entry.task, entry.actor) for entry in entries] == [
        ("shop to 18", ready, "root"),
        ("billing to 18", other, "root"),
    ]
    assert all("Start" in entry.message for entry in entries)
    assert AuditEntry.objects.count() == 2
