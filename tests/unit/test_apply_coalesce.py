"""Folded changes leave a table as the same changes do one by one, or refuse to be folded."""

from __future__ import annotations

import contextlib
import struct
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from migrations_app.engine.replication.coalesce import Appended, Keyed, Unfit
from migrations_app.engine.replication.pgoutput import (
    UNCHANGED,
    Delete,
    Insert,
    MalformedMessage,
    Relation,
    RelationColumn,
    Update,
    Values,
    decode,
)
from migrations_app.engine.replication.tuples import NULL, cutters

OID = 77
INT4, TEXT, INT8 = 23, 25, 20


def table(*keys: str) -> Relation:
    columns = (("id", INT4), ("name", TEXT), ("n", INT8), ("big", TEXT), ("m", INT4))
    return Relation(OID, "s", "t", "d", tuple(RelationColumn(name, name in keys, oid, -1) for name, oid in columns))


ONE_KEY, TWO_KEYS = table("id"), table("id", "name")


def encode(change: Insert | Update | Delete, *, binary: bool) -> bytes:
    """The message's bytes behind the table's oid."""
    if isinstance(change, Insert):
        return b"N" + row_bytes(change.new, binary)
    old = b"" if change.old is None else (b"O" if change.full else b"K") + row_bytes(change.old, binary)
    return old + b"N" + row_bytes(change.new, binary) if isinstance(change, Update) else old


def row_bytes(values: Values, binary: bool) -> bytes:
    parts = [struct.pack("!H", len(values))]
    for value in values:
        if value is None:
            parts.append(b"n")
        elif value is UNCHANGED:
            parts.append(b"u")
        else:
            parts.append((b"b" if binary else b"t") + struct.pack("!I", len(value)) + value)
    return b"".join(parts)


def value_of(element: bytes | None) -> bytes | None:
    assert element is not None
    return None if element == NULL else element[4:]


@dataclass
class World:
    """A table as the source has it, and the changes that it sends. Values are texts or binary, as the columns want."""

    relation: Relation
    binary: bool
    rows: dict[tuple[bytes | None, ...], Values] = field(default_factory=dict)
    sent: list[Insert | Update | Delete] = field(default_factory=list)

    def key(self, row: Values) -> tuple[bytes | None, ...]:
        return tuple(value for value, column in zip(row, self.relation.columns, strict=True) if column.is_key)

    def old(self, row: Values) -> Values:
        return [value if column.is_key else None for value, column in zip(row, self.relation.columns, strict=True)]

    def insert(self, row: Values) -> None:
        if self.key(row) not in self.rows:
            self.rows[self.key(row)] = row
            self.sent.append(Insert(OID, row))

    def update(self, key: tuple[bytes | None, ...], new: Values) -> None:
        """`new` may leave values unchanged; its key may be another one that is free."""
        row = self.rows.get(key)
        if row is None or (self.key(new) != key and self.key(new) in self.rows):
            return
        del self.rows[key]
        self.rows[self.key(new)] = [old if value is UNCHANGED else value for old, value in zip(row, new, strict=True)]
        self.sent.append(Update(OID, None if self.key(new) == key else self.old(row), False, new))

    def delete(self, key: tuple[bytes | None, ...]) -> None:
        row = self.rows.pop(key, None)
        if row is not None:
            self.sent.append(Delete(OID, self.old(row), False))


def folded(world: World) -> Keyed:
    cut, cut_key = cutters(world.relation, binary=world.binary)
    positions = [at for at, column in enumerate(world.relation.columns) if column.is_key]
    folding = Keyed(cut, cut_key, positions)
    for change in world.sent:
        feed(folding, change, world.binary)
    return folding


def feed(folding: Keyed | Appended, change: Insert | Update | Delete, binary: bool) -> None:
    before = b"some bytes before"
    data = before + encode(change, binary=binary)
    take = {Insert: folding.insert, Update: folding.update, Delete: folding.delete}[type(change)]
    take(data + b"and behind", len(before), len(data))


def applied(before: dict[tuple[bytes | None, ...], Values], folding: Keyed, world: World) -> dict[object, Values]:
    """What the target does: deletes, updates, inserts, each of which must find exactly its rows."""
    rows = dict(before)

    def known(key: object) -> tuple[bytes | None, ...]:
        return tuple(value_of(element) for element in (key if isinstance(key, tuple) else (key,)))

    for key in folding.deletes:
        del rows[known(key)]
    for key in folding.ghosts:
        assert known(key) not in rows
    for key, row in folding.updates.items():
        old = rows[known(key)]
        rows[known(key)] = [
            was if element is None else value_of(element) for was, element in zip(old, row[1:], strict=True)
        ]
    for key, row in folding.inserts.items():
        assert known(key) not in rows
        rows[known(key)] = [value_of(element) for element in row[1:]]
    assert len({*folding.deletes, *folding.updates, *folding.inserts, *folding.ghosts}) == sum(
        map(len, (folding.deletes, folding.updates, folding.inserts, folding.ghosts))
    )
    return rows  # type: ignore[return-value]


