"""The board that hands copy units to lanes."""

from __future__ import annotations

import itertools

import pytest

from migrations_app.engine import copy_board
from migrations_app.engine.copy_board import TRIES, Board, Stopped, Unit
from migrations_app.engine.errors import CancelRequested, ConnectionLost, TargetError
from migrations_app.engine.plan import DatabasePlan
from tests.fakes import FakeControl

SHOP = DatabasePlan(source_name="shop", target_name="shop")


def board(units: list[Unit], control: FakeControl | None = None) -> Board[str]:
    return Board(units, (control or FakeControl()).check)


def test_units_come_in_order_and_then_nothing() -> None:
    units = [Unit(database=SHOP), Unit(database=SHOP)]
    made = board(list(units))
    assert [made.take(), made.take()] == units
    assert not made.finished(units[0])
    assert made.finished(units[1])
    assert made.take() is None
    assert made.take_index() is None


def test_a_unit_comes_back_a_few_times(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copy_board, "_BACK_OFF_SECONDS", (0.0, 0.0))
    made = board([Unit(database=SHOP)])
    answers = []
    for _ in range(TRIES):
        unit = made.take()
        assert unit
        answers.append(made.again(unit, ConnectionLost("cut")))
    assert answers == [True] * (TRIES - 1) + [False]


def test_a_failure_that_will_not_pass_is_not_tried_again() -> None:
    made = board([Unit(database=SHOP)])
    unit = made.take()
    assert unit
    assert not made.again(unit, TargetError("no such column"))


def test_a_unit_whose_table_others_want_comes_back_a_few_times(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copy_board, "_WAIT_SECONDS", (0.0, 0.0))
    made = board([Unit(database=SHOP)])
    answers = []
    for _ in range(3):
        unit = made.take()
        assert unit
        answers.append(made.later(unit))
    assert answers == [True, True, False]


def test_units_instead_of_another_keep_its_database_open() -> None:
    first, second = Unit(database=SHOP), Unit(database=SHOP)
    made = board([first])
    assert made.take() is first
    assert not made.finished(first, [second])
    assert made.take() is second
    assert made.finished(second)
    assert made.take() is None


def test_no_lane_ends_while_more_units_are_awaited() -> None:
    first, second = Unit(database=SHOP), Unit(database=SHOP)
    made = board([first])
    made.take()
    made.await_more("shop")
    assert made.finished(first)
    assert made.rows_left()
    assert made.indexes_left()
    made.more("shop", [second])
    assert made.take() is second
    assert made.finished(second)
    assert not made.rows_left()
    assert made.take() is None
    assert made.take_index() is None


def test_only_what_is_taken_when_nothing_waits_behind_it_is_the_last() -> None:
    made = board([])
    made.index((2, "larger"), (1, "smaller"))
    assert [made.take_index(), made.take_index()] == [("larger", False), ("smaller", True)]


def test_nothing_is_the_last_while_rows_are_still_copied() -> None:
    made = board([Unit(database=SHOP)])
    made.index((1, "index"))
    assert made.take_index() == ("index", False)


def test_after_a_failure_every_lane_is_told_to_stop() -> None:
    made = board([Unit(database=SHOP)])
    first = TargetError("first")
    made.fail(first)
    made.fail(TargetError("second"))
    made.fail(Stopped())
    for ask in (made.check, made.take, made.take_index):
        with pytest.raises(Stopped):
            ask()
    assert made.failure is first


def test_an_interruption_wins_over_waiting() -> None:
    control = FakeControl()
    made = board([], control)
    control.cancel()
    with pytest.raises(CancelRequested):
        made.take()


@pytest.fixture
def clocked(monkeypatch: pytest.MonkeyPatch) -> tuple[Board[str], list[float]]:
    """A board with many units, and the time, which passes only while somebody waits for a unit."""
    clock = [100.0]
    monkeypatch.setattr(copy_board.time, "monotonic", lambda: clock[0])
    made = board([Unit(database=SHOP) for _ in range(50)])
    monkeypatch.setattr(made._changed, "wait", lambda seconds: clock.__setitem__(0, clock[0] + seconds))
    return made, clock


def taken(made: Board[str]) -> Unit:
    unit = made.take()
    assert unit
    return unit


def test_a_server_that_is_away_ends_the_run_instead_of_meeting_every_unit_in_turn(
    clocked: tuple[Board[str], list[float]],
) -> None:
    made, clock = clocked
    times, answers = [], []
    for _ in range(TRIES):
        unit = taken(made)
        times.append(clock[0])
        answers.append(made.again(unit, ConnectionLost("cut")))
    assert answers == [True] * (TRIES - 1) + [False]
    assert [later - earlier for earlier, later in itertools.pairwise(times)] == [1, 2]


def test_units_that_break_together_count_as_one_failure(clocked: tuple[Board[str], list[float]]) -> None:
    made, clock = clocked
    units = [taken(made) for _ in range(5)]
    assert all(made.again(unit, ConnectionLost("cut")) for unit in units)
    taken(made)
    assert clock[0] == 101


def test_the_run_goes_on_while_another_unit_is_under_way(clocked: tuple[Board[str], list[float]]) -> None:
    made, _ = clocked
    taken(made)
    assert all(made.again(taken(made), ConnectionLost("cut")) for _ in range(2 * TRIES))


def test_a_unit_that_went_well_ends_the_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copy_board, "_BACK_OFF_SECONDS", (0.05, 0.05))
    made = board([Unit(database=SHOP) for _ in range(4)])
    first, second = made.take(), made.take()
    assert first
    assert second
    assert made.again(first, ConnectionLost("cut"))
    made.finished(second)
    assert made._failed_in_a_row == 0
    assert made.take()


def test_a_unit_that_got_no_connection_is_the_next_one_and_keeps_its_tries() -> None:
    units = [Unit(database=SHOP), Unit(database=SHOP)]
    made = board(list(units))
    first = made.take()
    assert first
    made.back(first)
    assert made.take() is first
    assert first.tries == 0


def test_a_refused_lane_counts_on_those_that_are_at_work() -> None:
    made = board([])
    assert not made.short()
    assert not made.refused()
    with made.at_work():
        assert made.refused()
    assert made.short()
    assert not made.refused()
