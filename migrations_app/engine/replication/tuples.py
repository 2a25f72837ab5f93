"""Cuts the rows of the stream into elements: four bytes of length and the value, as the source sent it.

That is how arrays and binary COPY frame their values too, so an element goes to the target as it is. A row is its count
of columns (two bytes, as in COPY) followed by its elements.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence

from .pgoutput import BINARY_VALUE, NULL_VALUE, TEXT_VALUE, UNCHANGED_VALUE, Relation, malformed

Row = Sequence[bytes | None]
"""Count and elements; None stands for a TOASTed value that an update did not touch."""

Cut = Callable[[bytes, int], tuple[Row, int]]
"""Takes a buffer and where a row begins; returns the row and where it ends. Raises MalformedMessage."""

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
    """`widths`: bytes of each value, None where they vary; what goes before the first such is cut in one go."""
    count = len(widths)
    lead = next((at for at, width in enumerate(widths) if width is None), count)
    formats = (
        f"1s{4 + (width or 0)}s" if kind == form else "1s0s" for width, kind in zip(widths[:lead], kinds, strict=False)
    )
    head = struct.Struct("!2s" + "".join(formats))
    unpack, size, rest = head.unpack_from, head.size, count - lead
    header, expected = _COUNT.pack(count), tuple(bytes([kind]) for kind in kinds[:lead])
    careful = _careful(count, form)

    def cut(data: bytes, at: int) -> tuple[Row, int]:
        try:
            found = unpack(data, at)
        except struct.error:
            return careful(data, at)
        if found[1::2] != expected or found[0] != header:
            return careful(data, at)
        if not rest:
            return found[0::2], at + size
        row = list(found[0::2])
        return row, _rest(data, at + size, rest, form, row)

    return cut if lead else careful


def _careful(count: int, form: int) -> Cut:
    header = _COUNT.pack(count)

    def cut(data: bytes, at: int) -> tuple[Row, int]:
        row: list[bytes | None] = [header]
        if data[at : at + 2] != header:
            raise malformed("with another number of columns than announced", data, at)
        return row, _rest(data, at + 2, count, form, row)

    return cut


def _rest(data: bytes, at: int, count: int, form: int, row: list[bytes | None]) -> int:
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
                raise malformed("that cannot be read", data, at)
    except (IndexError, struct.error) as error:
        raise malformed("that cannot be read", data, at) from error
    return at
