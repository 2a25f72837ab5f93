"""How the refusal of an action reads where a task stands: what has happened already, or what to do instead."""

from __future__ import annotations

from .states import RULES, Action, Status

_S, _A = Status, Action
_BEFORE = (_S.DRAFT, _S.CHECK_FAILED, _S.CHECK_PASSED)
_EARLY = (*_BEFORE, _S.CHECKING, _S.SCHEDULED)
_MOVING = (_S.RUNNING, _S.READY)
_BEGINNING = (_A.START, _A.START_NOW, _A.RESUME, _A.RETRY)

_CHECK_RUNS = "The check is running. Wait until it has ended."
_STARTED = "It was started already, and is at work."
_WAITS = "It was started already, and waits for its turn."
_PAUSED = "It is paused. Resume it first."
_FAILED = "It has failed. Mend the cause and press Retry first."
_COMPLETING = "Complete was pressed already: the last changes are moved, then both sides are compared."
_NOT_STARTED = "It has not been started yet."
_COMPLETED = "It has completed, and nothing of it runs any more. Clone it to migrate once more."
_CANCELLING = "It is being cancelled. Wait until that has ended."
_CANCELLED = "It was cancelled, and nothing of it runs any more. Press Start again to begin anew."

_AT: dict[tuple[Action, Status], str] = {
    **{(action, status): _STARTED for action in _BEGINNING for status in _MOVING},
    **{(action, _S.QUEUED): _WAITS for action in _BEGINNING},
    **{(action, _S.PAUSED): _PAUSED for action in (_A.RETRY, _A.COMPARE, _A.COMPLETE)},
    **{(action, _S.FAILED): _FAILED for action in (_A.RESUME, _A.COMPARE, _A.COMPLETE)},
    **{(action, _S.CHECKING): _CHECK_RUNS for action in (_A.EDIT, _A.CHECK, _A.START, _A.DELETE, _A.REOPEN)},
    **{(action, status): _NOT_STARTED for action in (_A.COMPARE, _A.COMPLETE, _A.NEW_COPY) for status in _EARLY},
    (_A.START, _S.SCHEDULED): "It is scheduled, and starts by itself at its time. Start now does not wait for that.",
    (_A.START, _S.PAUSED): "It was started already. Resume lets it go on where it was paused.",
    (_A.START, _S.FAILED): "It was started already. Retry lets it go on from where it stopped.",
    (_A.START, _S.COMPLETING): _COMPLETING,
    (_A.PAUSE, _S.PAUSED): "It is paused already.",
    (_A.PAUSE, _S.QUEUED): "It waits for its turn, and nothing of it runs that could be paused.",
    (_A.PAUSE, _S.COMPLETING): "Complete was pressed, and cannot be paused.",
    (_A.COMPARE, _S.COMPLETING): "Complete was pressed, and compares both sides by itself.",
    (_A.COMPLETE, _S.COMPLETING): _COMPLETING,
    (_A.CANCEL, _S.CANCELLING): "It is being cancelled already.",
    (_A.CANCEL, _S.CANCELLED): "It has been cancelled already.",
    (_A.CANCEL, _S.COMPLETED): "It has completed, so nothing is left that could be cancelled.",
    **{(_A.REOPEN, status): "It has not been started yet, and can be edited as it is." for status in _BEFORE},
}
_ENDED = {_S.COMPLETED: _COMPLETED, _S.CANCELLING: _CANCELLING, _S.CANCELLED: _CANCELLED}
_FIT_EVERYWHERE = frozenset({_A.EDIT})
"""Actions whose one text says what to do for a task that has ended, too."""


def refusal_at(action: Action, status: Status) -> str:
    """Return what a refusal of `action` says to a task in `status`: an English template of the catalogue."""
    found = _AT.get((action, status))
    if found is None and action not in _FIT_EVERYWHERE:
        found = _ENDED.get(status)
    return found or RULES[action].refusal


def all_refusals() -> set[str]:
    """Return every text that `refusal_at` may return for an action that is not allowed."""
    pairs = ((action, status) for action, rule in RULES.items() for status in set(Status) - rule.allowed_from)
    return {refusal_at(action, status) for action, status in pairs}
