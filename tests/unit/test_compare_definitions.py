"""Definitions that two versions of PostgreSQL print differently are the same object; others are not."""

from __future__ import annotations

import json
from typing import Any

import pytest

from migrations_app.engine.comparing.structure import Compared, Scope, compare_things
from migrations_app.engine.comparing.things import Thing, Things
from migrations_app.engine.comparing.wording import same_text
from migrations_app.engine.selection import Selection


def _thing(kind: str, name: str = "n", *, schema: str = "s", table: str = "", **parts: Any) -> Thing:
    return Thing(
        kind=kind,
        schema=schema,
        table=table,
        name=name,
        class_oid=1,
        oid=1,
        sub=0,
        usable=True,
        parts=json.dumps({name.replace("_", " "): value for name, value in parts.items()}),
    )


def _unreadable(text: str) -> None:
    """Stand for a target that cannot read any of the texts."""


_ALIKE = {
    "a trigger executes a function since 11": (
        "trigger",
        "definition",
        "CREATE TRIGGER t AFTER INSERT ON s.t FOR EACH ROW EXECUTE PROCEDURE s.f('EXECUTE PROCEDURE x')",
        "CREATE TRIGGER t AFTER INSERT ON s.t FOR EACH ROW EXECUTE FUNCTION s.f('EXECUTE PROCEDURE x')",
    ),
    "a word became one that needs quotes": (
        "index",
        "definition",
        "CREATE UNIQUE INDEX json_pkey ON types.json USING btree (id)",
        'CREATE UNIQUE INDEX json_pkey ON types."json" USING btree (id)',
    ),
    "options have quotes since 9.5": (
        "index",
        "definition",
        "CREATE INDEX i ON s.t USING gist (a) WITH (buffering=auto, fillfactor=70) WHERE (a > 0)",
        "CREATE INDEX i ON s.t USING gist (a) WITH (buffering='auto', fillfactor='70') WHERE (a > 0)",
    ),
    "those of keys too": ("constraint", "definition", "PRIMARY KEY (id) WITH (a=1)", "PRIMARY KEY (id) WITH (a='1')"),
    "an expression has other brackets and casts": (
        "column",
        "default",
        "('now'::text)::date",
        "('now'::text::date)",
    ),
    "the name of a type became a word": ("column", "type", "types.json[]", 'types."json"[]'),
    "the name of an attribute too": ("composite type", "attributes", "a integer, json text", 'a integer, "json" text'),
}
_APART = {
    "another function": (
        "trigger",
        "definition",
        "CREATE TRIGGER t AFTER INSERT ON s.t FOR EACH ROW EXECUTE PROCEDURE s.f()",
        "CREATE TRIGGER t AFTER INSERT ON s.t FOR EACH ROW EXECUTE FUNCTION s.g()",
    ),
    "another case in quotes": ("index", "definition", 'CREATE INDEX i ON s."T" (id)', "CREATE INDEX i ON s.t (id)"),
    "another option": ("constraint", "definition", "UNIQUE (a) WITH (b=1)", "UNIQUE (a) WITH (b='2')"),
    "another type": ("column", "type", "numeric(10,2)", "numeric(10,3)"),
    "another body": ("function", "body", "SELECT (1)", "SELECT 1"),
}  # fmt: skip


@pytest.mark.parametrize(("kind", "part", "here", "there"), _ALIKE.values(), ids=_ALIKE)
def test_what_another_major_prints_otherwise_is_no_difference(kind: str, part: str, here: str, there: str) -> None:
    assert same_text(_thing(kind), part, here, there, _unreadable)
    assert same_text(_thing(kind), part, there, here, _unreadable)


@pytest.mark.parametrize(("kind", "part", "here", "there"), _APART.values(), ids=_APART)
def test_what_is_different_is_a_difference_between_majors_too(kind: str, part: str, here: str, there: str) -> None:
    assert not same_text(_thing(kind), part, here, there, _unreadable)


def test_a_procedure_is_found_although_14_prints_in_before_its_arguments() -> None:
    before = _thing("function", 'does("an arg" text, INOUT b integer, "IN c" text)')
    since = _thing("function", 'does(IN "an arg" text, INOUT b integer, IN "IN c" text)')
    assert before.identity == since.identity
    assert before.identity != _thing("function", "does(b integer)").identity


def test_a_function_is_found_although_a_word_in_its_name_needs_quotes_by_now() -> None:
    assert _thing("function", "json(json text)").identity == _thing("function", '"json"("json" text)').identity
    assert _thing("function", "json(json text)").identity != _thing("function", '"Json"(json text)').identity


def _compared(here: list[Thing], there: list[Thing], version: int = 90300) -> Compared:
    def things(of: list[Thing], version: int) -> Things:
        found = {one.identity: one for one in (_thing("schema", "", schema="s"), *of)}
        return Things(by_identity=found, locked=frozenset(), unread=frozenset(), version=version)

    scope = Scope(database="db", selection=Selection(rules={("db",): True}), tables={("s", "t")})
    return compare_things(things(here, version), things(there, 180000), scope)


def _told(compared: Compared) -> list[tuple[str, str]]:
    return [(one.thing.title, str(one.what)) for one in compared.differences]


def test_what_is_null_in_an_old_servers_row_is_not_there() -> None:
    here, there = _thing("function", start=1, cycle=None), _thing("function", start=1)
    assert here.values == {"start": 1}
    assert _told(_compared([here], [there])) == []


def test_a_language_that_a_newer_server_takes_for_an_extension_is_there() -> None:
    language = _thing("language", "plperl", schema="", trusted=True)
    assert _told(_compared([language], [_thing("extension", "plperl", schema="")])) == []
    assert _told(_compared([language], [])) == [("language plperl", "missing on the target")]


_C = 'pg_catalog."C"'


@pytest.mark.parametrize(
    ("kind", "version", "there", "told"),
    [
        ("view", 90600, _C, 0),
        ("materialized view", 110000, _C, 0),
        ("view", 120000, _C, 1),
        ("view", 90600, 'pg_catalog."de-x-icu"', 1),
        ("table", 90600, _C, 1),
    ],
)
def test_columns_of_views_on_names_have_the_collation_of_names_since_12(
    kind: str, version: int, there: str, told: int
) -> None:
    relation = _thing(kind, "", table="t")
    column = _thing("column", "c", table="t", type="text")
    compared = _compared([relation, column], [relation, column.with_values(collation=there)], version)
    assert len(compared.differences) == told


@pytest.mark.parametrize(
    ("unseen", "words"),
    [
        ("lock", "not compared, because somebody has locked it on the source"),
        ("right", "how it counts was not compared, because the source account may not read it"),
    ],
)
def test_a_sequence_that_cannot_be_read_is_told_and_what_is_known_of_it_compared(unseen: str, words: str) -> None:
    here = _thing("sequence", "q", type="bigint", unseen=unseen, comment="here")
    there = _thing("sequence", "q", type="bigint", start=1, increment=1, comment="there")
    assert _told(_compared([here], [there])) == [
        ("sequence q", words),
        ("sequence q", "comment: here on the source, there on the target"),
    ]
