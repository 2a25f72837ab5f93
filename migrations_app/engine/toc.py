"""Reads and writes the table of contents of a pg_dump archive in custom format, without running pg_restore.

The custom format stores every string with its length, so a name with a newline or a function body that looks like an
entry header cannot mislead us, and the SQL of ten thousand entries costs one file read instead of as many processes.
"""

from __future__ import annotations

import struct
from pathlib import Path

from .errors import SourceError
from .values import frozen
from .wording import say

PRE_DATA, DATA, POST_DATA = "pre-data", "data", "post-data"
_SECTIONS = {1: "none", 2: PRE_DATA, 3: DATA, 4: POST_DATA}
_CUSTOM_FORMAT = 1
_INT_SIZE, _OFFSET_SIZE = 4, 8
_OLDEST, _NEWEST = (1, 14), (1, 16)  # pg_dump 12 to 18
_PLAIN = b"\0"  # no compression


@frozen
class Entry:
    """One entry of an archive: what pg_dump would write to restore one object, and what it depends on.

    `definition` and `drop` are UTF-8 bytes as they go to the server; names are for lookups and messages.
    """

    dump_id: int
    class_oid: int
    oid: int
    tag: str
    type: str
    section: str
    definition: bytes
    drop: bytes
    schema: str
    tablespace: str
    access_method: str
    owner: str
    depends_on: tuple[int, ...]
    relkind: str = ""
    """Of a table, a view or the like, as pg_class has it; empty in archives of pg_dump 16 and older."""

    @property
    def label(self) -> str:
        """How the object is called in messages, such as `TABLE public.orders`."""
        return f"{self.type} {self.schema}.{self.tag}" if self.schema else f"{self.type} {self.tag}"


_WIDTHS = {2: "H", 4: "I", 8: "Q"}


class _Reader:
    """Walks over the bytes of an archive's head. Raises struct.error or IndexError at a premature end."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0
        self.sizes_are(4)

    def sizes_are(self, length: int) -> None:
        """Read integers of this many bytes from now on, behind their sign. Raises ValueError when there are none."""
        if length not in _WIDTHS:
            raise ValueError(say("it is not a pg_dump archive"))
        self._number = struct.Struct("<B" + _WIDTHS[length])

    def byte(self) -> int:
        value = self.data[self.at]
        self.at += 1
        return value

    def take(self, length: int) -> bytes:
        piece = self.data[self.at : self.at + length]
        if len(piece) != length:
            raise IndexError("the archive ends too early")
        self.at += length
        return piece

    def integer(self) -> int:
        sign, value = self._number.unpack_from(self.data, self.at)
        self.at += self._number.size
        return -value if sign else int(value)

    def raw(self) -> bytes | None:
        sign, length = self._number.unpack_from(self.data, self.at)
        self.at += self._number.size
        return None if sign and length else self.take(length)

    def text(self) -> str:
        return (self.raw() or b"").decode("utf-8", errors="replace")


def read_archive(path: Path) -> list[Entry]:
    """Return the entries of the archive in dump order, which is an order in which they can be restored.

    Raises SourceError when the file is not a complete archive of a format that we know.
    """
    reader = _Reader(path.read_bytes())
    try:
        version, offset_size = _read_head(reader)
        return [_read_entry(reader, version, offset_size) for _ in range(reader.integer())]
    except (IndexError, struct.error) as error:
        raise _broken(path, say("it ends too early")) from error
    except ValueError as error:
        raise _broken(path, error.args[0]) from error


def _broken(path: Path, why: str) -> SourceError:
    return SourceError(
        say("The schema dump {name} cannot be read: {why}.", name=path.name, why=why),
        hint=say("Use the pg_dump that comes with Towpath, or another one of version 16 to 18, and start again."),
        code="SRC-DUMP",
    )


def _read_head(reader: _Reader) -> tuple[tuple[int, int], int]:
    if reader.take(5) != b"PGDMP":
        raise ValueError(say("it is not a pg_dump archive"))
    version = (reader.byte(), reader.byte())
    reader.byte()  # revision
    if not _OLDEST <= version <= _NEWEST:
        raise ValueError(say("archive version {version} is not known", version=f"{version[0]}.{version[1]}"))
    reader.sizes_are(reader.byte())
    offset_size = reader.byte()
    if reader.byte() != _CUSTOM_FORMAT:
        raise ValueError(say("it is not in custom format"))
    if version >= (1, 15):
        reader.byte()  # compression algorithm
    else:
        reader.integer()
    for _ in range(7):  # creation time
        reader.integer()
    for _ in range(3):  # database name, server version, pg_dump version
        reader.raw()
    return version, offset_size


def _read_entry(reader: _Reader, version: tuple[int, int], offset_size: int) -> Entry:
    dump_id = reader.integer()
    reader.integer()  # has data
    class_oid, oid = int(reader.text()), int(reader.text())
    tag, kind = reader.text(), reader.text()
    section = _SECTIONS.get(reader.integer(), "none")
    definition, drop = reader.raw() or b"", reader.raw() or b""
    reader.raw()  # copy statement
    schema, tablespace, access_method = reader.text(), reader.text(), reader.text()
    relkind = reader.integer() if version >= (1, 16) else 0
    owner = reader.text()
    reader.raw()  # WITH OIDS, always "false"
    depends_on = []
    while (number := reader.raw()) is not None:
        depends_on.append(int(number))
    reader.take(1 + offset_size)  # where the data lies
    return Entry(
        dump_id=dump_id,
        class_oid=class_oid,
        oid=oid,
        tag=tag,
        type=kind,
        section=section,
        definition=definition,
        drop=drop,
        schema=schema,
        tablespace=tablespace,
        access_method=access_method,
        owner=owner,
        depends_on=tuple(depends_on),
        relkind=chr(relkind) if relkind else "",
    )


def write_archive(path: Path, entries: list[Entry]) -> None:
    """Write entries as an archive without data that `read_archive` and pg_restore 17 and later can read."""
    path.write_bytes(_head(len(entries)) + b"".join(_entry_bytes(entry) for entry in entries))


def _head(number: int) -> bytes:
    when = b"".join(_integer(part) for part in (0, 0, 0, 1, 0, 100, 0))
    head = b"PGDMP" + bytes((*_NEWEST, 0, _INT_SIZE, _OFFSET_SIZE, _CUSTOM_FORMAT)) + _PLAIN
    return head + when + _raw(b"") * 3 + _integer(number)


def _entry_bytes(entry: Entry) -> bytes:
    section = next(number for number, name in _SECTIONS.items() if name == entry.section)
    texts = (entry.schema, entry.tablespace, entry.access_method)
    return b"".join(
        (
            _integer(entry.dump_id),
            _integer(0),
            *(_raw(text.encode()) for text in (str(entry.class_oid), str(entry.oid), entry.tag, entry.type)),
            _integer(section),
            _raw(entry.definition),
            _raw(entry.drop),
            _raw(None),
            *(_raw(text.encode()) for text in texts),
            _integer(ord(entry.relkind or "\0")),
            _raw(entry.owner.encode()),
            _raw(b"false"),  # WITH OIDS
            *(_raw(str(needed).encode()) for needed in entry.depends_on),
            _raw(None),
            b"\x03" + bytes(_OFFSET_SIZE),  # no data
        )
    )


def _integer(value: int) -> bytes:
    return bytes([value < 0]) + abs(value).to_bytes(_INT_SIZE, "little")


def _raw(data: bytes | None) -> bytes:
    return _integer(-1) if data is None else _integer(len(data)) + data
