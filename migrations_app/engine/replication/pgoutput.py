"""Reads the messages of the pgoutput plugin, protocol version 1. Bytes in, values out: no sockets here.

Version 1 delivers only committed transactions, whole and in commit order, which is what an apply in constant memory
needs. Values come in text form, or all in binary form when the stream was opened so.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import NamedTuple

from ..errors import SourceError
from ..wording import say, template


class _Unchanged(bytes):
    """Equal to itself only: a binary value may have any bytes."""

    def __eq__(self, other: object) -> bool:
        return self is other

    def __hash__(self) -> int:
        return id(self)


UNCHANGED = _Unchanged(b"\x00")
"""Stands for a TOASTed value that an update did not touch."""

Values = list[bytes | None]

_TUPLE_SIZE = struct.Struct("!H").unpack_from
_LENGTH = struct.Struct("!I").unpack_from
_BEGIN = struct.Struct("!QqI")
_COMMIT = struct.Struct("!BQQq")
_COLUMN = struct.Struct("!Ii")
_TRUNCATE = struct.Struct("!IB")
NULL_VALUE, UNCHANGED_VALUE, TEXT_VALUE, BINARY_VALUE = b"nutb"
_KEY, _OLD, _NEW = b"KON"

UNREADABLE = template("The source sent a replication message that cannot be read: {data}")
WRONG_LENGTH = template("The source sent a replication message of the wrong length: {data}")
OTHER_COLUMNS = template("The source sent a replication message with another number of columns than announced: {data}")


class MalformedMessage(SourceError):
    """The stream holds something that is not a pgoutput message of version 1."""

    code = "SRC-PROTOCOL"


class Begin(NamedTuple):
    """Start of a committed transaction. `final_lsn` is where its commit record starts; microseconds since 2000."""

    final_lsn: int
    timestamp: int
    xid: int


class Commit(NamedTuple):
    """End of a transaction. `end_lsn` is the position to continue from once it is applied."""

    flags: int
    commit_lsn: int
    end_lsn: int
    timestamp: int


class Origin(NamedTuple):
    """The transaction was itself replicated to the source from elsewhere."""

    lsn: int
    name: str


class RelationColumn(NamedTuple):
    """A column as the stream delivers it. `is_key`: part of the replica identity."""

    name: str
    is_key: bool
    type_oid: int
    typmod: int


class Relation(NamedTuple):
    """Shape of a table, valid until the next one with the same oid."""

    oid: int
    schema: str
    name: str
    identity: str
    columns: tuple[RelationColumn, ...]


class TypeName(NamedTuple):
    """Name of a type that is not built in."""

    oid: int
    schema: str
    name: str


class Insert(NamedTuple):
    """A new row."""

    oid: int
    new: Values


class Update(NamedTuple):
    """A changed row. `old` is None when the identity did not change; `full` says that `old` is the whole row."""

    oid: int
    old: Values | None
    full: bool
    new: Values


class Delete(NamedTuple):
    """A deleted row: its identity, or with `full` the whole row."""

    oid: int
    old: Values
    full: bool


class Truncate(NamedTuple):
    """Tables emptied by one statement."""

    oids: tuple[int, ...]
    cascade: bool
    restart_identity: bool


class WrittenAnew(NamedTuple):
    """All rows of a table were written anew, in these columns. No plugin says so: `named` puts it in, by a kind that
    the protocol has no message of."""

    oid: int
    names: tuple[str, ...]


Message = Begin | Commit | Origin | Relation | TypeName | Insert | Update | Delete | Truncate | WrittenAnew


def decode(data: bytes, at: int = 0, encoding: str = "utf-8", *, binary: bool = False) -> Message:
    """Return the message that starts at `at` and ends with `data`.

    `encoding` is the codec of names; `binary` says which form all values must have. Raises MalformedMessage, and
    nothing else, for anything that is not one message.
    """
    try:
        kind = data[at]
        if kind in _ROW_DECODERS:
            message, end = _ROW_DECODERS[kind](data, at + 1, BINARY_VALUE if binary else TEXT_VALUE)
        else:
            message, end = _DECODERS[kind](data, at + 1, encoding)
    except (IndexError, KeyError, ValueError, struct.error) as error:
        raise malformed(UNREADABLE, data, at) from error
    if end != len(data):
        raise malformed(WRONG_LENGTH, data, at)
    return message


def malformed(what: str, data: bytes, at: int) -> MalformedMessage:
    """Return the error for a message at `at`; `what` is a template such as UNREADABLE."""
    return MalformedMessage(
        say(what, data=repr(data[at : at + 24])),
        hint=say("Check that nothing between the source and this machine changes the traffic, then retry."),
    )


def _values(data: bytes, at: int, form: int) -> tuple[Values, int]:
    (size,) = _TUPLE_SIZE(data, at)
    at += 2
    values: Values = []
    append = values.append
    for _ in range(size):
        kind = data[at]
        if kind == form:
            start = at + 5
            at = start + _LENGTH(data, at + 1)[0]
            append(data[start:at])
        elif kind == NULL_VALUE:
            append(None)
            at += 1
        elif kind == UNCHANGED_VALUE:
            append(UNCHANGED)
            at += 1
        else:
            raise ValueError("a value of another form, or none at all")
    return values, at


def _text(data: bytes, at: int, encoding: str) -> tuple[str, int]:
    end = data.index(0, at)
    return data[at:end].decode(encoding, "surrogateescape"), end + 1


def _begin(data: bytes, at: int, encoding: str) -> tuple[Begin, int]:
    return Begin(*_BEGIN.unpack_from(data, at)), at + _BEGIN.size


def _commit(data: bytes, at: int, encoding: str) -> tuple[Commit, int]:
    return Commit(*_COMMIT.unpack_from(data, at)), at + _COMMIT.size


def _origin(data: bytes, at: int, encoding: str) -> tuple[Origin, int]:
    name, end = _text(data, at + 8, encoding)
    return Origin(int.from_bytes(data[at : at + 8]), name), end


def _relation(data: bytes, at: int, encoding: str) -> tuple[Relation, int]:
    (oid,) = _LENGTH(data, at)
    schema, at = _text(data, at + 4, encoding)
    name, at = _text(data, at, encoding)
    identity = chr(data[at])
    (count,) = _TUPLE_SIZE(data, at + 1)
    at += 3
    columns = []
    for _ in range(count):
        is_key = bool(data[at] & 1)
        column, at = _text(data, at + 1, encoding)
        type_oid, typmod = _COLUMN.unpack_from(data, at)
        at += _COLUMN.size
        columns.append(RelationColumn(column, is_key, type_oid, typmod))
    return Relation(oid, schema or "pg_catalog", name, identity, tuple(columns)), at


def _type(data: bytes, at: int, encoding: str) -> tuple[TypeName, int]:
    (oid,) = _LENGTH(data, at)
    schema, at = _text(data, at + 4, encoding)
    name, at = _text(data, at, encoding)
    return TypeName(oid, schema or "pg_catalog", name), at


def _insert(data: bytes, at: int, form: int) -> tuple[Insert, int]:
    (oid,) = _LENGTH(data, at)
    if data[at + 4] != _NEW:
        raise ValueError("an insert without a new row")
    new, at = _values(data, at + 5, form)
    return Insert(oid, new), at


def _update(data: bytes, at: int, form: int) -> tuple[Update, int]:
    (oid,) = _LENGTH(data, at)
    at += 4
    old: Values | None = None
    kind = data[at]
    if kind in (_KEY, _OLD):
        old, at = _values(data, at + 1, form)
    if data[at] != _NEW:
        raise ValueError("an update without a new row")
    new, at = _values(data, at + 1, form)
    return Update(oid, old, kind == _OLD, new), at


def _delete(data: bytes, at: int, form: int) -> tuple[Delete, int]:
    (oid,) = _LENGTH(data, at)
    kind = data[at + 4]
    if kind not in (_KEY, _OLD):
        raise ValueError("a delete without an old row")
    old, at = _values(data, at + 5, form)
    return Delete(oid, old, kind == _OLD), at


def _truncate(data: bytes, at: int, encoding: str) -> tuple[Truncate, int]:
    count, options = _TRUNCATE.unpack_from(data, at)
    at += _TRUNCATE.size
    if count * 4 != len(data) - at:
        raise ValueError("a truncation with another number of tables than announced")
    oids = struct.unpack_from(f"!{count}I", data, at)
    return Truncate(oids, bool(options & 1), bool(options & 2)), at + 4 * count


def _written_anew(data: bytes, at: int, encoding: str) -> tuple[WrittenAnew, int]:
    (oid,) = _LENGTH(data, at)
    (count,) = _TUPLE_SIZE(data, at + 4)
    at += 6
    names = []
    for _ in range(count):
        name, at = _text(data, at, encoding)
        names.append(name)
    return WrittenAnew(oid, tuple(names)), at


_DECODERS: dict[int, Callable[[bytes, int, str], tuple[Message, int]]] = {
    ord("B"): _begin,
    ord("C"): _commit,
    ord("O"): _origin,
    ord("R"): _relation,
    ord("Y"): _type,
    ord("T"): _truncate,
    ord("W"): _written_anew,
}
_ROW_DECODERS: dict[int, Callable[[bytes, int, int], tuple[Message, int]]] = {
    ord("I"): _insert,
    ord("U"): _update,
    ord("D"): _delete,
}
