"""Sends statements without waiting for each answer, and reads the answers while sending.

libpq's pipeline mode stops for ever when both ends write and nobody reads, and its buffers grow quadratically slow; the
rules here are: bounded statements and bytes under way, and reading before every wait.
"""

from __future__ import annotations

import select
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import NamedTuple

import psycopg
from psycopg import pq

from ..connect import Connection, codec_of
from ..patience import Session, patience_with
from ..wording import say

_STATEMENTS_UNDER_WAY = 512
_BYTES_UNDER_WAY = 1 << 20
_STATEMENTS_PER_TURN = 64
MOMENT = 500
"""Milliseconds."""

_COPY_BYTES = 256 << 10
_TURN_SECONDS = 2.0
_FORGETTING = say("forgetting statements")

Parameters = Sequence[bytes | None]


class Sent(NamedTuple):
    """A statement under way. `context` is whatever names it when it fails."""

    expected: int | None  # affected rows that are right; None = any number
    context: object
    size: int
    done: Callable[[pq.abc.PGresult], None] | None
    is_sync: bool = False


class StatementFailed(Exception):
    """The server refused a statement of the pipeline, or it hit another number of rows than it must."""

    def __init__(self, context: object, error: psycopg.Error | None, affected: int) -> None:
        super().__init__(str(error or f"{affected} rows"))
        self.context = context
        self.error = error
        self.affected = affected


