"""Parts of a table: nothing left out, nothing twice, whatever the bounds."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from migrations_app.engine.parts import (
    SMALLEST_PART_BYTES,
    evenly,
    page_conditions,
    part_count,
    part_size,
    range_conditions,
)


def _holds(condition: str, value: int) -> bool:
    tests = {">=": int.__ge__, "<": int.__lt__}
    found = re.findall(r"(>=|<) '\(?(-?\d+)", condition)
    return all(tests[operator](value, int(bound)) for operator, bound in found)


@given(pages=st.integers(1, 5000), count=st.integers(1, 40), page=st.integers(0, 10000))
def test_every_page_is_in_exactly_one_part(pages: int, count: int, page: int) -> None:
    conditions = page_conditions(pages, count)
    assert sum(_holds(condition, page) for condition in conditions) == 1
    assert len(conditions) == min(pages, count)


@given(
    bounds=st.lists(st.integers(-1000, 1000)).map(sorted),
    count=st.integers(1, 20),
    value=st.integers(-2000, 2000),
)
def test_every_key_is_in_exactly_one_part(bounds: list[int], count: int, value: int) -> None:
    conditions = range_conditions("id", "integer", evenly([str(bound) for bound in bounds], count))
    assert 1 <= len(conditions) <= count
    assert sum(_holds(condition, value) for condition in conditions) == 1


def test_names_and_bounds_are_quoted() -> None:
    conditions = range_conditions('a"b', "text", ["x'; DROP", "y\\"])
    assert conditions[0] == "\"a\"\"b\" < 'x''; DROP'::text"
    assert conditions[-1] == '"a""b" >= E\'y\\\\\'::text'


def test_one_giant_is_cut_for_all_lanes_and_small_tables_never() -> None:
    assert part_size(100 << 20, 4) == SMALLEST_PART_BYTES
    assert part_size(64 << 30, 4) == 4 << 30


def test_every_lane_gets_as_many_parts() -> None:
    assert [part_count(size, 100, 2) for size in (1, 100, 101, 200, 201, 650)] == [1, 1, 2, 2, 4, 8]
    assert part_count(650, 100, 4) == 8
    assert part_count(650, 100, 1) == 7
