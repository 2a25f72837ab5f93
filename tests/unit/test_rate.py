"""How fast counts grow, and when a sync will have caught up."""

from __future__ import annotations

import json

import pytest

from migrations_app.runner.rate import Average, CatchingUp, Rate, catching_up


def test_a_speed_needs_two_looks_and_follows_the_count() -> None:
    clock = [100.0]
    rate = Rate(lambda: clock[0])
    assert rate.update("rows", 10) is None
    clock[0] = 102.0
    assert rate.update("rows", 30) == 10
    clock[0] = 104.0
    assert rate.update("rows", 30) == pytest.approx(3.6)


def test_another_one_goes_on_from_stored_facts() -> None:
    first = Rate(lambda: 100.0)
    first.update("rows", 10)
    later = Rate(lambda: 103.0, known=json.loads(json.dumps(first.state())))
    assert later.update("rows", 40) == 10
    assert Rate(lambda: 105.0, known=later.state()).update("rows", 60) == pytest.approx(10)


@pytest.mark.parametrize("at", [99.0, 161.0])
def test_nothing_is_told_across_a_clock_set_back_or_a_long_pause(at: float) -> None:
    first = Rate(lambda: 100.0)
    first.update("rows", 10)
    rate = Rate(lambda: at, known=first.state())
    assert rate.update("rows", 10_000) is None
    assert rate.state() == {"rows": [at, 10_000, None]}


def test_a_look_that_was_counted_already_changes_nothing() -> None:
    rate = Rate()
    rate.update("wal", 0, 50.0)
    assert rate.update("wal", 400, 52.0) == 200
    assert rate.update("wal", 400, 52.0) == 200


@pytest.mark.parametrize(
    ("applied", "written", "found"),
    [
        (300.0, 100.0, CatchingUp(comes_nearer=True, seconds=5.0)),
        (300.0, 0.0, CatchingUp(comes_nearer=True, seconds=pytest.approx(3.3333, abs=0.001))),
        (100.0, 100.0, CatchingUp(comes_nearer=False)),
        (0.0, 0.0, CatchingUp(comes_nearer=False)),
        (100.0, 300.0, CatchingUp(comes_nearer=False)),
        (100.0, 99.999999, CatchingUp(comes_nearer=False)),
        (None, 100.0, CatchingUp()),
        (100.0, None, CatchingUp()),
    ],
)
def test_the_way_that_is_left_is_divided_by_how_much_faster_the_sync_is(
    applied: float | None, written: float | None, found: CatchingUp
) -> None:
    assert catching_up(1_000, applied, written) == found


def test_a_count_that_leaps_has_the_speed_of_all_its_time() -> None:
    clock = [0.0]
    average = Average(lambda: clock[0])
    assert average.update(0) is None
    clock[0] = 300.0
    assert average.update(600) == 2
    clock[0] = 600.0
    assert average.update(600) == 1


def test_a_count_that_begins_anew_has_no_speed_of_before() -> None:
    clock = [0.0]
    average = Average(lambda: clock[0])
    average.update(0)
    clock[0] = 10.0
    average.update(100)
    clock[0] = 11.0
    assert average.update(0) is None
    clock[0] = 13.0
    assert average.update(10) == 5
