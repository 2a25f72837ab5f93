"""Streams of servers before 11, brought into the form of newer ones: whole transactions of pgoutput, TRUNCATE included.

What reads the stream afterwards sees no difference. Bytes in, bytes out, in frames of CopyData.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator

from ..wording import Sentence, say
from . import frames, test_decoding
from .gathered import Gathered, Gathering
from .named import NamedChanges
from .pgoutput import Begin, Commit, Insert, MalformedMessage, Message, Values, decode
from .pgoutput_form import framed
from .stream import Stream

_PIECE_BYTES = 256 << 10
_SIZE = struct.Struct("!I").unpack_from
_START = struct.Struct("!Q").unpack_from

Convert = Callable[[bytes], Iterator[bytes]]
"""Turns one frame into the frames that stand for it."""


class Translated:
    """A stream whose bytes are converted frame by frame. Everything else is the stream's own."""

    def __init__(self, stream: Stream, convert: Convert, midway: Callable[[], bool] = lambda: False) -> None:
        self._stream = stream
        self._convert = convert
        self._midway = midway
        self._parts: list[bytes] = []
        self._missing = 5
        self._ready: Iterator[bytes] = iter(())
        self._failure: Exception | None = None
        self.slot = stream.slot
        self.acknowledge, self.heard, self.ping, self.close = (
            stream.acknowledge,
            stream.heard,
            stream.ping,
            stream.close,
        )

    @property
    def descriptor(self) -> int | None:
        """What can be read as soon as there may be something to take."""
        return self._stream.descriptor

    @property
    def midway(self) -> bool:
        """Say whether a transaction has begun to arrive that cannot be given on before its end."""
        return self._midway()

    def take(self, timeout: float) -> bytes:
        """Return the next bytes; b"" when none came within `timeout` seconds, or nothing is complete yet.

        Raises EngineError when the line broke, or the stream cannot be understood.
        """
        if piece := self._next_piece():
            return piece
        data = self._stream.take(timeout)
        if data:
            self._ready = self._converted(data)
        return self._next_piece()

    def _next_piece(self) -> bytes:
        if self._failure is not None:
            raise self._failure
        parts: list[bytes] = []
        size = 0
        try:
            for part in self._ready:
                parts.append(part)
                size += len(part)
                if size >= _PIECE_BYTES:
                    break
        except Exception as failure:  # what came before it is good, and must not wait for it
            self._failure = failure
            if not parts:
                raise
        return b"".join(parts)

    def _converted(self, data: bytes) -> Iterator[bytes]:
        self._parts.append(data)
        self._missing -= len(data)
        if self._missing > 0:  # a large frame is put together only once
            return
        data, self._parts, at = b"".join(self._parts), [], 0
        while at + 5 <= len(data) and (end := at + 1 + _SIZE(data, at + 1)[0]) <= len(data):
            frame, at = data[at:end], end
            if frame[0] == frames.DATA:
                yield from self._convert(frame)
            else:
                yield frame  # the end of the stream, with or without an error
        rest = data[at:]
        wanted = 1 + _SIZE(rest, 1)[0] if len(rest) >= 5 else 5
        self._parts, self._missing = [rest] if rest else [], wanted - len(rest)


class FromTestDecoding:
    """Converts the frames of test_decoding. `log`: name of the table (schema, name) in which TRUNCATE is noted."""

    def __init__(self, named: NamedChanges, gathering: Gathering, encoding: str, log: tuple[str, str]) -> None:
        self._named = named
        self._gathering = gathering
        self._encoding = encoding
        self._log = log

    def __call__(self, frame: bytes) -> Iterator[bytes]:
        """Yield the frames of every transaction that this frame completes, and keepalives."""
        if frame[5:6] == b"k":
            # A place inside a transaction says nothing about what comes after it.
            yield frame[:6] + bytes(8) + frame[14:] if self._gathering.midway else frame
            return
        if frame[5:6] != b"w" or len(frame) <= frames.MESSAGE:
            raise test_decoding.MalformedMessage(_unknown(frame))
        whole = self._gathering.take(frame[frames.MESSAGE :], _START(frame, 6)[0])
        if whole is not None:
            yield from self._transaction(whole)

    def _transaction(self, whole: Gathered) -> Iterator[bytes]:
        self._named.final = whole.final_lsn
        try:
            yield framed(Begin(whole.final_lsn, whole.timestamp, whole.xid), self._encoding, whole.end_lsn)
            noted: list[int] = []
            for message in whole.messages():
                if (oid := self._note(message)) is not None:
                    noted.append(oid)
                    continue
                yield from self._frames(self._named.emptied(noted))
                noted.clear()
                yield from self._frames(self._named.messages(message))
            yield from self._frames(self._named.emptied(noted))
            yield framed(Commit(0, whole.final_lsn, whole.end_lsn, whole.timestamp), self._encoding, whole.end_lsn)
        finally:
            whole.close()

    def _frames(self, messages: list[Message]) -> Iterator[bytes]:
        return (framed(message, self._encoding) for message in messages)

    def _note(self, message: bytes) -> int | None:
        """Return the oid in a row of the log, None for any other change."""
        if not message.startswith(b"table towpath."):
            return None
        change = test_decoding.read(message, 0, self._encoding)
        if not isinstance(change, test_decoding.Change) or (change.schema, change.name) != self._log:
            return None
        return _oid(change.new.values if change.new else [], message)


def _oid(values: Values, message: bytes) -> int:
    """Return what a row of the log notes. Raises MalformedMessage."""
    try:
        return int(values[0] or b"")
    except (IndexError, ValueError) as error:
        raise MalformedMessage(_unknown(message)) from error


def _unknown(frame: bytes) -> Sentence:
    return say("The source sent an unknown replication message: {data}", data=f"{frame[5:54]!r}")


class WithNotes:
    """Converts the frames of pgoutput on 10: rows of the log of emptied tables become truncations."""

    def __init__(self, named: NamedChanges, encoding: str, log_oid: int) -> None:
        self._named = named
        self._encoding = encoding
        self._log_oid = log_oid
        self._noted: list[int] = []

    def __call__(self, frame: bytes) -> Iterator[bytes]:
        """Yield the frame, or what it notes: rows that follow each other are one truncation."""
        oid = self._note(frame)
        if oid is not None:
            self._noted.append(oid)
            return
        if self._noted and frame[5:6] == b"w":
            noted, self._noted = self._noted, []
            for message in self._named.emptied(noted):
                yield framed(message, self._encoding)
        yield frame

    def _note(self, frame: bytes) -> int | None:
        if frame[5:6] != b"w" or frame[frames.MESSAGE : frames.MESSAGE + 1] != b"I":
            return None
        if int.from_bytes(frame[frames.MESSAGE + 1 : frames.MESSAGE + 5]) != self._log_oid:
            return None
        message = decode(frame[frames.MESSAGE :], 0, self._encoding)
        return _oid(message.new if isinstance(message, Insert) else [], frame)
