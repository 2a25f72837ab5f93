"""Takes many frames at once where a stream repeats itself: changes of one table and kind whose values measure the same.

Bulk changes look like that. Every byte that is not a value is compared with the first frame's, all frames at a time,
so that nothing is believed that would not be believed of a single one.
"""

from __future__ import annotations

import struct
from functools import lru_cache
from itertools import repeat
from typing import NamedTuple

from .frames import DELETE, INSERT, MESSAGE, UPDATE
from .pgoutput import NULL_VALUE
from .tuples import NULL, Row

LEAST = 16
"""Fewer frames are not worth it."""

_ROW = MESSAGE + 6  # behind the kind, the oid, and the mark of a row
_MARKS = {INSERT: b"N", UPDATE: b"N", DELETE: b"KO"}
_COUNT_SIZE = 2
_VALUE = 5  # bytes before a value: its kind and its length
_COUNT = struct.Struct("!H").unpack_from
_LENGTH = struct.Struct("!I").unpack_from
_layout = lru_cache(256)(struct.Struct)


class Shape(NamedTuple):
    """What a frame looks like. `fixed`: places of bytes that are no values. `nulls`: which elements are not there.

    `form`: how its elements are unpacked, without the byte order.
    """

    size: int
    fixed: list[int]
    form: str
    nulls: list[bool]


def rows_alike(data: bytes, at: int, size: int, most: int, form: int) -> list[Row]:
    """Return the rows of the frames from `at` on that look like the first one, at most `most`; [] for fewer than LEAST.

    Each frame measures `size` bytes, and the first one holds an insert, a delete, or an update that names no old row;
    `form`: kind of a value. All frames that are looked at must lie within `data`.
    """
    shape = shape_of(data, at, size, form)
    count = 0 if shape is None else count_alike(data, at, size, most, shape.fixed)
    return [] if shape is None or not count else rows_of(data, at, size, count, shape)


def count_alike(data: bytes, at: int, size: int, most: int, fixed: list[int]) -> int:
    """Return how many stretches of `size` bytes from `at` on hold what the first one holds in the places `fixed`; 0 for
    fewer than LEAST."""
    count = most
    for place in fixed:
        expected = data[at + place : at + place + 1]
        seen = data[at + place : at + count * size : size]
        if seen != expected * count:
            count -= len(seen.lstrip(expected))
            if count < LEAST:
                return 0
    return count


def rows_of(data: bytes, at: int, size: int, count: int, shape: Shape, before: int = 0) -> list[Row]:
    """Return the rows of frames of this shape, each of which begins `before` bytes behind the begin of its stretch."""
    layout = _layout(f"!{before}x{shape.form}{size - before - shape.size}x")
    unpacked = layout.iter_unpack(memoryview(data)[at : at + count * size])
    if not any(shape.nulls):
        return list(unpacked)
    there = zip(*unpacked, strict=True)
    return list(zip(*(repeat(NULL, count) if null else next(there) for null in shape.nulls), strict=True))


def shape_of(data: bytes, at: int, size: int, form: int) -> Shape | None:
    """Read a frame; None when it holds anything but values and NULLs."""
    begin, end = at + _ROW, at + size
    if end - begin < _COUNT_SIZE or data[begin - 1] not in _MARKS.get(data[at + MESSAGE], b""):
        return None
    fixed, layout, nulls = [*range(6), *range(MESSAGE, _ROW + _COUNT_SIZE)], f"{_ROW}x{_COUNT_SIZE}s", [False]
    place = begin + _COUNT_SIZE
    for _ in range(_COUNT(data, begin)[0]):
        null = place < end and data[place] == NULL_VALUE
        if not null and (place + _VALUE > end or data[place] != form):
            return None
        length = 0 if null else _LENGTH(data, place + 1)[0]
        fixed.extend(range(place - at, place - at + (1 if null else _VALUE)))
        layout += "x" if null else f"x{4 + length}s"
        nulls.append(null)
        place += 1 if null else _VALUE + length
    return Shape(size, fixed, layout, nulls) if place == end else None
