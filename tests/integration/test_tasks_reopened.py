"""Editing a task that has failed: what may change, and what may never."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from pytest_django.asserts import assertContains, assertNotContains

from migrations_app import services
from migrations_app.models import Event, MigrationTask
from tests import factories

pytestmark = pytest.mark.django_db


@pytest.fixture
def anna(client: Client) -> Client:
    client.force_login(factories.user("anna"))
    return client


def _failed(*, made: bool = True, system: str = "731", **fields: object) -> MigrationTask:
    task = factories.running_task("copy", status="failed", error_message="It broke.", **fields)
    task.databases.update(system_id=system)
    if made:
        factories.ledger_entry(task, side="target", kind="table", schema="public", name="orders")
    return task


def _access(**changes: object) -> services.Access:
    values = {"host": "db1.internal", "port": 5432, "account": "mover", "tls_mode": "require"} | changes
    return services.Access(**values)  # type: ignore[arg-type]


def _change(task: MigrationTask, side: str = "source", **changes: object) -> MigrationTask:
    return services.change_access(task_id=task.pk, actor=None, side=side, access=_access(**changes))


def test_a_failed_task_on_whose_servers_nothing_stands_becomes_a_draft() -> None:
    task = services.reopen_task(task_id=_failed(made=False).pk, actor=None)
    assert (task.status, task.error_message, task.current_step, task.checked_hash) == ("draft", "", "", "")
    assert not task.steps.exists()
    assert not task.databases.exists()


def test_a_failed_task_that_has_made_something_keeps_what_it_migrates() -> None:
    task = _failed()
    with pytest.raises(services.Refused, match="cannot change any more"):
        services.reopen_task(task_id=task.pk, actor=None)
    with pytest.raises(services.Refused):
        services.set_selected(task_id=task.pk, actor=None, path=("shop",), selected=False)
    task.refresh_from_db()
    assert task.status == "failed"


@pytest.mark.parametrize("status", ["running", "ready", "paused", "completed", "draft", "queued"])
def test_nothing_but_a_failed_task_is_reopened(status: str) -> None:
    with pytest.raises(services.Refused):
        services.reopen_task(task_id=factories.running_task(status=status).pk, actor=None)


@pytest.mark.parametrize("status", ["running", "ready", "completed", "draft", "queued", "cancelled"])
def test_a_task_that_may_be_at_work_is_not_readdressed(status: str) -> None:
    with pytest.raises(services.Refused):
        _change(factories.running_task(status=status), password="new")


def test_a_new_password_is_stored_and_the_task_stays_failed_until_retry() -> None:
    task = _change(_failed(), password="n3w")
    assert task.source is not None
    assert (task.status, task.source.password) == ("failed", "n3w")
    assert Event.objects.filter(task=task, code="TASK-ACCESS").exists()
    assert "n3w" not in str(list(Event.objects.filter(task=task).values_list("message", "detail")))


def test_the_source_may_be_found_elsewhere_when_the_engine_can_tell_that_it_is_the_same() -> None:
    task = _change(_failed(), host="db1.new", password="n3w")
    assert task.source is not None
    assert task.source.host == "db1.new"


def test_the_source_stays_where_it_is_while_nobody_knows_which_server_it_was() -> None:
    with pytest.raises(services.Refused, match="same server"):
        _change(_failed(system=""), host="db1.new", password="n3w")


def test_an_address_from_the_directory_is_not_typed_over() -> None:
    task = _failed(source=factories.endpoint(kind="tencentdb"))
    with pytest.raises(services.Refused, match="same server"):
        _change(task, host="db1.new", password="n3w")


def test_the_target_never_moves() -> None:
    with pytest.raises(services.Refused, match="address of the target"):
        _change(_failed(), "target", host="elsewhere", password="n3w")


@pytest.mark.parametrize("changes", [{"host": "db1.new"}, {"account": "other"}, {"tls_mode": "disable"}])
def test_a_stored_password_never_follows(changes: dict[str, str]) -> None:
    task = _failed()
    with pytest.raises(services.Refused, match="Enter the password"):
        _change(task, **changes)
    task.refresh_from_db()
    assert task.source is not None
    assert task.source.password == factories.CANARY


def test_stronger_tls_keeps_the_password() -> None:
    task = _change(_failed(), tls_mode="verify-full")
    assert task.source is not None
    assert (task.source.tls_mode, task.source.password) == ("verify-full", factories.CANARY)


def test_the_page_offers_what_is_possible(anna: Client) -> None:
    assertContains(anna.get(reverse("tasks:detail", args=[_failed().id])), "Change access")
    page = anna.get(reverse("tasks:detail", args=[_failed(made=False).id]))
    assertContains(page, "reopen/confirm")
    assertNotContains(page, "Change access")


def test_reopening_leads_to_the_settings(anna: Client) -> None:
    task = _failed(made=False)
    assertContains(anna.get(reverse("tasks:confirm", args=[task.id, "reopen"])), "everything can be edited")
    answer = anna.post(reverse("tasks:action", args=[task.id, "reopen"]))
    assert answer["Location"] == reverse("tasks:settings", args=[task.id])


def test_the_form_saves_one_side_and_never_shows_a_password(anna: Client) -> None:
    task = _failed()
    url = reverse("tasks:access", args=[task.id])
    page = anna.get(url)
    assertContains(page, "The address of the target is fixed")
    assertNotContains(page, factories.CANARY)
    data = {
        "side": "target",
        "target-account": "loader",
        "target-password": "n3w",
        "target-tls_mode": "require",
        "target-host": "evil.example",
    }
    assert anna.post(url, data)["Location"] == reverse("tasks:detail", args=[task.id])
    task.refresh_from_db()
    assert task.target is not None
    assert (task.target.account, task.target.password, task.target.host) == ("loader", "n3w", "10.0.4.9")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"source-account": ""}, "Enter the account."),
        ({"source-port": "x"}, "A port is a number"),
        ({"source-tls_mode": "none"}, "not one of the available choices"),
        ({"source-account": "other"}, "Enter the password"),
        ({"side": "both"}, "Change access"),
    ],
)
def test_wrong_values_come_back_at_their_field(data: dict[str, str], words: str, anna: Client) -> None:
    task = _failed()
    sent = {
        "side": "source",
        "source-host": "db1.internal",
        "source-port": "5432",
        "source-account": "mover",
        "source-tls_mode": "require",
    }
    assertContains(anna.post(reverse("tasks:access", args=[task.id]), sent | data), words, status_code=422)


def test_the_form_is_for_failed_tasks_only(anna: Client) -> None:
    task = factories.running_task()
    assert anna.get(reverse("tasks:access", args=[task.id])).status_code == 302


def test_try_now_ends_the_wait_for_the_next_try(anna: Client) -> None:
    now = timezone.now()
    task = factories.running_task(
        failing_since=now,
        not_before=now + timedelta(minutes=1),
        error_code="RUN-RETRY",
        error_message="Lost connection.",
    )
    assertContains(anna.get(reverse("tasks:detail", args=[task.id])), "Try now")
    anna.post(reverse("tasks:action", args=[task.id, "try_now"]))
    task.refresh_from_db()
    assert task.not_before is None
    with pytest.raises(services.Refused):
        services.try_now(task_id=task.pk, actor=None)
