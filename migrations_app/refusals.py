"""Why an action is not possible now: what services refuse it with, and what pages say before anybody asks."""

from __future__ import annotations

from datetime import UTC

from django.utils.translation import gettext as _

from .engine.plan import Side
from .engine.ports import OPENING, Kind
from .engine.refusing import refusal_at
from .engine.states import RULES, Action, Status, StepName
from .models import LedgerEntry, MigrationTask


def why_not(action: Action, task: MigrationTask) -> str:
    """Return in the reader's language why the task does not allow `action` and what to do; '' when it does."""
    status = Status(task.status)
    if status not in RULES[action].allowed_from:
        return _(refusal_at(action, status))
    if action is Action.COMPLETE and task.failing_since is not None:
        at = task.failing_since.astimezone(UTC).strftime("%H:%M UTC")
        return _(
            "The sync has been interrupted since %(at)s, so nobody knows whether the target is in sync. Mend what the "
            "task's message says, or press Try now; Complete is possible as soon as it is in sync again."
        ) % {"at": at}
    return ""


def past_return(task: MigrationTask) -> bool:
    """Say whether Complete has begun to open targets, so that the sync cannot go on any more."""
    if task.current_step == StepName.CLEANUP:
        return True
    marks = LedgerEntry.objects.filter(task=task, side=Side.TARGET, kind=Kind.BOOKMARK, removed_at=None)
    return any(OPENING in detail for detail in marks.values_list("detail", flat=True))