class Pipeline:
    """A session in pipeline mode. One thread only. After StatementFailed it is usable again once `recover` was called;
    after any other exception the session must be closed.
    """

    def __init__(self, connection: Connection, check: Callable[[], None]) -> None:
        self._connection = connection
        self._pg = connection.pgconn
        self._patience = patience_with(connection, check)
        self._listened_at = 0.0
        self._sent: deque[Sent] = deque()
        self._bytes = 0
        self._turn = 0
        self._kept: dict[bytes, bytes] = {}
        self._names = 0
        self._poll = select.poll()
        self._pg.enter_pipeline_mode()

    @property
    def process(self) -> bytes | None:
        """The number of the server's process that was given the session's settings."""
        process = self._connection.process if isinstance(self._connection, Session) else None
        return None if process is None else str(process).encode()

    @property
    def encoding(self) -> str:
        """The codec of the session."""
        return codec_of(self._connection)

    def send(
        self,
        name: bytes,
        parameters: Parameters,
        expected: int | None,
        context: object,
        size: int,
        formats: Sequence[int] | None = None,
    ) -> None:
        """Send one execution of a prepared statement. `size`: bytes of its parameters, roughly."""
        self._pg.send_query_prepared(name, parameters, formats)
        self._sent.append(Sent(expected, context, size, None))
        self._bytes += size
        self._turn += 1
        if self._turn >= _STATEMENTS_PER_TURN or self._bytes > _BYTES_UNDER_WAY:
            self._take_turn()

    def prepare(self, name: bytes, sql: bytes, context: object) -> None:
        """Prepare a statement; parameter types are left to the server."""
        self._pg.send_prepare(name, sql)
        self._sent.append(Sent(None, context, 0, None))

    def command(
        self,
        sql: bytes,
        parameters: Parameters = (),
        *,
        expected: int | None = None,
        context: object = None,
        done: Callable[[pq.abc.PGresult], None] | None = None,
        keep: bool = False,
    ) -> None:
        """Send a statement. `keep`: it comes again and again, so that preparing it pays. `done` gets its result."""
        if keep:
            self._pg.send_query_prepared(self._kept.get(sql) or self._keep(sql, context), list(parameters))
        else:
            self._pg.send_query_params(sql, list(parameters))
        self._sent.append(Sent(expected, context, 0, done))

    def _keep(self, sql: bytes, context: object) -> bytes:
        self._names += 1
        name = self._kept[sql] = b"k%d %s" % (self._names, sql.split(None, 1)[0])  # its word helps whoever reads along
        self.prepare(name, sql, context)
        return name

    def renew(self, *statements: bytes) -> None:
        """Let the server plan these statements anew, which were sent with `keep`, when they come the next time."""
        for sql in statements:
            name = self._kept.pop(sql, None)
            if name is not None:
                self.command(b'DEALLOCATE "%s"' % name, context=_FORGETTING)

    def forget(self) -> None:
        """Forget every statement that was prepared: after a failure nobody knows which ones the server has."""
        self._kept.clear()
        self.command(b"DEALLOCATE ALL", context=_FORGETTING)

    def query(self, sql: bytes, parameters: Parameters = (), context: object = None) -> pq.abc.PGresult:
        """Send a statement and wait for its result, behind everything that is under way."""
        results: list[pq.abc.PGresult] = []
        self.command(sql, parameters, context=context, done=results.append)
        self.sync()
        self.drain()
        return results[0]

    def sync(self) -> None:
        """Close a unit: after an error the server skips everything up to here."""
        self._pg.pipeline_sync()
        self._sent.append(Sent(None, None, 0, None, is_sync=True))

    def drain(self) -> None:
        """Wait until every statement under way has been answered."""
        self._wait_below(0, 0)

    def progress(self) -> bool:
        """Send and read what goes without waiting; True when every statement under way has been answered.

        `sync` must have been called, or a flush be on its way, for the server to answer.
        """
        unsent = self._pg.flush()
        self._pg.consume_input()
        self._read()
        return not self._sent and not unsent

    def wait(self, other: int | None = None, milliseconds: int = MOMENT) -> None:
        """Wait a moment for the server: until it can be read, or written to when something is left to send.

        `other`: a descriptor that ends the wait as well when it can be read.
        """
        unsent = self._pg.flush()
        self._listen(unsent, other, milliseconds)

    def _listen(self, unsent: int, other: int | None = None, milliseconds: int = MOMENT) -> None:
        """Wait for the socket. Raises ConnectionLost when the server keeps silent for too long and does not work."""
        if time.monotonic() - self._listened_at > _TURN_SECONDS:
            self._patience.moved()  # nobody listened meanwhile
        ours = self._pg.socket
        self._poll.register(ours, select.POLLIN | (select.POLLOUT if unsent else 0))
        if other is not None:
            self._poll.register(other, select.POLLIN)
        found = self._poll.poll(milliseconds)
        if other is not None:
            self._poll.unregister(other)
        if any(descriptor == ours for descriptor, _ in found):
            self._patience.check()
            self._patience.moved()
        else:
            self._patience.waited()  # also when the other end had something: what this one does is asked all the same
        self._listened_at = time.monotonic()

    def copy(self, sql: bytes, data: Sequence[bytes], rows: int, context: object) -> Iterator[None]:
        """Run `COPY ... FROM STDIN`, yielding whenever the server has to be waited for.

        Only when nothing is under way, since libpq knows no COPY in pipeline mode. Raises StatementFailed.
        """
        pg = self._pg
        pg.exit_pipeline_mode()
        pg.send_query(sql)
        result = yield from self._result()
        if result is not None and result.status == pq.ExecStatus.COPY_IN:
            for piece in data:
                for at in range(0, len(piece), _COPY_BYTES):
                    pg.put_copy_data(piece[at : at + _COPY_BYTES])
                    while pg.flush():
                        yield
                        pg.consume_input()
            pg.put_copy_end()
            result = yield from self._result()
        yield from self._result()
        pg.enter_pipeline_mode()
        if result is None:
            raise StatementFailed(context, None, 0)
        if result.status != pq.ExecStatus.COMMAND_OK:
            error = psycopg.errors.error_from_result(result, encoding=self.encoding)
            raise StatementFailed(context, error, 0)
        if result.command_tuples != rows:
            raise StatementFailed(context, None, result.command_tuples or 0)

    def _result(self) -> Generator[None, None, pq.abc.PGresult | None]:
        pg = self._pg
        while pg.flush() or pg.is_busy():
            yield
            pg.consume_input()
        return pg.get_result()

    def recover(self) -> None:
        """Read over everything under way after a failure. The transaction at hand is left as the failure made it."""
        self._kept.clear()
        self._pg.pipeline_sync()
        self._sent.append(Sent(None, None, 0, None, is_sync=True))
        while True:
            while self._sent and not self._pg.is_busy():
                result = self._pg.get_result()
                if result is None or result.status == pq.ExecStatus.PIPELINE_SYNC:
                    self._bytes -= self._sent.popleft().size
            if not self._sent:
                return
            self.wait()
            self._pg.consume_input()

    def _take_turn(self) -> None:
        self._turn = 0
        self._pg.flush()
        self._pg.consume_input()
        self._read()
        if len(self._sent) > _STATEMENTS_UNDER_WAY or self._bytes > _BYTES_UNDER_WAY:
            self._wait_below(_STATEMENTS_UNDER_WAY // 2, _BYTES_UNDER_WAY // 2)

    def _wait_below(self, statements: int, size: int) -> None:
        if not self._sent:
            return
        self._pg.send_flush_request()
        self._turn = 0
        while True:
            unsent = self._pg.flush()
            self._read()
            if len(self._sent) <= statements and self._bytes <= size and not unsent:
                return
            self._listen(unsent)
            self._pg.consume_input()

    def _read(self) -> None:
        pg, sent = self._pg, self._sent
        while sent and not pg.is_busy():
            result = pg.get_result()
            if result is None:
                self._bytes -= sent.popleft().size
                continue
            head = sent[0]
            status = result.status
            if status == pq.ExecStatus.PIPELINE_SYNC:
                sent.popleft()
            elif status in (pq.ExecStatus.COMMAND_OK, pq.ExecStatus.TUPLES_OK):
                if head.expected is not None and result.command_tuples != head.expected:
                    raise StatementFailed(head.context, None, result.command_tuples or 0)
                if head.done is not None:
                    head.done(result)
            else:
                error = psycopg.errors.error_from_result(result, encoding=self.encoding)
                raise StatementFailed(head.context, error, 0)
