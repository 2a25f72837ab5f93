"""Archives of one moment, each with some of the tables, become one: everything once, and each after what it needs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from migrations_app.engine import pieces
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
    assert [len(part) for part in divided([*tables, *theirs], 200)] == [76, 76, 76, 73]
    parts = divided([*tables, *theirs, relation(5000, "free", "S")], 400, sequences=True)
    assert [sum(one.kind == "r" for one in part) for part in parts] == [76, 76, 76, 73]
    assert all(any(one.owner for one in part) for part in parts)
    for part in parts:
        oids = {one.oid for one in part}
        assert all(one.owner in oids for one in part if one.owner is not None)
    assert sum(len(part) for part in parts) == 603


def test_other_schemas_are_left_out_whole() -> None:
    others = [relation(1, "x", schema="far"), relation(2, "y", schema="far"), relation(3, 'q"t|'), relation(4, "B")]
    assert patterns(others, [relation(5, "kept")]) == ['"far".*', '"s"."q""t|"', '"s"."B"']


def test_other_schemas_of_few_relations_are_left_out_by_name() -> None:
    others = [*(relation(n, f"t{n}", schema="far") for n in range(3)), relation(4, "x", schema="small")]
    assert patterns(others, [], by_name=2) == ['"far".*', '"small"."x"']


def test_what_the_command_line_cannot_hold_by_name_is_left_out_by_schema(monkeypatch: pytest.MonkeyPatch) -> None:
    parts = [[relation(n, "t", schema=f"tenant_{n}") for n in range(start, start + 500)] for start in (0, 500)]
    assert pieces._left_out(parts)[0][0] == '"tenant_500"."t"'
    monkeypatch.setattr(pieces, "_MOST_PATTERN_BYTES", 7500)
    assert pieces._left_out(parts)[0][0] == '"tenant_500".*'
