"""What rows of before hold in columns that a table has got, by what the catalog says and what is remembered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest

from migrations_app.engine.drift import Column, Place
from migrations_app.engine.ports import NEVER, TableState, TableStatus
from migrations_app.engine.rewritten import Attribute, Family, Member, with_old_values
from migrations_app.engine.rows_file import RowsFile, file_of_parts, rows_file, without_file

OID, FILE = 7001, 7777  # emptied or written anew at some time
ID, C, D = (Column(name=name, type_name="integer") for name in ("id", "c", "d"))
KNOWN = TableState(database="d", schema="s", name="t", oid=OID, numbers=(("id", 1), RowsFile(file=FILE, width=1).entry))


def column(number: int, filled: str | None = None, *, generated: bool = False) -> Attribute:
    return Attribute(number, generated, filled)


def member(oid: int = OID, file: int = FILE, kind: str = "r", **columns: Attribute) -> Member:
    rows = RowsFile(file=file, width=len(columns) + 1)
    return Member(oid=oid, place=("s", f"t{oid}"), kind=kind, rows=rows, columns={"id": column(1), **columns})


def old(
    members: Sequence[Member],
    states: Sequence[TableState],
    *told: Column,
    target: Sequence[str] = ("id",),
    there: Mapping[Place, Sequence[str]] | None = None,
    oid: int = OID,
) -> Mapping[str, str | None]:
    """What each column that the target lacks has for rows of before; `?` when nobody knows."""
    family = Family(top=members[0].oid, members=members)
    lacking = {one.name for one in told} - set(target)
    found = with_old_values([ID, *told], lacking, oid, family, states, (there or {}).get)
    return {one.name: "?" if one.rewritten else one.filled for one in found if one.name in lacking}


@pytest.mark.parametrize(
    ("now", "state", "expected"),
    [
        (member(c=column(2)), KNOWN, None),
        (member(c=column(2, "5")), KNOWN, "5"),
        (member(c=column(2, "5"), file=8888), KNOWN, "5"),
        (member(c=column(2), file=8888), KNOWN, "?"),
        (member(c=column(1)), KNOWN, "?"),  # was there already: somebody took it from the target
        (member(c=column(1, "5")), KNOWN, "?"),
        (member(c=column(3)), KNOWN, "?"),  # another one came and went
        (member(d=column(2)), KNOWN, "?"),  # gone by now
        (member(c=column(2)), replace(KNOWN, numbers=()), "?"),  # nothing is remembered
        (member(c=column(2), file=OID), replace(KNOWN, numbers=()), None),  # and the file is its first one
    ],
)
def test_rows_of_before_hold_nothing_only_in_the_file_that_is_remembered(
    now: Member, state: TableState, expected: str | None
) -> None:
    assert old([now], [state], C) == {"c": expected}


def test_columns_are_those_of_the_catalog_where_they_are_the_first_that_came() -> None:
    both = member(c=column(2), d=column(3))
    assert old([both], [KNOWN], C) == {"c": None}
    assert old([both], [KNOWN], C, D) == {"c": None, "d": None}
    assert old([both], [KNOWN], D) == {"d": "?"}  # c was called d, and another one has that name now
    assert old([both], [KNOWN], C, D, target=("id", "c")) == {"d": None}
    assert old([both], [KNOWN], C, D, target=("id", "d")) == {"c": "?"}
    assert old([member(c=column(2, generated=True), d=column(3))], [KNOWN], D) == {"d": None}


def test_a_table_that_loses_its_rows_or_is_set_aside_does_not_count() -> None:
    rewritten = member(c=column(2), file=8888)
    for state in (replace(KNOWN, watermark=NEVER), replace(KNOWN, status=TableStatus.DROPPED)):
        assert old([rewritten], [state], C) == {"c": None}


def parts(**first: Any) -> list[Member]:
    return [
        member(oid=1, file=0, kind="p", c=column(2)),
        member(**first),
        member(oid=7002, file=7002, c=column(2)),
    ]


def test_all_partitions_have_to_say_the_same() -> None:
    states = [KNOWN, replace(KNOWN, oid=7002, numbers=())]
    assert old(parts(c=column(2)), states, C) == {"c": None}
    assert old(parts(c=column(2, "5")), states, C) == {"c": "?"}
    assert old(parts(c=column(2), file=8888), states, C, oid=7002) == {"c": "?"}
    # One that the task does not know counts only where the target has it.
    assert old(parts(c=column(2, "5")), [KNOWN], C) == {"c": "5"}
    assert old(parts(c=column(2, "5")), [KNOWN], C, there={("s", "t7002"): ["id"]}) == {"c": "?"}


def test_what_inherits_counts_where_a_statement_for_its_parent_gives_it_the_column() -> None:
    heir = member(oid=7002, file=8888, c=column(2))
    states = [KNOWN, replace(KNOWN, oid=7002)]
    for columns, expected in ((["id"], "?"), (["id", "c"], None)):
        assert old([member(c=column(2)), heir], states, C, there={("s", "t7002"): columns}) == {"c": expected}
    assert old([member(c=column(2)), heir], states, C) == {"c": None}


def test_a_gathered_table_is_as_it_was_while_all_of_its_partitions_are() -> None:
    file = file_of_parts([(7002, 7002), (OID, FILE)])
    whole = replace(KNOWN, oid=1, numbers=(("id", 1), RowsFile(file=file, width=1).entry))
    assert old(parts(c=column(2)), [whole], C) == {"c": None}
    assert old(parts(c=column(2), file=8888), [whole], C) == {"c": "?"}
    assert old(parts(c=column(2)), [replace(whole, numbers=())], C) == {"c": "?"}


def test_what_is_remembered_stands_among_the_numbers_of_columns() -> None:
    for file in (0, 1, 2**32 - 1, file_of_parts([(1, 2), (3, 4)])):
        one = RowsFile(file=file, width=1600, computed=2**32 - 1)
        assert rows_file([("id", 1), one.entry, ("z", 2)]) == one
    assert rows_file([("id", 1)]) is None
    assert without_file([("id", 1), RowsFile(file=5, width=1).entry]) == {"id": 1}
    assert file_of_parts([(1, 2), (3, 4)]) == file_of_parts([(3, 4), (1, 2)]) != file_of_parts([(1, 4), (3, 2)])
