"""The table of states: what is allowed where, and that nothing else is."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from migrations_app.engine.states import (
    LIVE,
    RULES,
    TERMINAL,
    WORKER_MOVES,
    Action,
    Status,
    StepName,
    allowed_actions,
    may_move,
    steps_for,
)


def test_every_action_has_a_label_and_a_refusal_that_says_what_to_do() -> None:
    for action in Action:
        assert RULES[action].label
        assert RULES[action].refusal.endswith(".")


def test_every_status_is_reachable_from_draft() -> None:
    seen, edge = {Status.DRAFT}, {Status.DRAFT}
    while edge:
        edge = {new for old, new in itertools.product(edge, Status) if may_move(old, new)} - seen
        seen |= edge
    assert seen == set(Status)


def test_every_status_that_is_not_terminal_can_reach_an_end() -> None:
    for start in set(Status) - TERMINAL:
        seen, edge = {start}, {start}
        while edge:
            edge = {new for old, new in itertools.product(edge, Status) if may_move(old, new)} - seen
            seen |= edge
        assert seen & TERMINAL, f"{start} is a dead end"


@pytest.mark.parametrize("status", sorted(TERMINAL))
def test_no_worker_moves_a_task_that_has_ended(status: Status) -> None:
    assert status not in WORKER_MOVES


def test_what_a_worker_can_change_is_polled_by_pages() -> None:
    assert set(WORKER_MOVES) <= LIVE


def test_cancel_is_possible_wherever_something_may_run() -> None:
    stoppable = {Status.SCHEDULED, Status.QUEUED, Status.RUNNING, Status.PAUSED, Status.READY, Status.COMPLETING}
    for status in stoppable | {Status.FAILED}:
        assert Action.CANCEL in allowed_actions(status)


def test_complete_is_possible_only_in_sync() -> None:
    assert [status for status in Status if Action.COMPLETE in allowed_actions(status)] == [Status.READY]


def test_a_full_only_task_has_no_sync_step() -> None:
    assert StepName.SYNC not in steps_for(incremental=False)
    assert steps_for(incremental=True).index(StepName.SYNC) == 3


class TaskLife(RuleBasedStateMachine):
    """Any sequence of operators' and workers' moves keeps to the table and ends at most once."""

    def __init__(self) -> None:
        super().__init__()
        self.status = Status.DRAFT
        self.ends = 0

    @rule(action=st.sampled_from(Action))
    def operator(self, action: Action) -> None:
        target = RULES[action].leads_to
        if self.status in RULES[action].allowed_from and target is not None:
            assert may_move(self.status, target)
            self.move(target)

    @precondition(lambda self: self.status in WORKER_MOVES)
    @rule(data=st.data())
    def worker(self, data: st.DataObject) -> None:
        self.move(data.draw(st.sampled_from(sorted(WORKER_MOVES[self.status]))))

    def move(self, status: Status) -> None:
        if status in TERMINAL:
            self.ends += 1
        if self.status in TERMINAL:
            self.ends -= 1
        self.status = status

    @invariant()
    def ends_once(self) -> None:
        assert self.ends == (1 if self.status in TERMINAL else 0)

    @invariant()
    def a_way_on_exists(self) -> None:
        assert self.status in TERMINAL or allowed_actions(self.status) or self.status in WORKER_MOVES


TaskLife.TestCase.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
TestTaskLife = TaskLife.TestCase
