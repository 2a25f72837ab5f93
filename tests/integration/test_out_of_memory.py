"""What seldom passes by itself is tried again, but not for hours."""

from __future__ import annotations

import pytest

from migrations_app import services
from migrations_app.engine.errors import ConnectionLost, EngineError
from migrations_app.engine.replication.stream import stream_error
from migrations_app.engine.states import Status, StepName
from migrations_app.models import MigrationTask, User
from migrations_app.runner import driving
from migrations_app.services import work

pytestmark = pytest.mark.django_db


def tried_again(task: MigrationTask, user: User, *errors: EngineError) -> list[bool]:
    """Let the sync fail with one error after the other; say for each whether it is tried again by itself."""
    services.start_task(task_id=task.pk, actor=user)
    MigrationTask.objects.filter(pk=task.pk).update(status=Status.RUNNING, current_step=StepName.SYNC)
    again = []
    for error in errors:
        MigrationTask.objects.filter(pk=task.pk).update(not_before=None)
        claim = work.claim_sync(str(task.pk), "here:1:sync")
        assert claim
        again.append(work.fail(claim, StepName.SYNC, error))
    task.refresh_from_db()
    return again


def test_a_worker_without_memory_is_tried_again_twice_and_then_waits_for_the_operator(
    checked: MigrationTask, alice: User
) -> None:
    assert tried_again(checked, alice, *[driving._as_engine_error(MemoryError())] * 3) == [True, True, False]
    assert (checked.status, checked.error_code) == ("failed", "WORKER-MEMORY")
    assert "more memory" in checked.error_hint


def test_a_source_that_stumbles_again_and_again_is_told_to_the_operator_after_some_minutes(
    checked: MigrationTask, alice: User
) -> None:
    error = stream_error("XX000", "could not map filenumber", "slot")
    assert tried_again(checked, alice, *[error] * 13) == [True] * 12 + [False]
    assert (checked.status, checked.error_code) == ("failed", "SRC-DECODING")
    assert "could not map filenumber" in checked.error_message
    assert "press Restart with new copy" in checked.error_hint


def test_other_causes_take_no_tries_from_a_source_that_stumbles(checked: MigrationTask, alice: User) -> None:
    stumbled = stream_error("XX000", "could not map filenumber", "slot")
    lost = ConnectionLost("The source has ended the session.")
    assert tried_again(checked, alice, *[lost] * 12, stumbled, lost) == [True] * 14
    assert checked.tries == 14


def test_other_causes_give_a_source_that_stumbles_no_tries_more(checked: MigrationTask, alice: User) -> None:
    stumbled = stream_error("XX000", "could not map filenumber", "slot")
    lost = ConnectionLost("The source has ended the session.")
    assert tried_again(checked, alice, *[stumbled, lost] * 12, stumbled) == [True] * 24 + [False]


def test_what_moves_forward_gives_a_source_that_stumbles_all_its_tries_again(
    checked: MigrationTask, alice: User
) -> None:
    stumbled = stream_error("XX000", "could not map filenumber", "slot")
    assert tried_again(checked, alice, *[stumbled] * 12) == [True] * 12
    MigrationTask.objects.filter(pk=checked.pk).update(not_before=None)
    claim = work.claim_sync(str(checked.pk), "here:1:sync")
    assert claim
    work.progressed(claim)
    assert work.fail(claim, StepName.SYNC, stumbled)
