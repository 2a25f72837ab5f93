"""Receives a logical replication stream in a thread of its own, so that the source hears from us however slow the
target is, and hands the messages over through a queue that is bounded by bytes.
"""

from __future__ import annotations

import contextlib
import select
import socket
import struct
import threading
import time
from collections import deque
from typing import NamedTuple

import psycopg
from psycopg import pq

from ..connect import Connection, translate
from ..errors import ConnectionLost, EngineError, SlotLost, SourceError
from ..lsn import format_lsn
from ..names import literal, quote
from ..plan import Side

HEADER_SIZE = 25
"""Bytes before the plugin's message in an item of the stream: `w`, start, end and time."""

_FEEDBACK = struct.Struct("!cQQQqB")
_KEEPALIVE = struct.Struct("!cQqB")
_QUEUE_BYTES = 8 << 20
_BURST_BYTES = 256 << 10
_FEEDBACK_SECONDS = 10.0
_EPOCH_2000 = 946_684_800
_GOODBYE_SECONDS = 0.5


class Keepalive(NamedTuple):
    """The source has sent everything that committed before `wal_end`; `urgent`: it waits for our answer."""

    wal_end: int
    urgent: bool


Item = bytes | Keepalive


def start_command(slot: str, publication: str, position: int) -> str:
    """Return the command that starts streaming `slot` after `position`."""
    names = literal(quote(publication))
    return (
        f"START_REPLICATION SLOT {quote(slot)} LOGICAL {format_lsn(position)} "
        f"(proto_version '1', publication_names {names})"
    )


def stream_error(state: str, words: str, slot: str) -> EngineError | None:
    """Return our error for a refused or broken stream, or None when `state` says nothing special about slots."""
    again = (
        "Changes since the last kept position are no longer on the source: start the migration again with a new copy."
    )
    if state == "55000":
        return SlotLost(f"The source cannot give the changes of slot {slot} any more: {words}", hint=again)
    if state == "42704":
        return SlotLost(
            f"The slot {slot} or its publication is gone from the source: {words}", hint=again, code="SRC-SLOTGONE"
        )
    return None


