"""How a raw COPY stream ends: with its last row and our own word, or with what the server says went wrong.

The messages are those of the frontend/backend protocol, version 3 (PostgreSQL documentation, "Message Formats"): a
letter, four bytes of length that count themselves, a body.
"""

from __future__ import annotations

import re
import struct

from .values import frozen

HOLD = 4096
"""Bytes at the end of what was read that are not passed on yet: longer than the end of a stream or a common error."""
_READY_BYTES = 6
_COPY_DONE = b"c\x00\x00\x00\x04"
_ASIDE = (b"S", b"N", b"A")
_AFTER_ERROR = (b"S", b"N", b"A", b"Z")


def may_be_over(buffer: bytearray, filled: int) -> bool:
    """Say whether the first `filled` bytes end like ReadyForQuery. A row can end so too."""
    return filled >= _READY_BYTES and buffer[filled - _READY_BYTES : filled - 1] == b"Z\x00\x00\x00\x05"


@frozen(kw_only=False)
class End:
    """Where the rows end in a buffer, and how many the source says it sent."""

    offset: int
    rows: int


class Ending:
    """Recognises the end of a stream: what the source sends after the last row of `COPY …; SELECT '<nonce>' AS nonce`.

    The nonce is not known to anybody who could have put it into a row.
    """

    def __init__(self, nonce: bytes) -> None:
        self._nonce = nonce
        self._answer = b"\x00\x01" + struct.pack("!i", len(nonce)) + nonce

    def find(self, buffer: bytearray, filled: int) -> End | None:
        """Return the end when the buffer's first `filled` bytes end with it, else None."""
        if not may_be_over(buffer, filled):
            return None
        first = max(0, filled - HOLD)
        nonce = buffer.rfind(self._nonce, first, filled)
        at = buffer.rfind(_COPY_DONE, first, nonce) if nonce >= 0 else -1
        while at >= 0:
            frames = walk(bytes(buffer[at:filled]))
            if frames and (rows := self._rows(frames)) is not None:
                return End(at, rows)
            at = buffer.rfind(_COPY_DONE, first, at + len(_COPY_DONE) - 1)
        return None

    def _rows(self, frames: list[tuple[bytes, bytes]]) -> int | None:
        """Return the row count when these messages, status and notices aside, are exactly the end."""
        said = [frame for frame in frames if frame[0] not in _ASIDE]
        if [kind for kind, _ in said] != [b"c", b"C", b"T", b"D", b"C", b"Z"] or said[3][1] != self._answer:
            return None
        count = re.fullmatch(rb"COPY ([0-9]+)\x00", said[1][1])
        return int(count[1]) if count else None


def walk(tail: bytes) -> list[tuple[bytes, bytes]] | None:
    """Cut bytes into the messages that they consist of, (kind, body) each; None when they do not end with one."""
    frames, at = [], 0
    while at < len(tail):
        if at + 5 > len(tail):
            return None
        length = struct.unpack_from("!i", tail, at + 1)[0]
        if length < 4 or at + 1 + length > len(tail):
            return None
        frames.append((tail[at : at + 1], tail[at + 5 : at + 1 + length]))
        at += 1 + length
    return frames


def find_error(tail: bytes) -> dict[str, bytes] | None:
    """Return the fields of an ErrorResponse with which `tail` ends, else None.

    Only status messages, notices and ReadyForQuery may follow it, as a server sends them after a failed statement.
    """
    start = tail.find(b"E")
    while start >= 0:
        frames = walk(tail[start:]) if _fits(tail, start) else None
        if frames and all(kind in _AFTER_ERROR for kind, _ in frames[1:]):
            fields = error_fields(frames[0][1])
            if fields:
                return fields
        start = tail.find(b"E", start + 1)
    return None


def _fits(tail: bytes, start: int) -> bool:
    """Say whether a message that begins at `start` could end within `tail`; asked for each E of every row in it."""
    if start + 5 > len(tail):
        return False
    end = start + 1 + int(struct.unpack_from("!i", tail, start + 1)[0])
    return start + 5 <= end <= len(tail) and (end == len(tail) or tail[end : end + 1] in _AFTER_ERROR)


def error_fields(body: bytes) -> dict[str, bytes] | None:
    """Return the fields of an ErrorResponse's body by their letter, None when it is not one."""
    if not body.endswith(b"\x00\x00") and body != b"\x00":
        return None
    fields = {part[:1].decode("latin-1"): part[1:] for part in body[:-2].split(b"\x00")}
    return fields if len(fields.get("C", b"")) == 5 and "M" in fields and "S" in fields else None
