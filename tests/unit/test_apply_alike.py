"""Frames that look alike are taken many at a time, with what each of them would have come to alone."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from migrations_app.engine.replication.alike import LEAST, rows_alike
from migrations_app.engine.replication.coalesce import Appended, Keyed, Unfit
from migrations_app.engine.replication.frames import DELETE, INSERT, UPDATE
from migrations_app.engine.replication.pgoutput import (
    BINARY_VALUE,
    TEXT_VALUE,
    UNCHANGED,
    Relation,
    RelationColumn,
    Values,
)
from migrations_app.engine.replication.tuples import cutters
from tests.unit.test_apply_coalesce import row_bytes

OID, INT4, INT8, TEXT = 77, 23, 20, 25
WIDTHS = {INT4: 4, INT8: 8, TEXT: 3}


def table(types: list[int]) -> Relation:
    columns = enumerate(types)
    return Relation(OID, "s", "t", "d", tuple(RelationColumn(f"c{at}", at == 0, oid, -1) for at, oid in columns))


def frame(
    values: Values,
    kind: bytes = b"I",
    *,
    binary: bool = True,
    oid: int = OID,
    noise: bytes = bytes(24),
    mark: bytes = b"N",
) -> bytes:
    body = b"w" + noise + kind + struct.pack("!I", oid) + mark + row_bytes(values, binary)
    return b"d" + struct.pack("!I", len(body) + 4) + body


def taken(frames: list[bytes], *, binary: bool = True) -> int:
    """How many of these frames, which all measure the same, are taken at once."""
    data = b"before" + b"".join(frames) + b"behind"
    return len(rows_alike(data, 6, len(frames[0]), len(frames), BINARY_VALUE if binary else TEXT_VALUE))


def values(types: list[int], nulls: set[int]) -> st.SearchStrategy[Values]:
    there = {oid: st.binary(min_size=width, max_size=width) for oid, width in WIDTHS.items()}
    return st.tuples(*(st.none() if at in nulls else there[oid] for at, oid in enumerate(types))).map(list)


@given(st.lists(st.sampled_from([INT4, INT8, TEXT]), max_size=5), st.booleans(), st.data())
def test_rows_are_those_that_are_cut_one_by_one(types: list[int], binary: bool, data: st.DataObject) -> None:
    nulls = data.draw(st.sets(st.integers(0, max(0, len(types) - 1))))
    drawn = data.draw(st.lists(values(types, nulls), min_size=LEAST, max_size=2 * LEAST))
    frames = [frame(one, binary=binary, noise=data.draw(st.binary(min_size=24, max_size=24))) for one in drawn]
    cut, _ = cutters(table(types), binary=binary)
    form = BINARY_VALUE if binary else TEXT_VALUE
    found = rows_alike(b"".join(frames), 0, len(frames[0]), len(frames), form)
    assert [tuple(row) for row in found] == [tuple(cut(one, 36)[0]) for one in frames]


ROW: Values = [b"\x00\x00\x00\x01", b"abc"]
ALIKE = [frame([number.to_bytes(4), b"abc"]) for number in range(3 * LEAST)]


@pytest.mark.parametrize(
    "other",
    [
        frame(ROW, b"U"),
        frame(ROW, oid=78),
        frame([b"\x00\x00\x01", b"abcd"]),
        frame(ROW, binary=False),
        frame([bytes(6), b"x"]),
        b"k" + frame(ROW)[1:],
        frame(ROW)[:5] + b"k" + frame(ROW)[6:],
        frame(ROW)[:35] + b"K" + frame(ROW)[36:],
        frame(ROW)[:36] + b"\x00\x03" + frame(ROW)[38:],
    ],
)
def test_a_frame_that_differs_in_anything_but_its_values_ends_the_run(other: bytes) -> None:
    assert len(other) == len(ALIKE[0])
    assert taken([*ALIKE[: LEAST + 3], other, *ALIKE]) == LEAST + 3
    assert taken([*ALIKE[: LEAST - 1], other, *ALIKE]) == 0


def test_a_value_that_an_update_left_alone_is_not_taken() -> None:
    assert taken([frame([ROW[0], UNCHANGED], b"U")] * LEAST) == 0


@pytest.mark.parametrize("cut", range(36, 50))
def test_a_row_that_does_not_end_with_its_frame_is_not_taken(cut: int) -> None:
    short = frame(ROW)[:cut]
    assert taken([short] * LEAST) == 0


@given(st.binary(min_size=44, max_size=90))
def test_arbitrary_bytes_are_at_most_not_taken(noise: bytes) -> None:
    rows_alike(noise * LEAST, 0, len(noise), LEAST, BINARY_VALUE)


def keyed() -> Keyed:
    cut, cut_key = cutters(table([INT4, TEXT]), binary=True)
    return Keyed(cut, cut_key, [0])


def rows(*keys: int) -> list[object]:
    return [(b"\x00\x02", b"\x00\x00\x00\x04" + key.to_bytes(4), b"\x00\x00\x00\x01x") for key in keys]


def test_a_row_updated_twice_in_a_run_is_sent_once() -> None:
    folding = keyed()
    folding.take_rows(rows(1, 2, 1), UPDATE)  # type: ignore[arg-type]
    assert len(folding.updates) == 2


def test_a_key_inserted_twice_does_not_fit() -> None:
    folding = keyed()
    with pytest.raises(Unfit):
        folding.take_rows(rows(1, 2, 1), INSERT)  # type: ignore[arg-type]


def test_keys_of_deleted_rows_are_those_that_are_taken_one_by_one() -> None:
    frames = [frame([key.to_bytes(4), None], b"D", mark=b"K") for key in range(2 * LEAST)]
    alone, together = keyed(), keyed()
    for one in frames:
        alone.delete(one, 35, len(one))
    found = rows_alike(b"".join(frames), 0, len(frames[0]), len(frames), BINARY_VALUE)
    together.take_rows(found, DELETE)
    assert len(alone.deletes) == 2 * LEAST
    assert list(together.deletes) == list(alone.deletes)


def test_rows_deleted_with_all_they_held_are_taken_at_once() -> None:
    assert taken([frame(ROW, b"D", mark=b"O")] * LEAST) == LEAST


def test_a_delete_that_holds_a_new_row_is_not_taken() -> None:
    assert taken([frame(ROW, b"D")] * LEAST) == 0


def test_a_key_deleted_twice_does_not_fit() -> None:
    folding = keyed()
    folding.take_rows(rows(1, 2), DELETE)  # type: ignore[arg-type]
    with pytest.raises(Unfit):
        folding.take_rows(rows(2, 3), DELETE)  # type: ignore[arg-type]


def test_deletes_that_name_no_row_do_not_fit() -> None:
    found = rows_alike(
        frame([None, ROW[1]], b"D", mark=b"O") * LEAST, 0, len(frame([None, ROW[1]])), LEAST, BINARY_VALUE
    )
    with pytest.raises(Unfit):
        keyed().take_rows(found, DELETE)


def test_changes_of_another_kind_are_taken_one_by_one() -> None:
    inserted, updated, deleted = keyed(), keyed(), keyed()
    deleted.take_rows(rows(1), DELETE)  # type: ignore[arg-type]
    assert [deleted.takes_rows(kind) for kind in (INSERT, UPDATE, DELETE)] == [False, False, True]
    inserted.take_rows(rows(1), INSERT)  # type: ignore[arg-type]
    updated.take_rows(rows(1), UPDATE)  # type: ignore[arg-type]
    assert [inserted.takes_rows(kind) for kind in (INSERT, UPDATE, DELETE)] == [True, False, False]
    assert [updated.takes_rows(kind) for kind in (INSERT, UPDATE, DELETE)] == [False, True, False]
    assert not Appended(cutters(table([TEXT]), binary=True)[0]).takes_rows(UPDATE)
