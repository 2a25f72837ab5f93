"""Owners, grants and comments of large objects, which travel after their contents.

As with other objects: what names a role that the target lacks is left out, and so is an owner for whom the account may
not act. Some together are a transaction; repeatable, and what is right already is not touched.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field

from psycopg import errors

from .connect import Connection
from .failpoints import durable
from .names import literal, quote

_AT_ONCE = 1000
_CHANGED_AT_ONCE = 200  # each takes a few locks until its transaction ends
_HEADS = (
    "SELECT m.oid::bigint, r.rolname::text, pg_catalog.obj_description(m.oid, 'pg_largeobject')"
    " FROM pg_catalog.pg_largeobject_metadata m LEFT JOIN pg_catalog.pg_roles r ON r.oid = m.lomowner"
    " WHERE m.oid = ANY(%s::oid[])"
)
_GRANTS = (
    "SELECT m.oid::bigint, CASE WHEN a.grantee <> 0 THEN r.rolname::text END, a.privilege_type, a.is_grantable"
    " FROM pg_catalog.pg_largeobject_metadata m CROSS JOIN LATERAL pg_catalog.aclexplode(m.lomacl) a"
    " LEFT JOIN pg_catalog.pg_roles r ON r.oid = a.grantee"
    " WHERE m.oid = ANY(%s::oid[]) AND a.grantee <> m.lomowner AND (a.grantee = 0 OR r.rolname IS NOT NULL)"
)
_ROLES = "SELECT rolname::text, pg_catalog.pg_has_role(oid, 'USAGE') FROM pg_catalog.pg_roles"

_Grant = tuple[str | None, str, bool]
"""Role (None: everybody), right, whether it may be passed on."""


@dataclass
class _Rights:
    owner: str = ""
    comment: str | None = None
    grants: set[_Grant] = field(default_factory=set)


def carry_rights(source: Connection, target: Connection, oids: Sequence[int], check: Callable[[], None]) -> int:
    """Give large objects on the target the owners, grants and comments that they have on the source.

    Returns how many were changed. `check` is called between them and may raise to stop. psycopg's errors rise.
    """
    roles = {str(name): bool(mine) for name, mine in target.execute(_ROLES).fetchall()}
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


def _change(target: Connection, texts: Sequence[Sequence[str]], check: Callable[[], None]) -> None:
    """Run the statements of some large objects: all at once, or one by one where the target refuses one of them."""
    try:
        with durable("target.grants"), target.transaction():
            target.execute(";\n".join(statement for statements in texts for statement in statements).encode())
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
    for oid, grantee, right, passed_on in connection.execute(_GRANTS, (oids,)).fetchall():
        if int(str(oid)) in found:
            role = None if grantee is None else str(grantee)
            found[int(str(oid))].grants.add((role, str(right), bool(passed_on)))
    return found


def _statements(oid: int, wanted: _Rights, present: _Rights, roles: dict[str, bool]) -> list[str]:
    statements = []
    owner = wanted.owner if roles.get(wanted.owner) else present.owner
    if owner != present.owner:
        statements.append(f"ALTER LARGE OBJECT {oid} OWNER TO {quote(owner)}")
    grants = {grant for grant in wanted.grants if grant[0] is None or (grant[0] in roles and grant[0] != owner)}
    if grants != present.grants:
        statements += [f"REVOKE ALL ON LARGE OBJECT {oid} FROM {_role(role)}" for role in _grantees(present.grants)]
        for role, right, passed_on in sorted(grants, key=str):
            option = " WITH GRANT OPTION" if passed_on else ""
            statements.append(f"GRANT {right} ON LARGE OBJECT {oid} TO {_role(role)}{option}")
    if wanted.comment != present.comment:
        text = "NULL" if wanted.comment is None else literal(wanted.comment)
        statements.append(f"COMMENT ON LARGE OBJECT {oid} IS {text}")
    return statements


def _grantees(grants: Collection[_Grant]) -> list[str | None]:
    return sorted({role for role, _right, _passed_on in grants}, key=str)


def _role(name: str | None) -> str:
    return "PUBLIC" if name is None else quote(name)


@durable("target.grants")
def _run(target: Connection, statement: str) -> None:
    try:
        with target.transaction():
            target.execute(statement.encode())
    except errors.InsufficientPrivilege:
        if " OWNER TO " not in statement:
            raise
        # An owner for whom the account may not act after all, such as one that it belongs to without SET.
