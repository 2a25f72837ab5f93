"""Cuts the rows of the stream into elements: four bytes of length and the value, as the source sent it.

That is how arrays and binary COPY frame their values too, so an element goes to the target as it is. A row is its count
of columns (two bytes, as in COPY) followed by its elements.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from typing import Any

from .pgoutput import (
    BINARY_VALUE,
    NULL_VALUE,
    OTHER_COLUMNS,
    TEXT_VALUE,
    UNCHANGED_VALUE,
    UNREADABLE,
    Relation,
    malformed,
)

Row = Sequence[bytes | None]
"""Count and elements; None stands for a TOASTed value that an update did not touch."""

Cut = Callable[[bytes, int], tuple[Row, int]]
"""Takes a buffer and where a row begins; returns the row and where it ends. Raises MalformedMessage."""

Step = tuple[Any, int, Any, str]
"""A run's unpacker, its size, the kinds of its values and its format; or None, 0 and the kind of one value."""

NULL = b"\xff\xff\xff\xff"

_COUNT = struct.Struct("!H")
_LENGTH = struct.Struct("!I").unpack_from

# What the binary form of a built-in type measures, always. By type oid, which is the same on every server.
_WIDTHS = {
    16: 1, 18: 1, 20: 8, 21: 2, 23: 4, 26: 4, 700: 4, 701: 8, 790: 8, 1082: 4, 1083: 8, 1114: 8, 1184: 8, 1186: 16,
    1266: 12, 2950: 16, 3220: 8,
}  # fmt: skip


def cutters(relation: Relation, *, binary: bool) -> tuple[Cut, Cut]:
    """Return how a whole row of the table is cut, and how one that holds nothing but its key."""
    form = BINARY_VALUE if binary else TEXT_VALUE
    widths = [_WIDTHS.get(column.type_oid) if binary else None for column in relation.columns]
    keys = [width if column.is_key else 0 for width, column in zip(widths, relation.columns, strict=True)]
    whole = [form] * len(widths)
    key = [form if column.is_key else NULL_VALUE for column in relation.columns]
    return _cutter(widths, whole, form), _cutter(keys, key, form)


def _cutter(widths: list[int | None], kinds: list[int], form: int) -> Cut:
    """`widths`: bytes of each value, None where they vary. Runs of values whose places are known are cut in one go."""
    header = _COUNT.pack(len(widths))
    steps = _steps(widths, kinds, form)
    careful = _step_by_step(steps, header, form)
    if steps and steps[0][0] is not None:
        if len(steps) == 1:
            return _in_one_go(careful, steps[0], header)
        if len(steps) == 2 or (len(steps) == 3 and steps[2][0] is not None):
            return _around_one(careful, steps, header, form)
    return careful


def _step_by_step(steps: list[Step], header: bytes, form: int) -> Cut:
    length = _LENGTH

    def cut(data: bytes, at: int) -> tuple[Row, int]:
        row: list[bytes | None] = [data[at : at + 2]]
        if row[0] != header:
            raise malformed(OTHER_COLUMNS, data, at)
        end = at + 2
        for run, size, kinds, _ in steps:
            if run is None:
                start = end + 1
                if data[end:start] != kinds or start + 4 > len(data):
                    end = _values(data, end, 1, form, row)
                    continue
                end = start + 4 + length(data, start)[0]
                row.append(data[start:end])
                continue
            try:
                found = run(data, end)
            except struct.error:  # NULLs are shorter: a row may end before its layout does
                found = ()
            if found[0::2] == kinds:
                row += found[1::2]
                end += size
            else:
                end = _values(data, end, len(kinds), form, row)
        return row, end

    return cut


def _in_one_go(careful: Cut, step: Step, header: bytes) -> Cut:
    """Cut rows that have but one layout."""
    layout = struct.Struct(f"!2s{step[3]}")
    unpack, size, expected = layout.unpack_from, layout.size, step[2]

    def cut(data: bytes, at: int) -> tuple[Row, int]:
        try:
            found = unpack(data, at)
        except struct.error:
            return careful(data, at)
        if found[1::2] != expected or found[0] != header:
            return careful(data, at)
        return found[0::2], at + size

    return cut


def _around_one(careful: Cut, steps: list[Step], header: bytes, form: int) -> Cut:
    """Cut rows with a single value of any length, not the first one: a common shape, in as few steps as it takes."""
    layout = struct.Struct(f"!2s{steps[0][3]}1sI")
    unpack, size, expected = layout.unpack_from, layout.size, (*steps[0][2], bytes([form]))
    behind, behind_size, behind_kinds, _ = steps[2] if len(steps) == 3 else (struct.Struct("").unpack_from, 0, (), "")
    prefix = size - 4

    without = _without(careful, steps, header)

    def cut(data: bytes, at: int) -> tuple[Row, int]:
        try:
            found = unpack(data, at)
            if found[1::2] == expected and found[0] == header:
                end = at + size + found[-1]
                last = behind(data, end)
                if last[0::2] == behind_kinds:
                    return (*found[0:-1:2], data[at + prefix : end], *last[1::2]), end + behind_size
        except struct.error:
            pass
        return without(data, at)

    return cut


def _without(careful: Cut, steps: list[Step], header: bytes) -> Cut:
    """Cut rows of that shape whose single value of any length is NULL."""
    before, behind = steps[0], steps[2] if len(steps) == 3 else (None, 0, (), "")
    layout = struct.Struct(f"!2s{before[3]}1s0s{behind[3]}")
    unpack, size, at_null = layout.unpack_from, layout.size, len(before[2]) + 1
    expected = (*before[2], bytes([NULL_VALUE]), *behind[2])

    def cut(data: bytes, at: int) -> tuple[Row, int]:
        try:
            found = unpack(data, at)
        except struct.error:
            return careful(data, at)
        if found[1::2] != expected or found[0] != header:
            return careful(data, at)
        row = found[0::2]
        return (*row[:at_null], NULL, *row[at_null + 1 :]), at + size

    return cut


def _steps(widths: list[int | None], kinds: list[int], form: int) -> list[Step]:
    """Return how a row is taken apart: runs with a layout, and single values of any length."""
    steps: list[Step] = []
    run, found = "", []
    for width, kind in [*zip(widths, kinds, strict=True), (None, form)]:
        if width is not None:
            run += f"1s{4 + width}s" if kind == form else "1s0s"
            found.append(bytes([kind]))
            continue
        if found:
            layout = struct.Struct("!" + run)
            steps.append((layout.unpack_from, layout.size, tuple(found), run))
        steps.append((None, 0, bytes([form]), ""))
        run, found = "", []
    return steps[:-1]


def _values(data: bytes, at: int, count: int, form: int, row: list[bytes | None]) -> int:
    append = row.append
    try:
        for _ in range(count):
            kind = data[at]
            if kind == form:
                end = at + 5 + _LENGTH(data, at + 1)[0]
                append(data[at + 1 : end])
                at = end
            elif kind == NULL_VALUE:
                append(NULL)
                at += 1
            elif kind == UNCHANGED_VALUE:
                append(None)
                at += 1
            else:
                raise malformed(UNREADABLE, data, at)
    except (IndexError, struct.error) as error:
        raise malformed(UNREADABLE, data, at) from error
    return at
