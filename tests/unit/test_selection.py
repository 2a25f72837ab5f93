"""The selection model: the most specific rule decides."""

from __future__ import annotations

import fnmatch
import json
import time
from typing import Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from migrations_app.engine.selection import MODES, Selection

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


def test_a_rule_can_say_structure_only_and_the_most_specific_one_wins() -> None:
    selection = Selection.everything().choose(("shop", "audit"), "structure").choose(("shop", "audit", "log"), "data")
    assert selection.mode("shop", "audit", "old") == "structure"
    assert selection.mode("shop", "audit", "log") == "data"
    assert selection.mode("shop", "public", "orders") == "data"
    assert selection.includes("shop", "audit", "old")
    assert selection.state("shop") == "all"


def test_a_table_selected_again_inside_a_structure_only_schema_brings_no_data() -> None:
    selection = Selection.everything().choose(("shop", "audit"), "structure")
    again = selection.toggle(("shop", "audit", "log"), False).toggle(("shop", "audit", "log"), True)
    assert again == selection


def test_a_partition_goes_with_its_root_unless_a_rule_names_it() -> None:
    selection = Selection.everything().choose(("shop", "public", "orders"), "structure")
    lineage = (("parts", "orders_1_a"), ("parts", "orders_1"), ("public", "orders"))
    assert selection.mode_of("shop", *lineage) == "structure"
    assert selection.choose(("shop", "parts", "orders_1"), "").mode_of("shop", *lineage) == ""
    assert selection.mode_of("shop", ("public", "plain")) == "data"


def test_a_glob_also_catches_tables_that_appear_later() -> None:
    selection = Selection().choose_matching(("shop",), "app_*", "data")
    assert selection.includes("shop", "any schema", "app_new")
    assert not selection.includes("shop", "any schema", "other")
    assert selection.state("shop") == "some"
    assert selection.state("shop", "any schema") == "some"
    assert selection.state("warehouse") == "none"


def test_a_glob_with_a_dot_names_the_schema_too() -> None:
    selection = Selection().choose_matching(("shop",), "public.o*", "structure")
    assert selection.mode("shop", "public", "orders") == "structure"
    assert not selection.includes("shop", "other", "orders")
    assert selection.state("shop", "other") == "none"


def test_a_glob_outranks_the_rules_that_its_schemas_had() -> None:
    selection = Selection().toggle(("shop", "audit"), False).toggle(("shop", "audit", "app_1"), True)
    selection = selection.toggle(("shop", "audit"), True).choose_matching(("shop",), "app_*", "")
    assert not selection.includes("shop", "audit", "app_1")
    assert selection.includes("shop", "audit", "log")


def test_unticking_a_schema_also_unticks_what_a_glob_of_the_database_caught() -> None:
    selection = Selection().choose_matching(("shop",), "app_*", "data").toggle(("shop", "audit"), False)
    assert not selection.touches("shop", "audit")
    assert selection.includes("shop", "public", "app_1")


def test_a_glob_inside_a_schema_of_another_name_is_refused() -> None:
    with pytest.raises(ValueError, match="another schema"):
        Selection().choose_matching(("shop", "audit"), "public.o*", "data")


def test_a_forgotten_glob_leaves_the_other_rules() -> None:
    selection = Selection().toggle(("shop", "public"), True)
    assert (
        selection.choose_matching(("shop",), "x*", "").forget_pattern(("shop",), "x*").includes("shop", "a", "x")
        is False
    )
    assert (
        selection.choose_matching(("shop",), "x*", "")
        .forget_pattern(("shop", "public"), "x*")
        .includes("shop", "public", "x")
    )


def test_names_on_the_target_and_the_policy_for_foreign_keys_survive_json() -> None:
    hostile = "a.b\"c'%s\n/*"
    selection = Selection(targets={hostile: "db2"}, schema_targets={(hostile, hostile): "s2"}, foreign_keys="without")
    again = Selection.from_json(json.loads(json.dumps(selection.to_json())))
    assert again == selection
    assert again.target_schema(hostile, hostile) == "s2"
    assert again.target_schema("other", hostile) == hostile
    assert again.target_name(hostile) == "db2"


def test_what_is_not_used_does_not_change_the_json_of_older_drafts() -> None:
    assert Selection.from_json({"rules": [[[], True]], "targets": {}}).to_json() == {
        "rules": [[[], True]],
        "targets": {},
    }


