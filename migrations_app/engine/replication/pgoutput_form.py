"""Writes messages in the form of pgoutput, protocol version 1, in the frames of a stream: the other way round of
`pgoutput`. What comes from another plugin, or is added by us, then takes the same way as everything else.
"""

from __future__ import annotations

import struct

from .pgoutput import UNCHANGED, Begin, Commit, Delete, Insert, Message, Relation, Truncate, Update, Values, WrittenAnew

_COLUMN = struct.Struct("!Ii")
_HEAD = struct.Struct("!cI")
_PLACE = struct.Struct("!cQQq")


def framed(message: Message, encoding: str, place: int = 0) -> bytes:
    """Return a message as CopyData. `encoding`: codec of names. Raises TypeError for what we never make."""
    payload = _PLACE.pack(b"w", place, place, 0) + _payload(message, encoding)
    return _HEAD.pack(b"d", len(payload) + 4) + payload


def _payload(message: Message, encoding: str) -> bytes:
    if isinstance(message, Insert):
        return struct.pack("!cIc", b"I", message.oid, b"N") + _row(message.new)
    if isinstance(message, Update):
        old = b"" if message.old is None else (b"O" if message.full else b"K") + _row(message.old)
        return struct.pack("!cI", b"U", message.oid) + old + b"N" + _row(message.new)
    if isinstance(message, Delete):
        return struct.pack("!cIc", b"D", message.oid, b"O" if message.full else b"K") + _row(message.old)
    if isinstance(message, Relation):
        return _relation(message, encoding)
    if isinstance(message, Begin):
        return struct.pack("!cQqI", b"B", *message)
    if isinstance(message, Commit):
        return struct.pack("!cBQQq", b"C", *message)
    if isinstance(message, Truncate):
        options = int(message.cascade) | int(message.restart_identity) << 1
        return struct.pack(f"!cIB{len(message.oids)}I", b"T", len(message.oids), options, *message.oids)
    if isinstance(message, WrittenAnew):
        names = b"".join(_text(name, encoding) for name in message.names)
        return struct.pack("!cIH", b"W", message.oid, len(message.names)) + names
    raise TypeError(type(message).__name__)


def _row(values: Values) -> bytes:
    parts = [struct.pack("!H", len(values))]
    for value in values:
        if value is None:
            parts.append(b"n")
        elif value == UNCHANGED:
            parts.append(b"u")
        else:
            parts.append(b"t" + struct.pack("!I", len(value)) + value)
    return b"".join(parts)


def _relation(message: Relation, encoding: str) -> bytes:
    place = _text(message.schema, encoding) + _text(message.name, encoding)
    parts = [struct.pack("!cI", b"R", message.oid), place]
    parts.append(struct.pack("!cH", message.identity.encode(), len(message.columns)))
    for column in message.columns:
        parts.append(
            bytes([column.is_key]) + _text(column.name, encoding) + _COLUMN.pack(column.type_oid, column.typmod)
        )
    return b"".join(parts)


def _text(name: str, encoding: str) -> bytes:
    return name.encode(encoding, "surrogateescape") + b"\x00"