def number(width: int) -> st.SearchStrategy[bytes]:
    return st.integers(0, 3).map(lambda value: value.to_bytes(width))


NAME = st.sampled_from([b"a", b"b", b"", b"\x00\x01", b"b" * 300])
NULLABLE = st.one_of(st.none(), number(8))
BIG = st.one_of(st.none(), NAME)
ROW = st.tuples(number(4), NAME, NULLABLE, BIG, number(4)).map(list)
CHANGED = st.tuples(number(4), NAME, NULLABLE, st.one_of(st.just(UNCHANGED), BIG), number(4)).map(list)
ACTION = st.tuples(st.sampled_from("iuudk"), ROW, CHANGED)


def play(world: World, actions: list[tuple[str, Values, Values]]) -> None:
    for action, row, changed in actions:
        keys = sorted(world.rows, key=repr)
        key = keys[int.from_bytes(row[4] or b"") % len(keys)] if keys else None
        if action == "i" or key is None:
            world.insert(row)
        elif action == "d":
            world.delete(key)
        elif action == "k":
            world.update(key, changed)
        else:
            kept = iter(key)
            world.update(
                key, [next(kept) if column.is_key else value for column, value in
                      zip(world.relation.columns, changed, strict=True)],
            )  # fmt: skip


@given(
    st.sampled_from([ONE_KEY, TWO_KEYS]), st.booleans(), st.lists(ACTION, max_size=12), st.lists(ACTION, max_size=40)
)
def test_folded_changes_come_to_the_same_rows(
    relation: Relation, binary: bool, before: list[tuple[str, Values, Values]], then: list[tuple[str, Values, Values]]
) -> None:
    world = World(relation, binary)
    play(world, before)
    target = {key: list(row) for key, row in world.rows.items()}
    world.sent.clear()
    play(world, then)
    try:
        folding = folded(world)
    except Unfit:  # a new key for a row whose TOASTed value is not at hand
        assert any(isinstance(one, Update) and one.old and any(v is UNCHANGED for v in one.new) for one in world.sent)
        return
    assert applied(target, folding, world) == world.rows


def keyed(*sent: Insert | Update | Delete) -> Keyed:
    world = World(ONE_KEY, binary=True)
    world.sent += sent
    return folded(world)


def row(key: int, name: bytes = b"x", big: bytes | None = b"y") -> Values:
    return [key.to_bytes(4), name, None, big, bytes(4)]


def old(key: int) -> Values:
    return [key.to_bytes(4), None, None, None, None]


def test_a_row_updated_a_thousand_times_is_sent_once() -> None:
    folding = keyed(*(Update(OID, None, False, row(1, b"%d" % n)) for n in range(1000)))
    assert [value_of(one[2]) for one in folding.updates.values()] == [b"999"]


def test_a_row_that_came_and_went_must_not_be_there() -> None:
    folding = keyed(Insert(OID, row(1)), Delete(OID, old(1), False))
    assert len(folding.ghosts) == 1
    assert not folding.inserts
    assert not folding.deletes


def test_a_row_that_went_and_came_back_is_an_update_of_all_columns() -> None:
    folding = keyed(Delete(OID, old(1), False), Insert(OID, row(1)))
    assert len(folding.updates) == 1
    assert not folding.deletes


def test_keys_are_swapped_by_way_of_a_third() -> None:
    folding = keyed(
        Update(OID, old(1), False, row(9, b"one")),
        Update(OID, old(2), False, row(1, b"two")),
        Update(OID, old(9), False, row(2, b"one")),
    )
    assert {value_of(one[1]): value_of(one[2]) for one in folding.updates.values()} == {
        (1).to_bytes(4): b"two",
        (2).to_bytes(4): b"one",
    }
    assert len(folding.ghosts) == 1


def test_an_unchanged_value_is_taken_from_an_earlier_change_of_the_row() -> None:
    folding = keyed(
        Update(OID, None, False, row(1, b"a", b"big")),
        Update(OID, None, False, [*row(1, b"b")[:3], UNCHANGED, bytes(4)]),
    )
    (found,) = folding.updates.values()
    assert (value_of(found[2]), value_of(found[4])) == (b"b", b"big")


def test_a_value_that_no_change_tells_stays_unsaid() -> None:
    unsaid: Values = [*row(1)[:3], UNCHANGED, bytes(4)]
    (found,) = keyed(Update(OID, None, False, unsaid), Update(OID, None, False, unsaid)).updates.values()
    assert found[4] is None


