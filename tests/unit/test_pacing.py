"""The speed of a copy: its cap, and lanes that stand back."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest

from migrations_app.engine.errors import CancelRequested
from migrations_app.engine.lanes import AGAIN_SECONDS, Lanes
from migrations_app.engine.pacing import Pacing
from migrations_app.engine.plan import Knobs
from tests.fakes import FakeControl

MB = 1_000_000


class Clock:
    """A time that only sleeping moves on."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


class Desk:
    """A pacing whose knobs and time a test turns."""

    def __init__(self, rate: int | None) -> None:
        self.knobs = Knobs(copy_jobs=2, index_jobs=2, bytes_per_second=rate)
        self.clock, self.control = Clock(), FakeControl()
        self.pacing = Pacing(lambda: self.knobs, self.clock)

    def passed(self, size: int) -> bool:
        return self.pacing.passed(size, self.control.check, self.clock.sleep)

    def turn(self, rate: int | None) -> None:
        self.knobs = replace(self.knobs, bytes_per_second=rate)


def test_without_a_cap_nothing_waits() -> None:
    desk = Desk(None)
    assert not any(desk.passed(100 * MB) for _ in range(100))
    assert desk.clock.now == 0


@pytest.mark.parametrize("chunk", [1000, 262_144, 5 * MB])
def test_a_cap_holds_over_time(chunk: int) -> None:
    desk = Desk(3 * MB)
    total = 0
    while total < 60 * MB:
        desk.passed(chunk)
        total += chunk
    assert total / 3 / MB - 1 <= desk.clock.now <= total / 3 / MB + 1


def test_a_cap_that_is_raised_or_taken_back_holds_at_once() -> None:
    desk = Desk(1 * MB)
    desk.passed(2 * MB)
    before = desk.clock.now
    desk.turn(100 * MB)
    desk.passed(50 * MB)
    assert desk.clock.now - before <= 0.6
    desk.turn(None)
    assert not desk.passed(1000 * MB)


def test_time_that_passed_unused_is_not_saved_up() -> None:
    desk = Desk(1 * MB)
    desk.clock.now += 3600
    desk.passed(5 * MB)
    assert desk.clock.now - 3600 >= 4


def test_a_wait_ends_when_the_run_must_stop() -> None:
    desk = Desk(1)
    desk.control.cancel()
    with pytest.raises(CancelRequested):
        desk.passed(MB)


def test_the_lane_that_came_last_stands_back_until_it_is_wanted() -> None:
    desk = Desk(None)
    desk.knobs = replace(desk.knobs, copy_jobs=1)
    naps: list[float] = []
    came = threading.Barrier(2, timeout=10)
    first_may_go = threading.Event()

    def first() -> None:
        desk.pacing.enter()
        came.wait()
        first_may_go.wait(10)
        desk.pacing.leave()

    thread = threading.Thread(target=first)
    thread.start()
    came.wait()
    desk.pacing.enter()

    def nap(seconds: float) -> None:
        naps.append(seconds)
        first_may_go.set()
        thread.join(10)

    assert desk.pacing.passed(1, desk.control.check, nap)
    assert len(naps) == 1
    assert not desk.pacing.passed(1, desk.control.check, nap)


def _lanes(wanted: list[int], body: threading.Event) -> tuple[Lanes, list[BaseException]]:
    failures: list[BaseException] = []
    lanes = Lanes(
        lambda: body.wait(10) and None,
        wanted=lambda: wanted[0],
        busy=lambda: True,
        failed=failures.append,
        over=threading.Semaphore(0),
    )
    return lanes, failures


def test_lanes_are_added_as_they_are_wanted_and_ended_when_they_are_too_many() -> None:
    wanted, ending = [2], threading.Event()
    lanes, failures = _lanes(wanted, ending)
    assert [lanes.man(), lanes.man()] == [2, 0]
    wanted[0] = 3
    assert lanes.man() == 1
    wanted[0] = 1
    assert [lanes.spare(), lanes.spare(), lanes.spare()] == [True, True, False]
    ending.set()
    lanes.join()
    assert not failures


def test_one_lane_is_always_left() -> None:
    wanted, ending = [0], threading.Event()
    lanes, _ = _lanes(wanted, ending)
    assert lanes.man() == 1
    assert not lanes.spare()
    ending.set()
    lanes.join()


def test_a_lane_that_withdraws_is_replaced_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    now, ending = [100.0], threading.Event()
    monkeypatch.setattr("migrations_app.engine.lanes.time.monotonic", lambda: now[0])
    lanes, failures = _lanes([2], ending)
    assert lanes.man() == 2
    lanes.withdraw()
    assert lanes.man() == 0
    now[0] += AGAIN_SECONDS
    assert [lanes.man(), lanes.man()] == [1, 0]
    ending.set()
    lanes.join()
    assert not failures
