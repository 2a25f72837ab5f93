"""Rights that are passed on: who has granted what to whom, and in which order that can be done again."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

from .names import quote

_Role = TypeVar("_Role", str, str | None)


def in_order(grants: Iterable[tuple[_Role, str, bool, str]]) -> list[tuple[_Role, str, bool, str]]:
    """Return grants (grantee, right, may be passed on, grantor) so that nobody passes on what comes later.

    The grantor is '' where it is the owner. What fits nowhere comes last; of that, first what comes from a grantor to
    whom nobody gives the right here, as he may have it already.
    """
    left = sorted(grants, key=str)
    placed: list[tuple[_Role, str, bool, str]] = []
    while left:
        able = {(one[0], one[1]) for one in placed if one[2]}
        to_come = {(one[0], one[1]) for one in left if one[2]}
        ready = [one for one in left if not one[3] or (one[3], one[1]) in able]
        ready = ready or [one for one in left if (one[3], one[1]) not in to_come] or left
        placed += ready
        left = [one for one in left if one not in ready]
    return placed


def granting(what: str, grants: Iterable[tuple[str | None, str, bool, str]]) -> list[tuple[str, str]]:
    """Return the statements of grants on an object such as 'SCHEMA "s"', each with what is to be done where our account
    may not act for the grantor ('': it is the owner). Grantee None: everybody."""
    found = []
    for role, right, passed_on, grantor in in_order(grants):
        option = " WITH GRANT OPTION" if passed_on else ""
        grant = f"GRANT {right} ON {what} TO {role_name(role)}{option}"
        passed = f"SET ROLE {quote(grantor)};\n{grant};\nRESET ROLE"
        found.append((passed, grant) if grantor else (grant, ""))
    return found


def role_name(role: str | None) -> str:
    """Return a grantee as SQL names it."""
    return "PUBLIC" if role is None else quote(role)
