"""Moves the rows of one COPY from the source's socket to the target's without looking at them.

CopyData frames are the same in both directions, so whole buffers pass from socket to socket. libpq logs in and starts
both statements; while the stream runs it must not touch either socket. The end is recognised by a random word that the
source sends after the rows; nothing that could belong to what follows the rows is ever passed on.
"""

from __future__ import annotations

import contextlib
import functools
import os
import secrets
import select
import socket
import struct
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType

import psycopg
from psycopg import pq

from . import wire
from .connect import Connection, translate
from .endings import Ending
from .errors import ConnectionLost, EngineError, TargetError
from .passage import BUFFER, Passage, TargetSpoke
from .patience import at_work
from .plan import Side
from .values import frozen
from .wire import Patience
from .wording import say

_JOIN = 128 * 1024
_UNEXPECTED_MESSAGE = "08P01"


@frozen(kw_only=False)
class Copied:
    """What one COPY moved: rows by both servers' count, and bytes on the wire."""

    rows: int
    bytes: int


@frozen(kw_only=False)
class Stream:
    """The two statements of one copy, and what it is called in messages."""

    copy_out: str
    copy_in: str
    doing: str


def _agreed(rows: int, count: int, taken: int, doing: str) -> Copied:
    if taken != rows:
        raise TargetError(
            say(
                "The source sent {rows} rows while {doing}, but the target kept {taken}.",
                rows=rows,
                doing=doing,
                taken=taken,
            )
        )
    return Copied(rows, count)


