"""Definitions that two versions of PostgreSQL print differently are the same object; others are not."""

from __future__ import annotations

import pytest

from migrations_app.engine.comparing import objects
from migrations_app.engine.comparing.objects import Thing


def _thing(kind: str, definition: str, name: str = "n") -> Thing:
    return Thing(kind=kind, schema="s", table="", name=name, definition=definition, usable=True)


_ALIKE = {
    "a trigger executes a function since 11": (
        "trigger",
        "CREATE TRIGGER t AFTER INSERT ON s.t FOR EACH ROW EXECUTE PROCEDURE s.f('EXECUTE PROCEDURE x')",
        "CREATE TRIGGER t AFTER INSERT ON s.t FOR EACH ROW EXECUTE FUNCTION s.f('EXECUTE PROCEDURE x')",
    ),
    "names have a collation since 12": ("column", "name not null default", "name not null default collate C"),
    "arrays of names too": ("column", "name[]", "name[] collate C"),
    "a word became one that needs quotes": (
        "index",
        "CREATE UNIQUE INDEX json_pkey ON types.json USING btree (id)",
        'CREATE UNIQUE INDEX json_pkey ON types."json" USING btree (id)',
    ),
}
_APART = {
    "another function": (
        "trigger",
        "CREATE TRIGGER t AFTER INSERT ON s.t FOR EACH ROW EXECUTE PROCEDURE s.f()",
        "CREATE TRIGGER t AFTER INSERT ON s.t FOR EACH ROW EXECUTE FUNCTION s.g()",
    ),
    "text with another collation": ("column", "text", "text collate C"),
    "a name with another collation": ("column", "name", "name collate de-x-icu"),
    "another case in quotes": ("index", 'CREATE INDEX i ON s."T" (id)', "CREATE INDEX i ON s.t (id)"),
}  # fmt: skip


@pytest.mark.parametrize(("kind", "here", "there"), _ALIKE.values(), ids=_ALIKE)
def test_what_another_major_prints_otherwise_is_no_difference(kind: str, here: str, there: str) -> None:
    assert objects._difference(_thing(kind, here), _thing(kind, there), False) == ""
    assert objects._difference(_thing(kind, there), _thing(kind, here), False) == ""


@pytest.mark.parametrize(("kind", "here", "there"), _APART.values(), ids=_APART)
def test_what_is_different_is_a_difference_between_majors_too(kind: str, here: str, there: str) -> None:
    assert objects._difference(_thing(kind, here), _thing(kind, there), False)


@pytest.mark.parametrize(("kind", "here", "there"), _ALIKE.values(), ids=_ALIKE)
def test_within_one_major_every_letter_counts(kind: str, here: str, there: str) -> None:
    assert objects._difference(_thing(kind, here), _thing(kind, there), True)


def test_a_procedure_is_found_although_14_prints_in_before_its_arguments() -> None:
    before = _thing("function", "", 'does("an arg" text, INOUT b integer, "IN c" text)')
    since = _thing("function", "", 'does(IN "an arg" text, INOUT b integer, IN "IN c" text)')
    assert before.identity == since.identity
    assert before.identity != _thing("function", "", "does(b integer)").identity
