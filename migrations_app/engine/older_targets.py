"""Says what the newest pg_dump writes in the words of an older target.

pg_dump writes for the version that it belongs to. Up to 10 the function of an operator or an event trigger was called
a PROCEDURE, and FUNCTION is a syntax error there (release notes of PostgreSQL 11).
"""

from __future__ import annotations

import re

from .toc import Entry

_FUNCTION_SINCE = 110000
_OPERATOR = re.compile(rb"(?<=\(\n    )FUNCTION(?= = )")


def understood(entry: Entry, text: bytes, version: int) -> bytes:
    """Return the statement of an entry as a target of this version (`server_version_num`) reads it. Pure."""
    if version >= _FUNCTION_SINCE:
        return text
    if entry.type == "OPERATOR":
        return _OPERATOR.sub(b"PROCEDURE", text, count=1)
    if entry.type == "EVENT TRIGGER":
        head, newline, tail = text.rpartition(b"\n   EXECUTE FUNCTION ")
        return head + b"\n   EXECUTE PROCEDURE " + tail if newline else text
    return text
