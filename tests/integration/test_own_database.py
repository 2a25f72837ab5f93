"""The console's own database goes away: nothing is taken for broken, and nobody is shown an error of ours."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import OperationalError, connection, connections
from django.test import Client
from django.urls import reverse

from migrations_app import selectors, services
from migrations_app.engine.errors import LeaseLost
from migrations_app.engine.states import Status
from migrations_app.models import MigrationTask, User
from migrations_app.runner import driving
from migrations_app.runner.recorder import Recorder


class Away:
    """Cuts the connection of whoever calls it, so many times."""

    def __init__(self, times: int) -> None:
        self.left = times

    def __call__(self) -> int:
        if self.left:
            self.left -= 1
            connections["default"].close()
            raise OperationalError("the connection is closed")
        return MigrationTask.objects.count()


@pytest.mark.django_db(transaction=True)
def test_what_is_to_be_recorded_waits_for_the_database() -> None:
    with Recorder() as recorder:
        assert recorder.call(Away(2)) == 0


@pytest.mark.django_db(transaction=True)
def test_nothing_waits_longer_than_the_lease() -> None:
    def check() -> None:
        raise LeaseLost

    with Recorder(check) as recorder, pytest.raises(LeaseLost):
        recorder.call(Away(10**9))


@pytest.mark.django_db(transaction=True)
def test_an_error_of_a_statement_is_raised_at_once() -> None:
    def write() -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT * FROM there_is_no_such_table")

    with Recorder() as recorder, pytest.raises(Exception, match="there_is_no_such_table"):
        recorder.call(write)


@pytest.mark.django_db(transaction=True)
def test_a_run_in_which_the_database_went_away_is_tried_again(
    monkeypatch: pytest.MonkeyPatch, checked: MigrationTask, alice: User
) -> None:
    services.start_task(task_id=checked.pk, actor=alice)
    monkeypatch.setattr(driving._TaskRun, "work", lambda *_, **__: Away(1)())
    assert driving.run_migration()
    checked.refresh_from_db()
    assert (checked.status, checked.error_code, checked.worker) == (Status.RUNNING, "RUN-RETRY", "")
    assert checked.events.filter(detail__cause="CONSOLE-DB").exists()


def unreachable(*_: Any, **__: Any) -> Any:
    raise OperationalError("connection refused")


@pytest.mark.django_db
def test_a_page_says_that_the_console_is_not_available(monkeypatch: pytest.MonkeyPatch, alice: User) -> None:
    client = Client(raise_request_exception=False)
    client.force_login(alice)
    monkeypatch.setattr(selectors, "status_counts", unreachable)
    answer = client.get(reverse("tasks:list"))
    assert answer.status_code == 503
    assert "is not available for a moment" in answer.content.decode()
    assert answer["Retry-After"] == "5"


@pytest.mark.django_db
def test_whoever_watches_the_console_is_told_that_its_database_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selectors, "readiness", unreachable)
    answer = Client().get(reverse("ready"))
    assert answer.status_code == 503
    assert "database does not answer" in answer.json()["problem"]
