"""The frames in which a stream of changes arrives: CopyData around a keepalive or a message of the plugin."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator

Segment = tuple[bytes, int, int]
"""A buffer, and the part of it that holds whole frames."""

MESSAGE = 30
"""Where the plugin's message begins in a frame: `d`, its length, `w`, start, end and time."""

head = struct.Struct("!BIB24xBI")
"""`d`, length, `w` or `k`, the message's kind, and the four bytes behind it: in changes the table's oid."""

DATA, PLUGIN, KEEPALIVE = b"dwk"
INSERT, UPDATE, DELETE, BEGIN, COMMIT = b"IUDBC"
RELATION = ord("R")
CHANGES = frozenset(b"IUD")

begin = struct.Struct("!QqI")
commit = struct.Struct("!BQQq")
keepalive = struct.Struct("!QqB")

_SIZE = struct.Struct("!I").unpack_from


def messages(segments: Iterable[Segment]) -> Iterator[Segment]:
    """Yield each message of the plugin: its buffer, where it begins and where it ends."""
    for data, at, end in segments:
        while at < end:
            after = at + 1 + _SIZE(data, at + 1)[0]
            if data[at + 5] == PLUGIN:
                yield data, at + MESSAGE, after
            at = after
