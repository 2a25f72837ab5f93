"""Applies what the stream brings: collects it in batches, and sends each by the batch path or row by row.

A batch is collected while the one before is being applied. Few changes go row by row at once, which is quicker than
any batch; many are folded. Whatever a batch runs into, its part of the transaction is rolled back and exactly the same
changes are applied again row by row, so that a conflict is told as the row path tells it.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Container, Iterator

import psycopg

from ..drift import Drift
from ..errors import SourceError
from ..lsn import format_lsn
from ..wording import say
from .batch import Batch
from .batch_path import BatchPath, Built
from .coalesce import Folding
from .deciding import ShapeAllowed
from .failures import Texts, explain, is_lost, lease_lost, moved_away
from .frames import MESSAGE
from .pending import Pending
from .pgoutput import BINARY_VALUE, TEXT_VALUE, Origin, Relation, Truncate, TypeName, WrittenAnew, decode
from .pipeline import MOMENT, Pipeline, StatementFailed
from .prepared import Prepared
from .relations import Relations
from .reshaping import Reshaping
from .row_path import RowPath
from .taking import Taking
from .transaction import Transaction

_FEW_CHANGES = 40  # up to so many go row by row: one statement for a handful of rows costs more than theirs
_ONCE_CHANGES = 40  # up to so many are sent and committed in one go, without waiting for an answer in between
_WORTH_CHANGES = 2_000  # a batch of so many goes at once when nothing is under way
_MOST_CHANGES = 20_000
_MOST_BYTES = 3 << 20
_MOST_TABLES = 500  # each is locked with all its indexes: the target has room for few thousand locks
_ADOPT_SECONDS, _URGENT_SECONDS = 3.0, 0.2
_EPOCH_2000 = 946_684_800


class Applier:
    """Takes the messages of one stream in order and keeps the target's bookmark.

    `end`: everything that committed on the source before it has been taken. `durable`: everything before it is on the
    target for good. One thread only; after any exception the session is finished, and whatever was not committed is
    rolled back by closing it.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        relations: Relations,
        transaction: Transaction,
        *,
        encoding: str,
        binary: bool,
        check: Callable[[], None],
        texts: Texts,
        taking: Taking,
        shapes: Reshaping,
    ) -> None:
        self._pipeline = pipeline
        self._relations = relations
        self._transaction = transaction
        self._encoding = encoding
        self.form = BINARY_VALUE if binary else TEXT_VALUE
        self._check = check
        self._texts = texts
        prepared = self._prepared = Prepared(pipeline, relations)
        self._batches = BatchPath(pipeline, relations, prepared, binary=binary)
        self._taking = taking
        self._shapes = shapes
        self._rows = RowPath(
            pipeline, relations, prepared, transaction, encoding=encoding, binary=binary, takes=taking.takes
        )
        self._watermark = relations.last_watermark
        self.end = transaction.durable
        self._pending = Pending(self.end)
        self.in_transaction, self._final = False, 0
        self._commit_time = 0.0  # source time (Unix seconds) at which the transaction at hand was committed
        self._adopted_at = -_ADOPT_SECONDS
        self._under_way: Iterator[None] | None = None
        self.batch = Batch(0)

    def remarked(self) -> None:
        """Take note that a table has another watermark. Only while nothing is under way."""
        self._watermark = self._relations.last_watermark

    @property
    def durable(self) -> int:
        """Everything that committed on the source before it is on the target for good."""
        return self._transaction.durable

    @property
    def busy(self) -> bool:
        """Whether something is under way to the target."""
        return self._under_way is not None

    @property
    def waits(self) -> Pending:
        """What was taken and is not committed on the target yet."""
        if not (self._under_way or self.batch.changes or self.in_transaction or self._transaction.is_open):
            self._pending.none(self.end)
        return self._pending

    @property
    def rows_applied(self) -> int:
        """Changes committed on the target."""
        return self._transaction.rows_applied

    @property
    def foldings(self) -> dict[int, Folding]:
        """What takes changes, by table; `folding` makes what is missing, and decides where this cannot."""
        return self.batch.tables if self._final >= self._watermark else {}

    @property
    def _full(self) -> bool:
        return self.batch.size >= _MOST_BYTES or len(self.batch.tables) >= _MOST_TABLES

    @property
    def due(self) -> int:
        """After how many more changes the end of a transaction has to be followed by `depart`."""
        wanted = _MOST_CHANGES if self._under_way else _WORTH_CHANGES
        return 0 if self._full else max(0, wanted - self.batch.changes)

    def folding(self, oid: int) -> Folding:
        """Return what takes the next change of a table. Raises EngineError."""
        if self._relations.watermark(oid) <= self._final and not self._relations.is_known(oid):
            self.land()  # looking at the target has to wait for what is under way
        with self._explaining():
            return self._batches.folding(oid, self._final, self.batch)

    def begin(self, final_lsn: int, timestamp: int) -> None:
        """Take the beginning of a transaction of the source. Raises SourceError when it is out of order."""
        if final_lsn < self.end:
            raise SourceError(
                say(
                    "The source sent a transaction of {sent} after it had reported {reported} as passed.",
                    sent=format_lsn(final_lsn),
                    reported=format_lsn(self.end),
                ),
                hint=say("Nothing was applied out of order. Retry; if it happens again, start the migration again."),
                code="SRC-PROTOCOL",
            )
        self._final = final_lsn
        self._commit_time = timestamp / 1_000_000 + _EPOCH_2000
        self._pending.begun(self._commit_time)
        self.in_transaction = True

    def reached(self, lsn: int) -> None:
        """Take note that nothing more that committed before `lsn` will come. Ignored inside a transaction."""
        if not self.in_transaction:
            self.end = max(self.end, lsn)

    def barrier(self, data: bytes, at: int, end: int) -> bool:
        """Look at a message that is no change of a row. True: what came before it must have departed first.

        Raises EngineError.
        """
        message = decode(data[at:end], 0, self._encoding)
        if isinstance(message, Relation):
            if self._relations.differs(message):
                return True
            self._relations.announce(message)
            return False
        if isinstance(message, Truncate | WrittenAnew | Origin | TypeName):
            return isinstance(message, Truncate | WrittenAnew)
        raise SourceError(
            say("The source sent an unexpected message: {data}", data=f"{data[at:end][:24]!r}"), code="SRC-PROTOCOL"
        )

    def pass_barrier(self, data: bytes, at: int, end: int) -> None:
        """Let a message take effect after all that came before it, and before all that comes after. Raises EngineError.

        `at`: where the message's frame begins in `data`.
        """
        self.land()
        message = decode(data[at + MESSAGE : end], 0, self._encoding)
        if isinstance(message, Relation):
            self._relations.announce(message, anew=True)
            return
        if isinstance(message, WrittenAnew):
            with self._explaining():
                self._relations.require_kept_rows(message, self._final)
            return
        if isinstance(message, Truncate):
            self._fit(message)
        self.batch.rows_only = True
        self.batch.keep(data, at, end, 1)
        self.depart()

    def _fit(self, message: Truncate) -> None:
        """Change the shape of the tables that are to be emptied, where that is allowed, before they are looked at."""
        emptied = [oid for oid in message.oids if self._relations.watermark(oid) <= self._final]
        waiting = list(emptied)
        while waiting:  # a new partition may have further columns, too
            try:
                with self._explaining():
                    self._relations.member(waiting[-1], emptied=emptied)
                waiting.pop()
            except ShapeAllowed as allowed:
                self.reshape(allowed.drift)

    def reshape(self, drift: Drift) -> None:
        """Change a table of the target before its next change, after all that departed before. Raises EngineError."""
        self.land()
        with self._explaining():
            self._transaction.settle_behind()
            with self._transaction.checked():
                self._shapes.run(self._pipeline, drift, self._final)
        if drift.oid:
            self._relations.adopt(self._shapes.state_of(drift, self._final))

    @property
    def final(self) -> int:
        """Where the commit of the source's transaction at hand begins."""
        return self._final

    def set_apart(self) -> None:
        """Before a huge message: send what there is; take it row by row, without another copy. Raises EngineError."""
        self.depart()
        self.batch.rows_only = True

    def turn(self) -> None:
        """Between two buffers: move on what is under way; depart when enough was collected. Raises EngineError."""
        self._pump()
        if self.batch.changes >= _MOST_CHANGES or self.batch.size >= _MOST_BYTES:
            self.depart()

    def depart(self) -> None:
        """Send what was collected, as soon as what is under way has landed, and collect anew. Raises EngineError."""
        batch, self.batch = self.batch, Batch(self._final)
        batch.complete, batch.end, built = not self.in_transaction, self.end, Built([], [])
        if not batch.rows_only and batch.changes > _FEW_CHANGES:
            for _ in self._batches.build(batch, built):
                self._pump()
        self.land()
        if batch.segments:
            if not batch.complete:
                with self._explaining():
                    self._transaction.settle_behind()
            self._pending.departed(None if batch.complete else self._commit_time)
            self._under_way = self._send(batch, built)
            self._pump()

    def land(self) -> None:
        """Wait until what is under way is done. Raises EngineError."""
        while self._under_way is not None:
            self._pump()
            if self._under_way is not None:
                self._check()
                with self._explaining():
                    self._pipeline.wait()

    def idle(self, *, urgent: bool = False) -> None:
        """Use a pause of the stream: send what is complete, and make durable what is due. Waits for nothing.

        `urgent`: the source waits for our confirmation. Raises EngineError.
        """
        self._pump()
        if self.in_transaction or self.busy:
            return
        self.depart()
        if not self.busy and self._settle_due(urgent):
            self.settle()

    def wait(self, source: int | None = None, milliseconds: int = MOMENT) -> None:
        """Wait a moment for the target, or until there is something to read from `source`. Raises EngineError."""
        with self._explaining():
            self._pipeline.wait(source, milliseconds)

    def settle(self) -> int:
        """Make all that was taken so far durable; return the position. Between transactions. Raises EngineError."""
        self.depart()
        self.land()
        if max(self.end, self._transaction.committed) > self.durable:
            with self._explaining():
                self._transaction.settle(self.end)
        return self.durable

    def _settle_due(self, urgent: bool) -> bool:
        transaction, now = self._transaction, time.monotonic()
        if transaction.committed > transaction.durable:
            return transaction.durable_due
        if self.end <= transaction.durable or now - self._adopted_at < (_URGENT_SECONDS if urgent else _ADOPT_SECONDS):
            return False
        self._adopted_at = now
        return True

    def _pump(self) -> None:
        if self._under_way is None:
            return
        with self._explaining():
            for _ in self._under_way:
                return
        self._under_way = None

    def _send(self, batch: Batch, built: Built) -> Iterator[None]:
        """Apply a batch, and commit when it is complete."""
        point = self._transaction.is_open
        if not batch.changes and not point:
            self._pending.landed(batch.end, complete=batch.complete)
            return
        if batch.complete and not batch.rows_only and not point and batch.changes <= min(_FEW_CHANGES, _ONCE_CHANGES):
            yield from self._send_at_once(batch)
            return
        if batch.rows_only or batch.changes <= _FEW_CHANGES:
            self._transaction.begin()
            yield from self._send_rows(batch, point)
        else:
            yield from self._send_folded(batch, built, point)
        if batch.complete:
            yield from self._close(batch)
        else:
            self._transaction.held += batch.changes

    def _send_at_once(self, batch: Batch) -> Iterator[None]:
        """Commit without a look at the answers: the server fails the transaction when a change does not fit."""
        try:
            self._transaction.begin(sure=True)
            self._rows.apply(batch, sure=True)
            yield from self._close(batch)
        except StatementFailed as failure:
            self._take_back(failure, to_point=False)
            yield from self._send_rows(batch, False)
            yield from self._close(batch)

    def _close(self, batch: Batch) -> Iterator[None]:
        durable = self._transaction.durable_due or self._taking.took or self._shapes.took
        self._transaction.close(batch.end, batch.changes, durable=durable)  # it syncs: another one is another packet
        yield from self._answers(synced=True)
        self._pending.landed(batch.end, complete=True)

    def _take_back(self, failure: StatementFailed, *, to_point: bool) -> None:
        """Be ready to do the same again row by row. Raises `failure` when that would be of no use."""
        if lease_lost(failure) or moved_away(failure) or (failure.error and is_lost(failure.error)):
            raise failure
        self._check()
        self._batches.failed(failure)
        self._pipeline.recover()
        self._transaction.undo(to_point=to_point)
        self._prepared.forget()

    def _send_folded(self, batch: Batch, built: Built, point: bool) -> Iterator[None]:
        transaction = self._transaction
        try:
            transaction.keep() if point else transaction.begin()
            yield from self._batches.send(built)
            if batch.by_rows:
                yield from self._send_each(batch, batch.by_rows)
            if point:
                transaction.keep_no_longer()
        except StatementFailed as failure:
            self._take_back(failure, to_point=point)
            yield from self._send_rows(batch, point)

    def _send_rows(self, batch: Batch, point: bool) -> Iterator[None]:
        """Apply a whole batch row by row; all of it anew when a change is found that may take the source's row.

        `point`: changes of the transaction at hand have been applied before.
        """
        while True:
            guarded = point and self._taking.waits
            if guarded:
                self._transaction.keep()
            try:
                yield from self._send_each(batch)
            except StatementFailed as failure:
                if point > guarded or not self._taking.allows(failure):
                    raise
                self._take_back(failure, to_point=point)
                continue
            if guarded:
                self._transaction.keep_no_longer()
            return

    def _send_each(self, batch: Batch, only: Container[int] | None = None) -> Iterator[None]:
        self._rows.apply(batch, only)
        yield from self._answers()

    def _answers(self, *, synced: bool = False) -> Iterator[None]:
        if not synced:
            self._pipeline.sync()
        while not self._pipeline.progress():
            yield

    @contextlib.contextmanager
    def _explaining(self) -> Iterator[None]:
        try:
            yield
        except (StatementFailed, psycopg.Error) as error:
            self._check()  # a session that was cut because the run must stop fails like any other
            raise explain(error, self._texts, self._shapes.table_at, self._final) from error