@pytest.mark.parametrize(
    "sent",
    [
        [Insert(OID, row(1)), Insert(OID, row(1))],
        [Update(OID, None, False, row(1)), Insert(OID, row(1))],
        [Delete(OID, old(1), False), Delete(OID, old(1), False)],
        [Delete(OID, old(1), False), Update(OID, None, False, row(1))],
        [Update(OID, old(1), False, [*row(2)[:3], UNCHANGED, bytes(4)])],
        [Update(OID, old(1), False, row(2)), Update(OID, None, False, row(2)), Insert(OID, row(2))],
        # Two keys swapped while their uniqueness is checked later: the second delete means the other row.
        [Insert(OID, row(1)), Delete(OID, old(1), False), Delete(OID, old(1), False)],
    ],
)
def test_what_does_not_fit_the_picture_is_not_folded(sent: list[Insert | Update | Delete]) -> None:
    with pytest.raises(Unfit):
        keyed(*sent)


def test_keys_swapped_under_deferred_uniqueness_leave_a_ghost_where_a_row_is() -> None:
    folding = keyed(Update(OID, old(1), False, row(2, b"ann")), Update(OID, old(2), False, row(1, b"bob")))
    assert folding.ghosts  # on the target key 2 is there: the batch fails, and the row path decides


def test_a_table_without_a_key_takes_inserts_only() -> None:
    cut, _ = cutters(ONE_KEY, binary=False)
    folding = Appended(cut)
    feed(folding, Insert(OID, row(1)), binary=False)
    assert len(folding.rows) == 1
    with pytest.raises(Unfit):
        feed(folding, Delete(OID, row(1), True), binary=False)


TYPES = st.lists(st.sampled_from([INT4, INT8, TEXT]), min_size=1, max_size=6)


def rows_of(types: list[int], *, unchanged: bool) -> st.SearchStrategy[Values]:
    widths = {INT4: number(4), INT8: number(8), TEXT: NAME}
    holes = st.sampled_from([None, UNCHANGED] if unchanged else [None])
    return st.tuples(*(st.one_of(widths[oid], widths[oid], holes) for oid in types)).map(list)


def of_types(types: list[int], keys: int) -> Relation:
    columns = enumerate(types)
    return Relation(OID, "s", "t", "d", tuple(RelationColumn(f"c{at}", at < keys, oid, -1) for at, oid in columns))


@given(TYPES, st.booleans(), st.binary(max_size=30), st.data())
def test_a_row_is_cut_as_the_decoder_reads_it(
    types: list[int], binary: bool, behind: bytes, data: st.DataObject
) -> None:
    values = data.draw(rows_of(types, unchanged=True))
    whole = row_bytes(values, binary)
    cut, _ = cutters(of_types(types, 1), binary=binary)
    found, end = cut(b"??" + whole + behind, 2)
    assert end == len(whole) + 2
    message = decode(b"I" + struct.pack("!I", OID) + b"N" + whole, 0, binary=binary)
    assert isinstance(message, Insert)
    assert [UNCHANGED if one is None else value_of(one) for one in found[1:]] == message.new
    assert found[0] == struct.pack("!H", len(types))


@given(TYPES, st.booleans(), st.binary(max_size=30), st.data())
def test_a_key_is_cut_from_a_row_of_nothing_else(
    types: list[int], binary: bool, behind: bytes, data: st.DataObject
) -> None:
    keys = data.draw(st.integers(1, len(types)))
    values = data.draw(rows_of(types, unchanged=False).filter(lambda values: None not in values[:keys]))
    whole = row_bytes([*values[:keys], *([None] * (len(types) - keys))], binary)
    _, cut_key = cutters(of_types(types, keys), binary=binary)
    found, end = cut_key(whole + behind, 0)
    assert end == len(whole)
    assert [value_of(one) for one in found[1 : keys + 1]] == values[:keys]


@given(TYPES, st.booleans(), st.binary(max_size=40), st.data())
def test_a_row_cut_short_is_malformed(types: list[int], binary: bool, rest: bytes, data: st.DataObject) -> None:
    whole = b"N" + row_bytes(data.draw(rows_of(types, unchanged=True)), binary)
    size = data.draw(st.integers(1, len(whole) - 1))
    cut, cut_key = cutters(of_types(types, 1), binary=binary)
    for folding in (Keyed(cut, cut_key, [0]), Appended(cut)):
        with pytest.raises(MalformedMessage):
            folding.insert(whole[:size] + rest, 0, size)


@given(TYPES, st.binary(max_size=120), st.booleans())
def test_arbitrary_bytes_raise_nothing_else(types: list[int], noise: bytes, binary: bool) -> None:
    cut, cut_key = cutters(of_types(types, 1), binary=binary)
    for take in (Keyed(cut, cut_key, [0]).insert, Keyed(cut, cut_key, [0]).update, Keyed(cut, cut_key, [0]).delete):
        with contextlib.suppress(MalformedMessage, Unfit):
            take(noise + b"?", 0, len(noise) + 1)
