"""Moves the rows of one COPY from the source's socket to the target's without looking at them.

CopyData frames are the same in both directions, so whole buffers pass from socket to socket. libpq logs in and starts
both statements; while the stream runs it must not touch either socket. The end is recognised by a random word that the
source sends after the rows; nothing that could belong to what follows the rows is ever passed on.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import select
import socket
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType

import psycopg
from psycopg import pq

from . import wire
from .connect import Connection, server_error, translate
from .endings import HOLD, Ending, error_fields, find_error, may_be_over
from .errors import ConnectionLost, EngineError, TargetError
from .plan import Side
from .wire import Patience
from .wording import say

CHUNK = 256 * 1024
BUFFER = 2 * CHUNK
"""Bytes of each of a relay's two buffers. What was passed on stays there for a while: a long error begins there."""
_JOIN = 128 * 1024
_UNEXPECTED_MESSAGE = "08P01"
_SALVAGE_SECONDS = 1.0
_QUIET_MILLISECONDS = 100


@dataclass(frozen=True)
class Copied:
    """What one COPY moved: rows by both servers' count, and bytes on the wire."""

    rows: int
    bytes: int


class _TargetSpoke(Exception):
    """The target sent something while it should only listen: it reports an error, or it has gone."""


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
        try:
            rows, count = self._raw(copy_out, doing) if self.raw else self._joined(copy_out, doing)
            taken = self._finish(doing)
        except _TargetSpoke:
            self.patience.check()
            raise self._target_error(doing) from None
        except psycopg.Error as error:
            self.patience.check()
            raise translate(error, Side.SOURCE, doing) from error
        except OSError as error:
            self.patience.check()
            raise ConnectionLost(
                say("Lost a connection while {doing}: {strerror}", doing=doing, strerror=error.strerror or error)
            ) from error
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

    def _raw(self, copy_out: str, doing: str) -> tuple[int, int]:
        nonce = secrets.token_hex(16)
        pgconn = self.source.pgconn
        pgconn.send_query(f"{copy_out}; SELECT '{nonce}' AS nonce".encode())
        wire.flush(pgconn, self.patience)
        source, target = self._own_sockets()
        stream = _Stream(source, target, self._buffers, self.patience, self.on_bytes)
        try:
            rows = stream.run(Ending(nonce.encode()), doing)
        except _TargetSpoke:
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

    def _joined(self, copy_out: str, doing: str) -> tuple[int, int]:
        """Copy through libpq where it has to decrypt: rows are joined, since a call per row costs more than the row."""
        out, into = self.source.pgconn, self.target.pgconn
        wire.command(self.source, Side.SOURCE, copy_out, self.patience, doing)
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
        result = wire.drain(out, self.patience)
        if result is None or result.status != pq.ExecStatus.COMMAND_OK:
            self.patience.check()
            with contextlib.suppress(psycopg.Error):
                into.put_copy_end(b"the source failed")
            raise wire.result_error(result, Side.SOURCE, doing)
        return result.command_tuples or 0, count

    def _listen(self, ready: dict[int, int], into: pq.abc.PGconn) -> None:
        if ready.get(into.socket):
            into.consume_input()
            raise _TargetSpoke

    def _put(self, data: bytes) -> None:
        into = self.target.pgconn
        self.patience.check()
        while into.put_copy_data(data) == 0:
            wire.flush(into, self.patience)
        while into.flush():
            ready = wire.wait(self.patience, {into.socket: select.POLLIN | select.POLLOUT})
            if ready[into.socket] & select.POLLIN:
                raise _TargetSpoke
        self.patience.moved()

    def _finish(self, doing: str) -> int:
        pgconn = self.target.pgconn
        try:
            pgconn.put_copy_end()
            wire.flush(pgconn, self.patience)
            result = wire.drain(pgconn, self.patience)
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


