"""Words of a dump that a target does not take: of newer versions, or of superusers."""

from __future__ import annotations

from .sqltokens import WORD, UnreadableSql, cut

_FUNCTION_SINCE = 110000
"""Before this version event triggers and operators were made of a PROCEDURE, and know no other word."""


def for_target(kind: str, text: bytes, version: int) -> bytes:
    """Return an entry's SQL in words that a target of this version (`server_version_num`) knows.

    `kind` is the entry's type as pg_dump names it. What pg_dump writes by itself is in its own version's words; what
    the source's server has written is older anyway.
    """
    if version >= _FUNCTION_SINCE:
        return text
    if kind == "EVENT TRIGGER":
        head, found, call = text.rpartition(b"\n   EXECUTE FUNCTION ")
        return head + b"\n   EXECUTE PROCEDURE " + call if found else text
    if kind == "OPERATOR":
        return text.replace(b" (\n    FUNCTION = ", b" (\n    PROCEDURE = ", 1)
    return text


def without_leakproof(kind: str, text: bytes) -> bytes | None:
    """Return the SQL that makes a function without LEAKPROOF, which only a superuser can give; None where it has none.

    Nothing that the function does depends on it: it lets the planner call it earlier.
    """
    if kind != "FUNCTION" or b" LEAKPROOF" not in text:
        return None
    try:
        tokens = cut(text.decode(errors="surrogateescape"))
    except UnreadableSql:
        return None
    kept = [one.text for one in tokens if (one.kind, one.text) != (WORD, "LEAKPROOF")]
    return "".join(kept).encode(errors="surrogateescape") if len(kept) < len(tokens) else None
