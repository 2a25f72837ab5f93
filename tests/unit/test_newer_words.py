"""Names that are plain words on an older source are quoted where later servers have a meaning for them."""

from __future__ import annotations

import pytest

from migrations_app.engine.newer_words import as_newest, quoted, with_quoted_words
from tests.entries import entry


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("FUNCTION public.f(json json, json_table integer)", 'FUNCTION public.f("json" json, "json_table" integer)'),
        ("FUNCTION f(OUT json public.t, VARIADIC json_value text[])", None),
        ("f(json => 1, b => (a)::json, c => t.json_table)", 'f("json" => 1, b => (a)::json, c => t.json_table)'),
        ("CHECK ((system_user <> ''::text))", "CHECK ((\"system_user\" <> ''::text))"),
        ("CHECK ((t.system_user <> SYSTEM_USER))", "CHECK ((t.system_user <> SYSTEM_USER))"),
        ("DEFAULT 'json_table json' -- json_table", "DEFAULT 'json_table json' -- json_table"),
        ('COLUMN "json_table" json', 'COLUMN "json_table" json'),
    ],
)
def test_only_new_words_that_stand_as_names_are_quoted(text: str, wanted: str | None) -> None:
    assert quoted(text, 150000) == (wanted or 'FUNCTION f(OUT "json" public.t, VARIADIC "json_value" text[])')


@pytest.mark.parametrize("version", [170000, 180004])
def test_what_a_source_knows_itself_is_left_to_it(version: int) -> None:
    assert quoted("f(json integer, system_user text)", version) == "f(json integer, system_user text)"


def test_a_word_is_quoted_from_the_version_on_that_knows_it() -> None:
    text = "(grouping, xmltable, normalize, system_user, merge_action)"
    assert quoted(text, 90603) == '(grouping, "xmltable", "normalize", "system_user", "merge_action")'
    assert quoted(text, 160000) == '(grouping, xmltable, normalize, system_user, "merge_action")'


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("public.merge_action", 'public."merge_action"'),
        ('public."merge_action"[]', 'public."merge_action"[]'),
        ("xmltable.json_value[]", '"xmltable"."json_value"[]'),
        ('"a.json_table".json_tables(3)', '"a.json_table".json_tables(3)'),
        ("json[]", "json[]"),
        ('public."no end json', 'public."no end json'),
    ],
)
def test_a_type_is_called_as_the_newest_server_calls_it(name: str, wanted: str) -> None:
    assert as_newest(name) == wanted


def test_an_entry_is_made_and_dropped_by_the_quoted_name() -> None:
    body = b"AS $$ SELECT json_table $$"
    known = entry(b"CREATE FUNCTION f(json_table int) " + body, "FUNCTION", drop=b"DROP FUNCTION f(json_table int);")
    found = with_quoted_words(known, 150000)
    assert found.definition == b'CREATE FUNCTION f("json_table" int) ' + body
    assert found.drop == b'DROP FUNCTION f("json_table" int);'


@pytest.mark.parametrize("text", [b"CREATE TABLE t (a json)", b"DEFAULT 'json_table", b""], ids=["", "no end", "empty"])
def test_other_entries_stay_as_they_are(text: bytes) -> None:
    known = entry(text)
    assert with_quoted_words(known, 150000) is known


def test_bytes_that_are_no_text_survive() -> None:
    assert with_quoted_words(entry(b'"\xff", json_table)'), 150000).definition == b'"\xff", "json_table")'
