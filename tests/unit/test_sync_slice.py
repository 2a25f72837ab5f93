"""When a slice of the sync ends, so that many tasks share few workers."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from migrations_app.engine.outcome import Run
from migrations_app.engine.steps import sync
from migrations_app.engine.steps.sync import Standing, _Slice
from migrations_app.runner.planning import slice_seconds
from tests.fakes import FakeControl


class Clock:
    """Shows the time that a test sets."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(sync, "time", made)
    return made


def begun(*databases: str, **control: Any) -> _Slice:
    """A slice of four seconds of these databases, while others wait."""
    steered = FakeControl()
    steered.yields = True
    for name, value in control.items():
        setattr(steered, name, value)
    plan = SimpleNamespace(slice_seconds=4.0, databases=databases)
    made = _Slice(cast(Run, SimpleNamespace(plan=plan, ports=SimpleNamespace(control=steered))))
    made.begin()
    return made


def lasts(slice_: _Slice, clock: Clock) -> float:
    """Return after how many seconds a slice is over, in steps of half a second."""
    began = clock.now
    while not slice_.over():
        clock.now += 0.5
        assert clock.now < began + 1000
    return clock.now - began


def test_whoever_moves_has_the_whole_slice(clock: Clock) -> None:
    slice_ = begun("a")
    slice_.stands("a", Standing.MOVES)
    assert lasts(slice_, clock) == 4.0


def test_whoever_has_caught_up_makes_room_earlier(clock: Clock) -> None:
    slice_ = begun("a")
    slice_.stands("a", Standing.CAUGHT_UP)
    slice_.stands("a", Standing.MOVES)
    assert lasts(slice_, clock) == 2.0


def test_every_database_has_to_have_caught_up(clock: Clock) -> None:
    slice_ = begun("a", "b")
    slice_.stands("a", Standing.CAUGHT_UP)
    slice_.stands("b", Standing.MOVES)
    assert lasts(slice_, clock) == 4.0


def test_a_slice_does_not_end_before_it_has_moved(clock: Clock) -> None:
    slice_ = begun("a", "b")
    slice_.stands("a", Standing.CAUGHT_UP)
    slice_.stands("b", Standing.WAITS)
    clock.now += 30
    assert not slice_.over()
    slice_.stands("b", Standing.MOVES)
    assert slice_.over()


def test_others_do_not_wait_for_ever_for_one_that_does_not_move(clock: Clock) -> None:
    slice_ = begun("a", "b")
    slice_.stands("a", Standing.WAITS)
    assert lasts(slice_, clock) == 60.0


def test_a_slice_that_is_over_is_over_for_all_its_databases(clock: Clock) -> None:
    slice_ = begun("a")
    slice_.stands("a", Standing.CAUGHT_UP)
    lasts(slice_, clock)
    cast(FakeControl, slice_._run.ports.control).yields = False
    assert slice_.over()


def test_a_slice_goes_on_while_nobody_waits(clock: Clock) -> None:
    slice_ = begun("a", yields=False)
    slice_.stands("a", Standing.CAUGHT_UP)
    clock.now += 10_000
    assert not slice_.over()


@pytest.mark.parametrize("wish", ["complete", "compare", "recopy"])
def test_a_wish_of_the_operator_ends_it_at_once(clock: Clock, wish: str) -> None:
    assert begun("a", **{wish: True}).over()


@pytest.mark.parametrize(("tasks", "seconds"), [(0, 5.0), (1, 5.0), (6, 2.0), (20, 0.6), (500, 0.5)])
def test_the_more_syncs_share_the_workers_the_shorter_each_slice_is(settings: Any, tasks: int, seconds: float) -> None:
    settings.SYNC_WORKERS = 4
    assert slice_seconds(tasks) == pytest.approx(seconds)
