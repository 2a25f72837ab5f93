"""What becomes of a task whose target was written under a later epoch than the console knows of.

Epochs only grow, and the console hands them out. So its own database was set back, as when it was restored from a
backup; or another console, such as the one that the backup came from, works on the same task.
"""

from __future__ import annotations

from datetime import timedelta

from django.db import transaction

from ... import clock
from ...engine.errors import EngineError
from ...engine.states import StepName
from ...engine.wording import say
from ...models import Event, MigrationTask
from ..base import note
from .claims import Claim, held_task, release
from .results import fail

CODE = "RUN-EPOCH"
_AGAIN = timedelta(minutes=10)


class WorkedOnTwice(EngineError):
    """Another console works on the task as well."""

    code = "RUN-TWICE"

    def __init__(self) -> None:
        super().__init__(say("Another console works on this task too: the target is written under later epochs again."))


@transaction.atomic
def outrun(claim: Claim, step: StepName, found: int) -> None:
    """Go on after the epoch that was `found` on the target, and tell it; does nothing when the claim was lost.

    Once for each database of the task. When it comes back within ten minutes, the task fails: two consoles would take
    turns without an end.
    """
    task = held_task(claim)
    if task is None:
        return
    lately = Event.objects.filter(task=task, code=CODE, at__gt=clock.now() - _AGAIN)
    if lately.count() > task.databases.count():
        fail(claim, step, WorkedOnTwice())
        return
    text = say(
        "The target was written under epoch {found}, and this console only knows of {epoch}: its own database seems to "
        "have been restored from an older backup. The target's position counts, nothing is lost, and the task goes on.",
        found=found,
        epoch=claim.epoch,
    )
    note(task, text, code=CODE, level="warning", at=clock.now())
    release(claim)
    MigrationTask.objects.filter(pk=task.pk, epoch=claim.epoch).update(epoch=found)
