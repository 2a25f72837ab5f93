"""Owners, grants and comments of large objects, which travel after their contents.

As with other objects: what names a role that the target lacks is left out, and so is an owner for whom the account may
not act; what somebody has granted for whom it may not act is granted by the owner. Some together are a transaction;
repeatable, and what is right already is not touched.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from psycopg import errors

from .connect import Connection
from .failpoints import durable
from .grants import granting, role_name
from .names import literal, quote

_AT_ONCE = 1000
_SET_SINCE = 160000
_CHANGED_AT_ONCE = 200  # each takes a few locks until its transaction ends
_HEADS = (
    "SELECT m.oid::bigint, r.rolname::text, pg_catalog.obj_description(m.oid, 'pg_largeobject')"
    " FROM pg_catalog.pg_largeobject_metadata m LEFT JOIN pg_catalog.pg_roles r ON r.oid = m.lomowner"
    " WHERE m.oid = ANY(%s::oid[])"
)
_GRANTS = (
    "SELECT m.oid::bigint, CASE WHEN a.grantee <> 0 THEN r.rolname::text END, a.privilege_type, a.is_grantable,"
    " CASE WHEN a.grantor <> m.lomowner THEN g.rolname::text ELSE '' END"
    " FROM pg_catalog.pg_largeobject_metadata m CROSS JOIN LATERAL pg_catalog.aclexplode(m.lomacl) a"
    " LEFT JOIN pg_catalog.pg_roles r ON r.oid = a.grantee LEFT JOIN pg_catalog.pg_roles g ON g.oid = a.grantor"
    " WHERE m.oid = ANY(%s::oid[]) AND a.grantee <> m.lomowner AND (a.grantee = 0 OR r.rolname IS NOT NULL)"
)
_TAKEN = (
    "SELECT m.oid::bigint, string_agg(a.privilege_type, ' ' ORDER BY a.privilege_type)"
    " FROM pg_catalog.pg_largeobject_metadata m"
    " CROSS JOIN LATERAL pg_catalog.aclexplode(pg_catalog.acldefault('L', m.lomowner)) a"
    " WHERE m.lomacl IS NOT NULL AND NOT EXISTS (SELECT 1 FROM pg_catalog.aclexplode(m.lomacl) h"
    " WHERE h.grantee = m.lomowner AND h.privilege_type = a.privilege_type) GROUP BY m.oid ORDER BY m.oid"
)
_STANDING = (
    "SELECT m.oid::bigint, r.rolname::text FROM pg_catalog.pg_largeobject_metadata m"
    " JOIN pg_catalog.pg_roles r ON r.oid = m.lomowner WHERE m.oid = ANY(%s::oid[])"
)

_ROLES = (
    "SELECT r.rolname::text, pg_catalog.pg_has_role(r.oid, 'USAGE'), pg_catalog.pg_has_role(r.oid, %s)"
    " FROM pg_catalog.pg_roles r"
)

_Grant = tuple[str | None, str, bool, str]
"""Role (None: everybody), right, whether it may be passed on, who has granted it ('': the owner)."""


class _Statement(NamedTuple):
    """A statement, and what is done instead when the target refuses it ('': nothing; None: that is an error)."""

    text: str
    instead: str | None = None


@dataclass
class _Rights:
    owner: str = ""
    comment: str | None = None
    grants: set[_Grant] = field(default_factory=set)


def carry_rights(source: Connection, target: Connection, oids: Sequence[int], check: Callable[[], None]) -> int:
    """Give large objects on the target the owners, grants and comments that they have on the source.

    Returns how many were changed. `check` is called between them and may raise to stop. psycopg's errors rise.
    """
    right = "SET" if target.info.server_version >= _SET_SINCE else "MEMBER"
    roles = {str(name): (bool(mine), bool(act)) for name, mine, act in target.execute(_ROLES, (right,)).fetchall()}
    changed = 0
    for start in range(0, len(oids), _AT_ONCE):
        batch = list(oids[start : start + _AT_ONCE])
        wanted, present = _read(source, batch), _read(target, batch)
        known = sorted(wanted.keys() & present.keys())
        texts = [text for oid in known if (text := _statements(oid, wanted[oid], present[oid], roles))]
        for at in range(0, len(texts), _CHANGED_AT_ONCE):
            check()
            _change(target, texts[at : at + _CHANGED_AT_ONCE], check)
        changed += len(texts)
    return changed


def _change(target: Connection, texts: Sequence[Sequence[_Statement]], check: Callable[[], None]) -> None:
    """Run the statements of some large objects: all at once, or one by one where the target refuses one of them."""
    try:
        with durable("target.grants"), target.transaction():
            target.execute(";\n".join(statement.text for statements in texts for statement in statements).encode())
    except errors.InsufficientPrivilege:
        for statements in texts:
            check()
            with target.transaction():
                for statement in statements:
                    _run(target, statement)


def _read(connection: Connection, oids: list[int]) -> dict[int, _Rights]:
    found = {}
    for oid, owner, comment in connection.execute(_HEADS, (oids,)).fetchall():
        found[int(str(oid))] = _Rights(str(owner or ""), None if comment is None else str(comment))
    for oid, grantee, right, passed_on, grantor in connection.execute(_GRANTS, (oids,)).fetchall():
        if int(str(oid)) in found:
            role = None if grantee is None else str(grantee)
            found[int(str(oid))].grants.add((role, str(right), bool(passed_on), str(grantor or "")))
    return found


def _statements(oid: int, wanted: _Rights, present: _Rights, roles: dict[str, tuple[bool, bool]]) -> list[_Statement]:
    statements = []
    owner = wanted.owner if roles.get(wanted.owner, (False, False))[0] else present.owner
    if owner != present.owner:
        # The account may belong to the owner without SET after all.
        statements.append(_Statement(f"ALTER LARGE OBJECT {oid} OWNER TO {quote(owner)}", ""))
    grants = {
        (role, right, passed_on, grantor if roles.get(grantor, (False, False))[1] and grantor != owner else "")
        for role, right, passed_on, grantor in wanted.grants
        if role is None or (role in roles and role != owner)
    }
    if grants != present.grants:
        names = _grantees(present.grants)  # what they have passed on goes with what they had
        statements += [_Statement(f"REVOKE ALL ON LARGE OBJECT {oid} FROM {role_name(role)} CASCADE") for role in names]
        statements += [_Statement(text, instead or None) for text, instead in granting(f"LARGE OBJECT {oid}", grants)]
    if wanted.comment != present.comment:
        text = "NULL" if wanted.comment is None else literal(wanted.comment)
        statements.append(_Statement(f"COMMENT ON LARGE OBJECT {oid} IS {text}"))
    return statements


def carry_own_rights(source: Connection, target: Connection, check: Callable[[], None], *, back: bool = False) -> None:
    """Take from the owners of large objects what they took from themselves on the source; `back`: give it back.

    The account works with these rights, so that this is the last that is done. Repeatable. psycopg's errors rise.
    """
    taken, known = _taken(source), _taken(target)
    owners = {int(str(oid)): str(name) for oid, name in target.execute(_STANDING, (list(taken),)).fetchall()}
    for oid in taken.keys() & owners.keys():
        check()
        rights, owner = taken[oid], quote(owners[oid])
        done = rights & known.get(oid, set())
        for right in sorted(done if back else rights - done):
            verb, to = ("GRANT", "TO") if back else ("REVOKE", "FROM")
            _run(target, _Statement(f"{verb} {right} ON LARGE OBJECT {oid} {to} {owner}", ""))


def _taken(connection: Connection) -> dict[int, set[str]]:
    return {int(str(oid)): set(str(rights).split()) for oid, rights in connection.execute(_TAKEN).fetchall()}


def _grantees(grants: Collection[_Grant]) -> list[str | None]:
    return sorted({grant[0] for grant in grants}, key=str)


@durable("target.grants")
def _run(target: Connection, statement: _Statement) -> None:
    try:
        with target.transaction():
            target.execute(statement.text.encode())
    except errors.InsufficientPrivilege:
        if statement.instead is None:
            raise
        if statement.instead:
            target.execute(statement.instead.encode())