class Stream:
    """One running stream. `take` is called by one thread; `acknowledge`, `ping` and `close` by the same one.

    The reader thread alone touches the connection until `close`. Nothing but what was given to `acknowledge` is ever
    confirmed to the source.
    """

    def __init__(self, connection: Connection, slot: str, position: int) -> None:
        self._connection = connection
        self._pg = connection.pgconn
        self._slot = slot
        self._durable = position
        self._received = position
        self._ready = threading.Condition()
        self._chunks: deque[tuple[list[Item], int]] = deque()
        self._queued = 0
        self._error: BaseException | None = None
        self._closing = False
        self._ping = False
        self._feedback_due = 0.0
        self._wake_read, self._wake_write = socket.socketpair()
        self._wake_write.setblocking(False)
        self._poll = select.poll()
        self._poll.register(self._pg.socket, select.POLLIN)
        self._poll.register(self._wake_read, select.POLLIN)
        self._thread = threading.Thread(target=self._run, name=f"stream {slot}", daemon=True)

    def start(self) -> None:
        """Start receiving. The connection is already in COPY_BOTH."""
        self._thread.start()

    def take(self, timeout: float) -> list[Item]:
        """Return the next items, [] when none came within `timeout` seconds.

        Raises what ended the stream, after everything received before it was taken.
        """
        with self._ready:
            if not self._chunks and self._error is None and timeout > 0:
                self._ready.wait(timeout)
            if self._chunks:
                items, size = self._chunks.popleft()
                self._queued -= size
                self._ready.notify_all()
                return items
            if self._error is not None:
                raise self._error
        return []

    def acknowledge(self, position: int) -> None:
        """Tell the source that everything before `position` is durable on the target."""
        if position > self._durable:
            self._durable = position
            self._hurry()

    def ping(self) -> None:
        """Ask the source how far it has read; its answer arrives as a Keepalive in stream order."""
        self._ping = True
        self._hurry()

    def _hurry(self) -> None:
        self._feedback_due = 0.0
        with contextlib.suppress(OSError):
            self._wake_write.send(b"x")
        with self._ready:
            self._ready.notify_all()

    def close(self) -> None:
        """End the stream with the last acknowledged position told, and close the connection. Idempotent."""
        self._closing = True
        self._hurry()
        if self._thread.ident is not None:
            self._thread.join(10)
        with contextlib.suppress(psycopg.Error, OSError):
            if not self._connection.closed and not self._thread.is_alive():
                self._say_goodbye()
        self._connection.close()
        self._wake_read.close()
        self._wake_write.close()

    def _say_goodbye(self) -> None:
        # Ending the copy properly frees the slot at once; a source in the midst of a huge transaction does not listen,
        # and is left by closing the socket.
        if self._pg.transaction_status != pq.TransactionStatus.ACTIVE:
            return
        self._send_feedback(reply=False)
        self._pg.put_copy_end()
        deadline = time.monotonic() + _GOODBYE_SECONDS
        while time.monotonic() < deadline:
            self._pg.flush()
            size, _ = self._pg.get_copy_data(1)
            if size < 0:
                return
            if size == 0:
                select.select([self._pg.socket], [], [], 0.05)
                self._pg.consume_input()

    def _run(self) -> None:
        try:
            while not self._closing:
                if time.monotonic() >= self._feedback_due:
                    self._send_feedback(reply=self._ping)
                chunk, size = self._read_burst()
                if chunk:
                    self._put(chunk, size)
                else:
                    self._wait()
        except BaseException as error:
            self._fail(error)

    def _fail(self, error: BaseException) -> None:
        if isinstance(error, psycopg.Error):
            error = stream_error(error.sqlstate or "", str(error), self._slot) or translate(
                error, Side.SOURCE, "receiving changes"
            )
        elif isinstance(error, OSError):
            error = ConnectionLost(f"Lost the connection to the source while receiving changes: {error}")
        with self._ready:
            self._error = error
            self._ready.notify_all()

    def _wait(self) -> None:
        seconds = max(0.0, self._feedback_due - time.monotonic())
        for descriptor, _ in self._poll.poll(min(seconds, _FEEDBACK_SECONDS) * 1000):
            if descriptor == self._wake_read.fileno():
                self._wake_read.recv(4096)
            else:
                self._pg.consume_input()

    def _read_burst(self) -> tuple[list[Item], int]:
        chunk: list[Item] = []
        total = 0
        get = self._pg.get_copy_data
        while total < _BURST_BYTES:
            size, buffer = get(1)
            if size > 0:
                chunk.append(self._item(bytes(buffer)))
                total += size
            elif size == 0:
                break
            else:
                self._ended(chunk, total)
        return chunk, total

    def _item(self, data: bytes) -> Item:
        if data[0] == 0x77:  # w: the plugin's message
            return data
        if data[0] != 0x6B or len(data) != _KEEPALIVE.size:
            raise SourceError(f"The source sent an unknown replication message: {data[:24]!r}", code="SRC-PROTOCOL")
        _, wal_end, _, urgent = _KEEPALIVE.unpack(data)
        self._received = max(self._received, wal_end)
        if urgent:
            self._feedback_due = 0.0
        return Keepalive(wal_end, bool(urgent))

    def _ended(self, chunk: list[Item], size: int) -> None:
        """Raise the reason: an error inside a stream looks like its end until the result is fetched."""
        if chunk:
            self._put(chunk, size)
        result = self._pg.get_result()
        if result is not None and result.status == pq.ExecStatus.FATAL_ERROR:
            raise psycopg.errors.error_from_result(result, encoding=self._connection.info.encoding)
        raise ConnectionLost(
            "The source ended the stream of changes.", hint="It is taken up again from the kept position."
        )

    def _put(self, chunk: list[Item], size: int) -> None:
        with self._ready:
            self._chunks.append((chunk, size))
            self._queued += size
            self._ready.notify_all()
        while self._queued > _QUEUE_BYTES and not self._closing:
            if time.monotonic() >= self._feedback_due:
                self._send_feedback(reply=False)
            with self._ready:
                if self._queued > _QUEUE_BYTES and not self._closing:
                    self._ready.wait(max(0.01, self._feedback_due - time.monotonic()))

    def _send_feedback(self, *, reply: bool) -> None:
        self._ping = self._ping and not reply
        self._feedback_due = time.monotonic() + _FEEDBACK_SECONDS
        durable = self._durable
        moment = int((time.time() - _EPOCH_2000) * 1_000_000)
        written = max(self._received, durable)
        self._pg.put_copy_data(_FEEDBACK.pack(b"r", written, durable, durable, moment, int(reply)))
        while self._pg.flush():
            select.select([], [self._pg.socket], [], 1.0)


def open_stream(connection: Connection, slot: str, publication: str, position: int) -> Stream:
    """Start streaming `slot` after `position` on a replication session, which the stream owns from then on.

    Raises SlotLost, or psycopg.Error when the slot is busy or the session is lost; the session then stays as it is.
    """
    try:
        connection.execute(start_command(slot, publication, position).encode())
    except psycopg.Error as error:
        special = stream_error(error.sqlstate or "", str(error.diag.message_primary or error), slot)
        if special:
            raise special from error
        raise
    stream = Stream(connection, slot, position)
    stream.start()
    return stream
