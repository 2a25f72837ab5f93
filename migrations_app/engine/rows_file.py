"""Where the rows of a table were when its columns were last known: remembered among the numbers of the columns.

A server that writes all rows of a table anew, as for a new column with a default before 11, gives the table a new file.
Where the file is the one of then, nothing but single statements have changed rows. Pure.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import replace

from .values import frozen

_KEY = ""  # no column has such a name
_WIDTHS = 1 << 12  # a table has at most 1600 columns, those that are gone among them
_HASHES = 1 << 32


@frozen
class RowsFile:
    """`file`: number of the table's file (relfilenode), of a gathered table what those of its partitions come to.

    `width`: the highest number (attnum) that a column of it had ever had; later ones have higher ones. `computed`: a
    hash of what its generated columns are computed from, 0 without any.
    """

    file: int
    width: int
    computed: int = 0

    @property
    def entry(self) -> tuple[str, int]:
        """What stands for it among (name, number) of columns."""
        return _KEY, (self.file * _WIDTHS + self.width) * _HASHES + self.computed % _HASHES


def rows_file(numbers: Iterable[tuple[str, int]]) -> RowsFile | None:
    """Return what is remembered among the numbers of a table's columns, None when nothing is."""
    for name, number in numbers:
        if name == _KEY:
            rows, computed = divmod(number, _HASHES)
            return RowsFile(file=rows // _WIDTHS, width=rows % _WIDTHS, computed=computed)
    return None


def without_file(numbers: Iterable[tuple[str, int]]) -> dict[str, int]:
    """Return the numbers of the columns alone."""
    return {name: number for name, number in numbers if name != _KEY}


def numbers_of_copy(before: Iterable[tuple[str, int]], now: Iterable[tuple[str, int]]) -> tuple[tuple[str, int], ...]:
    """Return what is remembered of a table that is copied: `now`, but of what is computed what was known `before`.

    A copy brings nothing of generated columns. Whether the target computes them as the source does, the next look asks.
    """
    former, found = rows_file(before), rows_file(numbers := tuple(now))
    if former is None or found is None:
        return numbers
    return (*without_file(numbers).items(), replace(found, computed=former.computed).entry)


def file_of_parts(files: Iterable[tuple[int, int]]) -> int:
    """Return one number for the files of a table's partitions, given as (oid, file) in any order."""
    text = " ".join(f"{oid}/{file}" for oid, file in sorted(files))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=6).digest())


def with_columns(before: Iterable[tuple[str, int]], came: Iterable[tuple[str, int]]) -> tuple[tuple[str, int], ...]:
    """Return what is remembered of a table once columns of these numbers came to it through the stream.

    Where they are next to those that it had before, nothing else came in between: the width follows.
    """
    found = (*before, *came)
    file, numbers = rows_file(found), without_file(found)
    if file is None:
        return found
    width, known = file.width, set(numbers.values())
    while width + 1 in known:
        width += 1
    return (*numbers.items(), replace(file, width=width).entry)


def passed_over(before: Iterable[tuple[str, int]], told: Iterable[str], now: Mapping[str, int]) -> dict[str, int]:
    """Return those names that the stream tells which a column had perhaps that is gone, each with the number of it.

    `before`: what is remembered of the table; `now`: numbers of all its columns in the catalog, which may be ahead. A
    new name is meant where a number that is not in the catalog any more comes between the width and its own one.
    """
    pairs = tuple(before)
    file, known = rows_file(pairs), without_file(pairs)
    if file is None:
        return {}
    live = {*now.values(), *known.values()}
    found = {}
    for name in told:
        gone = [number for number in range(file.width + 1, now.get(name, 0)) if number not in live]
        if gone and name not in known:
            found[name] = gone[-1]
    return found