class Relay:
    """Copies streams from one source session to one target session, one after the other.

    After an error both sessions are in an unknown state: `discard` them. Not thread-safe; any number of relays may run
    in threads side by side.
    """

    def __init__(
        self, source: Connection, target: Connection, patience: Patience, on_bytes: Callable[[int], None]
    ) -> None:
        self.source, self.target = source, target
        self.patience = patience
        self.on_bytes = on_bytes
        self.raw = not (source.pgconn.ssl_in_use or target.pgconn.ssl_in_use)
        self._buffers = (bytearray(BUFFER), bytearray(BUFFER))
        self._sockets: tuple[socket.socket, socket.socket] | None = None

    def __enter__(self) -> Relay:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Give the descriptors back; the sessions stay as they are."""
        sockets, self._sockets = self._sockets, None
        for one in sockets or ():
            one.close()

    def copy(self, copy_out: str, copy_in: str, doing: str) -> Copied:
        """Run `copy_out` on the source into `copy_in` on the target. Returns when the target has taken all rows.

        Opens no transaction and commits none. Raises EngineError with the side that failed (ConnectionLost when trying
        again may help), or what `Patience.check` raises.
        """
        wire.command(self.target, Side.TARGET, copy_in, self.patience, doing)
        self.patience.moved()
        with self._judged(doing):
            if self.raw:
                rows, count = self._raw(copy_out, doing)
            else:
                wire.command(self.source, Side.SOURCE, copy_out, self.patience, doing)
                rows, count = self._joined(doing)
                self._nothing_more(self.source, Side.SOURCE, doing)
            taken = self._finish(doing)
            self._nothing_more(self.target, Side.TARGET, doing)
        return _agreed(rows, count, taken, doing)

    def copy_many(self, streams: Sequence[Stream], begins: Callable[[int], None]) -> list[Copied]:
        """Run several small copies, all statements sent to either side at once: one wait for each instead of four.

        `begins(number)` is called before the rows of each. Otherwise as `copy`.
        """
        into, out = "; ".join(one.copy_in for one in streams), "; ".join(one.copy_out for one in streams)
        begins(0)
        wire.command(self.target, Side.TARGET, into, self.patience, streams[0].doing)
        with self._judged(streams[0].doing):
            wire.command(self.source, Side.SOURCE, out, self.patience, streams[0].doing)
        copied = []
        for number, one in enumerate(streams):
            with self._judged(one.doing):
                if number:
                    begins(number)
                    self._begun(self.source, pq.ExecStatus.COPY_OUT, Side.SOURCE, one.doing)
                    self._begun(self.target, pq.ExecStatus.COPY_IN, Side.TARGET, one.doing)
                rows, count = self._joined(one.doing)
                copied.append(_agreed(rows, count, self._finish(one.doing), one.doing))
        self._nothing_more(self.source, Side.SOURCE, streams[-1].doing)
        self._nothing_more(self.target, Side.TARGET, streams[-1].doing)
        return copied

    def _begun(self, connection: Connection, wanted: pq.ExecStatus, side: Side, doing: str) -> None:
        result = wire.next_result(connection.pgconn, self.patience)
        if result is None or result.status != wanted:
            self.patience.check()
            with contextlib.suppress(psycopg.Error):
                self.target.pgconn.put_copy_end(b"the source failed")
            raise wire.result_error(result, side, doing)

    def _nothing_more(self, connection: Connection, side: Side, doing: str) -> None:
        result = wire.drain(connection.pgconn, self.patience)
        if result is not None:
            raise wire.result_error(result, side, doing)

    @contextlib.contextmanager
    def _judged(self, doing: str) -> Iterator[None]:
        """Turn what can break a copy into the error of the side that broke it."""
        try:
            yield
        except TargetSpoke:
            self.patience.check()
            raise self._target_error(doing) from None
        except psycopg.Error as error:
            self.patience.check()
            raise translate(error, Side.SOURCE, doing) from error
        except OSError as error:
            self.patience.check()
            raise ConnectionLost(
                say("Lost a connection while {doing}: {strerror}", doing=doing, strerror=error.strerror or str(error))
            ) from error

    def _raw(self, copy_out: str, doing: str) -> tuple[int, int]:
        nonce = secrets.token_hex(16)
        pgconn = self.source.pgconn
        pgconn.send_query(f"{copy_out}; SELECT '{nonce}' AS nonce".encode())
        wire.flush(pgconn, self.patience)
        source, target = self._own_sockets()
        asked = functools.partial(at_work, self.source)
        stream = Passage(source, target, self._buffers, self.patience, self.on_bytes, asked)
        try:
            rows = stream.run(Ending(nonce.encode()), doing)
        except TargetSpoke:
            self.patience.check()
            problem = self._target_error(doing)
            # An error of the source that is longer than what is held back has begun to go over: the target says so.
            raise (stream.salvage() if problem.sqlstate == _UNEXPECTED_MESSAGE else None) or problem from None
        # libpq still waits for the answer of its query, whose bytes we have taken: give it another one to read.
        question = b"SELECT 1\x00"
        source.sendall(b"Q" + struct.pack("!i", len(question) + 4) + question)
        wire.drain(pgconn, self.patience)
        return rows, stream.count

    def _own_sockets(self) -> tuple[socket.socket, socket.socket]:
        if self._sockets is None:
            pair = tuple(socket.socket(fileno=os.dup(one.pgconn.socket)) for one in (self.source, self.target))
            self._sockets = (pair[0], pair[1])
            for one in self._sockets:
                one.setblocking(False)
        return self._sockets

    def _joined(self, doing: str) -> tuple[int, int]:
        """Copy through libpq what has begun on both sides: rows are joined, as a call per row costs more than the row.

        For small tables, and where libpq has to decrypt.
        """
        out, into = self.source.pgconn, self.target.pgconn
        count, parts, size = 0, [], 0
        while True:
            length, data = out.get_copy_data(1)
            if length > 0:
                parts.append(bytes(data))
                size += length
            elif length == 0:
                ready = wire.wait(self.patience, {out.socket: select.POLLIN, into.socket: select.POLLIN})
                self._listen(ready, into)
                out.consume_input()
            if parts and (size >= _JOIN or length < 0):
                self._put(b"".join(parts))
                self.on_bytes(size)
                count, parts, size = count + size, [], 0
            if length < 0:
                break
        result = wire.next_result(out, self.patience)
        if result is None or result.status != pq.ExecStatus.COMMAND_OK:
            self.patience.check()
            with contextlib.suppress(psycopg.Error):
                into.put_copy_end(b"the source failed")
            raise wire.result_error(result, Side.SOURCE, doing)
        return result.command_tuples or 0, count

    def _listen(self, ready: dict[int, int], into: pq.abc.PGconn) -> None:
        if ready.get(into.socket):
            into.consume_input()
            raise TargetSpoke

    def _put(self, data: bytes) -> None:
        into = self.target.pgconn
        self.patience.check()
        while into.put_copy_data(data) == 0:
            wire.flush(into, self.patience)
        while into.flush():
            ready = wire.wait(self.patience, {into.socket: select.POLLIN | select.POLLOUT})
            if ready[into.socket] & select.POLLIN:
                raise TargetSpoke
        self.patience.moved()

    def _finish(self, doing: str) -> int:
        pgconn = self.target.pgconn
        try:
            pgconn.put_copy_end()
            wire.flush(pgconn, self.patience)
            result = wire.next_result(pgconn, self.patience)
        except psycopg.Error as error:
            self.patience.check()
            raise translate(error, Side.TARGET, doing) from error
        if result is None or result.status != pq.ExecStatus.COMMAND_OK:
            self.patience.check()
            raise wire.result_error(result, Side.TARGET, doing)
        return result.command_tuples or 0

    def _target_error(self, doing: str) -> EngineError:
        """Let libpq read what the target said. Its session is closed afterwards: a frame may be cut in the middle."""
        pgconn = self.target.pgconn
        try:
            pgconn.consume_input()
            pgconn.put_copy_end(b"stopped")
            return wire.result_error(wire.next_result(pgconn, self.patience), Side.TARGET, doing)
        except psycopg.Error as error:
            return translate(error, Side.TARGET, doing)
