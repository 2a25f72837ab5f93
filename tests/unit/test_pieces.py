"""Archives of one moment, each with some of the tables, become one: everything once, and each after what it needs."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest

from migrations_app.engine import pieces
from migrations_app.engine.names import quote
from migrations_app.engine.pieces import Relation, divided, merged, patterns
from migrations_app.engine.toc import POST_DATA, PRE_DATA, Entry, read_archive, write_archive
from tests import entries as made

CLASS, FUNCTION, CONSTRAINT = 1259, 1255, 2606


def entry(
    number: int, kind: str, name: str, *needs: int, oid: int = 0, catalog: int = CLASS, section: str = PRE_DATA
) -> Entry:
    sql, kept = f"{kind} {name}".encode(), catalog if oid else 0
    more = {"dump_id": number, "class_oid": kept, "oid": oid, "tag": name, "section": section, "depends_on": needs}
    return made.entry(sql, kind, schema="s", owner="o", **more)


def relation(oid: int, name: str, kind: str = "r", schema: str = "s", owner: int | None = None) -> Relation:
    return Relation(oid=oid, schema=schema, name=name, kind=kind, owner=owner)


def shown(entries: list[Entry]) -> list[str]:
    """Return names in order; each entry's needs must come before it and be numbered as it says."""
    seen: set[int] = set()
    for one in entries:
        assert seen.issuperset(one.depends_on), one
        seen.add(one.dump_id)
    return [one.tag for one in entries]


def test_what_all_pieces_hold_is_taken_once_and_tables_stand_where_they_need_to() -> None:
    schema, late = entry(1, "SCHEMA", "s", oid=10, catalog=2615), entry(9, "FUNCTION", "f", 1, oid=30, catalog=FUNCTION)
    first = [schema, entry(2, "TABLE", "a", 1, oid=21), late, entry(5, "INDEX", "ia", 2, oid=31, section=POST_DATA)]
    of_b = entry(9, "FUNCTION", "f", 1, 2, oid=30, catalog=FUNCTION)  # its argument is a row of b
    second = [schema, entry(2, "TABLE", "b", 1, oid=22), of_b, entry(5, "INDEX", "ib", 2, oid=32, section=POST_DATA)]
    assert shown(merged([first, second])) == ["s", "b", "a", "f", "ib", "ia"]


def test_needs_between_pieces_are_those_of_the_catalog() -> None:
    view = [entry(1, "VIEW", "v", oid=40)]
    table = [entry(1, "TABLE", "t", oid=41)]
    (one, other) = merged([view, table], [((CLASS, 40), (CLASS, 41))])
    assert (one.tag, other.tag, other.depends_on) == ("t", "v", (one.dump_id,))


def test_a_need_that_a_piece_has_resolved_by_itself_is_not_added_again() -> None:
    piece = [entry(1, "TABLE", "t", oid=41), entry(2, "SEQUENCE", "q", 1, oid=42)]
    assert shown(merged([piece, []], [((CLASS, 41), (CLASS, 42))])) == ["t", "q"]


def test_a_circle_between_pieces_is_cut() -> None:
    edges = [((CLASS, 1), (CLASS, 2)), ((CLASS, 2), (CLASS, 1))]
    found = merged([[entry(1, "TABLE", "a", oid=1)], [entry(1, "TABLE", "b", oid=2)]], edges)
    assert sorted(one.tag for one in found) == ["a", "b"]


def test_a_written_archive_reads_back(tmp_path: Path) -> None:
    entries = [
        entry(1, "SCHEMA", 'a "b"\n', oid=7, catalog=2615),
        entry(2, "ACL", "x", 1, section="none"),
        entry(3, "INDEX", "ü", 1, 2, section=POST_DATA),
        replace(entry(4, "TABLE", "t"), access_method="own", owner="me", relkind="p"),
    ]
    write_archive(tmp_path / "x.dump", entries)
    assert read_archive(tmp_path / "x.dump") == entries


@pytest.mark.parametrize(("room", "sizes"), [(10_000, [9]), (0, [9]), (200, [9])])
def test_few_tables_stay_together(room: int, sizes: list[int]) -> None:
    assert [len(part) for part in divided([relation(n, f"t{n}") for n in range(9)], room)] == sizes