class _Stream:
    """One pass of rows between two sockets that libpq leaves alone meanwhile."""

    def __init__(
        self,
        source: socket.socket,
        target: socket.socket,
        buffers: tuple[bytearray, bytearray],
        patience: Patience,
        on_bytes: Callable[[int], None],
    ) -> None:
        self.source, self.target = source, target
        self.buffer, self._other = buffers
        self.view = memoryview(self.buffer)
        self._before = 0
        """Bytes of the other buffer that were passed on last: what this one holds follows them without a gap."""
        self._sent = 0
        self.patience, self.on_bytes = patience, on_bytes
        self._spoken = select.poll()
        self._spoken.register(target, select.POLLIN)
        self.filled = 0
        self.count = 0
        self._doing = ""

    def run(self, ending: Ending, doing: str) -> int:
        """Pass everything on up to the end; returns the source's row count."""
        self._doing = doing
        self._head()
        while True:
            end = ending.find(self.buffer, self.filled)
            if end:
                self._send(end.offset)
                return end.rows
            self._look_for_error()
            if self.filled >= self._sent + 2 * HOLD:
                self._send(self.filled - HOLD)
            if len(self.buffer) - self.filled < CHUNK // 2:
                self._turn_over()
            self._receive()

    def _turn_over(self) -> None:
        """Go on in the other buffer with what was held back; this one stays readable until the next time."""
        left = self.filled - self._sent
        self._other[:left] = self.view[self._sent : self.filled]
        self.buffer, self._other = self._other, self.buffer
        self.view = memoryview(self.buffer)
        self._before, self._sent, self.filled = self._sent, 0, left

    def _recent(self) -> bytes:
        """Return everything that is still known of the stream, the end last."""
        return bytes(memoryview(self._other)[: self._before]) + bytes(self.view[: self.filled])

    def salvage(self) -> EngineError | None:
        """Return what the source says at the end of its stream, read to its end; None when nothing of it is an error.

        For a target that was sent something else than rows. Waits no longer than a second.
        """
        until = time.monotonic() + _SALVAGE_SECONDS
        with contextlib.suppress(OSError):
            while time.monotonic() < until and (fields := find_error(self._recent())) is None:
                if self.filled == len(self.buffer):
                    self._sent = self.filled - HOLD  # to nobody: the target has failed
                    self._turn_over()
                poll = select.poll()
                poll.register(self.source, select.POLLIN)
                if not poll.poll(_QUIET_MILLISECONDS) or not self._take_in():
                    break
        fields = find_error(self._recent())
        return self._source_error(fields) if fields else None

    def _take_in(self) -> bool:
        count = self.source.recv_into(self.view[self.filled :])
        self.filled += count
        return count > 0

    def _head(self) -> None:
        """Take the source's messages up to and including CopyOutResponse off the front."""
        while True:
            while self.filled < 5:
                self._receive()
            kind, length = struct.unpack_from("!ci", self.buffer)
            if not 4 <= length <= CHUNK:
                raise ConnectionLost(say("The source sent something unexpected while {doing}.", doing=self._doing))
            while self.filled < length + 1:
                self._receive()
            body = bytes(self.view[5 : length + 1])
            rest = bytes(self.view[length + 1 : self.filled])
            self.buffer[: len(rest)] = rest
            self.filled = len(rest)
            if kind == b"E":
                raise self._source_error(error_fields(body) or {})
            if kind == b"H":
                return
            if kind not in b"SNA":
                raise ConnectionLost(say("The source sent something unexpected while {doing}.", doing=self._doing))

    def _look_for_error(self) -> None:
        """Raise when the source has ended the stream with an error.

        A row may look like one; but after the true one nothing more comes.
        """
        if not may_be_over(self.buffer, self.filled):
            return
        fields = find_error(self._recent())
        if fields is None:
            return
        poll = select.poll()
        poll.register(self.source, select.POLLIN)
        if not poll.poll(_QUIET_MILLISECONDS):
            raise self._source_error(fields)

    def _source_error(self, fields: dict[str, bytes]) -> EngineError:
        self.patience.check()
        state = fields.get("C", b"08006").decode(errors="replace")
        return server_error(state, wire.one_line(fields.get("M", b"no reason given")), Side.SOURCE, self._doing)

    def _receive(self) -> None:
        while True:
            try:
                count = self.source.recv_into(self.view[self.filled :])
            except BlockingIOError:
                ready = wire.wait(
                    self.patience, {self.source.fileno(): select.POLLIN, self.target.fileno(): select.POLLIN}
                )
                if ready.get(self.target.fileno()):
                    raise _TargetSpoke from None
                continue
            if count == 0:
                raise self._source_error(find_error(self._recent()) or {"M": b"the server closed the connection"})
            self.filled += count
            self.patience.check()
            self.patience.moved()
            return

    def _send(self, upto: int) -> None:
        """Send what the buffer holds before `upto` to the target."""
        size = upto - self._sent
        while self._sent < upto:
            try:
                self._sent += self.target.send(self.view[self._sent : upto])
            except BlockingIOError:
                ready = wire.wait(self.patience, {self.target.fileno(): select.POLLIN | select.POLLOUT})
                if ready[self.target.fileno()] & ~select.POLLOUT:
                    raise _TargetSpoke from None
                continue
            except ConnectionError:
                raise _TargetSpoke from None
            self.patience.moved()
        self.count += size
        self.on_bytes(size)
        if self._spoken.poll(0):  # a target that failed swallows the rest in silence
            raise _TargetSpoke