@pytest.mark.parametrize(
    "data",
    [
        {"rules": [["shop", True]]},
        {"rules": [[["a", "b", "c", "d"], True]]},
        {"rules": [[["a"], "some"]]},
        {"rules": [[["a"], None]]},
        {"rules": [[[7], True]]},
        {"rules": 3},
        {"patterns": [[[], "a*", "data"]]},
        {"patterns": [[["db"], "", "data"]]},
        {"patterns": [[["db"], "a*", "all"]]},
        {"patterns": [[["db"], "a" * 200, "data"]]},
        {"schema_targets": [["db", "s"]]},
        {"foreign_keys": "perhaps"},
        {"targets": []},
    ],
)
def test_a_selection_of_another_shape_is_refused_whole(data: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="not a selection"):
        Selection.from_json(data)


def test_ten_thousand_rules_answer_at_once() -> None:
    rules: dict[tuple[str, ...], bool | Literal["structure"]] = {
        ("db", "s", f"t{n}"): bool(n % 2) for n in range(10_000)
    }
    selection = Selection(rules={("db",): True, **rules})
    started = time.process_time()
    assert sum(selection.state("db", "s", f"t{n}") == "all" for n in range(10_000)) == 5_000
    assert all(selection.state("db", f"other{n}") == "all" for n in range(10_000))
    assert time.process_time() - started < 2


# The model: a plain table of what moves, changed name by name. The rules have to say the same, however they are kept.
DATABASES, SCHEMAS, TABLES = ["a", 'q"x'], ["a", "app_s", "ü.1"], ["a", "app_1", "app_2", "log", "50%*"]
UNIVERSE = [(db, schema, name) for db in DATABASES for schema in SCHEMAS for name in TABLES]
GLOBS = ["app_*", "a", "*", "*1", "l?g", "a.*", "app_?.app*", "*.log", "50%*"]
modes = st.sampled_from(MODES)
deep = st.builds(lambda path, length: path[:length], st.sampled_from(UNIVERSE), st.integers(min_value=0, max_value=3))
scopes = st.builds(lambda path, length: path[:length], st.sampled_from(UNIVERSE), st.integers(min_value=1, max_value=2))
steps = st.lists(
    st.one_of(
        st.tuples(st.just("choose"), deep, modes),
        st.tuples(st.just("toggle"), deep, st.booleans()),
        st.tuples(st.sampled_from(GLOBS), scopes, modes),
    ),
    max_size=10,
)


def _matches(glob: str, schema: str, name: str) -> bool:
    first, dot, rest = glob.partition(".")
    parts = [(first, schema), (rest, name)] if dot else [(first, name)]
    return all(fnmatch.fnmatchcase(value, part) for part, value in parts)


@settings(max_examples=100, deadline=None)
@given(steps, st.sets(st.sampled_from(UNIVERSE)), st.one_of(st.none(), modes))
def test_many_tables_at_once_are_chosen_as_one_after_the_other(
    made: list[tuple[str, tuple[str, ...], Any]], tables: set[tuple[str, ...]], mode: Any
) -> None:
    selection = Selection()
    for what, at, value in made:
        if what == "choose":
            selection = selection.choose(at, value)
        elif what != "toggle" and "." not in what:
            selection = selection.choose_matching(at, what, value)
    one_by_one = selection
    for path in sorted(tables):
        one_by_one = one_by_one.toggle(path, True) if mode is None else one_by_one.choose(path, mode)
    assert selection.choose_tables(tables, mode).to_json() == one_by_one.to_json()


@settings(max_examples=300, deadline=None)
@given(steps)
def test_the_rules_give_the_same_tables_as_a_naive_list_of_them(made: list[tuple[str, tuple[str, ...], Any]]) -> None:
    selection, model = Selection(), dict.fromkeys(UNIVERSE, "")
    for what, at, value in made:
        below = [path for path in UNIVERSE if path[: len(at)] == at]
        if what == "choose":
            selection = selection.choose(at, value)
            model |= dict.fromkeys(below, value)
        elif what == "toggle":
            selection = selection.toggle(at, value)
            assert all(selection.includes(*path) is value for path in below)
            model |= {path: selection.mode(*path) for path in below}
        else:
            if len(at) == 2 and "." in what and not fnmatch.fnmatchcase(at[1], what.partition(".")[0]):
                with pytest.raises(ValueError):
                    selection.choose_matching(at, what, value)
                continue
            selection = selection.choose_matching(at, what, value)
            model |= {path: value for path in below if _matches(what, path[1], path[2])}
    selection = Selection.from_json(json.loads(json.dumps(selection.to_json())))
    assert {path: selection.mode(*path) for path in UNIVERSE} == model
    choosers = {path[:2]: selection.chooser(*path[:2]) for path in UNIVERSE}
    assert {path: choosers[path[:2]](path[2]) for path in UNIVERSE} == {path: model[path] != "" for path in UNIVERSE}
    for path in UNIVERSE:
        for length in range(4):
            at = path[:length]
            inside = {model[each] != "" for each in UNIVERSE if each[:length] == at}
            state = selection.state(*at)
            assert state == "some" or inside == {state == "all"}
