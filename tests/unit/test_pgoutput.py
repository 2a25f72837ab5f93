"""The decoder reads what a source can send, and answers anything else with its own error only."""

from __future__ import annotations

import contextlib
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from migrations_app.engine.errors import SourceError
from migrations_app.engine.replication.pgoutput import (
    UNCHANGED,
    Begin,
    Commit,
    Delete,
    Insert,
    MalformedMessage,
    Message,
    Origin,
    Relation,
    RelationColumn,
    Truncate,
    TypeName,
    Update,
    WrittenAnew,
    decode,
)

LSN = st.integers(0, 2**64 - 1)
OID = st.integers(0, 2**32 - 1)
MOMENT = st.integers(-(2**63), 2**63 - 1)
NAME = st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), min_size=1, max_size=20)
VALUE = st.one_of(st.none(), st.just(UNCHANGED), st.binary(max_size=40).filter(lambda text: b"\x00" not in text))
VALUES = st.lists(VALUE, max_size=8)
COLUMN = st.builds(RelationColumn, NAME, st.booleans(), OID, st.integers(-(2**31), 2**31 - 1))
MESSAGE = st.one_of(
    st.builds(Begin, LSN, MOMENT, OID),
    st.builds(Commit, st.integers(0, 255), LSN, LSN, MOMENT),
    st.builds(Origin, LSN, NAME),
    st.builds(Relation, OID, NAME, NAME, st.sampled_from("dnfi"), st.lists(COLUMN, max_size=5).map(tuple)),
    st.builds(TypeName, OID, NAME, NAME),
    st.builds(Insert, OID, VALUES),
    st.builds(Update, OID, VALUES, st.booleans(), VALUES),
    st.builds(Update, OID, st.none(), st.just(False), VALUES),
    st.builds(Delete, OID, VALUES, st.booleans()),
    st.builds(Truncate, st.lists(OID, max_size=5).map(tuple), st.booleans(), st.booleans()),
    st.builds(WrittenAnew, OID, st.lists(NAME, max_size=5).map(tuple)),
)


def _row(values: list[bytes | None]) -> bytes:
    parts = [struct.pack("!H", len(values))]
    for value in values:
        if value is None:
            parts.append(b"n")
        elif value == UNCHANGED:
            parts.append(b"u")
        else:
            parts.append(b"t" + struct.pack("!I", len(value)) + value)
    return b"".join(parts)


def _name(text: str) -> bytes:
    return text.encode() + b"\x00"


def _old(message: Update | Delete) -> bytes:
    return b"" if message.old is None else (b"O" if message.full else b"K") + _row(message.old)


def _end(message: Begin | Commit) -> bytes:
    if isinstance(message, Begin):
        return b"B" + struct.pack("!QqI", *message)
    return b"C" + struct.pack("!BQQq", *message)


def encode(message: Message) -> bytes:
    match message:
        case Begin() | Commit():
            return _end(message)
        case Origin(lsn, name):
            return b"O" + struct.pack("!Q", lsn) + _name(name)
        case Relation(oid, schema, name, identity, columns):
            head = struct.pack("!I", oid) + _name(schema) + _name(name) + identity.encode()
            body = b"".join(bytes([c.is_key]) + _name(c.name) + struct.pack("!Ii", *c[2:]) for c in columns)
            return b"R" + head + struct.pack("!H", len(columns)) + body
        case TypeName(oid, schema, name):
            return b"Y" + struct.pack("!I", oid) + _name(schema) + _name(name)
        case Insert(oid, new):
            return b"I" + struct.pack("!I", oid) + b"N" + _row(new)
        case Update(oid, _, _, new):
            return b"U" + struct.pack("!I", oid) + _old(message) + b"N" + _row(new)
        case Delete(oid, _, _):
            return b"D" + struct.pack("!I", oid) + _old(message)
        case Truncate(oids, cascade, restart):
            return b"T" + struct.pack(f"!IB{len(oids)}I", len(oids), cascade | restart << 1, *oids)
        case WrittenAnew(oid, names):
            return b"W" + struct.pack("!IH", oid, len(names)) + b"".join(map(_name, names))


@given(MESSAGE, st.binary(max_size=30))
def test_every_message_is_read_back_from_any_offset(message: Message, before: bytes) -> None:
    assert decode(before + encode(message), len(before)) == message


@given(MESSAGE, st.data())
def test_a_message_cut_short_is_malformed(message: Message, data: st.DataObject) -> None:
    whole = encode(message)
    with pytest.raises(MalformedMessage):
        decode(whole[: data.draw(st.integers(0, len(whole) - 1))])


@given(MESSAGE, st.binary(min_size=1, max_size=9))
def test_a_message_with_something_behind_it_is_malformed(message: Message, rest: bytes) -> None:
    with pytest.raises(MalformedMessage):
        decode(encode(message) + rest)


@given(st.binary(max_size=200))
def test_arbitrary_bytes_raise_nothing_else(noise: bytes) -> None:
    with contextlib.suppress(MalformedMessage):
        decode(noise)


def test_a_malformed_message_is_an_error_of_the_source_with_advice() -> None:
    with pytest.raises(SourceError) as caught:
        decode(b"?")
    assert caught.value.hint


@given(MESSAGE, st.data())
def test_a_flipped_byte_raises_nothing_else(message: Message, data: st.DataObject) -> None:
    whole = bytearray(encode(message))
    whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(MalformedMessage):
        decode(bytes(whole))


def test_an_empty_schema_means_the_system_catalog() -> None:
    relation = decode(b"R" + struct.pack("!I", 1) + b"\x00" + _name("t") + b"d" + struct.pack("!H", 0))
    assert isinstance(relation, Relation)
    assert relation.schema == "pg_catalog"


def test_names_are_read_in_the_sources_encoding() -> None:
    named = decode(b"Y" + struct.pack("!I", 1) + b"s\x00caf\xe9\x00", encoding="latin-1")
    assert named == TypeName(1, "s", "café")


def test_a_name_in_no_encoding_survives_the_round_trip() -> None:
    named = decode(b"Y" + struct.pack("!I", 1) + b"s\x00\xff\x00")
    assert isinstance(named, TypeName)
    assert named.name.encode("utf-8", "surrogateescape") == b"\xff"


def test_a_binary_value_is_malformed() -> None:
    with pytest.raises(MalformedMessage):
        decode(b"I" + struct.pack("!I", 1) + b"N" + struct.pack("!H", 1) + b"b" + struct.pack("!I", 1) + b"x")
