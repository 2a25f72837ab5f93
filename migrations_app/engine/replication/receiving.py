"""Receives a stream into the spool in a thread of its own, and gives from there to whoever applies it.

The source is confirmed what is durable in the spool, however long the target stands still. Who applies sees one stream:
first what the spool holds, from the bookmark on, then what comes behind it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

from ..errors import ConnectionLost, EngineError, Interrupted, WorkerFull
from ..wording import say
from . import frames, spool_form
from .spool import Spool
from .spool_form import Frame
from .stream import Stream, reported
from .translated import Translated

_TAKE_SECONDS = 0.1
_SYNC_SECONDS = 0.2
"""The source is confirmed nothing younger: that many seconds of WAL are kept by it as well."""

_TELL_SECONDS = 1.0
ROOM_BYTES = 1 << 20
"""Receiving ends when the spool has not so much room."""

_ENDS = ord("E")


class SpoolTurn(Interrupted):
    """The stream has to be opened anew: changes are to go through the spool from now on, or no longer."""


class Receiver:
    """Moves a stream into the spool until it is told to stop, there is no room, or an error.

    `running` False: what it took and did not write is in `rest`, and the stream belongs to who applies. `error`: what
    ended it. `tell` hears about every second how far it is, and at the end.
    """

    def __init__(
        self,
        stream: Stream | Translated,
        spool: Spool,
        begins: int,
        epoch: int,
        *,
        wanted: Callable[[], bool],
        tell: Callable[[], None],
    ) -> None:
        self._stream, self._spool, self._epoch = stream, spool, epoch
        self._wanted, self._tell = wanted, tell
        self._relations: dict[int, bytes] = {}  # as tables stood where the last whole transaction ended
        self._further: dict[int, bytes] = {}  # what has been told of them since
        self._in_transaction = False
        self._ends = self._synced = begins
        self._synced_at = self._told_at = time.monotonic()
        self._stop = threading.Event()
        self._parts: list[bytes] = []
        self._missing = 0
        self.rest = b""
        self.error: Exception | None = None
        self.running = True
        self.full = False
        spool.begin(begins, epoch)
        self._thread = threading.Thread(target=self._run, name=f"spool {stream.slot}", daemon=True)

    def start(self) -> None:
        """Begin to receive."""
        self._thread.start()

    def close(self) -> None:
        """Stop and wait for the end. Idempotent."""
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join(60)

    def check(self) -> None:
        """Raise what ended it."""
        if self.error is not None:
            raise self.error

    def _run(self) -> None:
        try:
            self._receive()
        except OSError:
            self.error = WorkerFull(self._spool.folder)
        except Exception as error:  # whoever applies raises it
            self.error = error
        finally:
            self._spool.close()
            self.running = False
            with self._spool.grown:
                self._spool.grown.notify_all()

    def _receive(self) -> None:
        while not self._stop.is_set() and self._wanted():
            if not self._spool.has_room(ROOM_BYTES):
                self.full = True
                break
            data = self._stream.take(_TAKE_SECONDS)
            if data:
                self._take(data)
            now = time.monotonic()
            if self._ends > self._synced and (now - self._synced_at >= _SYNC_SECONDS or not data):
                self._confirm()
            if now - self._told_at >= _TELL_SECONDS:
                self._told_at = now
                self._tell()
        self.rest = b"".join(self._parts)
        self._confirm()
        self._tell()

    def _take(self, data: bytes) -> None:
        """Take more bytes, cut anywhere. A large message is put together only once."""
        self._parts.append(data)
        self._missing -= len(data)
        if self._missing > 0:
            return
        whole = b"".join(self._parts)
        rest = whole[self._keep(whole) :]
        self._parts = [rest] if rest else []
        self._missing = spool_form.length_of(rest) - len(rest)

    def _confirm(self) -> None:
        """Make durable what was written, and only then let the source forget it."""
        self._synced = self._spool.sync()
        self._synced_at = time.monotonic()
        self._stream.acknowledge(self._synced)

    def _keep(self, data: bytes) -> int:
        """Write whole messages: up to the end of the last transaction, and what there is of the next. Return where
        they end."""
        complete = end = 0
        for message in spool_form.messages(data):
            if message.mark != frames.DATA:
                raise self._ended(message.mark, data[message.at + 5 : message.end])
            if self._passes(data, message):
                complete = message.end
                self._relations |= self._further
                self._further.clear()
            end = message.end
        if complete:
            self._spool.write(data[:complete], self._ends)
            if self._spool.wants_another_file:
                self._confirm()
                self._spool.begin(self._ends, self._epoch, b"".join(self._relations.values()))
        if end > complete:
            self._spool.write(data[complete:end], 0)
        return end

    def _passes(self, data: bytes, message: spool_form.Message) -> bool:
        """Take note of a message. True when everything that committed before `_ends` is there with it."""
        kind = message.kind
        if kind == frames.COMMIT:
            self._in_transaction = False
            self._ends = max(self._ends, spool_form.ends_at(data, message))
            return True
        if kind == frames.BEGIN:
            self._in_transaction = True
        elif kind == frames.RELATION:
            self._further[spool_form.table_of(data, message)] = data[message.at : message.end]
        elif kind == frames.KEEPALIVE:
            reached, urgent = spool_form.wal_end(data, message)
            self._stream.heard(reached, urgent=urgent)
            if not self._in_transaction and reached > self._ends:
                self._ends = reached
                return True
        return False

    def _ended(self, mark: int, body: bytes) -> EngineError:
        if mark == _ENDS:
            return reported(body, self._stream.slot)
        return ConnectionLost(
            say("The source ended the stream of changes."), hint=say("It is taken up again from the kept position.")
        )


class Skipping:
    """Leaves out of a stream what the target has already, but for the descriptions of tables that follow needs."""

    def __init__(self, position: int) -> None:
        self.position = position
        self._relations: dict[int, bytes] = {}
        self._in_transaction = False
        self._over = False

    def take(self, data: bytes) -> bytes:
        """Return what is left of whole messages."""
        if self._over:
            return data
        for message in spool_form.messages(data):
            if self._is_first(data, message):
                return self.end() + data[message.at :]
            if message.kind == frames.RELATION:
                self._relations[spool_form.table_of(data, message)] = data[message.at : message.end]
        return b""

    def end(self) -> bytes:
        """Return the descriptions that were kept back: everything from now on is new. Idempotent."""
        kept, self._relations, self._over = b"".join(self._relations.values()), {}, True
        return kept

    def _is_first(self, data: bytes, message: spool_form.Message) -> bool:
        """Say whether everything from this message on is new."""
        if message.kind == frames.BEGIN:
            self._in_transaction = True
            return spool_form.begins_at(data, message) >= self.position
        if message.kind == frames.COMMIT:
            self._in_transaction = False
        if message.kind == frames.KEEPALIVE and not self._in_transaction:
            return spool_form.wal_end(data, message)[0] >= self.position
        return False


class SpooledStream:
    """The stream as who applies it sees it. `receiver` None: nothing is received before the spool has been read."""

    midway = False

    def __init__(self, stream: Stream | Translated, spool: Spool, receiver: Receiver | None) -> None:
        self._stream, self._spool = stream, spool
        self.receiver = receiver
        self.slot = stream.slot
        self._frames: Iterator[Frame | None] = spool.read()
        self._skipping = Skipping(0)
        self._told: Callable[[], None] = lambda: None
        self.live = False
        """Whether the spool has been read to its end, and everything comes from the source."""

    @property
    def descriptor(self) -> int | None:
        """What can be read as soon as there is something to take; None while that is the spool."""
        return self._stream.descriptor if self.live else None

    def begin(self, position: int, told: Callable[[], None]) -> None:
        """Give what committed after `position`. `told` is called when more of it is on the target."""
        self._skipping, self._told = Skipping(position), told
        self._spool.applied(position)

    def take(self, timeout: float) -> bytes:
        """Return the next bytes; b"" when none came within `timeout` seconds. Raises EngineError."""
        deadline = time.monotonic() + timeout
        while not self.live:
            running = self.receiver is not None and self.receiver.running
            frame = next(self._frames)
            if frame is not None:
                if data := self._skipping.take(frame.payload):
                    return data
                continue
            if self.receiver is not None:
                self.receiver.check()
            if not running:
                return self._go_live()
            left = deadline - time.monotonic()
            if left <= 0:
                return b""
            with self._spool.grown:
                self._spool.grown.wait(min(left, _TAKE_SECONDS))
        return self._stream.take(timeout)

    def _go_live(self) -> bytes:
        if self._skipping.position > self._spool.reached:
            raise SpoolTurn  # what comes now may be on the target already
        self.live = True
        # One stream describes a table once: it may have done so for nothing but what was left out.
        return self._skipping.end() + (self.receiver.rest if self.receiver is not None else b"")

    def acknowledge(self, position: int) -> None:
        """Take note that everything before `position` is durable on the target."""
        self._spool.applied(position)
        if self.live:
            self._stream.acknowledge(position)
        self._told()

    def heard(self, wal_end: int, *, urgent: bool) -> None:
        """Take note of a keepalive. Those of the spool were answered when they came."""
        if self.live:
            self._stream.heard(wal_end, urgent=urgent)

    def ping(self) -> None:
        """Ask the source how far it has read."""
        self._stream.ping()

    def close(self) -> None:
        """End receiving and the stream. Idempotent."""
        if self.receiver is not None:
            self.receiver.close()
        self._stream.close()
        self._spool.close()
