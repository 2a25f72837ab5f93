"""Names of NOT NULL constraints that pg_dump 18 writes without quotes, where a table has them on an inherited column.

Such a name may be refused, arrive in small letters, or be read as SQL.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from .connect import Connection
from .errors import SourceError
from .names import quote
from .toc import Entry
from .wording import say

_SINCE = 180000
_NAMES = (
    "SELECT o.conrelid::bigint, o.conname::text FROM pg_catalog.pg_constraint o"
    " JOIN pg_catalog.pg_attribute a ON a.attrelid = o.conrelid AND a.attnum = o.conkey[1]"
    " WHERE o.contype = 'n' AND NOT a.attislocal AND pg_catalog.quote_ident(o.conname) <> o.conname"
    " ORDER BY 1, 2"
)


def read_names(connection: Connection) -> list[tuple[int, str]]:
    """Return (table's oid, name) of the constraints whose names need quotes and may be written without. Only reads."""
    if connection.info.server_version < _SINCE:
        return []
    return [(int(str(oid)), str(name)) for oid, name in connection.execute(_NAMES.encode()).fetchall()]


def by_table(names: Iterable[tuple[int, str]]) -> dict[int, list[str]]:
    """Return the names by the oids of their tables."""
    found: dict[int, list[str]] = {}
    for oid, name in names:
        found.setdefault(oid, []).append(name)
    return found


def with_quoted_names(entry: Entry, names: Mapping[int, list[str]]) -> Entry:
    """Return an entry of an archive with these names in quotes.

    Raises SourceError where another text of the table looks like such a constraint: nobody could tell which is which.
    """
    if entry.type != "TABLE" or entry.oid not in names:
        return entry
    text = entry.definition
    for name in names[entry.oid]:
        written, wanted = (
            f"\n    CONSTRAINT {one} NOT NULL ".encode(errors="surrogateescape") for one in (name, quote(name))
        )
        if text.count(written) > 1:
            raise SourceError(
                say(
                    "The constraint {name} of {table} has a name that cannot be carried over.",
                    name=quote(name),
                    table=f"{entry.schema}.{entry.tag}",
                ),
                hint=say("Give it another name on the source: ALTER TABLE … RENAME CONSTRAINT …"),
            )
        text = text.replace(written, wanted)
    return replace(entry, definition=text)
