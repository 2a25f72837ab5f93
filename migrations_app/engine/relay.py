"""Moves the rows of one COPY from the source's socket to the target's without looking at them.

CopyData frames are the same in both directions, so whole buffers pass from socket to socket. libpq logs in and starts
both statements; while the stream runs it must not touch either socket. The end is recognised by a random word that the
source sends after the rows; nothing that could belong to what follows the rows is ever passed on.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import select
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType

import psycopg
from psycopg import pq

from . import wire
from .connect import Connection, server_error, translate
from .errors import ConnectionLost, EngineError, TargetError
from .plan import Side
from .wire import Patience
from .wording import say

CHUNK = 256 * 1024
HOLD = 4096
"""Bytes at the end of what was read that are not passed on yet: longer than the end of a stream or an error."""
_JOIN = 128 * 1024
_READY = re.compile(rb"Z\x00\x00\x00\x05[ITE]\Z", re.DOTALL)
_QUIET_MILLISECONDS = 100


@dataclass(frozen=True)
class Copied:
    """What one COPY moved: rows by both servers' count, and bytes on the wire."""

    rows: int
    bytes: int


@dataclass(frozen=True)
class End:
    """Where the rows end in a buffer, and how many the source says it sent."""

    offset: int
    rows: int


class Ending:
    """Recognises the end of a stream: what the source sends after the last row of `COPY …; SELECT '<nonce>' AS nonce`.

    The nonce is not known to anybody who could have put it into a row.
    """

    def __init__(self, nonce: bytes) -> None:
        status = rb"(?:S\x00\x00..[^\x00]*\x00[^\x00]*\x00)*"
        self.pattern = re.compile(
            rb"c\x00\x00\x00\x04C....COPY ([0-9]+)\x00"
            rb"T....\x00\x01nonce\x00.{18}"
            rb"D....\x00\x01\x00\x00\x00" + bytes([len(nonce)]) + re.escape(nonce) + rb"C....SELECT 1\x00"
            rb"" + status + rb"Z\x00\x00\x00\x05[ITE]\Z",
            re.DOTALL,
        )

    def find(self, buffer: bytearray, filled: int) -> End | None:
        """Return the end when the buffer's first `filled` bytes end with it, else None."""
        if filled < 6 or buffer[filled - 6 : filled - 1] != b"Z\x00\x00\x00\x05":
            return None
        match = self.pattern.search(buffer, max(0, filled - HOLD), filled)
        return End(match.start(), int(match.group(1))) if match else None


def find_error(tail: bytes) -> dict[str, bytes] | None:
    """Return the fields of an ErrorResponse at the end of `tail` (ReadyForQuery may follow), else None."""
    end = len(tail) - 6 if _READY.search(tail) else len(tail)
    start = tail.find(b"E")
    while start >= 0:
        if start + 5 <= end and start + 1 + struct.unpack_from("!i", tail, start + 1)[0] == end:
            fields = error_fields(tail[start + 5 : end])
            if fields:
                return fields
        start = tail.find(b"E", start + 1)
    return None


def error_fields(body: bytes) -> dict[str, bytes] | None:
    """Return the fields of an ErrorResponse's body by their letter, None when it is not one."""
    if not body.endswith(b"\x00\x00") and body != b"\x00":
        return None
    fields = {part[:1].decode("latin-1"): part[1:] for part in body[:-2].split(b"\x00")}
    return fields if len(fields.get("C", b"")) == 5 and "M" in fields and "S" in fields else None


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
        self._buffer = bytearray(HOLD + CHUNK)
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
        stream = _Stream(source, target, self._buffer, self.patience, self.on_bytes)
        rows = stream.run(Ending(nonce.encode()), doing)
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
        buffer: bytearray,
        patience: Patience,
        on_bytes: Callable[[int], None],
    ) -> None:
        self.source, self.target = source, target
        self.buffer, self.view = buffer, memoryview(buffer)
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
            if self.filled >= 2 * HOLD:
                self._send(self.filled - HOLD)
                # At least as many bytes went as are kept, so the two places do not overlap.
                self.view[:HOLD] = self.view[self.filled - HOLD : self.filled]
                self.filled = HOLD
            self._receive()

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
        tail_at = max(0, self.filled - HOLD)
        if self.filled < 6 or not _READY.search(self.buffer, max(0, self.filled - 6), self.filled):
            return
        fields = find_error(bytes(self.view[tail_at : self.filled]))
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
                tail = bytes(self.view[max(0, self.filled - HOLD) : self.filled])
                raise self._source_error(find_error(tail) or {"M": b"the server closed the connection"})
            self.filled += count
            self.patience.check()
            self.patience.moved()
            return

    def _send(self, upto: int) -> None:
        """Send the buffer's first `upto` bytes to the target."""
        sent = 0
        while sent < upto:
            try:
                sent += self.target.send(self.view[sent:upto])
            except BlockingIOError:
                ready = wire.wait(self.patience, {self.target.fileno(): select.POLLIN | select.POLLOUT})
                if ready[self.target.fileno()] & ~select.POLLOUT:
                    raise _TargetSpoke from None
                continue
            except ConnectionError:
                raise _TargetSpoke from None
            self.patience.moved()
        self.count += upto
        self.on_bytes(upto)
        if self._spoken.poll(0):  # a target that failed swallows the rest in silence
            raise _TargetSpoke
