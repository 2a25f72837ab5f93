"""The files of a spool, cut at any byte: from any bookmark on each transaction comes once, in order, described."""

from __future__ import annotations

import struct
import tempfile
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from migrations_app.engine.replication import frames, spool, spool_form
from migrations_app.engine.replication.pgoutput import Begin, Commit, Insert, Relation, RelationColumn, decode
from migrations_app.engine.replication.pgoutput_form import framed
from migrations_app.engine.replication.receiving import Receiver, SpooledStream
from migrations_app.engine.replication.spool import Limits, Spool

TABLES = 3
_KEEPALIVE = struct.Struct("!cIcQqB")


class Source:
    """A stream as the source sends it from a position on: each table is described before its first change."""

    slot = "towpath_1"
    midway = False

    def __init__(self, transactions: list[list[int]], position: int, cuts: list[int]) -> None:
        self.confirmed = position
        described: set[int] = set()
        data = b""
        for number, tables in enumerate(transactions):
            final, end = 100 * number + 100, 100 * number + 150
            if final < position:
                continue
            data += framed(Begin(final, 0, number), "utf-8")
            for oid in tables:
                if oid not in described:
                    described.add(oid)
                    data += framed(Relation(oid, "s", f"t{oid}", "d", ()), "utf-8")
                data += framed(Insert(oid, [str(number).encode()]), "utf-8")
            data += framed(Commit(0, final, end, 0), "utf-8")
            data += _KEEPALIVE.pack(b"d", 22, b"k", end + 10, 0, 0)
        at, self._pieces = 0, list[bytes]()
        for cut in cuts:
            self._pieces.append(data[at : at + cut])
            at += cut
        self._pieces.append(data[at:])

    def take(self, timeout: float) -> bytes:
        return self._pieces.pop(0) if self._pieces else b""

    def acknowledge(self, position: int) -> None:
        self.confirmed = position

    def heard(self, wal_end: int, *, urgent: bool) -> None:
        pass

    def ping(self) -> None:
        pass

    def close(self) -> None:
        pass

    @property
    def empty(self) -> bool:
        return not any(self._pieces)


def opened(folder: Path) -> Spool:
    made = Spool(folder, slot="towpath_1", system_id="7", limits=Limits(10**9, 0))
    made.recover()
    return made


def receive(source: Source, into: Spool, begins: int, epoch: int) -> None:
    """Receive all that the source has."""
    receiver = Receiver(cast(Any, source), into, begins, epoch, wanted=lambda: not source.empty, tell=lambda: None)
    receiver.start()
    receiver._thread.join(20)
    receiver.check()


def transactions_in(data: bytes, position: int) -> list[int]:
    """Return the numbers of the transactions, each of which must be whole and have its tables described."""
    found, described, rows, number = [], set[int](), 0, -1
    for message in spool_form.messages(data):
        if message.kind == frames.RELATION:
            described.add(spool_form.table_of(data, message))
        elif message.kind == frames.BEGIN:
            number, rows = spool_form.begins_at(data, message) // 100 - 1, 0
        elif message.kind == frames.INSERT:
            assert spool_form.table_of(data, message) in described
            rows += 1
        elif message.kind == frames.COMMIT:
            assert spool_form.ends_at(data, message) > position
            found.append(number)
    return found


