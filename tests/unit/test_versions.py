"""What is asked of a server depends on its version in two places only, and both know every version."""

from __future__ import annotations

import re
from functools import cache
from importlib import resources
from itertools import pairwise

import psycopg
import pytest

from migrations_app.engine import sql, versions
from migrations_app.engine.pins import pinned_options
from migrations_app.engine.sql import query, version_number

SQL = resources.files(sql)
FILES = sorted(file.name.removesuffix(".sql") for file in SQL.iterdir() if file.name.endswith(".sql"))
HEAD = re.compile(r":versions (\d[\d.]*)(?: to (\d[\d.]*)|(\+))?")
HOLDING = re.compile(r"SELECT t\.typbasetype AS part.*?\) w ON w\.part = h\.type", re.DOTALL)
SOURCES = (90305, 90413, 90503, 90624, 100023, 110022, 160014, 180004)


@cache
def versions_of(name: str) -> tuple[int, int]:
    """Return the first version that a file is for, and the first that it is not for any more."""
    found = HEAD.search(SQL.joinpath(f"{name}.sql").read_text())
    assert found, f"{name}.sql does not say for which versions it is"
    last = 10**9 if found[3] else version_number(found[2] or found[1])
    after = 100000 if last == 90600 else last + (100 if last < 90600 else 10000)
    return version_number(found[1]), after


@pytest.mark.parametrize("name", [name for name in FILES if ".before-" in name])
def test_an_older_form_ends_where_its_name_says(name: str) -> None:
    before = version_number(name.partition(".before-")[2])

    assert versions_of(name)[1] == before


@pytest.mark.parametrize("name", [name for name in FILES if ".before-" in name])
def test_the_forms_of_a_query_leave_no_version_out_between_them(name: str) -> None:
    base = name.partition(".before-")[0]
    ends = sorted(versions_of(one) for one in FILES if one == base or one.startswith(f"{base}.before-"))

    assert all(end == start for (_, end), (start, _) in pairwise(ends)), ends


@pytest.mark.parametrize("name", [name for name in FILES if ".before-" in name])
def test_an_older_form_returns_as_many_columns(name: str) -> None:
    forms = [SQL.joinpath(f"{one}.sql").read_text() for one in (name, name.partition(".before-")[0])]
    older, newer = ({_columns(text) for text in _outer_selects(form)} for form in forms)

    assert len(older) == 1
    assert older == newer


def _outer_selects(text: str) -> list[str]:
    """Return what each SELECT outside of any parentheses lists, without what is inside of some."""
    text = re.sub(r"--[^\n]*|'(?:[^']|'')*'", "", text)
    while (flat := re.sub(r"\([^()]*\)|\[[^\[\]]*\]", "", text)) != text:
        text = flat
    return re.findall(r"\bSELECT\b(.*?)(?:\bFROM\b|\bWHERE\b|\bUNION\b|\Z)", text, re.DOTALL)


def _columns(selected: str) -> int:
    return selected.count(",") + 1


@pytest.mark.parametrize("version", SOURCES)
def test_every_query_is_given_in_the_form_for_the_version(version: int) -> None:
    texts = {SQL.joinpath(f"{name}.sql").read_text(): name for name in FILES}
    for name in (name for name in FILES if ".before-" not in name):
        forms = [one for one in FILES if one == name or one.startswith(f"{name}.before-")]
        if version < min(versions_of(one)[0] for one in forms):
            continue  # nobody asks a server of this version

        first, end = versions_of(texts[query(name, version)])

        assert first <= version < end, name


def test_the_types_that_hold_a_type_are_found_by_one_text() -> None:
    """Each file can be pasted into psql, so what several need stands in each of them, and the same in all."""
    texts = {name: SQL.joinpath(f"{name}.sql").read_text() for name in FILES}
    found = {name: HOLDING.findall(text) for name, text in texts.items() if "AS whole FROM pg_catalog.pg_type" in text}
    assert found.keys() == {"check_enum_hash", "check_enum_types", "check_moved_fields"}
    assert len({text for one in found.values() for text in one}) == 1
    assert all(len(one) == 1 for one in found.values())


def test_a_query_that_depends_on_the_version_is_not_given_without_one() -> None:
    with pytest.raises(LookupError, match=r"slot_state\.sql depends on the version"):
        query("slot_state")


def test_an_unknown_query_is_an_error() -> None:
    with pytest.raises(FileNotFoundError):
        query("no_such_query", 160014)


@pytest.mark.parametrize(
    ("version", "words", "release"),
    [(160014, "16.14", "16"), (100023, "10.23", "10"), (90624, "9.6.24", "9.6"), (90305, "9.3.5", "9.3")],
)
def test_versions_are_written_as_people_write_them(version: int, words: str, release: str) -> None:
    assert versions.version_words(version) == words
    assert versions.major_words(version) == release


@pytest.mark.parametrize(
    ("version", "source", "target"),
    [(90224, False, False), (90300, True, False), (90624, True, False), (100000, True, True), (189999, True, True)],
)
def test_servers_back_to_9_3_can_be_sources_and_from_10_on_targets(version: int, source: bool, target: bool) -> None:
    assert versions.supported(version, as_source=True) is source
    assert versions.supported(version, as_source=False) is target


def test_a_server_that_is_too_new_is_neither() -> None:
    assert not versions.supported(190000, as_source=True)
    assert not versions.supported(190000, as_source=False)


@pytest.mark.parametrize(
    ("version", "plugin"), [(90400, "test_decoding"), (90624, "test_decoding"), (100000, "pgoutput")]
)
def test_each_version_is_read_through_a_plugin_that_it_brings(version: int, plugin: str) -> None:
    assert versions.plugin(version) == plugin


def test_a_server_before_9_4_has_no_stream() -> None:
    assert not versions.can_decode(90305)
    assert versions.can_decode(90400)


def test_slots_before_10_are_permanent_and_made_without_keywords() -> None:
    assert versions.create_slot(90624, '"s"', temporary=True) == (
        'CREATE_REPLICATION_SLOT "s" LOGICAL test_decoding',
        False,
    )
    assert versions.create_slot(160014, '"s"', temporary=True) == (
        'CREATE_REPLICATION_SLOT "s" TEMPORARY LOGICAL pgoutput EXPORT_SNAPSHOT',
        True,
    )


@pytest.mark.parametrize(
    ("version", "absent"),
    [
        (0, ("row_security", "idle_in_transaction_session_timeout", "read\\ committed")),
        (90305, ("row_security", "idle_in_transaction_session_timeout", "\\")),
        (90503, ("idle_in_transaction_session_timeout", "idle_session_timeout")),
        (90624, ("idle_session_timeout", "default_table_access_method")),
        (100023, ("jit", "default_table_access_method")),
    ],
)
def test_a_session_asks_an_old_server_for_nothing_that_it_does_not_know(version: int, absent: tuple[str, ...]) -> None:
    options = pinned_options(version)

    assert not [name for name in absent if name in options]
    assert "extra_float_digits=3" in options


def test_queries_are_not_compiled_where_a_server_would() -> None:
    assert "-c jit=off" in pinned_options(110000)


def test_a_session_that_has_ended_and_has_no_version_any_more_is_an_error_of_its_server() -> None:
    with pytest.raises(psycopg.OperationalError):
        query("slot_state", 0)
