"""One pass of rows from socket to socket, for which libpq has logged in and started both statements.

CopyData frames are the same in both directions, so whole buffers go over without a look at the rows; only where a
buffer ends like a stream is it looked at (`endings`).
"""

from __future__ import annotations

import contextlib
import select
import socket
import struct
import time
from collections.abc import Callable

from . import wire
from .connect import server_error
from .endings import HOLD, Ending, error_fields, find_error, may_be_over
from .errors import ConnectionLost, EngineError
from .plan import Side
from .wire import Patience
from .wording import say

CHUNK = 256 * 1024
BUFFER = 2 * CHUNK
"""Bytes of each of a relay's two buffers. What was passed on stays there for a while: a long error begins there."""
_QUIET_MILLISECONDS = 100
_UNKNOWN_MILLISECONDS = 1000
_SALVAGE_SECONDS = 1.0


class TargetSpoke(Exception):
    """The target sent something while it should only listen: it reports an error, or it has gone."""


class Passage:
    """One pass of rows between two sockets that libpq leaves alone meanwhile.

    `at_work` says whether the source's server still works on the COPY; None when nobody can tell now.
    """

    def __init__(
        self,
        source: socket.socket,
        target: socket.socket,
        buffers: tuple[bytearray, bytearray],
        patience: Patience,
        on_bytes: Callable[[int], None],
        at_work: Callable[[], bool | None] = lambda: False,
    ) -> None:
        self.source, self.target = source, target
        self._at_work = at_work
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

        A row may look like one, and a slow source may fall silent right behind it. So after a moment of silence the
        server is asked, through another session: one that has reported an error does not work on the statement any
        more before it says so (`at_work`: whether it does, None when nobody can tell). Then more is waited for.
        """
        if not may_be_over(self.buffer, self.filled):
            return
        fields = find_error(self._recent())
        if fields is None:
            return
        poll = select.poll()
        poll.register(self.source, select.POLLIN)
        while not poll.poll(_QUIET_MILLISECONDS):
            at_work = self._at_work()
            if at_work is False:
                raise self._source_error(fields)
            if at_work or poll.poll(_UNKNOWN_MILLISECONDS):
                return
            self.patience.waited()

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
                    raise TargetSpoke from None
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
                    raise TargetSpoke from None
                continue
            except ConnectionError:
                raise TargetSpoke from None
            self.patience.moved()
        self.count += size
        self.on_bytes(size)
        if self._spoken.poll(0):  # a target that failed swallows the rest in silence
            raise TargetSpoke
