"""Risky acts take the password again when it was entered more than 30 minutes ago; without it they answer 403."""

from __future__ import annotations

import time
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from pytest_django.asserts import assertContains, assertNotContains

from console import access
from migrations_app.models import AuditEntry, MigrationTask, User
from tests import factories

pytestmark = pytest.mark.django_db
HTMX = {"HTTP_HX_REQUEST": "true"}
FIELD = 'name="password_again"'
RISKY = sorted(name for name, rule in access.RULES.items() if rule.risky)


def signed_in(role: str = "admin", *, ago: int = 31 * 60) -> Client:
    client = Client()
    client.force_login(factories.user(f"the-{role}", role=role))
    session = client.session
    session["began"], session["seen"] = int(time.time()) - ago, int(time.time())
    session.save()
    return client


def act(task: MigrationTask, action: str) -> str:
    return reverse("tasks:action", args=[task.pk, action])


def status(task: MigrationTask) -> str:
    return str(MigrationTask.objects.get(pk=task.pk).status)


def warned() -> MigrationTask:
    task = factories.running_task("sync", status="ready")
    factories.check_item(task, status="warning")
    return task


def cancelled() -> MigrationTask:
    task = factories.running_task("cleanup", status="cancelled")
    factories.ledger_entry(task, side="target", kind="table", schema="public", name="orders")
    return task


def test_users_and_the_keys_of_the_provider_are_risky() -> None:
    assert {f"users:{name}" for name in ("create", "role", "active", "password")} <= set(RISKY)
    assert {"resources:account", "resources:account-remove"} <= set(RISKY)


@pytest.mark.parametrize("name", RISKY)
def test_without_the_password_nothing_is_done(name: str) -> None:
    client, other = signed_in(), factories.user("other", role="viewer")
    takes_user = name in ("users:role", "users:active", "users:password")
    url = reverse(name, args=[other.pk] if takes_user else [])
    before = list(User.objects.values()), AuditEntry.objects.count()
    data = {"account": "eve", "role": "admin", "active": "0", "secret_id": "x", "secret_key": "y"}
    answer = client.post(url, data, headers={"Referer": "http://testserver/users/"})
    assertContains(answer, "This takes your password once more. Nothing was changed.", status_code=403)
    assertContains(answer, 'href="http://testserver/users/"', status_code=403)
    assert (list(User.objects.values()), AuditEntry.objects.count()) == before


@pytest.mark.parametrize("referer", ["https://evil.example/", "javascript:alert(1)", ""])
def test_the_way_back_never_leads_to_another_host(referer: str) -> None:
    answer = signed_in().post(reverse("users:create"), headers={"Referer": referer})
    assertContains(answer, '<a class="btn btn-primary" href="/">', status_code=403)


def test_the_right_password_in_the_form_does_it_and_holds_for_half_an_hour() -> None:
    client, other = signed_in(), factories.user("other", role="viewer")
    url = reverse("users:role", args=[other.pk])
    client.post(url, {"role": "operator", "password_again": factories.PASSWORD})
    other.refresh_from_db()
    assert other.role == "operator"
    client.post(url, {"role": "viewer"})
    other.refresh_from_db()
    assert other.role == "viewer"


def test_a_wrong_password_is_counted_and_written_down() -> None:
    client, other = signed_in(), factories.user("other", role="viewer")
    url = reverse("users:role", args=[other.pk])
    answer = client.post(url, {"role": "operator", "password_again": "wrong"})
    assertContains(answer, "This is not your password.", status_code=403)
    assert AuditEntry.objects.filter(action="sign-in-failed", subject="the-admin").count() == 1
    for _ in range(10):
        answer = client.post(url, {"role": "operator", "password_again": "wrong"})
    assertContains(answer, "Too many wrong passwords from here.", status_code=403)
    assertContains(client.post(url, {"password_again": factories.PASSWORD}), "Too many wrong", status_code=403)
    other.refresh_from_db()
    assert other.role == "viewer"


def test_somebody_who_just_signed_in_is_not_asked() -> None:
    client, other = signed_in(ago=60), factories.user("other", role="viewer")
    assertNotContains(client.get(reverse("users:detail", args=[other.pk])), FIELD)
    client.post(reverse("users:role", args=[other.pk]), {"role": "operator"})
    other.refresh_from_db()
    assert other.role == "operator"


@pytest.mark.parametrize(("name", "fields"), [("users:create", 1), ("users:detail", 3), ("resources:account", 1)])
def test_forms_of_risky_acts_hold_the_field(name: str, fields: int) -> None:
    other = factories.user("other", role="viewer")
    answer = signed_in().get(reverse(name, args=[other.pk] if name == "users:detail" else []))
    assertContains(answer, FIELD, count=fields)


def test_a_role_that_may_not_is_refused_before_any_password_is_looked_at() -> None:
    client = signed_in("operator")
    answer = client.post(reverse("users:create"), {"password_again": "wrong"})
    assertContains(answer, "Your account may not do this.", status_code=403)
    assert not AuditEntry.objects.filter(action="sign-in-failed").exists()


def test_complete_in_spite_of_a_warning_takes_the_password() -> None:
    client, task = signed_in("operator"), warned()
    assertContains(client.get(reverse("tasks:confirm", args=[task.pk, "complete"])), FIELD)
    answer = client.post(act(task, "complete"), {"from": "list"}, **HTMX)
    assertContains(answer, "This takes your password once more.", status_code=403)
    assertContains(answer, 'name="from" value="list"', status_code=403)
    assert status(task) == "ready"
    client.post(act(task, "complete"), {"password_again": factories.PASSWORD})
    assert status(task) == "completing"


def test_complete_without_a_warning_takes_none() -> None:
    client, task = signed_in("operator"), factories.running_task("sync", status="ready")
    factories.check_item(task, status="warning", acknowledged_at="2026-01-01T00:00:00Z", acknowledged_by="anna")
    assertNotContains(client.get(reverse("tasks:confirm", args=[task.pk, "complete"])), FIELD)
    client.post(act(task, "complete"))
    assert status(task) == "completing"


def test_clearing_what_was_made_on_the_target_takes_the_password() -> None:
    client, task = signed_in("operator"), cancelled()
    assertContains(client.get(reverse("tasks:confirm", args=[task.pk, "start_again"])), FIELD)
    answer: Any = client.post(act(task, "start_again"), {"clear_target": "1"})
    assertContains(answer, "This takes your password once more.", status_code=403)
    assertContains(answer, 'value="1" checked', status_code=403)
    assert status(task) == "cancelled"
    sent = {"clear_target": "1", "password_again": factories.PASSWORD, "typed": task.name}
    client.post(act(task, "start_again"), sent)
    assert status(task) == "checking"


def test_starting_again_over_what_an_application_may_have_written_takes_the_password() -> None:
    client, task = signed_in("operator"), cancelled()
    factories.event(task, code="COMPLETE-OPENING")
    assertContains(client.get(reverse("tasks:confirm", args=[task.pk, "start_again"])), FIELD)
    answer: Any = client.post(act(task, "start_again"), {"typed": task.name})
    assertContains(answer, "This takes your password once more.", status_code=403)
    assert status(task) == "cancelled"
    client.post(act(task, "start_again"), {"typed": task.name, "password_again": factories.PASSWORD})
    assert status(task) == "checking"


def test_starting_again_without_clearing_takes_none() -> None:
    client, task = signed_in("operator"), cancelled()
    client.post(act(task, "start_again"))
    assert status(task) == "checking"
