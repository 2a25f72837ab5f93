"""The judgement of kept WAL: levels, the nearest limit, the forecast."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from migrations_app.engine.replication.governor import Bound, Kept, Level, Limits, growth, judge

_GB = 10**9


def _kept(*pairs: tuple[float, int]) -> list[Kept]:
    return [Kept(at=at, kept_bytes=kept) for at, kept in pairs]


@pytest.mark.parametrize(
    ("kept", "level"),
    [
        (0, Level.NORMAL),
        (599, Level.NORMAL),
        (600, Level.WARNING),
        (849, Level.WARNING),
        (850, Level.ALARM),
        (999, Level.ALARM),
        (1000, Level.REACHED),
        (5000, Level.REACHED),
    ],
)
def test_the_levels_begin_at_60_85_and_100_percent_of_the_budget(kept: int, level: Level) -> None:
    assert judge(_kept((0, kept)), Limits(budget_bytes=1000)).level is level


def test_without_any_limit_nothing_is_urgent_and_nothing_is_forecast() -> None:
    found = judge(_kept((0, 0), (60, 10 * _GB)), Limits())
    assert (found.level, found.bound, found.seconds_left, found.left_bytes) == (Level.NORMAL, Bound.NONE, None, None)


def test_the_forecast_is_what_is_left_at_the_rate_of_the_last_minutes() -> None:
    found = judge(_kept((0, 100), (100, 600)), Limits(budget_bytes=1600))
    assert (found.bytes_per_second, found.left_bytes, found.seconds_left) == (5.0, 1000, 200.0)


def test_what_was_more_than_ten_minutes_ago_does_not_count() -> None:
    assert growth(_kept((0, 0), (10_000, 1_000_000), (10_100, 1_001_000))) == 10.0


def test_one_look_forecasts_nothing() -> None:
    assert judge(_kept((0, 100)), Limits(budget_bytes=1000)).seconds_left is None


def test_wal_that_shrinks_forecasts_nothing() -> None:
    assert judge(_kept((0, 900), (60, 700)), Limits(budget_bytes=1000)).seconds_left is None


def test_an_unreserved_slot_is_an_alarm_whatever_the_budget_is() -> None:
    found = judge(_kept((0, 10)), Limits(budget_bytes=1000, wal_status="unreserved", safe_bytes=-5))
    assert (found.level, found.bound, found.left_bytes, found.seconds_left) == (Level.ALARM, Bound.SLOT, 0, 0.0)


def test_the_room_that_the_source_leaves_counts_like_a_budget() -> None:
    found = judge(_kept((0, 0), (100, 700)), Limits(safe_bytes=300))
    assert (found.level, found.bound, found.limit_bytes) == (Level.WARNING, Bound.SLOT, 1000)


def test_only_a_budget_is_ever_reached() -> None:
    assert judge(_kept((0, 2000)), Limits(disk_bytes=1000)).level is Level.ALARM


def test_the_most_urgent_limit_is_the_one_that_is_told() -> None:
    found = judge(_kept((0, 700)), Limits(budget_bytes=10_000, disk_bytes=1000))
    assert (found.level, found.bound) == (Level.WARNING, Bound.DISK)


def test_wal_that_others_keep_on_the_disk_leaves_less_room() -> None:
    alone, beside = Limits(disk_bytes=1000, wal_bytes=300), Limits(disk_bytes=1000, wal_bytes=900)
    assert judge(_kept((0, 300)), alone).limit_bytes == 1000
    found = judge(_kept((0, 300)), beside)
    assert (found.limit_bytes, found.left_bytes, found.level) == (400, 100, Level.WARNING)
    full = judge(_kept((0, 0)), Limits(disk_bytes=1000, wal_bytes=5000))
    assert (full.limit_bytes, full.level) == (0, Level.ALARM)


@pytest.mark.parametrize(
    ("before", "kept", "level"),
    [
        (Level.WARNING, 590, Level.WARNING),
        (Level.WARNING, 540, Level.NORMAL),
        (Level.ALARM, 840, Level.ALARM),
        (Level.ALARM, 790, Level.WARNING),
        (Level.REACHED, 990, Level.REACHED),
        (Level.REACHED, 940, Level.ALARM),
        (Level.REACHED, 100, Level.NORMAL),
        (Level.NORMAL, 590, Level.NORMAL),
    ],
)
def test_a_level_ends_some_way_below_where_it_begins(before: Level, kept: int, level: Level) -> None:
    assert judge(_kept((0, kept)), Limits(budget_bytes=1000), before).level is level


def test_nothing_known_is_refused() -> None:
    with pytest.raises(ValueError, match="nothing is known"):
        judge([], Limits())


_LIMIT = st.none() | st.integers(1, 10**15)
_ROOM = st.none() | st.integers(-(10**9), 10**15)
_LIMITS = st.builds(Limits, budget_bytes=_LIMIT, disk_bytes=_LIMIT, safe_bytes=_ROOM)
_SAMPLES = st.lists(
    st.builds(Kept, at=st.floats(0, 10**6), kept_bytes=st.integers(0, 10**15)), min_size=1, max_size=20
).map(lambda found: sorted(found, key=lambda one: one.at))


@given(_SAMPLES, _LIMITS)
def test_any_samples_are_judged_and_no_forecast_is_negative(samples: list[Kept], limits: Limits) -> None:
    found = judge(samples, limits)
    assert found.kept_bytes == samples[-1].kept_bytes
    assert found.seconds_left is None or found.seconds_left >= 0
    assert (found.bound is Bound.NONE) == (found.limit_bytes is None)
    assert found.level is not Level.REACHED or found.bound is Bound.BUDGET


@given(_SAMPLES, _LIMITS, st.integers(0, 10**15))
def test_more_kept_wal_is_never_less_urgent(samples: list[Kept], limits: Limits, more: int) -> None:
    last = samples[-1]
    fuller = [*samples[:-1], Kept(at=last.at, kept_bytes=last.kept_bytes + more)]
    room = limits.safe_bytes
    # the server's own limit stays where it is: what is kept in addition is missing from the room
    tighter = Limits(
        budget_bytes=limits.budget_bytes,
        disk_bytes=limits.disk_bytes,
        safe_bytes=None if room is None else max(0, room) - more,
    )
    assert judge(fuller, tighter).level.rank >= judge(samples, limits).level.rank


@given(_SAMPLES, _LIMITS, _LIMIT)
def test_a_larger_budget_is_never_more_urgent(samples: list[Kept], limits: Limits, budget: int | None) -> None:
    if budget is None or limits.budget_bytes is None or budget < limits.budget_bytes:
        return
    larger = Limits(budget_bytes=budget, disk_bytes=limits.disk_bytes, safe_bytes=limits.safe_bytes)
    assert judge(samples, larger).level.rank <= judge(samples, limits).level.rank
