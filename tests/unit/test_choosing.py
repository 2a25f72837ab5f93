"""What the command line's options select, and under which names."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.management.base import CommandError

from migrations_app.management.cli.address import new_name
from migrations_app.management.cli.choosing import selection_of
from migrations_app.management.cli.values import task_name


def options(**more: Any) -> dict[str, Any]:
    empty: dict[str, Any] = {"include": [], "exclude": [], "structure_only": [], "map_schema": [], "map_database": []}
    return {
        **empty,
        "without_foreign_keys": False,
        "roles": "none",
        "role_passwords": False,
        "follow_additions": False,
        **more,
    }


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("public=app", ("", "public", "app")),
        ("db.public=app", ("db", "public", "app")),
        ('"d.b"."a""=b"="c.d=e"', ("d.b", 'a"=b', "c.d=e")),
        ("ünï x=%s'", ("", "ünï x", "%s'")),
    ],
)
def test_a_new_name_is_read_with_its_quotes(text: str, found: tuple[str, str, str]) -> None:
    assert new_name(text, qualified=True) == found


@pytest.mark.parametrize("text", ["", "a", "a=", "=b", "a=b=c", "a.b.c=d", 'a="b', "a=b.c"])
def test_what_is_no_new_name_is_refused(text: str) -> None:
    with pytest.raises(CommandError):
        new_name(text, qualified=True)


def test_a_database_in_front_is_refused_for_databases() -> None:
    with pytest.raises(CommandError):
        new_name("a.b=c", qualified=False)


def test_the_options_become_one_selection() -> None:
    chosen = selection_of(
        options(
            structure_only=["logs", "public.audit"],
            map_schema=["public=app", "two.public=other"],
            map_database=["two=zwei"],
            without_foreign_keys=True,
        ),
        ["one", "two"],
        {},
    )
    modes = [chosen.mode("one", *path) for path in (("public", "t"), ("public", "audit"), ("logs", "t"))]
    assert modes == ["data", "structure", "structure"]
    assert [chosen.target_schema(name, "public") for name in ("one", "two")] == ["app", "other"]
    assert [chosen.target_name(name) for name in ("one", "two")] == ["one", "zwei"]
    assert chosen.foreign_keys == "without"


def test_structure_can_be_added_to_what_is_included() -> None:
    chosen = selection_of(options(include=["public.t"], structure_only=["public.parent"]), ["d"], {"d": "e"})
    assert [chosen.mode("d", "public", name) for name in ("t", "parent", "x")] == ["data", "structure", ""]
    assert chosen.target_name("d") == "e"


def test_what_is_excluded_stays_behind() -> None:
    chosen = selection_of(options(exclude=["logs", 'public."T.1"', "logs.x"]), ["one", "two"], {})
    for database in ("one", "two"):
        modes = [chosen.mode(database, *path) for path in (("logs", "x"), ("public", "T.1"), ("public", "t"), ("new",))]
        assert modes == ["", "", "data", "data"]
    chosen = selection_of(options(include=["public"], exclude=["public.t"]), ["d"], {})
    assert [chosen.mode("d", "public", name) for name in ("t", "x")] == ["", "data"]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"include": ["a.t"], "exclude": ["a.t"]}, "--exclude a.t contradicts --include a.t"),
        ({"structure_only": ["a.t"], "exclude": ["a"]}, "--exclude a contradicts --structure-only a.t"),
        ({"include": ["sales"], "exclude": ["sale.secret"]}, "--exclude sale.secret leaves nothing out"),
        ({"exclude": ["a.b.c"]}, "Not an object name"),
    ],
)
def test_an_exclusion_that_cannot_be_meant_is_refused(given: dict[str, Any], said: str) -> None:
    with pytest.raises(CommandError, match=said):
        selection_of(options(**given), ["d"], {})


@pytest.mark.parametrize(
    "wrong",
    [{"map_schema": ["a=pg_x"]}, {"map_schema": ["x.a=b"]}, {"map_database": ["x=y"]}, {"map_schema": ["a=towpath"]}],
)
def test_names_that_cannot_be_are_refused_at_once(wrong: dict[str, Any]) -> None:
    with pytest.raises(CommandError):
        selection_of(options(**wrong), ["d"], {})


@pytest.mark.parametrize("name", ["template1", "x" * 64])
def test_a_database_of_the_target_that_cannot_be_is_refused_whoever_names_it(name: str) -> None:
    for given, targets in ((options(map_database=[f"d={name}"]), {}), (options(), {"d": name})):
        with pytest.raises(CommandError, match="No database of the target can be called"):
            selection_of(given, ["d"], targets)


def test_a_name_of_blanks_names_no_task() -> None:
    assert [task_name(text) for text in ("  ", " a b ", "")] == ["", "a b", ""]
