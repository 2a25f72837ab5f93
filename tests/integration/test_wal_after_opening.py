"""What no WAL policy does any more once Complete has begun to open the target to the application."""

from __future__ import annotations

import pytest

from migrations_app.engine.ports import OPENING
from migrations_app.models import Event
from tests import factories
from tests.integration.test_wal_governor import codes, holding, look

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("policy", ["drop", "new_copy"])
@pytest.mark.parametrize("step", ["complete", "cleanup"])
@pytest.mark.parametrize("lost", [False, True])
def test_a_task_that_failed_once_the_target_was_opened_is_never_given_up(policy: str, step: str, lost: bool) -> None:
    task = holding(step, status="failed", wal_policy=policy)
    where = {"side": "target", "kind": "bookmark", "schema": "towpath", "name": "bookmark"}
    factories.ledger_entry(task, **where, detail={OPENING: True})
    look(task, None if lost else 150, **({"wal_status": "lost"} if lost else {}))
    assert (task.status, task.new_copy, task.error_code) == ("failed", False, "")
    assert codes(task) == ["WAL-LOST" if lost else "WAL-REACHED"]
    text = Event.objects.get(task=task).message
    assert "given up now" not in text
    assert lost or "begun to open the target" in text
