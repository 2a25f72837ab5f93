"""Names: quoting of every identifier, and the names of the objects that we make on servers.

One helper for all SQL text. psycopg's own `sql.Identifier` leaves `%` alone, which breaks inside a query that has
parameters; statements built here are therefore always executed *without* parameters, or through `sql.SQL` built by
`ident()` which doubles the percent sign.
"""

from __future__ import annotations

from psycopg import sql

TARGET_SCHEMA = "towpath"
APPLICATION_PREFIX = "towpath"


def quote(name: str) -> str:
    """Return `name` as a quoted identifier for a statement that is sent without parameters.

    Raises ValueError on NUL, which PostgreSQL cannot hold in a name.
    """
    if "\x00" in name:
        raise ValueError("an identifier cannot contain a NUL character")
    return '"' + name.replace('"', '""') + '"'


def qualified(schema: str, name: str) -> str:
    """Return `"schema"."name"`, quoted, for a statement that is sent without parameters."""
    return f"{quote(schema)}.{quote(name)}"


def ident(*parts: str) -> sql.Composable:
    """Return a dotted identifier for use inside a query *with* parameters: `%` is doubled."""
    return sql.SQL(".".join(quote(part) for part in parts).replace("%", "%%"))


def literal(text: str) -> str:
    """Return `text` as a string literal that is safe whatever `standard_conforming_strings` says."""
    if "\x00" in text:
        raise ValueError("a literal cannot contain a NUL character")
    escaped = text.replace("'", "''")
    return f"E'{escaped.replace(chr(92), chr(92) * 2)}'" if "\\" in text else f"'{escaped}'"


def slot_name(key: str, database_oid: int) -> str:
    """Name of the task's slot for one source database: unique per server, `[a-z0-9_]`, under 63 bytes."""
    return f"towpath_{key}_{database_oid}"


def temporary_slot_name(key: str, database_oid: int, epoch: int) -> str:
    """Name of a short-lived slot that only lends us a snapshot with an exact LSN."""
    return f"towpath_{key}_{database_oid}_t{epoch}"


def publication_name(key: str, database_oid: int) -> str:
    """Name of the task's publication in one source database."""
    return f"towpath_{key}_{database_oid}"


def application_name(key: str, epoch: int) -> str:
    """`application_name` of our sessions: a newer epoch ends the sessions of older ones by it."""
    return f"{APPLICATION_PREFIX}:{key}:{epoch}"


def is_in(schema: str, shown: str) -> bool:
    """Say whether a name, as the server shows it with its schema, is that of something in this schema."""
    return shown.startswith((f"{schema}.", f"{quote(schema)}."))