def read(folder: Path, bookmark: int, live: Source) -> list[int]:
    """Read the spool from a bookmark on, and what comes behind it."""
    stream = SpooledStream(cast(Any, live), opened(folder), None)
    stream.begin(bookmark, lambda: None)
    data = b""
    while not (stream.live and live.empty):
        data += stream.take(0)
    return transactions_in(data, bookmark)


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.lists(st.integers(1, TABLES), min_size=1, max_size=4), min_size=1, max_size=12),
    st.lists(st.integers(1, 400), max_size=12),
    st.data(),
)
def test_no_cut_loses_or_doubles_a_transaction(
    transactions: list[list[int]], cuts: list[int], data: st.DataObject
) -> None:
    large, spool.FILE_BYTES = spool.FILE_BYTES, data.draw(st.sampled_from([300, 1000, 1 << 20]))
    try:
        with tempfile.TemporaryDirectory() as home:
            folder = Path(home) / "spool" / "towpath_1"
            for epoch in range(1, 4):
                into = opened(folder)
                begins = into.ends or 50
                source = Source(transactions[: 4 * epoch], begins, cuts)
                receive(source, into, begins, epoch)
                assert (opened(folder).ends or 0) >= source.confirmed
                last = into._files[-1].path
                whole = last.read_bytes()
                cut = data.draw(st.integers(0, len(whole)))  # as if no more of it had been confirmed
                last.write_bytes(whole[:cut] + data.draw(st.binary(max_size=60)))
            ends = opened(folder).ends or 0  # nothing: the session would be an ordinary one
            bookmark = 100 * data.draw(st.integers(0, len(transactions))) + 50
            if bookmark <= ends:
                live = Source(transactions, ends, cuts)
                wanted = [number for number in range(len(transactions)) if 100 * number + 150 > bookmark]
                assert read(folder, bookmark, live) == wanted
    finally:
        spool.FILE_BYTES = large


def test_files_that_are_applied_go_and_the_rest_is_read_by_the_next(tmp_path: Path) -> None:
    folder = tmp_path / "spool" / "towpath_1"
    into = opened(folder)
    for epoch, upto in enumerate((3, 6), start=1):
        receive(Source([[1]] * upto, into.ends or 50, []), into, into.ends or 50, epoch)
    assert len(list(folder.iterdir())) == 2
    into.applied(into._files[0].ends)
    assert len(list(folder.iterdir())) == 1
    assert read(folder, into._files[0].begins, Source([[1]] * 6, into.ends or 0, [])) == [3, 4, 5]
    into.applied(into.ends or 0)
    assert (list(folder.iterdir()), into.size) == ([], 0)


def test_files_stay_in_order_when_the_first_ones_have_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spool, "FILE_BYTES", 1)
    folder = tmp_path / "spool" / "towpath_1"
    into, source = opened(folder), Source([[1]] * 9, 50, [150] * 12)
    receiver = Receiver(cast(Any, source), into, 50, 1, wanted=lambda: True, tell=lambda: None)
    for number in range(9):
        into.applied(100 * number - 50)
        while into.reached < 100 * number + 150:
            receiver._take(source.take(0))
    into.sync()
    assert read(folder, 750, Source([], 0, [])) == [7, 8]


def test_a_second_session_of_the_same_epoch_goes_on_behind_the_files_of_the_first(tmp_path: Path) -> None:
    folder = tmp_path / "spool" / "towpath_1"
    for upto in (2, 4):
        into = opened(folder)
        receive(Source([[1]] * upto, into.ends or 50, []), into, into.ends or 50, 1)
    into.applied(into._files[0].ends)
    last = opened(folder)
    receive(Source([[1]] * 6, last.ends or 0, []), last, last.ends or 0, 1)
    assert read(folder, 250, Source([], 0, [])) == [2, 3, 4, 5]


def test_the_size_is_what_nobody_has_taken_yet(tmp_path: Path) -> None:
    into = opened(tmp_path / "spool" / "towpath_1")
    receive(Source([[1]] * 9, 50, [200, 200, 200]), into, 50, 1)
    stream, sizes = SpooledStream(cast(Any, Source([], 50, [])), into, None), [into.size]
    stream.begin(50, lambda: None)
    while not stream.live:
        stream.take(0)
        sizes.append(into.size)
    assert sizes == sorted(sizes, reverse=True)
    assert (sizes[0] > 900, sizes[-1]) == (True, 0)


def test_a_worker_that_was_only_frozen_cannot_harm_what_its_successor_reads(tmp_path: Path) -> None:
    folder = tmp_path / "spool" / "towpath_1"
    frozen = opened(folder)
    receive(Source([[1]] * 2, 50, []), frozen, 50, 1)
    successor = opened(folder)
    begins = successor.ends or 0
    frozen.begin(begins, 1)
    frozen.write(framed(Begin(300, 0, 9), "utf-8") + framed(Commit(0, 300, 350, 0), "utf-8"), 350)
    frozen.sync()
    receive(Source([[1]] * 4, begins, []), successor, begins, 2)
    assert read(folder, 50, Source([[1]] * 4, 10**9, [])) == [0, 1, 2, 3]


