"""Takes many transactions at once where a stream repeats itself: the same changes of the same tables, whose values
measure the same. An application that does one thing very often looks like that.

As with single changes, every byte that is not a value or a position is compared with the first transaction's.
"""

from __future__ import annotations

import struct
from functools import lru_cache
from typing import NamedTuple

from . import frames
from .alike import Shape, count_alike, rows_of, shape_of
from .tuples import Row

_MOST_CHANGES = 12
_BEGIN_SIZE = frames.MESSAGE + 1 + frames.begin.size
_COMMIT_SIZE = frames.MESSAGE + 1 + frames.commit.size
_HEAD = (*range(6), frames.MESSAGE)  # of a frame that holds no change: its mark, its length, and its kinds
_FLAGS = frames.MESSAGE + 1
_SIZE = struct.Struct("!I").unpack_from
_layout = lru_cache(256)(struct.Struct)


class Part(NamedTuple):
    """A change within the transaction, `before` bytes behind its begin."""

    oid: int
    kind: int
    before: int
    shape: Shape


class Pattern(NamedTuple):
    """What a transaction looks like: its bytes, the places of those that are the same in all, and its changes."""

    size: int
    fixed: list[int]
    parts: list[Part]


class Span(NamedTuple):
    """Where a transaction's commit begins, when it was (as the stream has it), and where it ends."""

    final: int
    timestamp: int
    end: int


def pattern_of(data: bytes, at: int, size: int, form: int) -> Pattern | None:
    """Read a whole transaction; None when it holds anything but a few changes of rows, each of another table.

    With two changes of a table their order would count from transaction to transaction.
    """
    place, end = at + _BEGIN_SIZE, at + size - _COMMIT_SIZE
    if not _is(data, at, frames.BEGIN, _BEGIN_SIZE) or place >= end or not _is(data, end, frames.COMMIT, _COMMIT_SIZE):
        return None
    fixed, parts = [*_HEAD, *(size - _COMMIT_SIZE + place for place in (*_HEAD, _FLAGS))], []
    while place < end:
        length = 1 + _SIZE(data, place + 1)[0]
        if place + length > end or data[place : place + 1] != b"d" or data[place + 5] != frames.PLUGIN:
            return None
        shape = shape_of(data, place, length, form)
        if shape is None:
            return None
        before = place - at
        parts.append(Part(_SIZE(data, place + frames.MESSAGE + 1)[0], data[place + frames.MESSAGE], before, shape))
        fixed.extend(before + one for one in shape.fixed)
        place += length
    if len({part.oid for part in parts}) < len(parts) or len(parts) > _MOST_CHANGES:
        return None
    return Pattern(size, fixed, parts)


def _is(data: bytes, at: int, kind: int, size: int) -> bool:
    head = data[at : at + frames.MESSAGE + 1]
    return len(head) > frames.MESSAGE and (head[0], head[5], head[-1], 1 + _SIZE(head, 1)[0]) == (
        frames.DATA,
        frames.PLUGIN,
        kind,
        size,
    )


def transactions_alike(data: bytes, at: int, most: int, pattern: Pattern, after: int) -> list[Span]:
    """Return where the transactions from `at` on begin and end that look like the pattern, at most `most`.

    [] for fewer than are worth it, and when one would begin before the one before has ended, or the first before
    `after`. All bytes that are looked at must lie within `data`.
    """
    size = pattern.size
    count = count_alike(data, at - size, size, most + 1, pattern.fixed) - 1
    if count < 1:
        return []
    # Position and time of the begin, and the second position of the commit, which its time follows.
    between = size - (_BEGIN_SIZE - 4) - (8 + 8)
    layout = _layout(f"!{frames.MESSAGE + 1}xQq{between}xQ8x")
    found = [Span(*one) for one in layout.iter_unpack(memoryview(data)[at : at + count * size])]
    for span in found:
        if span.final < after:
            return []
        after = span.end
    return found


def part_rows(data: bytes, at: int, count: int, pattern: Pattern, part: Part) -> list[Row]:
    """Return the rows of one of the changes, transaction by transaction."""
    return rows_of(data, at, pattern.size, count, part.shape, part.before)
