"""Receives a logical replication stream, and has a thread of its own tell the source how far we are.

libpq logs in; the stream itself is read from its socket as it comes, since a call per message costs more than to read
the message. Sessions of ours are plain sockets: where TLS or a bastion stands between, that is the forwarder's work.
What nobody reads waits in the buffers of the system, and the source with it; it listens to us all the same.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import struct
import threading
import time
from collections.abc import Callable

from ..connect import Connection, server_error
from ..endings import error_fields
from ..errors import ConnectionLost, EngineError, SlotLost, SourceError, SourceStumbled
from ..failpoints import durable
from ..lsn import format_lsn
from ..names import literal, quote
from ..patience import patience_with
from ..plan import Side
from ..row_sizes import is_too_large
from ..wire import one_line
from ..wording import say

_FEEDBACK = struct.Struct("!cicQQQqB")
_HEAD = struct.Struct("!cI")
_TEST_DECODING = "\"include-timestamp\" 'on', \"skip-empty-xacts\" 'on'"  # both are known since 9.4
_READ_BYTES = 256 << 10
_FEEDBACK_SECONDS = 2.0  # before 12 the source's own wal_sender_timeout counts, and it may be short
_SILENT_SECONDS = 15.0
_TURN_SECONDS = 3.0
_EPOCH_2000 = 946_684_800
_GOODBYE_SECONDS = 0.5
_COPY_DONE = b"c\x00\x00\x00\x04"
_READY = b"Z\x00\x00\x00\x05I"
_DOING = say("receiving changes")
_INTERNAL = "XX000"
_STUMBLED = say(
    "This is a fault of the source's server, and nothing was skipped. Where a new session meets it again, press "
    "Restart with new copy. It comes of a transaction that changed a table, took that back to a savepoint and changed "
    "the table again, or of a table that was changed or emptied while the slot was made beside long transactions: end "
    "those before the new copy."
)


class SlotBusy(ConnectionLost):
    """Another session reads the slot."""


def start_command(slot: str, publication: str, position: int, *, binary: bool = False) -> str:
    """Return the command that starts streaming `slot` after `position`, with all values in text or in binary form.

    Without a publication the slot is one of test_decoding.
    """
    if publication:
        names = literal(quote(publication))
        options = f"proto_version '1', publication_names {names}" + (", binary 'true'" if binary else "")
    else:
        options = _TEST_DECODING
    return f"START_REPLICATION SLOT {quote(slot)} LOGICAL {format_lsn(position)} ({options})"


def stream_error(state: str, words: str, slot: str) -> EngineError:
    """Return our error for a refused or broken stream."""
    again = say("Press Restart with new copy: it removes what is ours and begins anew.")
    if state == "55000":
        return SlotLost(
            say("The source cannot give the changes of slot {slot} any more: {words}", slot=slot, words=words),
            hint=again,
        )
    if state == "42704":
        return SlotLost(
            say("The slot {slot} or its publication is gone from the source: {words}", slot=slot, words=words),
            hint=again,
            code="SRC-SLOTGONE",
        )
    if state == "55006":
        return SlotBusy(say("The slot {slot} is being read by another session: {words}", slot=slot, words=words))
    failure = server_error(state or "08006", words, Side.SOURCE, _DOING)
    if state == _INTERNAL and not is_too_large(failure):
        stumbled = SourceStumbled(failure.message, hint=_STUMBLED)
        stumbled.sqlstate = state
        return stumbled
    return failure


class Stream:
    """One running stream. `close`, and everything else that is public, is called by one thread.

    A thread of its own tells the source every few seconds that we live, also while nobody reads. Nothing but what was
    given to `acknowledge` is ever confirmed to the source.
    """

    def __init__(self, connection: Connection, line: socket.socket, slot: str, position: int, first: bytes) -> None:
        self._connection = connection
        self._line = line
        self.slot = slot
        self._first = first
        self._durable = position
        self._received = position
        self._due = threading.Event()
        self._error: EngineError | None = None
        self._closing = False
        self._ping = False
        self._patience = patience_with(connection, lambda: None, believing=True)
        self._heard_at = self._asked_at = time.monotonic()
        self._poll = select.poll()
        self._poll.register(line, select.POLLIN)
        self._thread = threading.Thread(target=self._run, name=f"stream {slot}", daemon=True)

    midway = False
    """Whether a transaction has begun to arrive that cannot be given on before its end: here none has to wait."""

    @property
    def descriptor(self) -> int | None:
        """What can be read as soon as there is something to take."""
        return self._line.fileno()

    def start(self) -> None:
        """Start telling the source how far we are."""
        self._thread.start()

    def take(self, timeout: float) -> bytes:
        """Return the next bytes of the stream, cut anywhere; b"" when none came within `timeout` seconds.

        Raises EngineError when the line broke.
        """
        if self._first:
            data, self._first = self._first, b""
            return data
        if self._error is not None:
            raise self._error
        try:
            if timeout > 0 and not self._poll.poll(timeout * 1000):
                self._listened()
                return b""
            data = self._line.recv(_READ_BYTES)
        except BlockingIOError:
            return b""
        except OSError as error:
            raise _lost(error) from error
        if not data:
            raise ConnectionLost(
                say("The source ended the stream of changes."), hint=say("It is taken up again from the kept position.")
            )
        self._heard()
        return data

    def _heard(self) -> None:
        self._heard_at = self._asked_at = time.monotonic()
        self._patience.moved()

    def _listened(self) -> None:
        """Note that nothing came. Raises ConnectionLost when the source does not even answer when it is asked."""
        now = time.monotonic()
        if now - self._asked_at > _TURN_SECONDS:
            self._heard()  # nobody listened meanwhile: that silence was ours
        self._asked_at = now
        if now - self._heard_at > _SILENT_SECONDS:
            self.ping()  # an idle source says nothing by itself for minutes
            self._patience.waited()
            self._asked_at = time.monotonic()

    def acknowledge(self, position: int) -> None:
        """Tell the source that everything before `position` is durable on the target."""
        if position > self._durable:
            self._durable = position
            self._due.set()

    def heard(self, wal_end: int, *, urgent: bool) -> None:
        """Take note of a keepalive of the source; `urgent`: it waits for our answer."""
        self._received = max(self._received, wal_end)
        if urgent:
            self._due.set()

    def ping(self) -> None:
        """Ask the source how far it has read; its answer arrives as a keepalive in stream order."""
        self._ping = True
        self._due.set()

    def close(self) -> None:
        """End the stream with the last acknowledged position told, and close the connection. Idempotent."""
        self._closing = True
        self._due.set()
        if self._thread.ident is not None:
            self._thread.join(10)
        with contextlib.suppress(EngineError, OSError):
            if not self._connection.closed and not self._thread.is_alive() and self._error is None:
                self._say_goodbye()
        self._connection.close()
        self._line.close()

    def _say_goodbye(self) -> None:
        # Ending the copy properly frees the slot at once; a source in the midst of a huge transaction does not listen,
        # and is left by closing the socket.
        self._send_feedback(reply=False)
        send(self._line, _COPY_DONE, _GOODBYE_SECONDS)
        deadline = time.monotonic() + _GOODBYE_SECONDS
        tail = b""
        while time.monotonic() < deadline and tail != _READY:
            try:
                data = self._line.recv(_READ_BYTES)
            except BlockingIOError:
                select.select([self._line], [], [], 0.05)
                continue
            if not data:
                return
            tail = (tail + data)[-len(_READY) :]

    def _run(self) -> None:
        try:
            while not self._closing:
                self._due.clear()
                self._send_feedback(reply=self._ping)
                self._due.wait(_FEEDBACK_SECONDS)
        except EngineError as error:
            self._error = error
        except OSError as error:
            self._error = _lost(error)

    @durable("source.confirm")
    def _send_feedback(self, *, reply: bool) -> None:
        self._ping = self._ping and not reply
        durable = self._durable
        moment = int((time.time() - _EPOCH_2000) * 1_000_000)
        written = max(self._received, durable)
        size = _FEEDBACK.size - 1
        send(self._line, _FEEDBACK.pack(b"d", size, b"r", written, durable, durable, moment, int(reply)), 60.0)


def _lost(error: OSError) -> ConnectionLost:
    return ConnectionLost(
        say("Lost the connection to the source while receiving changes: {error}", error=error.strerror or str(error))
    )


def send(line: socket.socket, data: bytes, seconds: float) -> None:
    """Send all of `data`. Raises ConnectionLost when the other end takes nothing for `seconds`; OSError."""
    deadline = time.monotonic() + seconds
    while data:
        try:
            data = data[line.send(data) :]
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise ConnectionLost(
                    say(
                        "The source took nothing for {seconds} seconds while receiving changes.", seconds=round(seconds)
                    )
                ) from None
            select.select([], [line], [], 0.5)


def open_stream(
    connection: Connection,
    slot: str,
    publication: str,
    position: int,
    *,
    binary: bool = False,
    check: Callable[[], None] = lambda: None,
) -> Stream:
    """Start streaming `slot` after `position` on a replication session, which the stream owns from then on.

    Raises SlotBusy, SlotLost or another EngineError for what the source says, or what `check` raises; the session then
    stays as it is.
    """
    line = socket.socket(fileno=os.dup(connection.pgconn.socket))
    try:
        line.setblocking(False)
        command = start_command(slot, publication, position, binary=binary).encode() + b"\x00"
        send(line, _HEAD.pack(b"Q", len(command) + 4) + command, 60.0)
        first = _read_start(line, slot, check)
    except OSError as error:
        line.close()
        raise _lost(error) from error
    except BaseException:
        line.close()
        raise
    stream = Stream(connection, line, slot, position, first)
    stream.start()
    return stream


def _read_start(line: socket.socket, slot: str, check: Callable[[], None]) -> bytes:
    """Read the answer to the command that starts a stream; returns what came behind it."""
    buffer, failure = b"", None
    while True:
        while len(buffer) >= 5:
            kind, size = _HEAD.unpack_from(buffer)
            if len(buffer) <= size:
                break
            body, buffer = buffer[5 : size + 1], buffer[size + 1 :]
            if kind == b"W":
                return buffer
            if kind == b"E":
                failure = reported(body, slot)
            elif kind == b"Z":
                raise failure or SourceError(
                    say("The source did not start the stream of changes."), code="SRC-PROTOCOL"
                )
            elif kind not in b"SNA":
                raise SourceError(
                    say("The source answered something unknown: {kind}", kind=f"{kind!r}"), code="SRC-PROTOCOL"
                )
        readable, _, _ = select.select([line], [], [], 0.5)
        check()
        if readable:
            data = line.recv(_READ_BYTES)
            if not data:
                raise failure or ConnectionLost(say("The source closed the connection instead of starting the stream."))
            buffer += data


def reported(body: bytes, slot: str) -> EngineError:
    """Return our error for the body of an ErrorResponse of the source."""
    fields = error_fields(body) or {}
    words = one_line(fields.get("M", b"no reason given"))
    return stream_error(fields.get("C", b"").decode("ascii", "replace"), words, slot)
