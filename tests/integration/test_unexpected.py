"""An error that nobody foresaw: the task waits for the operator, and nothing is passed over to go on."""

from __future__ import annotations

import pytest

from migrations_app import services
from migrations_app.models import MigrationTask, User
from migrations_app.runner import driving

pytestmark = pytest.mark.django_db(transaction=True)


def test_an_unexpected_error_stops_the_task_with_a_number_and_keeps_its_words_to_the_log(
    checked: MigrationTask, alice: User, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def surprise(*_: object, **__: object) -> None:
        raise KeyError("a row's own words")

    services.start_task(task_id=checked.pk, actor=alice)
    monkeypatch.setattr(driving._TaskRun, "work", surprise)
    assert driving.run_migration()
    checked.refresh_from_db()
    assert (checked.status, checked.error_code) == ("failed", "INT-UNKNOWN")
    assert "Nothing was skipped" in checked.error_message
    assert "own words" not in checked.error_message + checked.error_hint
    incident = checked.error_message.split("id ")[1].split(".")[0]
    assert incident in caplog.text
    assert incident in checked.error_hint
    assert not driving.run_migration(), "it is not tried again by itself"
