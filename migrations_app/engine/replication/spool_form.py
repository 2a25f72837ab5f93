"""The form of a spool's files: frames with length, checksum and position. Bytes only, no files.

The checksum of a frame covers everything before it in its file as well: a frame that was cut, changed, moved or left
out is never taken for a right one, nor is any that follows it.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import NamedTuple

from ..values import frozen
from . import frames

MAGIC = b"towpath spool 1\n"
SEED = zlib.crc32(MAGIC)
"""What the checksum of a file's first frame goes on from."""

_HEAD = struct.Struct("!IIQ")
HEAD = _HEAD.size
"""Bytes in front of what a frame holds: its length, checksum and position."""

_LENGTH = struct.Struct("!I")
_MESSAGE_LENGTH = struct.Struct("!I").unpack_from
_OID = struct.Struct("!I").unpack_from
_FINAL = struct.Struct("!Q").unpack_from


_SIZES = {
    frames.BEGIN: frames.MESSAGE + 1 + frames.begin.size,
    frames.COMMIT: frames.MESSAGE + 1 + frames.commit.size,
    frames.KEEPALIVE: 6 + frames.keepalive.size,
}


@frozen
class Origin:
    """What the first frame of a file says: whose changes these are, and the position from which on all are there."""

    slot: str
    system_id: str
    begins: int


class Frame(NamedTuple):
    """A frame that was read. `lsn`: with it everything that committed before is there; 0 within a transaction."""

    payload: bytes
    lsn: int
    end: int  # where the next one begins in the file
    chain: int  # what the checksum of the next one goes on from


def pack(payload: bytes, lsn: int, chain: int) -> tuple[bytes, int]:
    """Return what goes in front of `payload`, and what the checksum of the next frame goes on from."""
    checksum = zlib.crc32(payload, zlib.crc32(_LENGTH.pack(len(payload)) + lsn.to_bytes(8), chain))
    return _HEAD.pack(len(payload), checksum, lsn), checksum


def unpack(read: Callable[[int, int], bytes], at: int, size: int, chain: int) -> Frame | None:
    """Read the frame that begins at `at`; None when there is no whole and right one. `read(at, length)` gives bytes.

    `size`: how many bytes there are. No more than that is asked for, whatever the frame says of its length.
    """
    if at + HEAD > size:
        return None
    head = read(at, HEAD)
    if len(head) != HEAD:
        return None
    length, checksum, lsn = _HEAD.unpack(head)
    end = at + HEAD + length
    if end > size:
        return None
    payload = read(at + HEAD, length)
    if len(payload) != length or pack(payload, lsn, chain)[1] != checksum:
        return None
    return Frame(payload, lsn, end, checksum)


def pack_origin(origin: Origin) -> tuple[bytes, int]:
    """Return how a file begins, and what the checksum of its next frame goes on from."""
    payload = json.dumps(asdict(origin)).encode()
    head, chain = pack(payload, origin.begins, SEED)
    return MAGIC + head + payload, chain


def unpack_origin(read: Callable[[int, int], bytes], size: int) -> tuple[Origin, Frame] | None:
    """Read how a file begins; None when that is no spool, or was cut."""
    if read(0, len(MAGIC)) != MAGIC:
        return None
    first = unpack(read, len(MAGIC), size, SEED)
    if first is None:
        return None
    return Origin(**json.loads(first.payload)), first


class Message(NamedTuple):
    """A message of a stream: where it stands in its buffer, what it is, and what marks it."""

    at: int
    end: int
    mark: int
    kind: int  # that of the plugin's message; KEEPALIVE for a keepalive, 0 for anything else


def messages(data: bytes) -> Iterator[Message]:
    """Yield the whole messages in `data`."""
    at, size = 0, len(data)
    while at + 5 <= size:
        end = at + 1 + _MESSAGE_LENGTH(data, at + 1)[0]
        if end > size:
            return
        kind = 0
        if data[at] == frames.DATA and end > at + 5:
            form = data[at + 5]
            kind = data[at + frames.MESSAGE] if form == frames.PLUGIN and end > at + frames.MESSAGE else form
            if _SIZES.get(kind, end - at) != end - at:
                kind = 0  # who applies it says what is wrong with it
        yield Message(at, end, data[at], kind)
        at = end


def length_of(data: bytes) -> int:
    """Return the length of the message that `data` begins with; 5 while that is not known."""
    return 1 + int(_MESSAGE_LENGTH(data, 1)[0]) if len(data) >= 5 else 5


def begins_at(data: bytes, message: Message) -> int:
    """Return where the transaction commits that begins with this message."""
    return int(_FINAL(data, message.at + frames.MESSAGE + 1)[0])


def ends_at(data: bytes, message: Message) -> int:
    """Return the position behind the transaction that ends with this message."""
    return int(frames.commit.unpack_from(data, message.at + frames.MESSAGE + 1)[2])


def wal_end(data: bytes, message: Message) -> tuple[int, bool]:
    """Return what a keepalive says: how far the source has read, and whether it waits for an answer."""
    end, _, urgent = frames.keepalive.unpack_from(data, message.at + 6)
    return int(end), bool(urgent)


def table_of(data: bytes, message: Message) -> int:
    """Return the oid of the table that a message describes."""
    return int(_OID(data, message.at + frames.MESSAGE + 1)[0])
