"""Builds the statements that apply the folded changes of one table: at most one for each kind of change.

Rows travel as one array per column, unnested on the target, or as binary COPY. Pure text and bytes: the caller prepares
and sends.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from itertools import chain

from ..names import qualified, quote
from .statements import RowStatements, TargetTable
from .tuples import Row

_ARRAY = struct.Struct("!iiIii").pack
_COPY_HEAD = b"PGCOPY\n\xff\r\n\x00" + bytes(8)
_COPY_END = b"\xff\xff"
_TEXT_OID = 25

Mask = tuple[int, ...]
"""Positions of the columns that an update leaves as they are."""


class BatchStatements:
    """Statements for one version of one table.

    `keyed`: its rows can be folded by key. `inserts`, `updates`: such changes can be applied in batches at all. Where a
    type is not known to survive the way, they are False, and the table's changes are applied one by one.
    """

    def __init__(self, rows: RowStatements, table: TargetTable, *, binary: bool) -> None:
        self._binary = binary
        self._columns = rows.columns
        self._names = [quote(column.name) for column in rows.columns]
        self._table = qualified(table.schema, table.name)
        self._identity = rows.identity
        good = [bool(column.element_oid) if binary else column.spelled for column in rows.columns]
        unique = {column.name for column in table.columns if column.in_key}
        found_by = {rows.columns[at].name for at in rows.identity}
        plain = bool(rows.columns) and not table.partitioned and not table.shared
        self.copies = plain and binary
        self.unnests = plain and all(good)
        self.inserts = self.copies or self.unnests
        self.keyed = self.inserts and bool(unique) and unique <= found_by and all(good[at] for at in rows.identity)
        self.updates = self.unnests

    def parameters(self, rows: Sequence[Row], positions: Iterable[int]) -> list[bytes]:
        """Return one array of each of these columns. `rows` are whole rows. Raises TypeError for an unknown value."""
        columns = list(zip(*rows, strict=True))
        return [self._array(at, columns[at + 1]) for at in positions]

    def key_parameters(self, keys: Iterable[object]) -> list[bytes]:
        """Return one array of each column of the key."""
        if len(self._identity) == 1:
            return [self._array(self._identity[0], list(keys))]  # type: ignore[arg-type]
        return [self._array(at, column) for at, column in zip(self._identity, zip(*keys, strict=True), strict=True)]

    def _array(self, at: int, elements: Sequence[bytes]) -> bytes:
        oid = self._columns[at].element_oid if self._binary else _TEXT_OID
        return _ARRAY(1, 1, oid, len(elements), 1) + b"".join(elements)

    def insert_sql(self) -> str:
        """Insert whole rows; parameters are all columns."""
        positions = range(len(self._names))
        values = ", ".join(self._value(at, number) for number, at in enumerate(positions, 1))
        return (
            f"INSERT INTO {self._table} ({', '.join(self._names)}) OVERRIDING SYSTEM VALUE"  # noqa: S608 - quoted
            f" SELECT {values} FROM {self._unnest(positions)}"
        )

    def copy_sql(self) -> str:
        """Take whole rows by binary COPY."""
        return f"COPY {self._table} ({', '.join(self._names)}) FROM STDIN (FORMAT binary)"

    @staticmethod
    def copy_data(rows: Iterable[Row]) -> list[bytes]:
        """Return the data of a binary COPY in pieces. Raises TypeError for an unknown value."""
        return [_COPY_HEAD, b"".join(chain.from_iterable(rows)), _COPY_END]  # type: ignore[arg-type]

    def update_positions(self, mask: Mask) -> list[int]:
        """Return the columns whose arrays an update with this mask needs: the key's, then those that are set."""
        left_out = {*mask, *self._identity}
        return [*self._identity, *(at for at in range(len(self._names)) if at not in left_out)]

    def update_sql(self, mask: Mask) -> str:
        """Set every column but those of the key and of the mask."""
        positions = self.update_positions(mask)
        pairs = [
            f"{self._names[at]} = {self._value(at, number)}"
            for number, at in enumerate(positions, 1)
            if at not in self._identity
        ] or [f"{self._names[positions[0]]} = t.{self._names[positions[0]]}"]
        return (
            f"UPDATE ONLY {self._table} AS t SET {', '.join(pairs)}"  # noqa: S608 - quoted
            f" FROM {self._unnest(positions)} WHERE {self._found()}"
        )

    def delete_sql(self) -> str:
        """Delete rows by key; parameters are the columns of the key."""
        alone = len(self._identity) == 1 and not self._columns[self._identity[0]].apart
        if self._binary and alone:  # an index is walked once for them all, half of the work since 17
            found = f"{self._equal(self._identity[0])} ANY ($1::{self._type(self._identity[0])}[])"
            return f"DELETE FROM ONLY {self._table} AS t WHERE {found}"  # noqa: S608 - quoted
        return f"DELETE FROM ONLY {self._table} AS t USING {self._unnest(self._identity)} WHERE {self._found()}"  # noqa: S608 - quoted

    def ghosts_sql(self) -> str:
        """Return a row for each key that is there."""
        return f"SELECT FROM ONLY {self._table} AS t, {self._unnest(self._identity)} WHERE {self._found()}"

    def _unnest(self, positions: Sequence[int]) -> str:
        arrays = ", ".join(f"${number}::{self._type(at)}[]" for number, at in enumerate(positions, 1))
        names = ", ".join(f"c{number}" for number in range(1, len(positions) + 1))
        return f"unnest({arrays}) AS s ({names})"

    def _type(self, at: int) -> str:
        return self._columns[at].element_type if self._binary else "pg_catalog.text"

    def _value(self, at: int, number: int) -> str:
        return f"s.c{number}" if self._binary else f"CAST(s.c{number} AS {self._columns[at].type_name})"

    def _found(self) -> str:
        found = [f"{self._equal(at)} {self._value(at, number)}" for number, at in enumerate(self._identity, 1)]
        for number, at in enumerate(self._identity, 1):
            if self._columns[at].apart:
                found.append(f't.{self._names[at]}::text COLLATE pg_catalog."C" = {self._value(at, number)}::text')
        return " AND ".join(found)

    def _equal(self, at: int) -> str:
        return f"t.{self._names[at]} OPERATOR({quote(self._columns[at].operator_schema)}.=)"


def masks(rows: Sequence[Row]) -> dict[Mask, Sequence[Row]]:
    """Sort rows by what they leave unchanged."""
    if None not in chain.from_iterable(rows):
        return {(): rows}
    found: dict[Mask, list[Row]] = {}
    for row in rows:
        found.setdefault(tuple(at - 1 for at, value in enumerate(row) if value is None), []).append(row)
    return dict(found)
