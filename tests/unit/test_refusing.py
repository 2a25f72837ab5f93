"""A refusal fits where the task stands: it tells nobody to do what has been done or cannot be done there."""

from __future__ import annotations

import pytest

from migrations_app.engine.refusing import refusal_at
from migrations_app.engine.states import RULES, TERMINAL, Action, Status, allowed_actions

REFUSED = [(action, status) for action, rule in RULES.items() for status in Status if status not in rule.allowed_from]
ADVICE = {
    "Run the check": Action.CHECK,
    "Resume it": Action.RESUME,
    "Resume lets": Action.RESUME,
    "press Retry": Action.RETRY,
    "Retry lets": Action.RETRY,
    "Start again": Action.START_AGAIN,
    "Start now": Action.START_NOW,
    "Cancel it first": Action.CANCEL,
}


@pytest.mark.parametrize(("action", "status"), REFUSED)
def test_what_a_refusal_advises_is_possible(action: Action, status: Status) -> None:
    text = refusal_at(action, status)
    possible = allowed_actions(status)
    for words, advised in ADVICE.items():
        if words in text:
            assert advised in possible, f"{text} ({status})"
    if "Wait until" in text:
        assert status not in TERMINAL, text


@pytest.mark.parametrize(
    ("action", "status", "words"),
    [
        (Action.START, Status.RUNNING, "started already"),
        (Action.START, Status.READY, "started already"),
        (Action.START, Status.QUEUED, "waits for its turn"),
        (Action.START, Status.CANCELLED, "Press Start again"),
        (Action.START, Status.COMPLETED, "Clone it"),
        (Action.START, Status.DRAFT, "Run the check first"),
        (Action.START, Status.CHECKING, "check is running"),
        (Action.COMPLETE, Status.COMPLETING, "pressed already"),
        (Action.COMPLETE, Status.COMPLETED, "It has completed"),
        (Action.COMPLETE, Status.RUNNING, "Wait until the task is ready"),
        (Action.COMPLETE, Status.PAUSED, "Resume it first"),
        (Action.CANCEL, Status.CANCELLING, "being cancelled already"),
        (Action.CANCEL, Status.CANCELLED, "cancelled already"),
    ],
)
def test_a_refusal_says_what_has_happened_already(action: Action, status: Status, words: str) -> None:
    assert words in refusal_at(action, status)
