"""Types that hold every value of another type unchanged, so that a changed column keeps its values.

Names are what format_type says.
"""

from __future__ import annotations

import re

_INTEGERS = ("smallint", "integer", "bigint")
_MODIFIED = re.compile(r"(?P<name>[^()]+?)\((?P<one>\d+)(?:,(?P<two>-?\d+))?\)(?P<rest>.*)")
_BY_LENGTH = ("character varying", "bit varying")
_BY_DIGITS = ("time", "timestamp", "interval")


def widens(old: str, new: str) -> bool:
    """Say whether every value of type `old` is the same value in type `new`, whatever it is.

    What a column is given by a USING of its own cannot be seen in its types; nobody computes other values to widen one.
    """
    if old in _INTEGERS and new in _INTEGERS:
        return _INTEGERS.index(old) <= _INTEGERS.index(new)
    (before, first, second, rest), (after, wider, scale, other) = _parts(old), _parts(new)
    if rest != other:
        return False
    if before == "character varying" and new == "text":
        return True
    if before != after:
        return False
    if before == "numeric" and first is not None:
        return wider is None or (wider - scale >= first - second and scale == second)
    if before in _BY_LENGTH or before in _BY_DIGITS:
        return wider is None or (first is not None and wider >= first)
    return False


def _parts(name: str) -> tuple[str, int | None, int, str]:
    """Return name, first and second modifier, and what follows them, of a type."""
    found = _MODIFIED.fullmatch(name)
    if not found:
        head, _, tail = name.partition(" with")
        return (head, None, 0, _ + tail) if head in _BY_DIGITS else (name, None, 0, "")
    return found["name"], int(found["one"]), int(found["two"] or 0), found["rest"]
