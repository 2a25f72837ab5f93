"""What is told of a full disk is true for the task that it stopped: what is kept, and what begins again."""

from __future__ import annotations

from pathlib import Path

import pytest

from migrations_app.engine.errors import EngineError, TargetError, WorkerFull
from migrations_app.engine.states import StepName
from migrations_app.engine.wording import say
from migrations_app.services import work
from tests import factories

pytestmark = pytest.mark.django_db
BEGINS_AGAIN = "The copy begins again then: without sync all rows come from one moment of the source."
KEPT = "Everything that was done is kept."
KEPT_WITH_CHANGES = "Everything that was done is kept, and the source keeps the changes, which takes disk space there."


@pytest.mark.parametrize(
    "error",
    [
        TargetError(say("No space."), code="DST-FULL"),
        TargetError(say("No temporary files."), code="DST-LIMIT"),
        WorkerFull(Path("/work")),
    ],
    ids=["target", "limit", "worker"],
)
@pytest.mark.parametrize(
    ("step", "incremental", "told"),
    [
        ("copy", False, BEGINS_AGAIN),
        ("index", False, KEPT),
        ("copy", True, KEPT_WITH_CHANGES),
        ("sync", True, KEPT_WITH_CHANGES),
    ],
)
def test_a_full_disk_says_what_is_kept(error: EngineError, step: str, incremental: bool, told: str) -> None:
    task = factories.running_task(step, incremental=incremental)
    claim = work.claim_sync(str(task.pk), "here:1:sync") if step == "sync" else work.claim_migration("here:1:full")
    assert claim is not None
    work.fail(claim, StepName(step), error)
    task.refresh_from_db()
    assert task.status == "failed"
    assert task.error_hint.endswith(told)
    assert "press Retry" in task.error_hint
