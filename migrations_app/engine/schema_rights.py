"""Owner, grants and comment of a schema that is made on the target while the sync runs.

As with schemas that were copied: what names a role that the target lacks is left out, and told.
"""

from __future__ import annotations

import psycopg

from .connect import Connection, first_line
from .failpoints import durable
from .grants import granting
from .names import literal, quote
from .owners import may_own
from .values import frozen
from .wording import say

_HEAD = (
    "SELECT pg_catalog.pg_get_userbyid(n.nspowner)::text, pg_catalog.obj_description(n.oid, 'pg_namespace')"
    " FROM pg_catalog.pg_namespace n WHERE n.nspname = %s"
)
_GRANTS = (
    "SELECT CASE WHEN a.grantee <> 0 THEN r.rolname::text END, a.privilege_type, a.is_grantable,"
    " CASE WHEN a.grantor <> n.nspowner THEN g.rolname::text ELSE '' END"
    " FROM pg_catalog.pg_namespace n CROSS JOIN LATERAL pg_catalog.aclexplode(n.nspacl) a"
    " LEFT JOIN pg_catalog.pg_roles r ON r.oid = a.grantee LEFT JOIN pg_catalog.pg_roles g ON g.oid = a.grantor"
    " WHERE n.nspname = %s AND a.grantee <> n.nspowner AND (a.grantee = 0 OR r.rolname IS NOT NULL)"
)


@frozen
class SchemaRights:
    """What a schema of the source has. `grants`: (grantee, None = everybody; right; may be passed on; grantor, '' = the
    owner)."""

    owner: str
    comment: str | None = None
    grants: tuple[tuple[str | None, str, bool, str], ...] = ()


def read_rights(source: Connection, schema: str) -> SchemaRights | None:
    """Return what a schema of the source has; None when there is none of that name. Raises psycopg.Error."""
    head = source.execute(_HEAD, (schema,)).fetchone()
    if head is None:
        return None
    rows = source.execute(_GRANTS, (schema,)).fetchall()
    return SchemaRights(
        owner=str(head[0]),
        comment=None if head[1] is None else str(head[1]),
        grants=tuple(
            (None if role is None else str(role), str(right), bool(passed_on), str(grantor or ""))
            for role, right, passed_on, grantor in rows
        ),
    )


@durable("target.grants")
def give_rights(target: Connection, schema: str, rights: SchemaRights) -> list[tuple[str, str]]:
    """Give a schema of the target what that of the source has, in the open transaction.

    Returns the statements that the target refuses, each with what it says; the others are run all the same. Raises
    psycopg.Error when the session is lost.
    """
    what = "SCHEMA " + quote(schema)
    refused: list[tuple[str, str]] = []
    statements = granting(what, rights.grants)
    owning = f"ALTER {what} OWNER TO {quote(rights.owner)}"
    if _is_out_of_reach(target, rights.owner):  # then we could not work with what is in it
        refused.append((owning, say("the target account does not have the rights of this role")))
    else:
        statements = [(owning, ""), *statements]
    if rights.comment is not None:
        statements.insert(0, (f"COMMENT ON {what} IS {literal(rights.comment)}", ""))
    for text, instead in statements:
        why = _refusal(target, text)
        if why and instead:
            text, why = instead, _refusal(target, instead)
        if why:
            refused.append((text, why))
    return refused


def _is_out_of_reach(target: Connection, role: str) -> bool:
    """Say whether a role of the target is one that we cannot work for; of one that is not there the server tells."""
    there = target.execute("SELECT FROM pg_catalog.pg_roles WHERE rolname = %s", (role,)).fetchone()
    return there is not None and role not in {*may_own(target), target.info.user}


def _refusal(target: Connection, statement: str) -> str:
    """Run a statement; return what the target says when it refuses, else nothing."""
    try:
        with target.transaction():
            target.execute(statement.encode("utf-8", "surrogateescape"))
    except (psycopg.errors.ProgrammingError, psycopg.errors.DataError) as error:  # a role that is not there is either
        return first_line(error)
    return ""
