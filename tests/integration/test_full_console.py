"""A run that meets the full disk of the console's own database: it is told as that, and not lost."""

from __future__ import annotations

import sqlite3

import pytest
from django.db import OperationalError

from migrations_app import own_database, services
from migrations_app.engine.states import Status, StepName
from migrations_app.models import MigrationTask, User
from migrations_app.runner import driving
from migrations_app.services import work

pytestmark = pytest.mark.django_db


@pytest.fixture
def full() -> OperationalError:
    """What Django raises when SQLite has no room left."""
    session = sqlite3.connect(":memory:")
    session.execute("CREATE TABLE t (a)")
    session.execute("PRAGMA max_page_count = 2")
    with pytest.raises(sqlite3.OperationalError) as caught:
        session.execute("INSERT INTO t VALUES (zeroblob(100000))")
    session.close()
    error = OperationalError(str(caught.value))
    error.__cause__ = caught.value
    return error


@pytest.fixture
def claim(checked: MigrationTask, alice: User) -> work.Claim:
    services.start_task(task_id=checked.pk, actor=alice)
    claimed = work.claim_migration("here:1:migrate")
    assert claimed
    return claimed


def test_a_full_disk_of_the_console_is_told_as_that_and_waited_for(
    claim: work.Claim, checked: MigrationTask, full: OperationalError
) -> None:
    work.fail(claim, StepName.COPY, driving._as_engine_error(full))
    checked.refresh_from_db()
    assert (checked.status, checked.error_code) == (Status.RUNNING, "RUN-RETRY")
    assert "disk of the worker is full" in checked.error_message
    assert checked.not_before


def test_what_a_run_ended_with_is_written_once_there_is_room(full: OperationalError) -> None:
    answers = [full, full]

    def write() -> None:
        if answers:
            raise answers.pop()

    assert own_database.keep_trying(write, lambda seconds: False)
    assert not answers
