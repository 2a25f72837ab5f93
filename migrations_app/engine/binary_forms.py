"""What a type looks like in binary COPY, so that two servers can be asked whether they mean the same by it.

A domain is sent as its base, an enum as its label, a range as its bounds. In arrays and composites the numbers of the
types travel along: those of built-in types are the same everywhere, others are the server's own. Since version 14 a
server takes another number for a type that is not built in (`array_recv`, `record_recv`); earlier it refuses it.
"""

from __future__ import annotations

import re

from .connect import Connection
from .sql import query
from .values import frozen

_FIRST_OF_USERS = 16384
_NUMBERS_TAKEN_SINCE = 140000
# Their binary form is not the same in all versions, depends on settings, or names objects by number.
_TEXT_ONLY = frozenset(
    {
        *("tsvector", "gtsvector", "tsquery", "regclass", "regproc", "regprocedure", "regoper", "regoperator"),
        *("regtype", "regrole", "regnamespace", "regconfig", "regdictionary", "regcollation"),
        *("pg_node_tree", "aclitem", "money", "xml", "jsonpath"),
    }
)
# A server before 10 may have been built to send these in floating point: the same eight bytes mean another time then.
_TIMES = frozenset({"time", "timetz", "timestamp", "timestamptz", "interval"})
_NO_TIMES = _TEXT_ONLY | _TIMES
_WHOLE_NUMBERS_SINCE = 100000


@frozen(kw_only=False)
class _Type:
    oid: int
    kind: str  # typtype
    name: str
    has_binary: bool
    part: int | None
    fields: tuple[int, ...]


def read_binary_forms(connection: Connection, *, numbers: bool | None = None) -> dict[int, str]:
    """Return the form of each type that a column of a user table has, by its oid; "" when it must travel as text.

    `numbers`: the server insists on its own for types that are not built in; else its version tells.
    """
    types = {}
    for oid, kind, name, has_binary, part, fields in connection.execute(query("types")).fetchall():
        number = int(str(oid))
        inner = None if part is None else int(str(part))
        assert fields is None or isinstance(fields, list)  # noqa: S101 - for the type checker
        types[number] = _Type(number, str(kind), str(name), bool(has_binary), inner, tuple(fields or ()))
    strict = connection.info.server_version < _NUMBERS_TAKEN_SINCE if numbers is None else numbers
    forms = _Forms(types, numbers=strict, text_only=_TEXT_ONLY if _counts_in_whole_numbers(connection) else _NO_TIMES)
    return {oid: forms.form(oid) for oid in types}


def _counts_in_whole_numbers(connection: Connection) -> bool:
    """Say whether times are numbers of microseconds on a server; one that does not tell may have the other form."""
    info = connection.info
    return info.server_version >= _WHOLE_NUMBERS_SINCE or info.parameter_status("integer_datetimes") == "on"


def may_travel(source: str, target: str) -> bool:
    """Say whether the target reads a value of the form `source` as the same one of its form `target`."""
    return bool(source) and target in (source, re.sub("#[0-9]+", "#", source))


class _Forms:
    """The forms of a server's types. `numbers`: it insists on its own numbers for types that are not built in.

    `text_only`: names of built-in types that have none.
    """

    def __init__(self, types: dict[int, _Type], *, numbers: bool, text_only: frozenset[str] = _TEXT_ONLY) -> None:
        self._types, self._numbers, self._text_only = types, numbers, text_only
        self._known: dict[int, str] = {}

    def form(self, oid: int) -> str:
        if oid not in self._known:
            self._known[oid] = ""  # what contains itself has none
            self._known[oid] = self._made(self._types[oid]) if oid in self._types else ""
        return self._known[oid]

    def _made(self, it: _Type) -> str:
        if it.kind == "e":
            return "enum"
        if it.kind == "c":
            fields = [self._numbered(field) for field in it.fields]
            return f"({','.join(fields)})" if all(fields) else ""
        if it.kind == "d":
            return self.form(it.part or 0)
        if it.kind == "r":
            bound = self.form(it.part or 0)
            return f"range {bound}" if bound else ""
        if it.oid >= _FIRST_OF_USERS and it.part is None:
            return ""
        if it.part is not None:
            element = self._numbered(it.part)
            return f"array {element}" if element else ""
        return str(it.oid) if it.has_binary and it.kind in "bm" and it.name not in self._text_only else ""

    def _numbered(self, oid: int) -> str:
        """Return the form of a type whose number travels before its value."""
        form = self.form(oid)
        number = str(oid) if oid < _FIRST_OF_USERS else f"#{oid}" if self._numbers else "#"
        return f"{number}:{form}" if form else ""
