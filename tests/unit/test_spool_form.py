"""The form of a spool's files: whatever is cut, changed or left out, no wrong frame is ever taken for a right one."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from migrations_app.engine.replication import spool_form
from migrations_app.engine.replication.spool_form import Origin

ORIGIN = Origin(slot="towpath_1", system_id="7", begins=100)
written = st.lists(st.tuples(st.binary(max_size=60), st.integers(0, 2**64 - 1)), max_size=8)


def build(frames: list[tuple[bytes, int]]) -> tuple[bytes, list[int]]:
    """Return a file, and where each of its frames ends."""
    data, chain = spool_form.pack_origin(ORIGIN)
    ends = []
    for payload, lsn in frames:
        head, chain = spool_form.pack(payload, lsn, chain)
        data += head + payload
        ends.append(len(data))
    return data, ends


def reader(data: bytes) -> Callable[[int, int], bytes]:
    return lambda at, length: data[at : at + length]


def read(data: bytes) -> list[tuple[bytes, int]]:
    """Return what is taken for right: everything up to the first frame that is not."""
    begun = spool_form.unpack_origin(reader(data), len(data))
    if begun is None or begun[0] != ORIGIN:
        return []
    frame: spool_form.Frame | None = begun[1]
    found = []
    while frame is not None:
        frame = spool_form.unpack(reader(data), frame.end, len(data), frame.chain)
        if frame is not None:
            found.append((frame.payload, frame.lsn))
    return found


def is_beginning(found: list[tuple[bytes, int]], frames: list[tuple[bytes, int]]) -> bool:
    return found == frames[: len(found)]


@given(written)
def test_what_was_written_is_read(frames: list[tuple[bytes, int]]) -> None:
    assert read(build(frames)[0]) == frames


@given(written, st.data())
def test_a_cut_leaves_exactly_the_whole_frames_before_it(frames: list[tuple[bytes, int]], data: st.DataObject) -> None:
    whole, ends = build(frames)
    cut = data.draw(st.integers(0, len(whole)))
    assert read(whole[:cut]) == frames[: sum(end <= cut for end in ends)]


@given(written, st.data())
def test_of_what_follows_a_changed_byte_nothing_is_taken(frames: list[tuple[bytes, int]], data: st.DataObject) -> None:
    whole, ends = build(frames)
    at = data.draw(st.integers(0, len(whole) - 1))
    changed = bytearray(whole)
    changed[at] ^= data.draw(st.integers(1, 255))
    found = read(bytes(changed))
    assert is_beginning(found, frames)
    assert len(found) <= sum(end <= at for end in ends)


@given(written, st.binary(max_size=80))
def test_what_stands_behind_the_end_is_not_taken(frames: list[tuple[bytes, int]], tail: bytes) -> None:
    whole, _ = build(frames)
    assert read(whole + tail) == frames
    assert read(whole + bytes(200)) == frames  # a file that grew before its data came


@given(written, st.data())
def test_a_frame_that_is_left_out_or_comes_twice_ends_the_reading(
    frames: list[tuple[bytes, int]], data: st.DataObject
) -> None:
    whole, ends = build(frames)
    if not frames:
        return
    number = data.draw(st.integers(0, len(frames) - 1))
    begin = ends[number - 1] if number else len(build([])[0])
    without, twice = whole[:begin] + whole[ends[number] :], whole[: ends[number]] + whole[begin:]
    assert read(without) == frames[:number]
    assert read(twice) == frames[: number + 1]


@given(st.binary(max_size=300))
def test_no_bytes_at_all_are_taken_for_a_spool(data: bytes) -> None:
    assert read(data) == []
    assert read(spool_form.MAGIC + data) == []
