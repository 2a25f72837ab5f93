"""Which tables are partitioned otherwise on the target, and what the task makes of them."""

from __future__ import annotations

import pytest

from migrations_app.engine.catalog import Table
from migrations_app.engine.layouts import Branch, Layout, Layouts, Other, arranged, differing, expanded, refusal
from migrations_app.engine.renaming import Renaming

TOP, A, B = ("s", "top"), ("s", "a"), ("s", "b")


def table(oid: int, name: str, kind: str = "r", parent: int | None = None, **more: object) -> Table:
    values: dict[str, object] = {
        "oid": oid, "schema": "s", "name": name, "kind": kind, "persistence": "p", "replica_identity": "d",
        "is_partition": parent is not None, "is_heap": True, "parent_oid": parent, "bytes": 10, "outside_bytes": 1,
        "rows_estimate": 5, "owner": "o", "can_read": True, "is_owner": True, "row_security": False,
        "has_rules": False, "primary_key": ("id",), "unique_key": (), "identity_index_key": (), **more,
    }  # fmt: skip
    return Table(**values)  # type: ignore[arg-type]


TABLES = [table(1, "top", "p"), table(2, "a", parent=1), table(3, "b", parent=1), table(9, "plain")]
SOURCE = {
    TOP: Branch(kind="p", key="RANGE (id)"),
    A: Branch(kind="r", parent=TOP, bounds="1 to 2"),
    B: Branch(kind="r", parent=TOP, bounds="2 to 3"),
    ("s", "plain"): Branch(kind="r"),
}


def found(target: dict[tuple[str, str], Branch], renaming: Renaming | None = None) -> list[Other]:
    return differing(TABLES, SOURCE, target, renaming or Renaming())


def without(*places: tuple[str, str]) -> dict[tuple[str, str], Branch]:
    return {place: one for place, one in SOURCE.items() if place not in places}


@pytest.mark.parametrize(
    "target",
    [
        SOURCE,
        {},
        without(TOP, A, B),
        without(B),
        without(A, B),
        {**SOURCE, ("s", "more"): Branch(kind="r", parent=TOP, bounds="3 to 4")},
    ],
)
def test_alike_is_what_has_the_partitions_some_of_them_or_these_and_more(target: dict[tuple[str, str], Branch]) -> None:
    assert found(target) == []


@pytest.mark.parametrize(
    "target",
    [
        {TOP: Branch(kind="r")},
        {**SOURCE, TOP: Branch(kind="p", key="HASH (id)")},
        {**SOURCE, B: Branch(kind="r", parent=TOP, bounds="2 to 9")},
        {**SOURCE, B: Branch(kind="r")},
        {**without(B), ("s", "c"): Branch(kind="r", parent=TOP, bounds="2 to 9")},
        {TOP: SOURCE[TOP], ("s", "c"): Branch(kind="r", parent=TOP, bounds="1 to 2")},
    ],
)
def test_other_keys_bounds_and_names_make_another_layout(target: dict[tuple[str, str], Branch]) -> None:
    [other] = found(target)
    assert (other.layout, other.table.name, [one.name for one in other.below]) == (Layout.GATHERED, "top", ["a", "b"])


def test_a_plain_table_that_is_partitioned_on_the_target_is_spread() -> None:
    [other] = found({("s", "plain"): Branch(kind="p", key="RANGE (id)")})
    assert (other.layout, other.target) == (Layout.SPREAD, ("s", "plain"))


def test_layouts_are_compared_under_the_names_of_the_target() -> None:
    renaming = Renaming(schemas={"s": "t"})
    there = {
        ("t", name): Branch(kind=one.kind, key=one.key, parent=("t", "top") if one.parent else None, bounds=one.bounds)
        for (_, name), one in SOURCE.items()
    }
    assert found(there, renaming) == []
    [other] = found({("t", "top"): Branch(kind="r")}, renaming)
    assert other.target == ("t", "top")


def test_only_a_source_from_13_on_is_followed_so() -> None:
    target = {TOP: Branch(kind="r")}
    [other] = found(target)
    moving = {1, 2, 3}
    assert refusal(other, moving, target, None) is None
    assert refusal(other, moving, target, 130000) is None
    assert "from version 13" in (refusal(other, moving, target, 120022) or "")


def test_partitions_of_which_only_some_move_cannot_be_gathered() -> None:
    target = {TOP: Branch(kind="r")}
    [other] = found(target)
    assert "some of its partitions are not to move" in (refusal(other, {2}, target, None) or "")
    assert refusal(other, set(), target, None) is None


@pytest.mark.parametrize("kind", ["r", "p"])
def test_a_table_whose_partitions_on_the_target_are_other_tables_of_the_source_is_refused(kind: str) -> None:
    """Children by inheritance, above all: to empty their parent by its name would be to empty them."""
    tables = [table(1, "top", kind), table(2, "a")]
    source = {TOP: Branch(kind=kind, key="RANGE (id)" if kind == "p" else ""), A: Branch(kind="r")}
    target = {TOP: Branch(kind="p", key="HASH (id)"), A: Branch(kind="r", parent=TOP, bounds="1 to 2")}
    others = differing(tables, source, target, Renaming())
    (other,) = (one for one in others if one.table.name == "top")
    assert "are tables of their own on the source: s.a" in (refusal(other, {1, 2}, target, None) or "")


def test_a_gathered_table_stands_for_all_its_partitions() -> None:
    layouts = Layouts(gathered=frozenset({TOP}), kept={TOP: TOP})
    one, plain = arranged(TABLES, layouts)
    assert (one.name, one.has_rows, one.bytes, one.rows_estimate) == ("top", True, 20, 10)
    assert [part.name for part in one.parts] == ["a", "b"]
    assert plain.parts == (plain,)
    assert arranged([one, plain], layouts) == [one, plain]
    assert [(part.oid, part.has_rows) for part in expanded([one, plain])] == [(it.oid, it.has_rows) for it in TABLES]


def test_without_another_layout_nothing_is_arranged() -> None:
    assert arranged(TABLES, Layouts()) == TABLES
