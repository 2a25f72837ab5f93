"""Applies decoded changes to the target: row by row, in source order, several source transactions per target commit.

The bookmark is checked and moved in the same transaction as the rows, so that a change is applied exactly once however
often a worker dies.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

import psycopg
from psycopg import pq

from ..connect import translate
from ..errors import ConflictError, ConnectionLost, EngineError, LeaseLost, SourceError, TargetError
from ..lsn import format_lsn
from ..plan import Side
from . import bookmark
from .pgoutput import Begin, Commit, Delete, Insert, Origin, Relation, Truncate, TypeName, Update, Values, decode
from .pipeline import Pipeline, StatementFailed
from .relations import Member, Relations
from .statements import INSERT, Key, empty_sql, truncate_sql
from .stream import HEADER_SIZE

_BATCH_CHANGES = 2000
_BATCH_BYTES = 1 << 20
_BATCH_SECONDS = 0.2
_DURABLE_SECONDS = 0.5
_ADOPT_SECONDS = 3.0
_URGENT_SECONDS = 0.2
_MAX_PREPARED = 1000
_CLAIM = "taking the bookmark"
_DEFER = b"SET CONSTRAINTS ALL DEFERRED"
_ADVICE = (
    "Somebody wrote to the target, or it was not empty. Put the row right there and retry,"
    " or start the migration again."
)

_Change = tuple[Member, Insert | Update | Delete]


class Applier:
    """Takes the messages of one stream in order and keeps the target's bookmark.

    `end`: everything that committed on the source before it has been taken. `durable`: everything before it is on the
    target for good; `on_durable` hears of each advance. One thread only; after any exception the session is finished,
    and whatever was not committed is rolled back by closing it.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        relations: Relations,
        *,
        task: str,
        epoch: int,
        position: int,
        defer_constraints: bool,
        encoding: str,
        check: Callable[[], None],
        on_durable: Callable[[int], None],
    ) -> None:
        self._pipeline = pipeline
        self._relations = relations
        self._task = task.encode()
        self._epoch = str(epoch).encode()
        self._defer = defer_constraints
        self._encoding = encoding
        self._check = check
        self._on_durable = on_durable
        self.end = self.durable = position
        self.rows_applied = 0
        self.in_transaction = False
        self.commit_time = 0.0
        """Source time (Unix seconds) at which the transaction at hand was committed."""
        self._sent = self._committed = position
        self._final = 0
        self._open = False
        self._opened_at = self._durable_at = 0.0
        self._adopted_at = -_ADOPT_SECONDS
        self._changes = self._bytes = 0
        self._prepared = self._names = 0
        self._handlers = {
            Insert: self._insert,
            Update: self._update,
            Delete: self._delete,
            Begin: self._begin,
            Commit: self._commit,
            Truncate: self._truncate,
            Relation: self._relation,
            TypeName: self._ignore,
            Origin: self._ignore,
        }

    def feed(self, data: bytes) -> None:
        """Apply one stream message. Raises EngineError; ConflictError names table and key."""
        message = decode(data, HEADER_SIZE, self._encoding)
        try:
            self._handlers[type(message)](message, len(data))  # type: ignore[operator]
        except (StatementFailed, psycopg.Error) as error:
            raise self._explain(error) from error

    def reached(self, lsn: int) -> None:
        """Take note that nothing more that committed before `lsn` will come. Ignored inside a transaction."""
        if not self.in_transaction:
            self.end = max(self.end, lsn)

    def idle(self, *, urgent: bool = False) -> None:
        """Use a pause of the stream: commit what is complete, read all answers, make durable what is due.

        `urgent`: the source waits for our confirmation. Raises EngineError.
        """
        try:
            if self._open and not self.in_transaction:
                self._close(durable=time.monotonic() - self._durable_at >= _DURABLE_SECONDS)
            self._pipeline.drain()
            if not self.in_transaction and self._settle_due(urgent):
                self.settle()
        except (StatementFailed, psycopg.Error) as error:
            raise self._explain(error) from error

    def settle(self) -> int:
        """Make everything taken so far durable and return the position. Only between transactions.

        Raises EngineError.
        """
        try:
            if self._open or self.end > self.durable:
                if not self._open:
                    self._open_batch()
                self._close(durable=True)
            self._pipeline.drain()
        except (StatementFailed, psycopg.Error) as error:
            raise self._explain(error) from error
        return self.durable

    def _settle_due(self, urgent: bool) -> bool:
        now = time.monotonic()
        if self._committed > self.durable:
            return now - self._durable_at >= _DURABLE_SECONDS
        if self.end <= self.durable or now - self._adopted_at < (_URGENT_SECONDS if urgent else _ADOPT_SECONDS):
            return False
        self._adopted_at = now
        return True

    def _begin(self, message: Begin, size: int) -> None:
        if message.final_lsn < self.end:
            raise SourceError(
                f"The source sent a transaction of {format_lsn(message.final_lsn)} after it had reported"
                f" {format_lsn(self.end)} as passed.",
                hint="Nothing was applied out of order. Retry; if it happens again, start the migration again.",
                code="SRC-PROTOCOL",
            )
        self._final = message.final_lsn
        self.commit_time = message.timestamp / 1_000_000 + 946_684_800
        self.in_transaction = True

    def _commit(self, message: Commit, size: int) -> None:
        self.in_transaction = False
        self.end = message.end_lsn
        if not self._open:
            return
        now = time.monotonic()
        full = self._changes >= _BATCH_CHANGES or self._bytes >= _BATCH_BYTES
        if full or now - self._opened_at >= _BATCH_SECONDS:
            self._close(durable=now - self._durable_at >= _DURABLE_SECONDS)

    def _relation(self, message: Relation, size: int) -> None:
        self._relations.announce(message)

    def _ignore(self, message: object, size: int) -> None:
        pass

    def _insert(self, message: Insert, size: int) -> None:
        member = self._member(message.oid)
        if member is not None:
            self._send(member, message, INSERT, message.new, size)

    def _update(self, message: Update, size: int) -> None:
        member = self._member(message.oid)
        if member is not None:
            key, values = member.statements.update(message)
            self._send(member, message, key, values, size)

    def _delete(self, message: Delete, size: int) -> None:
        member = self._member(message.oid)
        if member is not None:
            key, values = member.statements.delete(message)
            self._send(member, message, key, values, size)

    def _truncate(self, message: Truncate, size: int) -> None:
        listed = [(oid, self._member(oid)) for oid in message.oids]
        tables = [member.place for _, member in listed if member is not None]
        if not tables:
            return
        newer = any(self._relations.watermark(oid) > self._final for oid, _ in listed)
        if newer:
            # A listed table was copied after this truncation: CASCADE must not reach its rows.
            statements = [empty_sql(table) for table in tables]
        else:
            statements = [truncate_sql(tables, cascade=message.cascade, restart_identity=message.restart_identity)]
        if not self._open:
            self._open_batch()
        shown = ", ".join(f"{schema}.{name}" for schema, name in tables)
        if self._defer:  # TRUNCATE refuses a table that has checks waiting, even of earlier transactions
            self._pipeline.command(b"SET CONSTRAINTS ALL IMMEDIATE", context="checking constraints")
        for sql in statements:
            self._pipeline.command(self._encode(sql), context=f"emptying {shown}")
        if self._defer:
            self._pipeline.command(_DEFER, context="deferring constraints")
        self._changes += 1

    def _member(self, oid: int) -> Member | None:
        relations = self._relations
        return None if relations.watermark(oid) > self._final else relations.member(oid)

    def _send(self, member: Member, message: Insert | Update | Delete, key: Key, values: Values, size: int) -> None:
        if not self._open:
            self._open_batch()
        name = member.names.get(key)
        if name is None:
            name = self._prepare(member, message, key)
        self._pipeline.send(name, values, 1, (member, message), size)
        self._changes += 1
        self._bytes += size

    def _prepare(self, member: Member, message: Insert | Update | Delete, key: Key) -> bytes:
        if self._prepared >= _MAX_PREPARED:
            self._pipeline.command(b"DEALLOCATE ALL", context="forgetting statements")
            self._relations.forget_statements()
            self._prepared = 0
        self._prepared += 1
        self._names += 1
        name = b"t%d" % self._names
        self._pipeline.prepare(name, self._encode(member.statements.sql(key)), (member, message))
        member.names[key] = name
        return name

    def _encode(self, sql: str) -> bytes:
        return sql.encode(self._encoding, "surrogateescape")

    def _open_batch(self) -> None:
        self._pipeline.command(b"BEGIN", context="beginning a transaction")
        if self._defer:
            self._pipeline.command(_DEFER, context="deferring constraints")
        parameters = [format_lsn(self._sent).encode(), self._epoch, self._task]
        self._pipeline.command(bookmark.CLAIM_SQL, parameters, expected=1, context=_CLAIM)
        self._open = True
        self._opened_at = time.monotonic()
        self._changes = self._bytes = 0

    def _close(self, *, durable: bool) -> None:
        # A change that found no row is no error to the server: nothing may be committed before every answer is read.
        self._pipeline.drain()
        end = self.end
        parameters = [format_lsn(end).encode(), self._task]
        self._pipeline.command(bookmark.MOVE_SQL, parameters, expected=1, context="moving the bookmark")
        if durable:
            self._pipeline.command(b"SET LOCAL synchronous_commit = on", context="asking for a durable commit")
        done = partial(self._on_commit, end, durable, self._changes)
        self._pipeline.command(b"COMMIT", context="committing", done=done)
        self._pipeline.sync()
        self._sent = end
        self._open = False

    def _on_commit(self, end: int, durable: bool, changes: int, result: pq.abc.PGresult) -> None:
        if result.command_status != b"COMMIT":
            raise TargetError("The target rolled back a batch of changes instead of committing it.")
        self._committed = end
        self.rows_applied += changes
        if durable:
            self.durable = end
            self._durable_at = time.monotonic()
            self._on_durable(end)

    def _explain(self, failure: StatementFailed | psycopg.Error) -> EngineError | LeaseLost:
        """Say what a failed statement means. Raises what `check` raises when the run was told to stop."""
        self._check()
        if isinstance(failure, psycopg.Error):
            return translate(failure, Side.TARGET, "applying changes")
        context, error = failure.context, failure.error
        if context == _CLAIM and (error is None or error.sqlstate == "22012"):
            return LeaseLost("another worker has moved the bookmark on the target")
        if isinstance(context, tuple):
            return _row_failure(context, error, failure.affected)
        if error is None:
            return TargetError(f"The bookmark on the target was removed while {context}.", code="DST-BOOKMARK")
        return _statement_failure(error, str(context))