def test_each_part_takes_half_of_the_room_at_most_and_sequences_go_with_their_tables() -> None:
    tables = [relation(n, f"t{n:03}") for n in range(301)]
    theirs = [relation(1000 + n, f"q{n:03}", "S", owner=n) for n in range(301)]
    for room, locked in ((200, False), (400, True)):
        parts = divided([*tables, *theirs, relation(5000, "u_free", "S")], room, sequences=locked)
        assert [sum(one.kind == "r" for one in part) for part in parts] == [76, 76, 76, 73]
        assert all(any(one.owner for one in part) for part in parts)
        for part in parts:
            oids = {one.oid for one in part}
            assert all(one.owner in oids for one in part if one.owner is not None)
        assert sum(len(part) for part in parts) == 603


def test_a_sequence_that_is_not_locked_goes_with_its_neighbours() -> None:
    names = [f"t{n:03}" for n in range(200)]
    relations = [relation(n, name, "S" if n % 3 else "r") for n, name in enumerate(names)]
    parts = divided(relations, 60)
    assert [sum(one.kind == "r" for one in part) for part in parts] == [34, 33]
    assert [max(one.name for one in part) for part in parts] == ["t101", "t199"]
    assert min(one.name for one in parts[1]) == "t102"


def test_other_schemas_are_left_out_whole() -> None:
    others = [relation(1, "x", schema="far"), relation(2, "y", schema="far"), relation(3, 'q"t|'), relation(4, "B")]
    assert patterns(others, [relation(5, "kept")]) == ['"far".*', '"s"."q""t|"', '"s"."B"']


def test_other_schemas_of_few_relations_are_left_out_by_name() -> None:
    others = [*(relation(n, f"t{n}", schema="far") for n in range(3)), relation(4, "x", schema="small")]
    assert patterns(others, [], by_name=2) == ['"far".*', '"small"."x"']


def test_a_beginning_that_very_many_in_other_schemas_share_is_not_looked_for() -> None:
    far = [relation(n, f"t{n}", schema="far") for n in range(1500)]
    assert patterns([relation(5000, "ta"), relation(5001, "tb"), *far], [relation(1, "k")], by_name=2) == [
        *('"s"."ta"', '"s"."tb"', '"far".*')
    ]
    assert patterns([relation(5000, "ua"), relation(5001, "ub")], [relation(1, "k")], by_name=2) == ['"s"."u"*']


def test_what_the_command_line_cannot_hold_by_name_is_left_out_by_schema(monkeypatch: pytest.MonkeyPatch) -> None:
    parts = [[relation(n, "t", schema=f"tenant_{n}") for n in range(start, start + 500)] for start in (0, 500)]
    assert pieces._left_out(parts)[0][0] == '"tenant_500"."t"'
    monkeypatch.setattr(pieces, "_MOST_PATTERN_BYTES", 7500)
    assert pieces._left_out(parts)[0][0] == '"tenant_500".*'


def matches(pattern: str, one: Relation) -> bool:
    """Say whether pg_dump takes a relation for one of a pattern as `patterns` writes them."""
    schema, _, name = pattern.partition(".")
    many, wanted = not name.endswith('"'), name.removesuffix("*")[1:-1].replace('""', '"')
    return schema == quote(one.schema) and (one.name.startswith(wanted) if many else one.name == wanted)


@pytest.mark.parametrize("count", [1000, 10_000])
def test_a_piece_of_any_number_of_tables_is_told_from_the_others_by_few_patterns(count: int) -> None:
    tables = [relation(n, f"many_{n}") for n in range(count)]
    theirs = [relation(count + n, f"many_{n}_id_seq", "S", owner=n) for n in range(count)]
    parts = divided(sorted([*tables, *theirs], key=lambda one: one.name), count // 2)
    assert len(parts) == 4
    assert max(map(len, pieces._left_out(parts))) < 150


def test_patterns_take_everything_but_the_piece_whatever_the_names_begin_with() -> None:
    rng = random.Random(7)  # noqa: S311 - the same names each time
    names = {"".join(rng.choice('ab_"*.é') for _ in range(rng.randint(1, 7))) for _ in range(400)}
    relations = [relation(n, name, rng.choice("rrS"), rng.choice("st")) for n, name in enumerate(sorted(names))]
    relations.sort(key=lambda one: (one.schema, one.name))
    for room, locked in ((100, False), (100, True), (300, False)):
        parts = divided(relations, room, sequences=locked)
        for most in (0, 1, 3):
            for part in parts:
                others = [one for other in parts if other is not part for one in other]
                found = patterns(others, part, by_name=most)
                left = [one for one in relations if not any(matches(pattern, one) for pattern in found)]
                assert sorted(left, key=id) == sorted(part, key=id)
