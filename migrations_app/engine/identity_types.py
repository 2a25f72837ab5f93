"""Sequences of identity columns whose type is not the column's, as `LIKE … INCLUDING IDENTITY` makes them.

pg_dump makes such a sequence with the column and says nothing of its type: it gets that of the column, and is refused
where it counts further than this does.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

from .connect import Connection
from .names import qualified
from .toc import Entry

_SINCE = 100000
_TYPES = (
    "SELECT d.objid::bigint, pg_catalog.format_type(s.seqtypid, NULL) FROM pg_catalog.pg_depend d"
    " JOIN pg_catalog.pg_sequence s ON s.seqrelid = d.objid"
    " JOIN pg_catalog.pg_attribute a ON (a.attrelid, a.attnum) = (d.refobjid, d.refobjsubid)"
    " WHERE d.classid = 1259 AND d.refclassid = 1259 AND d.deptype = 'i'"
    " AND a.attidentity <> '' AND s.seqtypid <> a.atttypid ORDER BY 1"
)
_COUNTING = re.compile(
    rb"\n    START WITH (?P<start>-?\d+)\n    INCREMENT BY (?P<step>-?\d+)\n    (?P<least>MINVALUE -?\d+|NO MINVALUE)"
    rb"\n    (?P<most>MAXVALUE -?\d+|NO MAXVALUE)\n    CACHE (?P<cache>\d+)(?P<cycle>\n    CYCLE)?\n\);\s*$"
)


def read_types(connection: Connection) -> list[tuple[int, str]]:
    """Return (sequence's oid, its type) of such sequences of the source. Only reads."""
    if connection.info.server_version < _SINCE:
        return []
    return [(int(str(oid)), str(name)) for oid, name in connection.execute(_TYPES.encode()).fetchall()]


def with_own_type(entry: Entry, types: Mapping[int, str]) -> Entry:
    """Return an entry of an archive, under the names of the target, with the type that its sequence has on the source.

    How it counts is said with the type, whose limits hold for it. An entry that is no such sequence stays.
    """
    kind = types.get(entry.oid) if entry.type == "SEQUENCE" else None
    found = _COUNTING.search(entry.definition) if kind else None
    if kind is None or found is None:
        return entry
    counting = (
        f"ALTER SEQUENCE {qualified(entry.schema, entry.tag)} AS {kind} START WITH {found['start'].decode()}"
        f" INCREMENT BY {found['step'].decode()} {found['least'].decode()} {found['most'].decode()}"
        f" CACHE {found['cache'].decode()} {'CYCLE' if found['cycle'] else 'NO CYCLE'} RESTART;\n"
    )
    return replace(entry, definition=entry.definition[: found.start()] + b"\n);\n" + counting.encode())