def _row_failure(change: _Change, error: psycopg.Error | None, affected: int) -> EngineError:
    member, message = change
    key = member.statements.shown_key(message)
    what = f"{type(message).__name__.lower()} of {member.statements.shown_name} ({key})"
    failure = (
        _row_conflict(message, what, affected) if error is None else _statement_failure(error, f"applying the {what}")
    )
    failure.detail["key"] = key
    return failure


def _row_conflict(message: object, what: str, affected: int) -> EngineError:
    found = "no row" if affected == 0 else f"{affected} rows"
    if isinstance(message, Insert):
        return ConflictError(f"The {what} stored {found} on the target where exactly one must be.", hint=_ADVICE)
    return ConflictError(f"The {what} found {found} on the target where exactly one must be.", hint=_ADVICE)


def _statement_failure(error: psycopg.Error, doing: str) -> EngineError:
    general = translate(error, Side.TARGET, doing)
    if isinstance(general, ConnectionLost):
        return general
    state = error.sqlstate or ""
    if state.startswith("23"):
        constraint = f", constraint {error.diag.constraint_name}" if error.diag.constraint_name else ""
        return ConflictError(f"A change does not fit the target while {doing}{constraint} ({state}).", hint=_ADVICE)
    hint = general.hint
    if state.startswith("42"):
        hint = "An object or a right on the target was changed. Put it back and retry."
    return TargetError(general.message, hint=hint, code=general.code)