def test_reading_what_is_there_ends_when_its_owner_has_to_stop(tmp_path: Path) -> None:
    folder = tmp_path / "spool" / "towpath_1"
    receive(Source([[1]] * 4, 50, []), opened(folder), 50, 1)
    seen: list[int] = []

    def check() -> None:
        seen.append(1)
        raise InterruptedError

    with pytest.raises(InterruptedError):
        Spool(folder, slot="towpath_1", system_id="7", limits=Limits(10**9, 0)).recover(check)
    assert len(seen) == 1


def test_files_of_another_slot_or_another_server_do_not_count(tmp_path: Path) -> None:
    folder = tmp_path / "spool" / "towpath_1"
    receive(Source([[1]], 50, []), opened(folder), 50, 1)
    for slot, system in (("towpath_2", "7"), ("towpath_1", "8")):
        other = Spool(folder, slot=slot, system_id=system, limits=Limits(10**9, 0))
        other.recover()
        assert other.ends is None


def _given(receiver_takes: list[bytes], later: list[bytes], folder: Path, begins: int, position: int) -> bytes:
    """Receive the first buffers, and give all that follows `position`: from the spool, then as it comes."""
    source = Source([], begins, [])
    source._pieces = [*receiver_takes, *later]
    into, left = opened(folder), len(later)
    receiver = Receiver(
        cast(Any, source), into, begins, 1, wanted=lambda: len(source._pieces) > left, tell=lambda: None
    )
    stream = SpooledStream(cast(Any, source), into, receiver)
    stream.begin(position, lambda: None)
    receiver.start()
    receiver._thread.join(20)
    receiver.check()
    data = b""
    while not (stream.live and source.empty):
        data += stream.take(0)
    return data


def _described(oid: int, *columns: str) -> bytes:
    told = tuple(RelationColumn(name, name == "id", 23, -1) for name in columns)
    return framed(Relation(oid, "s", "t", "d", told), "utf-8")


def _insert(oid: int, *values: bytes) -> bytes:
    return framed(Insert(oid, list(values)), "utf-8")


def test_a_table_that_changes_among_rows_is_not_described_too_early_where_a_file_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spool, "FILE_BYTES", 1)
    first = framed(Begin(100, 0, 1), "utf-8") + _described(1, "id") + _insert(1, b"1")
    first += framed(Commit(0, 100, 150, 0), "utf-8")
    second = framed(Begin(200, 0, 2), "utf-8") + _insert(1, b"2") + _described(1, "id", "v") + _insert(1, b"3", b"v")
    last = framed(Commit(0, 200, 250, 0), "utf-8")
    data = _given([first + second, last], [], tmp_path / "spool" / "towpath_1", 50, 50)
    assert len([*(tmp_path / "spool").rglob("*.spool")]) > 1
    columns, found = 0, []
    for message in spool_form.messages(data):
        body = decode(data[message.at + frames.MESSAGE : message.end]) if message.kind != frames.KEEPALIVE else None
        if isinstance(body, Relation):
            columns = len(body.columns)
        elif isinstance(body, Insert):
            assert len(body.new) == columns
            found.append(body.new[0])
    assert found == [b"1", b"2", b"3"]


def test_what_is_left_out_to_the_end_of_the_spool_still_describes_what_comes_live(tmp_path: Path) -> None:
    known = framed(Begin(100, 0, 1), "utf-8") + _described(1, "id") + _insert(1, b"1")
    known += framed(Commit(0, 100, 150, 0), "utf-8")
    new = framed(Begin(200, 0, 2), "utf-8") + _insert(1, b"2") + framed(Commit(0, 200, 250, 0), "utf-8")
    data = _given([known], [new], tmp_path / "spool" / "towpath_1", 50, 150)
    assert transactions_in(data, 150) == [1]
