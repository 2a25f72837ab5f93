"""Builds the SQL that turns a row into a hash, the same way on both servers.

The text of the whole row decides, not equality: `ROW(...)::text` sees the sign of zero, trailing blanks, NULL against
the empty string, the bounds of arrays and every blank of a json value, which `=` and the built-in record hash do not.
Where both servers can, columns of types whose binary form tells the same as their text are read in that form, which
is made in half the time.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from ..connect import Connection
from ..names import qualified, quote
from ..sql import query
from ..values import frozen

_SENT = {
    "double precision": "float8send",
    "real": "float4send",
    "point": "point_send",
    "lseg": "lseg_send",
    "path": "path_send",
    "box": "box_send",
    "polygon": "poly_send",
    "line": "line_send",
    "circle": "circle_send",
}
_NAN = (("fff8000000000000", "7ff8000000000000"), ("ffc00000", "7fc00000"))
"""Binary forms of NaN in hexadecimal, of double precision and of real: older servers make the one, newer the other."""
_MODIFIER = re.compile(r"\([0-9, -]+\)")
_SENT_ALIKE = frozenset(
    {
        "smallint",
        "integer",
        "bigint",
        "oid",
        "boolean",
        "date",
        "bytea",
        "uuid",
        "text",
        "name",
        "json",
        "jsonb",
        "numeric",
        "interval",
        "inet",
        "cidr",
        "macaddr",
        "character",
        "character varying",
        "double precision",
        "real",
        '"char"',
        "time without time zone",
        "time with time zone",
        "timestamp without time zone",
        "timestamp with time zone",
    }
)
"""Types whose binary form is the same exactly where their text is (floats: but for NaN), and names no type by oid."""
_HASH_OF_RECORDS_SINCE = 140000
_SHORTEST_FLOATS_SINCE = 120000
_LARGE_BYTES = 1_000_000
"""A value of bytea above this stands in the text of its row by a digest: its own text takes twice its size, or four
times where that is converted, and no text of more than 1 GB can be made."""
_POINTS_LIKE_FLOATS_SINCE = 90600
"""Before this version a point printed its coordinates as the C library does: `inf` and `nan` for Infinity and NaN."""


def prints_floats_apart(versions: Sequence[int]) -> bool:
    """Say whether servers of these versions print the same float in different ways: with 17 digits, or as few as do."""
    return min(versions) < _SHORTEST_FLOATS_SINCE <= max(versions)


def sent_alike(types: Iterable[tuple[str, str]], there: Mapping[str, str]) -> frozenset[str]:
    """Return the names of the columns, of (name, type), whose values can be compared in binary form.

    `there`: the target's types by name, without modifiers. A column of another type there is compared as text.
    """
    plain = ((name, _MODIFIER.sub("", type_name)) for name, type_name in types)
    return frozenset(name for name, one in plain if one in _SENT_ALIKE and there.get(name) == one)


def made_of_floats(rows: Iterable[tuple[str, str, bool]]) -> tuple[tuple[str, str], ...]:
    """Return the domains and arrays of domains that hold floats or points, each with the built-in type of its values.

    `rows`: what `float_domains.sql` tells of a server.
    """
    known = {name: (part, is_domain) for name, part, is_domain in rows}

    def plain(name: str) -> str:
        part, is_domain = known.get(name, ("", True))
        if not part:
            return name
        return plain(part) if is_domain else plain(part) + "[]"

    found = ((name, plain(name)) for name in sorted(known))
    return tuple((name, one) for name, one in found if one.removesuffix("[]") in _SENT)


def _prints_points_apart(versions: Sequence[int]) -> bool:
    return min(versions) < _POINTS_LIKE_FLOATS_SINCE <= max(versions)


@frozen
class Dialect:
    """How both servers can hash a text so that the results can be compared."""

    md5: bool = False
    """One side is older than 11 and has no `hashtextextended`."""
    convert: bool = False
    """The databases have different encodings: hash the UTF-8 form."""
    send_floats: bool = False
    """One side prints floats, or points of them, the old way: compare their binary form. Inside composite values and
    ranges, whose binary form names types by numbers of their own, the session's extra_float_digits makes both sides
    print 15 digits where floats are printed apart."""
    floats: tuple[tuple[str, str], ...] = ()
    """Where floats are sent: what is made of them on the source, by name (see `made_of_floats`)."""
    binary: bool = False
    """Both sides hash records, from 14 on, and hold UTF-8, so that no text is converted on its way out."""

    @classmethod
    def between(cls, source: Connection, target: Connection) -> Dialect:
        """Choose for these two sessions, by version and database encoding."""
        versions = (source.info.server_version, target.info.server_version)
        encodings = {str(fetch(side, "SHOW server_encoding")[0][0]) for side in (source, target)}
        apart = prints_floats_apart(versions) or _prints_points_apart(versions)
        binary = min(versions) >= _HASH_OF_RECORDS_SINCE and encodings == {"UTF8"}
        dialect = cls(md5=min(versions) < 110000, convert=len(encodings) > 1, send_floats=apart, binary=binary)
        if not apart:
            return dialect
        rows = fetch(source, query("float_domains"))
        return replace(dialect, floats=made_of_floats((str(one), str(part), bool(of)) for one, part, of in rows))

    def hash(self, text: str) -> str:
        """Return the SQL of the 64-bit hash of the SQL expression `text`."""
        if self.convert:
            text = "pg_catalog.encode(pg_catalog.convert_to(" + text + ", 'UTF8'), 'hex')"
        if self.md5:
            return "('x' || pg_catalog.substr(pg_catalog.md5(" + text + "), 1, 16))::bit(64)::bigint"
        return "pg_catalog.hashtextextended((" + text + ') COLLATE "C", 0)'

    def large(self, name: str) -> str:
        """Return the SQL that stands for a column of bytea, on both sides, inside the row text."""
        value = quote(name)
        digest = "pg_catalog.md5(" + value + ")"
        if not self.md5:
            digest = "pg_catalog.encode(pg_catalog.sha256(" + value + "), 'hex')"
        instead = "'digest ' || " + digest
        is_large = "pg_catalog.octet_length(" + value + ") > " + str(_LARGE_BYTES)
        return "CASE WHEN " + is_large + " THEN " + instead + " ELSE " + value + "::text END"

    def column(self, name: str, type_name: str) -> str:
        """Return the SQL that stands for one column inside the row text."""
        plain = dict(self.floats).get(type_name, type_name)
        sent = _SENT.get(plain) or ("array_send" if plain.removesuffix("[]") in _SENT else "")
        if not self.send_floats or not sent:
            return quote(name)
        # An array of a domain would name that by its number, which is another one on each server.
        value = quote(name) if plain == type_name else quote(name) + "::" + plain
        one, other = _NAN[plain.startswith("real")]
        sent = "pg_catalog.encode(pg_catalog." + sent + "(" + value + "), 'hex')"
        return "pg_catalog.replace(" + sent + ", '" + one + "', '" + other + "')"


def _hash_of_sent(columns: Iterable[str]) -> str:
    """Return the SQL of the hash of the binary form of these values: one hash over all bytes, so that no value can make
    up for another one's change."""
    return "pg_catalog.hash_record_extended(ROW(pg_catalog.record_send(ROW(" + ", ".join(columns) + "))), 0)"


