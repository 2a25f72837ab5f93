"""How a server keeps the password of the account that is signed in: as SCRAM, or perhaps as md5.

An account that is older than its server's `password_encryption` may still have an md5 one, as after an upgrade to 14
or later; the method scram-sha-256 of pg_hba.conf would shut it out.
"""

from __future__ import annotations

from typing import LiteralString

from .connect import Connection

_TELLS_METHOD_SINCE = 160000
_BY_METHOD: LiteralString = "SELECT pg_catalog.starts_with(system_user, 'scram-sha-256:')"
_MAY_LOOK: LiteralString = "SELECT pg_catalog.has_column_privilege('pg_catalog.pg_authid', 'rolpassword', 'SELECT')"
_BY_HASH: LiteralString = (
    "SELECT pg_catalog.substr(rolpassword, 1, 14) = 'SCRAM-SHA-256$' FROM pg_catalog.pg_authid"
    " WHERE rolname = session_user"
)
_OF_ROLE: LiteralString = (
    "SELECT pg_catalog.substr(rolpassword, 1, 14) = 'SCRAM-SHA-256$' FROM pg_catalog.pg_authid WHERE rolname = %s"
)


def known_as_scram(connection: Connection) -> bool:
    """Say whether the server shows that the password is kept as SCRAM. False where nobody can tell.

    Either this session signed in by a line that takes nothing else, or the account may look. Raises psycopg's errors.
    """
    version = connection.info.server_version
    if version < 100000:
        return False
    if version >= _TELLS_METHOD_SINCE and _says(connection, _BY_METHOD):
        return True
    return _says(connection, _MAY_LOOK) and _says(connection, _BY_HASH)


def role_is_as_scram(connection: Connection, role: str) -> bool:
    """The same of another role, which may be missing. Raises psycopg's errors."""
    return _says(connection, _MAY_LOOK) and _says(connection, _OF_ROLE, role)


def _says(connection: Connection, question: LiteralString, *values: str) -> bool:
    row = connection.execute(question, values or None).fetchone()
    return bool(row and row[0])
