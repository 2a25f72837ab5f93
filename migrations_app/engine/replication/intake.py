"""Walks through the stream's frames as they come and gives each change to what folds it. The hottest loop of all."""

from __future__ import annotations

import struct
from collections.abc import Callable

from ..errors import ConnectionLost, SourceError
from ..wording import say
from . import frames
from .alike import LEAST, rows_alike
from .alike_transactions import Pattern, part_rows, pattern_of, transactions_alike
from .apply import Applier
from .batch import SKIPPED
from .coalesce import Folding, Unfit
from .deciding import ShapeAllowed
from .pgoutput import WRONG_LENGTH, malformed
from .receiving import SpooledStream
from .stream import Stream, reported
from .translated import Translated

_HUGE_BYTES = 1 << 20
_PIECE_BYTES = 48 << 10  # between two looks at what is under way: the target must not wait for us meanwhile
_NEVER = 1 << 64  # beyond all positions
_COMMIT_LENGTH = frames.MESSAGE + frames.commit.size  # the kind makes up for the mark, which is not counted
_REST = 4 * LEAST  # after so many frames it is tried again whether the next ones are alike
_LEAST = 6  # bytes of a frame: what it is, its length, and one of what it holds
_SIZE = struct.Struct("!I").unpack_from


class Intake:
    """Takes bytes of a stream, cut anywhere, and works through whole frames. One thread only.

    `urgent`: the source asked for an answer since it was last set to False.
    """

    def __init__(self, applier: Applier, stream: Stream | Translated | SpooledStream) -> None:
        self._applier = applier
        self._stream = stream
        self._data = b""
        self._at = 0
        self._parts: list[bytes] = []
        self._missing = 0
        self.urgent = False
        self._goal = _NEVER
        self._halt = False
        self._start = self._changes = self._due = self._until = 0
        self._began = self._again = 0  # where the last transaction begins; where one may be like it again

    def feed(self, data: bytes) -> None:
        """Take more bytes, after `work` has worked through what there was."""
        if self._missing:
            self._parts.append(data)
            self._missing -= len(data)
            if self._missing > 0:
                return
            data, self._parts, self._missing = b"".join(self._parts), [], 0
        else:
            data = self._data[self._at :] + data
        self._data, self._at, self._began, self._again = data, 0, -1, 0
        if len(data) < 5:
            return
        size = 1 + _SIZE(data, 1)[0]
        if size > len(data):  # joined only once, however large it is
            self._parts, self._missing, self._data = [data], size - len(data), b""
        elif size > _HUGE_BYTES:
            self._applier.set_apart()

    def work(self, goal: int | None, stop: Callable[[], bool] | None) -> bool:
        """Work through whole frames. True as soon as a transaction that ends beyond `goal` begins, the end was reached,
        or a transaction ended after `stop` said True. Raises EngineError.
        """
        self._goal = _NEVER if goal is None else goal
        self._halt = stop is not None and stop()
        while True:
            self._start, self._changes = self._at, 0
            self._due = self._applier.due
            self._until = self._at + _PIECE_BYTES if self._applier.busy else len(self._data)
            done = self._walk()
            self._applier.batch.keep(self._data, self._start, self._at, self._changes)
            if done:
                return True
            self._applier.turn()
            if self._at < self._until or self._at == len(self._data):
                return False

    def _walk(self) -> bool:  # noqa: C901 - the hottest loop: a call would cost as much as what it does
        applier, data, at = self._applier, self._data, self._at
        find, head, size = applier.foldings.get, frames.head.unpack_from, len(data)
        changing, update, insert, plugin = frames.CHANGES, frames.UPDATE, frames.INSERT, frames.PLUGIN
        commit, changes, until, like, again = frames.COMMIT, self._changes, self._until, 0, at
        while at < until and at + _LEAST <= size:
            try:
                mark, length, form, kind, oid = head(data, at)
            except struct.error:
                mark, length, form, kind, oid = head(data[at:].ljust(frames.head.size, b"\x00"))
            end = at + 1 + length
            if end > size:
                break
            if form == plugin and kind in changing:
                if (folding := find(oid)) is None:
                    folding, changes = self._folding(oid, data, at, changes)
                    find = applier.foldings.get
                if length == like and at >= again:
                    if taken := self._alike(folding, oid, at, end - at, min(until, size)):
                        changes, at = changes + taken, at + taken * (end - at)
                        continue
                    again = at + _REST * length
                like = length
                try:
                    if kind == update:
                        folding.update(data, at + 35, end)
                    elif kind == insert:
                        folding.insert(data, at + 35, end)
                    else:
                        folding.delete(data, at + 35, end)
                except Unfit:
                    applier.batch.take_by_rows(oid)
                if folding is not SKIPPED:
                    changes += 1
                at = end
                continue
            if kind == commit and form == plugin and length == _COMMIT_LENGTH:
                applier.in_transaction = False
                applier.end = reached = frames.commit.unpack_from(data, at + 31)[2]
                if changes < self._due and reached < self._goal and not self._halt:
                    at = end
                    if at >= self._again:
                        at, changes = self._transactions(at, changes, min(until, size))
                    continue
            self._at, self._changes = at, changes
            if self._other(mark, kind if form == plugin else form, data, end):
                return True
            at, changes, find, until = self._at, self._changes, applier.foldings.get, self._until
        self._at, self._changes = at, changes
        return False

    def _alike(self, folding: Folding, oid: int, at: int, size: int, until: int) -> int:
        """Take the changes from `at` on that look like the one there, and lie before `until`; return how many."""
        data, kind = self._data, self._data[at + frames.MESSAGE]
        most = (until - at) // size
        last = at + (LEAST - 1) * size
        if most < LEAST or data[last : last + 6] != data[at : at + 6] or not folding.takes_rows(kind):
            return 0
        rows = rows_alike(data, at, size, most, self._applier.form)
        if rows:
            try:
                folding.take_rows(rows, kind)
            except Unfit:
                self._applier.batch.take_by_rows(oid)
        return len(rows)

    def _transactions(self, at: int, changes: int, until: int) -> tuple[int, int]:
        """Take the transactions from `at` on that look like the one before, lie before `until`, and are not due yet.

        Return where they end, and how many changes wait to depart with theirs.
        """
        data, began = self._data, self._began
        size = at - began
        last = at + (LEAST - 1) * size
        self._again = at + _REST * size
        if began < 0 or self._goal != _NEVER or last + size > until or data[last : last + 6] != data[began : began + 6]:
            return at, changes
        pattern = pattern_of(data, began, size, self._applier.form)
        foldings = self._takers(pattern) if pattern else []
        if pattern is None or not foldings:
            return at, changes
        most = min((until - at) // size, (self._due - changes - 1) // len(foldings))
        spans = transactions_alike(data, at, most, pattern, self._applier.end) if most > 0 else []
        for folding, part in zip(foldings, pattern.parts, strict=True) if spans else ():
            try:
                folding.take_rows(part_rows(data, at, len(spans), pattern, part), part.kind)
            except Unfit:
                self._applier.batch.take_by_rows(part.oid)
        for span in spans[:1] + spans[-1:]:
            self._applier.begin(span.final, span.timestamp)
            self._applier.in_transaction, self._applier.end = False, span.end
        if spans:
            self._again = at + len(spans) * size
        return at + len(spans) * size, changes + len(spans) * len(foldings)

    def _takers(self, pattern: Pattern) -> list[Folding]:
        """Return what takes the changes of a transaction; [] when that is not known, or takes them one by one."""
        find, takers = self._applier.foldings.get, []
        for part in pattern.parts:
            folding = find(part.oid)
            if folding is None or not folding.takes_rows(part.kind):
                return []
            takers.append(folding)
        return takers

    def _folding(self, oid: int, data: bytes, at: int, changes: int) -> tuple[Folding, int]:
        """Return what takes the next change of a table, which begins at `at`, and how many wait to depart with it."""
        before = changes
        while True:  # a new partition may have further columns, too
            try:
                found = self._applier.folding(oid)
                self._due = min(self._due, self._applier.due)
                return found, before
            except ShapeAllowed as allowed:
                self._changes = before
                self._depart(data, at)  # what came before has the old shape
                self._applier.reshape(allowed.drift)
                before = 0

    def _other(self, mark: int, kind: int, data: bytes, end: int) -> bool:
        """Take a frame that is no change of a row. Sets `_at` behind it, unless the work ends before it."""
        at = self._at
        if mark != frames.DATA:
            raise self._ended(mark, data[at + 5 : end])
        if kind == frames.BEGIN:
            final, timestamp, _ = _fields(frames.begin, data, at + 31, end)
            if final >= self._goal:
                return True
            self._applier.begin(final, timestamp)
            self._at, self._began = end, at
            return False
        self._at = end
        if kind == frames.COMMIT:
            _fields(frames.commit, data, at + 31, end)
            if self._changes >= self._due:
                self._depart(data, end)
            return self._halt or self._goal_reached()
        if kind == frames.KEEPALIVE:
            return self._keepalive(*_fields(frames.keepalive, data, at + 6, end))
        if self._applier.barrier(data, at + frames.MESSAGE, end):
            self._depart(data, at)
            self._applier.pass_barrier(data, at, end)
            self._start = end
        return False

    def _depart(self, data: bytes, end: int) -> None:
        self._applier.batch.keep(data, self._start, end, self._changes)
        self._start, self._changes = end, 0
        self._applier.depart()
        self._due, self._until = self._applier.due, min(self._until, end + _PIECE_BYTES)

    def _keepalive(self, wal_end: int, _: int, urgent: int) -> bool:
        self._applier.reached(wal_end)
        self._stream.heard(wal_end, urgent=bool(urgent))
        self.urgent = self.urgent or bool(urgent)
        return self._goal_reached()

    def _goal_reached(self) -> bool:
        return not self._applier.in_transaction and self._applier.end >= self._goal

    def _ended(self, mark: int, body: bytes) -> Exception:
        if mark == ord("E"):
            return reported(body, self._stream.slot)
        if mark in b"cCZ":
            return ConnectionLost(
                say("The source ended the stream of changes."), hint=say("It is taken up again from the kept position.")
            )
        return SourceError(
            say("The source sent an unknown replication message: {data}", data=f"{body[:24]!r}"), code="SRC-PROTOCOL"
        )


def _fields(layout: struct.Struct, data: bytes, at: int, end: int) -> tuple[int, ...]:
    if end - at != layout.size:
        raise malformed(WRONG_LENGTH, data, at - 1)
    return layout.unpack_from(data, at)
