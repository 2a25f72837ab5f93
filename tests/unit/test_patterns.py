"""Patterns on names: what they match, what is refused, and that none of them can run for long."""

from __future__ import annotations

import fnmatch
import re

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from migrations_app.engine.automaton import Automaton
from migrations_app.engine.patterns import PatternError, compile_glob, compile_pattern

names = st.text(alphabet="ab_1.Ä\n", max_size=12)


@given(st.text(alphabet="ab_1*?Ä", min_size=1, max_size=10), names)
def test_a_glob_matches_what_a_shell_would_match(text: str, name: str) -> None:
    assert compile_glob(text).matches("public", name) is fnmatch.fnmatchcase(name, text)


atoms = st.sampled_from(
    ["a", "b", "_", r"\d", r"\w", ".", "[ab]", "[^a]", "[0-9_]", "^", "$", r"\.", "(a|b1)", "(?:ab)"]
)
repeats = st.sampled_from(["", "", "", "*", "+", "?", "{2}", "{1,3}", "{0,}"])
expressions = st.recursive(
    st.tuples(atoms, repeats).map("".join),
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=4).map("".join),
        st.tuples(inner, inner).map("|".join),
        st.tuples(inner, repeats).map(lambda pair: f"({pair[0]}){pair[1]}"),
    ),
    max_leaves=6,
)


@settings(max_examples=400, deadline=None)
@example("($)^", "")
@example("$^", "a")
@example("((((a|b1){1,3}){1,3})+)+", "")
@given(expressions, st.text(alphabet="ab_1.", max_size=10))
def test_an_expression_finds_what_the_library_finds(text: str, name: str) -> None:
    try:
        expected = re.search(text, name) is not None
    except re.error:
        assume(False)
    try:
        automaton = Automaton(text)
    except PatternError:
        if sum(text.count(one) for one in ("*", "+", "{")) < 4:
            raise
        assume(False)  # each repetition of a repetition multiplies the places, of which there is a limit
    assert automaton.found_in(name) is expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "   ",
        "a\x00",
        "a" * 131,
        "/",
        "//",
        "/abc",
        ".a",
        "a.",
        "a.b.c",
        "/(/",
        "/)/",
        "/(a/",
        "/[a/",
        "/[]/",
        "/*a/",
        "/a**/",
        "/a{3,2}/",
        "/a{999}/",
        "/a{x}/",
        "/(((a{60}){60}){60})/",
        "/(?=a)/",
        "/(?P<n>a)/",
        r"/(a)\1/",
        r"/\b/",
        "/[[:digit:]]/",
        "/[b-a]/",
        "/a\\/",
        "/" + "(" * 60 + ")" * 60 + "/",
    ],
)
def test_what_cannot_be_read_is_refused_in_words(text: str) -> None:
    with pytest.raises(PatternError, match=r"\."):
        compile_pattern(text)


@pytest.mark.parametrize("text", ["(a+)+$", "(a|a)*$", "(.*a){12}$", "a*" * 40 + "$", "(a|b)*a(a|b){30}$"])
def test_expressions_that_never_end_elsewhere_end_here(text: str) -> None:
    automaton = Automaton(text)
    try:
        for number in range(3000):
            automaton.found_in("a" * 60 + f"{number:x}!")
    except PatternError as refused:
        assert "too expensive" in str(refused)  # noqa: PT017 - both ends are good ones


def test_a_glob_of_stars_does_not_go_back() -> None:
    matches = compile_glob("*a" * 60 + "*b").matches
    assert not any(matches("public", "a" * 63) for _ in range(2000))
