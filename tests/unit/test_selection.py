"""The selection model: the most specific rule decides."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from migrations_app.engine.selection import Selection

names = st.sampled_from(["a", "b", 'q"x', "", "ü"])
paths = st.lists(names, max_size=3).map(tuple)


def test_the_empty_selection_selects_nothing() -> None:
    assert not Selection().includes("shop", "public", "orders")


def test_a_table_that_appears_later_in_a_selected_schema_is_selected() -> None:
    assert Selection().toggle(("shop", "public"), True).includes("shop", "public", "brand_new")


def test_one_table_can_be_left_out_of_a_selected_database() -> None:
    selection = Selection().toggle(("shop",), True).toggle(("shop", "public", "log"), False)
    assert not selection.includes("shop", "public", "log")
    assert selection.includes("shop", "public", "orders")
    assert selection.state("shop") == "some"
    assert selection.state("shop", "public") == "some"


def test_selecting_the_parent_again_forgets_the_exceptions_below_it() -> None:
    selection = Selection.everything().toggle(("shop", "public", "log"), False).toggle(("shop",), True)
    assert selection.state() == "all"
    assert selection.rules == {(): True}


def test_data_of_another_shape_is_refused() -> None:
    with pytest.raises(ValueError, match="not a selection"):
        Selection.from_json({"rules": [7]})


@given(st.lists(st.tuples(paths, st.booleans()), max_size=8), paths, st.booleans())
def test_after_a_toggle_the_whole_subtree_has_that_value(
    earlier: list[tuple[tuple[str, ...], bool]], path: tuple[str, ...], value: bool
) -> None:
    selection = Selection()
    for at, chosen in earlier:
        selection = selection.toggle(at, chosen)
    toggled = selection.toggle(path, value)
    assert toggled.includes(*path) is value
    assert toggled.state(*path) == ("all" if value else "none")
    assert toggled.includes(*path, *["x"] * (3 - len(path))) is value


@given(st.lists(st.tuples(paths, st.booleans()), max_size=8))
def test_json_round_trip_keeps_every_answer(toggles: list[tuple[tuple[str, ...], bool]]) -> None:
    selection = Selection(targets={"shop": "shop2"})
    for at, chosen in toggles:
        selection = selection.toggle(at, chosen)
    again = Selection.from_json(selection.to_json())
    assert again.to_json() == selection.to_json()
    assert again.target_name("shop") == "shop2"
