"""Requests whose process is killed: what was done is in the audit trail all the same."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client

from console.middleware import AuditMiddleware
from migrations_app import audit_seal, clock
from migrations_app.models import AuditAsked, AuditEntry, MigrationTask
from migrations_app.services import work
from tests import factories

pytestmark = pytest.mark.django_db


class Killed(BaseException):
    """Stands for the death of the process."""


def dying(*_: Any) -> None:
    raise Killed


@pytest.fixture
def anna() -> Client:
    client = Client(REMOTE_ADDR="192.0.2.7")
    client.force_login(factories.user("anna"))
    return client


@pytest.fixture
def killed(anna: Client, monkeypatch: pytest.MonkeyPatch) -> MigrationTask:
    """A task that a request has paused whose process died before it wrote the entry."""
    task = factories.task(name="Shop", status="running")
    with monkeypatch.context() as patched:
        patched.setattr(AuditMiddleware, "_write", dying)
        with pytest.raises(Killed):
            anna.post(f"/tasks/{task.pk}/pause/")
    return task


def told() -> list[tuple[str, str, str, str]]:
    entries = AuditEntry.objects.filter(action="tasks:action-pause")
    return [(entry.actor, entry.subject, entry.address, entry.message) for entry in entries]


def test_what_a_killed_process_did_is_told_by_the_dispatcher(killed: MigrationTask) -> None:
    killed.refresh_from_db()
    assert killed.status == "paused"
    assert told() == []
    work.dispatch(clock.now() + timedelta(minutes=6))
    ((actor, subject, address, message),) = told()
    assert (actor, subject, address) == ("anna", "Shop", "192.0.2.7")
    assert message.startswith("The process that answered this was ended before it was done")
    assert AuditEntry.objects.get(action="tasks:action-pause").task == killed
    assert audit_seal.verify().broken == ""


def test_it_is_told_once(killed: MigrationTask) -> None:
    for minutes in (6, 12):
        work.dispatch(clock.now() + timedelta(minutes=minutes))
    assert len(told()) == 1


def test_a_request_that_may_still_be_answered_is_left_alone(killed: MigrationTask) -> None:
    work.dispatch(clock.now() + timedelta(minutes=4))
    assert told() == []


def test_it_is_told_also_when_the_task_is_gone(killed: MigrationTask) -> None:
    MigrationTask.objects.filter(pk=killed.pk).delete()
    work.dispatch(clock.now() + timedelta(minutes=6))
    assert [subject for _, subject, _, _ in told()] == ["Shop"]


@pytest.mark.parametrize("status", ["running", "draft"])
def test_nothing_is_left_of_a_request_that_was_answered(anna: Client, status: str) -> None:
    task = factories.task(status=status)
    anna.post(f"/tasks/{task.pk}/pause/")
    assert not AuditAsked.objects.exists()
    work.dispatch(clock.now() + timedelta(minutes=6))
    assert len(told()) == (status == "running")
