"""Streams of old servers come out in the form of newer ones, however their bytes were cut."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from migrations_app.engine.errors import EngineError
from migrations_app.engine.ports import TableState
from migrations_app.engine.replication import frames
from migrations_app.engine.replication.gathered import Gathering
from migrations_app.engine.replication.named import NamedChanges, NamedColumn, NamedTable
from migrations_app.engine.replication.pgoutput import (
    UNCHANGED,
    Begin,
    Commit,
    Delete,
    Insert,
    Message,
    Relation,
    Truncate,
    Update,
    decode,
)
from migrations_app.engine.replication.pgoutput_form import framed
from migrations_app.engine.replication.stream import Stream
from migrations_app.engine.replication.translated import FromTestDecoding, Translated, WithNotes

RECORDED = [
    json.loads(line).encode("latin-1")
    for line in Path(__file__).with_name("data").joinpath("test_decoding-9.5.jsonl").read_text().splitlines()
]
LOG = ("towpath", "emptied_7")
COLUMNS = (NamedColumn("id", "integer", 23, -1),)


class Line:
    """A stream that brings these bytes in pieces, then nothing."""

    slot = "s"

    def __init__(self, pieces: list[bytes]) -> None:
        self.pieces = iter(pieces)
        self.acknowledge = self.heard = self.ping = self.close = lambda *_: None

    def take(self, timeout: float) -> bytes:
        return next(self.pieces, b"")


class Catalog:
    """Every table has one column and a key; its oid is told by its name."""

    def named_tables(self, schema: str, name: str, oid: int) -> list[NamedTable]:
        number = oid or 1000 + len(name)
        return [NamedTable(number, schema, name, "d", frozenset({"id"}), COLUMNS)]

    def type_oid(self, type_name: str) -> int:
        return 25


def frame(message: bytes, place: int = 0) -> bytes:
    body = b"w" + struct.pack("!QQQ", place, place, 0) + message
    return b"d" + struct.pack("!I", len(body) + 4) + body


def keepalive(place: int) -> bytes:
    body = b"k" + struct.pack("!QQB", place, 0, 0)
    return b"d" + struct.pack("!I", len(body) + 4) + body


def named(*names: str) -> NamedChanges:
    states = [TableState(database="d", schema="s", name=name, oid=at) for at, name in enumerate(names, 7)]
    return NamedChanges(states, Catalog(), "latin-1")


def from_old(tmp_path: Path, *names: str) -> tuple[FromTestDecoding, Gathering]:
    gathering = Gathering(tmp_path)
    return FromTestDecoding(named(*names), gathering, "latin-1", LOG), gathering


def through(convert: Any, pieces: list[bytes], midway: Any = lambda: False) -> bytes:
    """Take everything that comes through, however many pieces it takes."""
    stream = Translated(cast("Stream", Line(pieces)), convert, midway)
    return b"".join(stream.take(0) for _ in range(3 * len(pieces) + 3))


def told(data: bytes) -> Iterator[Message]:
    for buffer, at, end in frames.messages([(data, 0, len(data))]):
        yield decode(buffer[at:end], 0, "latin-1")


def cut(data: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted(place % len(data) for place in places), len(data)]
    return [data[low:high] for low, high in pairwise(edges)]


def test_a_transaction_comes_with_the_place_of_its_end(tmp_path: Path) -> None:
    convert, _ = from_old(tmp_path, "t")
    sent = [b"BEGIN 5", b"table s.t: INSERT: id[integer]:1", b"COMMIT 5 (at 2000-01-01 00:00:01+00)"]

    begin, relation, insert, commit = told(through(convert, [frame(one, at) for at, one in enumerate(sent, 0x100)]))

    assert begin == Begin(0x101, 1_000_000, 5)
    assert isinstance(relation, Relation)
    assert insert == Insert(7, [b"1"])
    assert commit == Commit(0, 0x101, 0x102, 1_000_000)


@settings(deadline=None, max_examples=30)
@given(st.lists(st.integers(0, 1 << 20), max_size=12))
def test_it_does_not_matter_where_the_stream_was_cut(
    tmp_path_factory: pytest.TempPathFactory, places: list[int]
) -> None:
    data = b"".join(frame(message, at) for at, message in enumerate(RECORDED, 1))
    folder = tmp_path_factory.getbasetemp()

    whole, pieces = (through(from_old(folder)[0], parts) for parts in ([data], cut(data, places)))

    assert pieces == whole
    assert len([one for one in told(whole) if isinstance(one, Insert | Update | Delete)]) == 32


def test_a_keepalive_inside_a_transaction_tells_no_place(tmp_path: Path) -> None:
    convert, gathering = from_old(tmp_path)

    outside = through(convert, [keepalive(0x100)])
    inside = through(convert, [frame(b"BEGIN 5"), keepalive(0x200)])

    assert outside == keepalive(0x100)
    assert inside == keepalive(0)
    assert gathering.midway


def test_notes_that_follow_each_other_are_one_truncation(tmp_path: Path) -> None:
    convert, _ = from_old(tmp_path, "t", "u")
    note = b"table towpath.emptied_7: INSERT: relation[oid]:"
    sent = [b"BEGIN 5", note + b"7", note + b"8", b"table s.t: INSERT: id[integer]:1", note + b"7", b"COMMIT 5"]

    found = [
        one for one in told(through(convert, [frame(one, 9) for one in sent])) if isinstance(one, Insert | Truncate)
    ]

    assert found == [Truncate((7, 8), False, False), Insert(7, [b"1"]), Truncate((7,), False, False)]


def test_the_log_of_another_task_is_no_note(tmp_path: Path) -> None:
    convert, _ = from_old(tmp_path, "t")
    sent = [b"BEGIN 5", b"table towpath.emptied_8: INSERT: relation[oid]:7", b"COMMIT 5"]

    assert not [one for one in told(through(convert, [frame(one, 9) for one in sent])) if isinstance(one, Truncate)]


def test_what_came_before_something_unreadable_is_given_on_first(tmp_path: Path) -> None:
    convert, _ = from_old(tmp_path, "t")
    sent = [b"BEGIN 5", b"table s.t: INSERT: id[integer]:1", b"COMMIT 5", b"nonsense"]
    stream = Translated(cast("Stream", Line([b"".join(frame(one, 9) for one in sent)])), convert)

    assert [type(one) for one in told(stream.take(0))] == [Begin, Relation, Insert, Commit]
    with pytest.raises(EngineError, match="cannot be read"):
        stream.take(0)


def test_the_end_of_a_stream_is_passed_on_as_it_is(tmp_path: Path) -> None:
    failure = b"E" + struct.pack("!I", 4 + 6) + b"CXX000"

    assert through(from_old(tmp_path)[0], [failure]) == failure


@pytest.mark.parametrize("note", [b"x", b"", None])
def test_a_note_that_names_no_table_is_refused(note: bytes | None) -> None:
    with pytest.raises(EngineError, match="unknown replication message"):
        through(WithNotes(named("t"), "utf-8", 99), [framed(Insert(99, [note]), "utf-8")])


def test_notes_of_a_server_of_version_10_become_truncations_where_they_stand() -> None:
    begin, note, other = (
        framed(Begin(1, 2, 3), "utf-8"),
        framed(Insert(99, [b"7"]), "utf-8"),
        framed(Insert(5, []), "utf-8"),
    )
    convert = WithNotes(named("t"), "utf-8", 99)

    *_, truncate, insert = told(through(convert, [begin + note + note + keepalive(1) + other]))

    assert (truncate, insert) == (Truncate((7,), False, False), Insert(5, []))


@pytest.mark.parametrize(
    "message",
    [
        Begin(1, -2, 3),
        Commit(0, 1, 2, 3),
        Insert(4_000_000_000, [b"a", None, b""]),
        Update(1, None, False, [b"a", UNCHANGED]),
        Update(1, [b"a", None], False, [b"b", None]),
        Update(1, [b"a"], True, [b"b"]),
        Delete(1, [None], False),
        Delete(1, [b"a"], True),
        Truncate((1, 2), True, True),
        Relation(1, "s", "größe", "f", ()),
    ],
)
def test_what_is_written_in_the_form_of_pgoutput_is_read_as_the_same(message: Message) -> None:
    assert list(told(framed(message, "latin-1"))) == [message]