def _as_sent(name: str, type_name: str) -> str:
    """Return the SQL of a column in a record that is sent. All NaN are one, as in their text."""
    if type_name not in ("real", "double precision"):
        return quote(name)
    return "CASE WHEN " + quote(name) + " = 'NaN' THEN 'NaN' ELSE " + quote(name) + " END"


@frozen
class Shape:
    """What of a table is compared: its columns in the source's order, and the columns of its key (may be none)."""

    schema: str
    name: str
    columns: tuple[tuple[str, str], ...]
    """(name, type) of every stored column."""
    key: tuple[str, ...]
    whole: bool = False
    """Its rows are those of its partitions."""
    sent: frozenset[str] = frozenset()
    """Columns that may be compared in binary form."""

    def rows(self, dialect: Dialect) -> str:
        """Return `FROM ...` with one `h` (hash of the row) and `k` (hash of its key, or of the row) per row."""
        row = self._hash(dialect)
        key = dialect.hash(self._text(dialect, self.key)) if self.key else row
        extra = ", " + self._text(dialect, self.key) + " AS key_text" if self.key else ""
        shown = ", ".join("pg_catalog.left(" + quote(name) + "::text, 200)" for name in self.key)
        shown = ", ARRAY[" + shown + "]::text[] AS shown" if self.key else ", NULL::text[] AS shown"
        inner = "SELECT " + row + " AS h, " + key + " AS k" + extra + shown
        only = "" if self.whole else "ONLY "
        return "FROM (" + inner + " FROM " + only + qualified(self.schema, self.name) + " ) AS q"

    def _hash(self, dialect: Dialect) -> str:
        rest = [name for name, _ in self.columns if not dialect.binary or name not in self.sent]
        sent = [_as_sent(name, type_name) for name, type_name in self.columns if name not in rest]
        if not sent:
            return dialect.hash(self._text(dialect, rest))
        return _hash_of_sent([*sent, self._text(dialect, rest)] if rest else sent)

    def _text(self, dialect: Dialect, names: Sequence[str]) -> str:
        types = dict(self.columns)

        def shown(name: str) -> str:
            is_bytea = types[name] == "bytea" and name in self.sent and name not in self.key
            return dialect.large(name) if is_bytea else dialect.column(name, types[name])

        return "ROW(" + ", ".join(map(shown, names)) + ")::text"


Shapes = tuple[Shape, Shape]
"""A table as the source calls it, and as the target does."""


@frozen(kw_only=False)
class Digest:
    """Number of rows and sum of their hashes: equal for equal multisets of rows, whatever their order."""

    rows: int
    total: int


def digest(connection: Connection, shape: Shape, dialect: Dialect) -> Digest:
    """Read every row of the table once and return its digest. Raises psycopg's errors."""
    [(rows, total)] = fetch(connection, "SELECT count(*), coalesce(sum(h), 0) " + shape.rows(dialect))
    return Digest(int(str(rows)), int(str(total)))


def fetch(connection: Connection, statement: str) -> list[tuple[object, ...]]:
    """Run a statement that was built from quoted parts, without parameters, and return its rows."""
    return connection.execute(statement.encode()).fetchall()
