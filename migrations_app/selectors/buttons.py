"""What the operator can do with a task now."""

from __future__ import annotations

from ..engine.ports import Kind
from ..engine.states import (
    Action,
    Status,
    StepName,
    allowed_actions,
    may_still_copy,
    new_copy_helps,
    only_new_copy_helps,
)
from ..models import LedgerEntry, MigrationTask
from ..refusals import complete_waits, only_cleans_up, past_return, why_not
from . import labels
from .conflicts import ActionButton

_OFFERED = [
    Action.START,
    Action.START_NOW,
    Action.RESCHEDULE,
    Action.UNSCHEDULE,
    Action.HAND_OVER,
    Action.COMPLETE,
    Action.RESUME,
    Action.NEW_COPY,
    Action.RETRY,
    Action.START_AGAIN,
    Action.CLEAN_UP,
    Action.COMPARE,
    Action.PAUSE,
    Action.KEEP_SYNCING,
    Action.REOPEN,
    Action.ACCESS,
    Action.CANCEL,
    Action.DELETE,
]
_PRIMARY = {Action.HAND_OVER, Action.START, Action.COMPLETE, Action.RESUME, Action.RETRY}
_DANGER = {Action.CANCEL, Action.DELETE}


def action_buttons(task: MigrationTask, *, ledger: bool = True) -> list[ActionButton]:
    """Return what the operator can do now, in the order in which it is offered.

    How a failed task can be edited, and whether a cancelled one can be cleaned up, depends on what it has made; with
    `ledger` False none of that is offered.
    """
    allowed = set(allowed_actions(Status(task.status)))
    if task.status == Status.COMPLETING and task.current_step == StepName.CLEANUP:
        allowed -= {Action.CANCEL, Action.KEEP_SYNCING}
    if only_cleans_up(task):
        allowed -= {Action.PAUSE, Action.CANCEL}
    if task.back_requested or (Action.KEEP_SYNCING in allowed and past_return(task)):
        allowed.discard(Action.KEEP_SYNCING)
    if not ledger:
        allowed.discard(Action.CLEAN_UP)
    if not new_copy_helps(task.error_code, incremental=task.incremental):
        allowed.discard(Action.NEW_COPY)  # without asking the ledger, as why it is refused does
    if task.compare_requested:
        allowed.discard(Action.COMPARE)
    allowed -= {action for action in allowed if why_not(action, task)}
    if not task.incremental:
        allowed -= {Action.COMPARE, Action.COMPLETE}
    if allowed & {Action.REOPEN, Action.ACCESS}:
        allowed -= _edits_not_possible(task) if ledger else {Action.REOPEN, Action.ACCESS}
    # Where only a new copy helps, Retry would fail again.
    anew = Action.NEW_COPY in allowed and only_new_copy_helps(task.error_code)
    first = _PRIMARY - {Action.RETRY} | {Action.NEW_COPY} if anew else _PRIMARY
    return [
        ActionButton(
            name=action.value,
            label=str(labels.ACTIONS[action]),
            tone="pri" if action in first else "danger" if action in _DANGER else "",
            confirm=labels.confirmation(action, task.current_step, incremental=task.incremental),
        )
        for action in _OFFERED
        if action in allowed
    ]


def refused(task: MigrationTask, action: str) -> str:
    """Return why a button cannot be pressed now; '' where nothing but its absence says so."""
    if action not in set(Action):
        return ""
    wanted = Action(action)
    return why_not(wanted, task) or (complete_waits(task) if wanted is Action.COMPLETE else "")


def may_recopy(task: MigrationTask) -> bool:
    """Say whether single tables can be copied once more now."""
    step = StepName.SYNC if task.incremental else StepName.COMPARE
    return task.current_step == step and Action.RECOPY in allowed_actions(Status(task.status))


def _edits_not_possible(task: MigrationTask) -> set[Action]:
    made = LedgerEntry.objects.filter(task=task, removed_at=None).exclude(kind=Kind.FILE).exists()
    return {Action.REOPEN} if made else {Action.ACCESS}


def may_tune(task: MigrationTask) -> bool:
    """Say whether the speed of the task's copy may be set."""
    return may_still_copy(task.status, task.current_step)
