"""Folds the changes of a batch into one change per row, table by table. Bytes in, rows out: no sockets here.

What is folded away must not hide that the target differs: a row that came and went within the batch is kept as a key
that must not be there. Whatever does not fit the picture of a table with a key raises Unfit, and the table's changes of
this batch are applied one by one instead.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from operator import itemgetter
from typing import Protocol

from .frames import DELETE, INSERT, UPDATE
from .pgoutput import UNREADABLE, malformed
from .tuples import NULL, Cut, Row

_NEW, _KEY, _OLD = b"NKO"

Key = Hashable
"""The element of the key's column; a tuple of them when it has several."""


class Unfit(Exception):
    """The change cannot be folded together with the others of its table."""


class Folding(Protocol):
    """Takes the changes of one table. `at` is behind the table's oid in the message, which ends at `end`."""

    def insert(self, data: bytes, at: int, end: int) -> None:
        """Take an insert. Raises Unfit, MalformedMessage."""

    def update(self, data: bytes, at: int, end: int) -> None:
        """Take an update. Raises Unfit, MalformedMessage."""

    def delete(self, data: bytes, at: int, end: int) -> None:
        """Take a delete. Raises Unfit, MalformedMessage."""

    def takes_rows(self, kind: int) -> bool:
        """Say whether `take_rows` may be called with changes of this kind."""

    def take_rows(self, rows: list[Row], kind: int) -> None:
        """Take many inserts, deletes, or updates that name no old row and leave nothing out. Raises Unfit."""


class Nothing:
    """For a table whose changes are skipped, or taken from the stream's bytes later."""

    def insert(self, data: bytes, at: int, end: int) -> None:
        """Take no note."""

    update = delete = insert

    def takes_rows(self, kind: int) -> bool:
        """Refuse: who looks at nothing is quick enough."""
        return False

    def take_rows(self, rows: list[Row], kind: int) -> None:
        """Never called."""


class Appended:
    """A table of which nothing is known but that it takes rows."""

    def __init__(self, cut: Cut) -> None:
        self._cut = cut
        self.rows: list[Row] = []

    def insert(self, data: bytes, at: int, end: int) -> None:
        """Take an insert."""
        row, stop = self._cut(data, at + 1)
        if stop != end or data[at] != _NEW:
            raise malformed(UNREADABLE, data, at)
        self.rows.append(row)

    def update(self, data: bytes, at: int, end: int) -> None:
        """Refuse: no row can be told from another."""
        raise Unfit

    delete = update

    def takes_rows(self, kind: int) -> bool:
        """Take inserts."""
        return kind == INSERT

    def take_rows(self, rows: list[Row], kind: int) -> None:
        """Take many inserts."""
        self.rows.extend(rows)


