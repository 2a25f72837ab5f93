"""Reads the messages of the test_decoding plugin, which PostgreSQL 9.4 to 9.6 bring. Bytes in, values out.

The plugin writes one change as one text in the encoding of the database. A table and its columns come by their names,
quoted as SQL does; values are quoted with doubled quotes and no other escapes, so that line breaks stand as they are.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import NamedTuple

from ..errors import SourceError
from ..wording import say
from .pgoutput import UNCHANGED, Values

# No possessive quantifiers: Python before 3.11.5 loses what they match. Each pattern can be matched in one way only
# instead, so that one which fails has looked at each byte twice at most.
_NAME = rb'(?:([a-z_][a-z0-9_$]*)|"([^"]+(?:""[^"]*)*|(?:""[^"]*)+)")'
_BEGIN = re.compile(rb"BEGIN(?: ([0-9]{1,10}))?")
_COMMIT = re.compile(rb"COMMIT(?: ([0-9]{1,10}))?(?: \(at ([^)]{1,60})\))?")
_MESSAGE = re.compile(rb"message: transactional: [01] prefix: .*, sz: [0-9]+ content:.*", re.DOTALL)
_PLACE = re.compile(_NAME + rb"\." + _NAME)
_CHANGE = re.compile(rb": (INSERT|UPDATE|DELETE):")
_TRUNCATE = re.compile(rb": TRUNCATE:(?: \(no-flags\)|( restart_seqs)?( cascade)?)")
# A type's name may hold blanks and brackets, and anything at all between double quotes: it ends at the "]:" outside.
_TYPE = rb'\[([^"\]]*(?:(?:"[^"]*"|\](?!:))[^"\]]*)*)\]:'
# The last one is a value with quotes inside: a pattern would remember each, and a value can be a gigabyte.
_VALUE = rb"(?:(?:'([^']*)'|B'([01]*)'|([^ ']+))(?= |\Z)|('))"
_COLUMN = re.compile(rb" " + _NAME + _TYPE + _VALUE, re.DOTALL)
_NO_DATA = b" (no-tuple-data)"
_OLD, _NEW = b" old-key:", b" new-tuple:"
_BARE: dict[bytes, bytes | None] = {b"null": None, b"unchanged-toast-datum": UNCHANGED, b"true": b"t", b"false": b"f"}
_HIDDEN = ("oid", "oid")  # what tables WITH OIDS print first; no column of a user can have that name there
_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)


class MalformedMessage(SourceError):
    """The stream holds something that is not a message of test_decoding."""

    code = "SRC-PROTOCOL"


class Start(NamedTuple):
    """Start of a committed transaction. Where it commits is not known yet."""

    xid: int


class End(NamedTuple):
    """End of a transaction; microseconds since 2000, None when the plugin was not asked for the time."""

    xid: int
    timestamp: int | None


class Row(NamedTuple):
    """Columns as they stand in the text: names, their types as format_type writes them without modifiers, values."""

    names: tuple[str, ...]
    types: tuple[str, ...]
    values: Values


class Change(NamedTuple):
    """A changed row. `old`: the identity of an update or delete as far as it is told; `new`: the whole new row."""

    kind: str  # INSERT, UPDATE, DELETE
    schema: str
    name: str
    old: Row | None
    new: Row | None


class Emptied(NamedTuple):
    """Tables (schema, name) emptied by one statement; only servers from 11 on tell it."""

    places: tuple[tuple[str, str], ...]
    cascade: bool
    restart_identity: bool


class Emitted(NamedTuple):
    """What somebody wrote with pg_logical_emit_message; it may stand outside of a transaction."""


Text = Start | End | Change | Emptied | Emitted


def read(data: bytes, at: int = 0, encoding: str = "utf-8") -> Text:
    """Return what the message says that starts at `at` and ends with `data`.

    `encoding` is the codec of the source database. Raises MalformedMessage, and nothing else, for anything that is not
    one message.
    """
    try:
        if _MESSAGE.fullmatch(data, at):
            return Emitted()  # what was emitted is bytes, and no text
        if b"\x00" in data[at:]:
            raise ValueError("no text of PostgreSQL holds a NUL byte")
        return _read(data, at, encoding)
    except (ValueError, LookupError, OverflowError) as error:
        raise MalformedMessage(
            say("The source sent a change that cannot be read: {data}", data=f"{data[at : at + 24]!r}"),
            hint=say("Check that nothing between the source and this machine changes the traffic, then retry."),
        ) from error


def _read(data: bytes, at: int, encoding: str) -> Text:
    if data.startswith(b"table ", at):
        return _of_table(data, at + 6, encoding)
    if found := _BEGIN.fullmatch(data, at):
        return Start(_xid(found[1]))
    if found := _COMMIT.fullmatch(data, at):
        return End(_xid(found[1]), _moment(found[2]))
    raise ValueError("an unknown message")


def _of_table(data: bytes, at: int, encoding: str) -> Change | Emptied:
    places = [_place(data, at, encoding)]
    while data.startswith(b", ", places[-1][2]):
        places.append(_place(data, places[-1][2] + 2, encoding))
    schema, name, at = places[-1]
    if found := _TRUNCATE.fullmatch(data, at):
        return Emptied(tuple((one[0], one[1]) for one in places), bool(found[2]), bool(found[1]))
    found = _CHANGE.match(data, at)
    if found is None or len(places) > 1:
        raise ValueError("an unknown kind of change")
    kind, at = found[1].decode(), found.end()
    old: Row | None = None
    if kind == "UPDATE" and data.startswith(_OLD, at):
        old, at = _row(data, at + len(_OLD), encoding)
        if not data.startswith(_NEW, at):
            raise ValueError("an update without a new row")
        at += len(_NEW)
    new, at = _row(data, at, encoding)
    if at != len(data):
        raise ValueError("more than one row")
    return Change(kind, schema, name, new, None) if kind == "DELETE" else Change(kind, schema, name, old, new)


def _place(data: bytes, at: int, encoding: str) -> tuple[str, str, int]:
    found = _PLACE.match(data, at)
    if found is None:
        raise ValueError("no name of a table")
    return _name(found, 1, encoding), _name(found, 3, encoding), found.end()


def _name(found: re.Match[bytes], group: int, encoding: str) -> str:
    plain = found[group]
    raw = plain if plain is not None else found[group + 1].replace(b'""', b'"')
    return raw.decode(encoding, "surrogateescape")


def _row(data: bytes, at: int, encoding: str) -> tuple[Row | None, int]:
    if data.startswith(_NO_DATA, at):
        return None, at + len(_NO_DATA)
    columns = []
    while found := _COLUMN.match(data, at):
        at = found.end()
        value = _value(found)
        if found[7]:
            begin, at = at, _end_of_quoted(data, at)
            value = data[begin : at - 1].replace(b"''", b"'")
        name, type_name = _name(found, 1, encoding), found[3].decode(encoding, "surrogateescape")
        if (name, type_name) != _HIDDEN:
            columns.append((name, type_name, value))
    names, types, values = zip(*columns, strict=True) if columns else ((), (), ())
    if len(set(names)) != len(names):
        raise ValueError("a column that comes twice")
    return Row(names, types, list(values)), at


def _value(found: re.Match[bytes]) -> bytes | None:
    quoted, bits, bare = found[4], found[5], found[6]
    if quoted is not None:
        return quoted
    if bits is not None:
        return bits
    return _BARE.get(bare, bare)


def _end_of_quoted(data: bytes, at: int) -> int:
    """Return where the value ends, its closing quote included, that began before `at`."""
    while data.startswith(b"''", at := data.index(b"'", at)):
        at += 2
    if data[at + 1 : at + 2] not in (b"", b" "):
        raise ValueError("a value that does not end")
    return at + 1


def _xid(text: bytes | None) -> int:
    number = int(text or 0)
    if number >> 32:
        raise ValueError("a number that no transaction can have")
    return number


def _moment(text: bytes | None) -> int | None:
    if text is None:
        return None
    moment = datetime.fromisoformat(text.decode("ascii"))
    passed = moment.astimezone(UTC) - _EPOCH
    return (passed.days * 86_400 + passed.seconds) * 1_000_000 + passed.microseconds
