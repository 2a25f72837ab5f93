"""Who owns the restored objects: the statements that hand them over, and to whom our account may do that."""

from __future__ import annotations

from collections.abc import Iterable

from .connect import Connection
from .names import quote
from .toc import Entry

MEMBERSHIPS_SAY_SINCE = 160000
"""Whether the rights of a role are inherited is said of each membership, not of the member."""
_WITHOUT_OWNER = frozenset(
    {
        "EXTENSION",
        "CAST",
        "TRANSFORM",
        "ACCESS METHOD",
        "TEXT SEARCH PARSER",
        "TEXT SEARCH TEMPLATE",
        "USER MAPPING",
    }
)


def has_own_owner(entry: Entry, tables: set[int]) -> bool:
    """Say whether the object has an owner of its own. `tables`: dump ids of the tables of the archive."""
    if entry.type == "SEQUENCE":
        return tables.isdisjoint(entry.depends_on)  # otherwise it follows the table whose column it serves
    return entry.type not in _WITHOUT_OWNER


def owner_text(entry: Entry) -> bytes:
    """Return the statement that gives a restored object its owner of the source."""
    what = entry.drop.strip().removeprefix(b"DROP ").removesuffix(b";").removesuffix(b" CASCADE")
    if entry.type == "SCHEMA":
        what = b"SCHEMA " + quote(entry.tag).encode()  # how to drop `public` a dump does not say
    return b"ALTER " + what + b" OWNER TO " + quote(entry.owner).encode() + b";"


def owner_text_with_right(entry: Entry) -> bytes:
    """Return the same for an account that is no superuser: the new owner may create in the schema for this moment."""
    right = b" CREATE ON SCHEMA " + quote(entry.schema).encode()
    owner = quote(entry.owner).encode()
    lend, back = b"GRANT" + right + b" TO " + owner, b"REVOKE" + right + b" FROM " + owner
    return lend + b";\n" + owner_text(entry) + b"\n" + back + b";"


def may_own(connection: Connection) -> set[str]:
    """Return the roles that we can hand objects to and still work with what they own, but for ourselves."""
    right = "SET" if connection.info.server_version >= 160000 else "MEMBER"
    rows = connection.execute(
        "SELECT rolname FROM pg_catalog.pg_roles WHERE rolname <> current_user"
        " AND pg_catalog.pg_has_role(oid, 'USAGE') AND pg_catalog.pg_has_role(oid, %s)",
        (right,),
    ).fetchall()
    return {str(row[0]) for row in rows}


def inherits(connection: Connection) -> bool:
    """Say whether our account has by itself the rights of roles that it is in."""
    row = connection.execute("SELECT rolinherit FROM pg_catalog.pg_roles WHERE rolname = current_user").fetchone()
    return row is None or bool(row[0])


def joining(roles: Iterable[str], account: str, version: int, *, inheriting: bool, become: bool = False) -> list[str]:
    """Return the statements after which an account has the rights of these roles, also where it is a member already
    and has none of them.

    `inheriting`: what `inherits` says of the account; from 16 on each membership says so itself. `become`: objects can
    be handed to them too.
    """
    ways, first = "", []
    if version >= MEMBERSHIPS_SAY_SINCE:
        ways = " WITH INHERIT TRUE" + (", SET TRUE" if become else "")
    elif not inheriting:
        first = [f"ALTER ROLE {quote(account)} INHERIT;"]
    grants = [f"GRANT {quote(role)} TO {quote(account)}{ways};" for role in roles]
    return [*first, *grants] if grants else []
