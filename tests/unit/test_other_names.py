"""What stands under another name on the target, or in the place of something missing, as far as no server is needed."""

from __future__ import annotations

import json
from typing import Any

import pytest

from migrations_app.engine.comparing.further import with_further
from migrations_app.engine.comparing.structure import Difference, Scope, compare_things
from migrations_app.engine.comparing.things import Thing, Things
from migrations_app.engine.mending import making_room, mending_statement
from migrations_app.engine.selection import Selection

INDEX = "CREATE INDEX fk_p ON s.c USING btree (p_id)"
UNIQUE = "CREATE UNIQUE INDEX k ON s.c USING btree (id)"
FOREIGN = "FOREIGN KEY (p_id) REFERENCES s.p(id)"


def _thing(kind: str, name: str, definition: str = "", *, table: str = "c", **parts: Any) -> Thing:
    values = {"definition": definition or None, **parts}
    return Thing(
        kind=kind, schema="s", table=table, name=name, class_oid=1, oid=1, sub=0, usable=True, parts=json.dumps(values)
    )


def _things(*things: Thing) -> Things:
    tables = {one.table for one in things} | {"c"}
    every = (*(_thing("table", "", table=table) for table in tables), *things)
    by_identity = {one.identity: one for one in reversed(every)} | {one.identity: one for one in things}
    return Things(by_identity=by_identity, locked=frozenset(), unread=frozenset(), version=160000)


def _told(source: Things, target: Things) -> list[Difference]:
    scope = Scope(database="d", selection=Selection(), tables=source.relations)
    compared = compare_things(source, target, scope, lambda text: None)
    return list(with_further(source, target, compared, scope, lambda text: None).differences)


def _statements(source: Things, target: Things) -> dict[str, str]:
    return {one.thing.title: making_room(one, mending_statement(one) or "MAKE;") for one in _told(source, target)}


def test_an_index_stays_that_has_the_name_of_a_missing_foreign_key() -> None:
    index, key = _thing("index", "fk_p", INDEX), _thing("constraint", "fk_p", FOREIGN)
    assert _statements(_things(index, key), _things(index)) == {"constraint fk_p on c": "MAKE;"}


def test_a_foreign_key_stays_that_has_the_name_of_a_missing_index() -> None:
    index, key = _thing("index", "fk_p", INDEX), _thing("constraint", "fk_p", FOREIGN)
    assert _statements(_things(index, key), _things(key)) == {"index fk_p on c": "MAKE;"}


def test_a_missing_index_is_told_that_has_the_name_of_a_renamed_check() -> None:
    source = _things(_thing("index", "a", INDEX), _thing("constraint", "a", "CHECK ((id > 0))"))
    told = _statements(source, _things(_thing("constraint", "b", "CHECK ((id > 0))")))
    assert told == {
        "constraint a on c": 'ALTER TABLE "s"."c" RENAME CONSTRAINT "b" TO "a";',
        "index a on c": "MAKE;",
    }


@pytest.mark.parametrize("kind", ["index", "sequence"])
def test_no_statement_gives_a_key_a_name_that_something_else_has(kind: str) -> None:
    key, twin = _thing("constraint", "k", "UNIQUE (id)"), _thing("constraint", "other", "UNIQUE (id)")
    found = _told(_things(key), _things(twin, _thing(kind, "k", INDEX, table="o")))
    assert [one.what for one in found] == ['is called "other" on the target, where something else has its own']
    assert [mending_statement(one) for one in found] == [""]


def test_an_index_in_the_place_of_a_key_is_dropped() -> None:
    source = _things(_thing("constraint", "k", "UNIQUE (id)"), _thing("index", "k", UNIQUE))
    told = _statements(source, _things(_thing("index", "k", UNIQUE)))
    assert told == {"constraint k on c": 'DROP INDEX "s"."k";\nMAKE;'}


@pytest.mark.parametrize(
    "more",
    [
        pytest.param((_thing("index", "k", UNIQUE, **{"part of": "s.whole"}),), id="a part of the whole table's"),
        pytest.param(
            (_thing("index", "k", UNIQUE), _thing("constraint", "f", "FOREIGN KEY (x) REFERENCES s.c(id)", table="o")),
            id="referred to",
        ),
    ],
)
def test_no_statement_drops_an_index_that_the_server_would_keep(more: tuple[Thing, ...]) -> None:
    source = _things(_thing("constraint", "k", "UNIQUE (id)"), _thing("index", "k", UNIQUE))
    assert _statements(source, _things(*more)) == {"constraint k on c": ""}


@pytest.mark.parametrize(
    ("refers", "statement"),
    [
        ("FOREIGN KEY (y, x) REFERENCES s.c(x, id)", ""),
        ('FOREIGN KEY ("a) b") REFERENCES s.c(x) ON DELETE CASCADE', 'ALTER TABLE "s"."c" DROP CONSTRAINT "k";\nMAKE;'),
        ("FOREIGN KEY (y, x) REFERENCES s.cc(id, x)", 'ALTER TABLE "s"."c" DROP CONSTRAINT "k";\nMAKE;'),
    ],
)
def test_a_primary_key_is_dropped_only_where_no_foreign_key_refers_to_it(refers: str, statement: str) -> None:
    there = _things(_thing("constraint", "k", "PRIMARY KEY (id, x)"), _thing("constraint", "f", refers, table="o"))
    assert _statements(_things(_thing("constraint", "a", "PRIMARY KEY (id)")), there) == {
        "constraint a on c": statement
    }


def test_a_column_may_be_null_again_when_the_primary_key_that_had_it_is_gone() -> None:
    source = _things(_thing("column", "x"), _thing("constraint", "a", "PRIMARY KEY (id)"))
    there = _things(_thing("column", "x", **{"not null": True}), _thing("constraint", "k", "PRIMARY KEY (id, x)"))
    assert list(_statements(source, there).values()) == [
        'ALTER TABLE "s"."c" DROP CONSTRAINT "k";\nMAKE;',
        'ALTER TABLE "s"."c" ALTER COLUMN "x" DROP NOT NULL;',
    ]


def test_keys_of_other_names_are_looked_for_in_their_own_tables_only(monkeypatch: pytest.MonkeyPatch) -> None:
    tables = [f"t{number}" for number in range(5_000)]
    source = _things(*(_thing("constraint", f"a_{table}", "UNIQUE (id)", table=table) for table in tables))
    target = _things(*(_thing("constraint", f"b_{table}", "UNIQUE (id)", table=table) for table in reversed(tables)))
    asked = 0

    def startled(thing: Thing) -> bool:
        nonlocal asked
        asked += 1
        if asked > 50_000:
            pytest.fail("far more looks at things than there are things")
        return True

    monkeypatch.setattr(Thing, "usable", property(startled, lambda thing, value: None), raising=False)
    assert len([one for one in _told(source, target) if isinstance(one.target, str)]) == 5_000
