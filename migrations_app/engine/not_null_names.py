"""Names of NOT NULL constraints that pg_dump 18 writes without quotes, where a table has them on an inherited column.

Such a name may be refused, arrive in small letters, or be read as SQL.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from .connect import Connection
from .errors import SourceError
from .names import quote
from .sqltokens import SPACE, UnreadableSql, tokens_from
from .toc import Entry
from .wording import say

_SINCE = 180000
_NAMES = (
    "SELECT o.conrelid::bigint, o.conname::text FROM pg_catalog.pg_constraint o"
    " JOIN pg_catalog.pg_attribute a ON a.attrelid = o.conrelid AND a.attnum = o.conkey[1]"
    " WHERE o.contype = 'n' AND o.conislocal AND NOT a.attislocal"
    " AND pg_catalog.quote_ident(o.conname) <> o.conname"
    " ORDER BY 1, 2"
)
_BEFORE = "\n    "


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


def with_quoted_names(entry: Entry, names: Mapping[int, list[str]], *, backslash: bool = False) -> Entry:
    """Return an entry of an archive with these names in quotes. `backslash`: its plain strings have escapes.

    What only looks like one, in a string, a quoted name or a comment, stays.
    Raises SourceError where one name could be taken for another, or where the text cannot be read.
    """
    if entry.type != "TABLE" or entry.oid not in names:
        return entry
    text = entry.definition.decode(errors="surrogateescape")
    written = {name: f"CONSTRAINT {name} NOT NULL " for name in names[entry.oid]}
    done: list[str] = []
    at = 0
    while True:
        found: list[str] = []
        try:
            for token in tokens_from(text, at, backslash=backslash):
                done.append(token.text)
                at += len(token.text)
                if token.kind == SPACE and token.text.endswith(_BEFORE):
                    found = [name for name, words in written.items() if text.startswith(words, at)]
                    if found:
                        break
        except UnreadableSql:
            raise _ambiguous(entry, next(iter(written or names[entry.oid]))) from None
        if not found:
            return replace(entry, definition="".join(done).encode(errors="surrogateescape"))
        if len(found) > 1:
            raise _ambiguous(entry, found[0])
        done.append(f"CONSTRAINT {quote(found[0])} NOT NULL ")
        at += len(written.pop(found[0]))


def _ambiguous(entry: Entry, name: str) -> SourceError:
    return SourceError(
        say(
            "The constraint {name} of {table} has a name that cannot be carried over.",
            name=quote(name),
            table=f"{entry.schema}.{entry.tag}",
        ),
        hint=say("Give it another name on the source: ALTER TABLE … RENAME CONSTRAINT …"),
    )