class Keyed:
    """A table whose rows are known by a key that is unique on the target.

    Afterwards `deletes` holds the keys of rows that must go, `updates` and `inserts` rows by key, and `ghosts` keys of
    rows that came and went, in any order: no key stands in two of them. The source sends changes of a row in their
    order, so a key that is where it must not be says that the picture is wrong (deferred uniqueness, above all).
    `holes`: rows of `updates` may leave values unsaid.
    """

    def __init__(self, cut: Cut, cut_key: Cut, positions: Sequence[int], *, updates: bool = True) -> None:
        self._cut = cut
        self._cut_key = cut_key
        self._key: Callable[[Row], Key] = itemgetter(*(at + 1 for at in positions))
        self._takes_updates = updates
        self.holes = False
        self.inserts: dict[Key, Row] = {}
        self.updates: dict[Key, Row] = {}
        self.deletes: dict[Key, None] = {}
        self.ghosts: set[Key] = set()

    def insert(self, data: bytes, at: int, end: int) -> None:
        """Take an insert."""
        row, stop = self._cut(data, at + 1)
        if stop != end or data[at] != _NEW:
            raise malformed(UNREADABLE, data, at)
        key = self._key(row)
        inserts = self.inserts
        if self.updates or self.deletes or self.ghosts or key in inserts:
            self._add(key, row)
        else:
            inserts[key] = row

    def update(self, data: bytes, at: int, end: int) -> None:
        """Take an update."""
        if data[at] != _NEW:
            self._update_with_old(data, at, end)
            return
        row, stop = self._cut(data, at + 1)
        if stop != end:
            raise malformed(UNREADABLE, data, at)
        if self.inserts or self.deletes or self.ghosts or None in row or not self._takes_updates:
            self._change(self._key(row), row)
        else:
            self.updates[self._key(row)] = row

    def delete(self, data: bytes, at: int, end: int) -> None:
        """Take a delete."""
        old, stop = self._cut_old(data, at)
        if stop != end:
            raise malformed(UNREADABLE, data, at)
        self._remove(self._key(old))

    def takes_rows(self, kind: int) -> bool:
        """Take them as long as all that came were changes of this kind."""
        if self.ghosts or (self.deletes and kind != DELETE) or (self.inserts and kind != INSERT):
            return False
        return not self.updates if kind != UPDATE else self._takes_updates

    def take_rows(self, rows: list[Row], kind: int) -> None:
        """Take many inserts, deletes, or updates that name no old row and leave nothing out. Raises Unfit.

        All have their NULLs in the same columns.
        """
        keys = list(map(self._key, rows))
        if kind == UPDATE:
            self.updates.update(zip(keys, rows, strict=True))
            return
        if kind == DELETE:
            if keys[0] == NULL:
                raise Unfit
            taken: dict[Key, Row] | dict[Key, None] = self.deletes
            wanted = len(taken) + len(rows)
            self.deletes.update(dict.fromkeys(keys))
        else:
            taken = self.inserts
            wanted = len(taken) + len(rows)
            self.inserts.update(zip(keys, rows, strict=True))
        if len(taken) != wanted:
            raise Unfit

    def _cut_old(self, data: bytes, at: int) -> tuple[Row, int]:
        kind = data[at]
        if kind == _KEY:
            return self._cut_key(data, at + 1)
        if kind == _OLD:
            return self._cut(data, at + 1)
        raise malformed(UNREADABLE, data, at)

    def _update_with_old(self, data: bytes, at: int, end: int) -> None:
        old, middle = self._cut_old(data, at)
        if data[middle : middle + 1] != b"N":
            raise malformed(UNREADABLE, data, at)
        row, stop = self._cut(data, middle + 1)
        if stop != end:
            raise malformed(UNREADABLE, data, at)
        if data[at] == _OLD:
            row = _over(old, row)
        was, key = self._key(old), self._key(row)
        if was == key:
            self._change(key, row)
            return
        if None in row:  # the value stands in the row that goes: only a row of this batch is at hand
            row = _over(self.inserts.get(was) or self.updates.get(was) or row, row)
        if None in row:
            raise Unfit
        self._remove(was)
        self._add(key, row)

    def _add(self, key: Key, row: Row) -> None:
        if key in self.inserts or key in self.updates:
            raise Unfit
        if key in self.deletes:
            if not self._takes_updates:
                raise Unfit
            del self.deletes[key]
            self.updates[key] = row
            return
        self.inserts[key] = row
        self.ghosts.discard(key)

    def _change(self, key: Key, row: Row) -> None:
        inserts = self.inserts
        if key in inserts:
            inserts[key] = _over(inserts[key], row) if None in row else row
            return
        if key in self.deletes or key in self.ghosts or not self._takes_updates:
            raise Unfit
        if None in row:
            self.holes = True
            if key is None or (isinstance(key, tuple) and None in key):
                raise Unfit
            if key in self.updates:
                row = _over(self.updates[key], row)
        self.updates[key] = row

    def _remove(self, key: Key) -> None:
        if key == NULL or key is None:
            raise Unfit
        if key in self.inserts:
            del self.inserts[key]
            self.ghosts.add(key)
            return
        if key in self.deletes or key in self.ghosts:
            raise Unfit
        self.updates.pop(key, None)
        self.deletes[key] = None


def _over(under: Row, row: Row) -> Row:
    """Fill what the row does not say from an older state of it."""
    return [old if new is None else new for old, new in zip(under, row, strict=True)]
