"""The bookmark: how far the target has got, kept on the target in the same transaction as the rows.

One row per migration task in `towpath.bookmark`. Several tasks may share the schema of a database.
"""

from __future__ import annotations

from typing import NamedTuple

from ..connect import Connection
from ..errors import LeaseOutrun, TargetError
from ..failpoints import durable
from ..lsn import format_lsn, parse_lsn
from ..names import TARGET_SCHEMA, qualified, quote
from ..wording import say
from .statements import sure

TABLE = "bookmark"
_TABLE = qualified(TARGET_SCHEMA, TABLE)
_LOCK = 0x746F7770  # "towp": two tasks may create or drop the schema at the same time

# The division makes a batch of a worker that lost its lease, or that was already applied, fail as a whole. So does the
# logarithm one that a pooler has brought to another process than the one that has the session's settings.
CLAIM_SQL = (
    f"UPDATE {_TABLE} SET n = n + CASE WHEN pg_catalog.pg_backend_pid() <> $4::int"  # noqa: S608 - constants
    " THEN pg_catalog.ln((-1 - n)::double precision)::bigint"
    " ELSE 1 / (CASE WHEN lsn = $1::pg_catalog.pg_lsn AND epoch = $2::bigint THEN 1 ELSE 0 END) END"
    " WHERE task = $3"
).encode()
ELSEWHERE = "2201E"
"""SQLSTATE of a claim that came to another process."""
SURE_CLAIM_SQL = sure(CLAIM_SQL.decode()).encode()
MOVE_SQL = f"UPDATE {_TABLE} SET lsn = $1::pg_catalog.pg_lsn WHERE task = $2".encode()  # noqa: S608 - constants


class Bookmark(NamedTuple):
    """The stored row."""

    lsn: int
    epoch: int
    batches: int


@durable("bookmark.create")
def create(connection: Connection) -> None:
    """Make schema and table unless they exist. Idempotent, in one transaction."""
    with connection.transaction():
        connection.execute("SELECT pg_catalog.pg_advisory_xact_lock(%s)", (_LOCK,))
        if connection.execute("SELECT pg_catalog.to_regclass(%s)", (_TABLE,)).fetchone() != (None,):
            return
        connection.execute(f"CREATE SCHEMA IF NOT EXISTS {quote(TARGET_SCHEMA)}".encode())
        connection.execute(
            (
                f"CREATE TABLE {_TABLE} (task text PRIMARY KEY, lsn pg_catalog.pg_lsn NOT NULL,"
                " epoch bigint NOT NULL, n bigint NOT NULL DEFAULT 0) WITH (fillfactor = 50)"
            ).encode()
        )


@durable("bookmark.reset")
def reset(connection: Connection, task: str, position: int, epoch: int) -> None:
    """Put the task's row at `position`, where its first change will be taken from. Only before anything was applied."""
    with connection.transaction():
        connection.execute("SET LOCAL synchronous_commit = on")
        connection.execute(
            f"INSERT INTO {_TABLE} AS b (task, lsn, epoch) VALUES (%s, %s::pg_catalog.pg_lsn, %s)"  # noqa: S608 - constants
            " ON CONFLICT (task) DO UPDATE SET lsn = excluded.lsn, epoch = excluded.epoch, n = 0"
            " WHERE b.epoch <= excluded.epoch".encode(),
            (task, format_lsn(position), epoch),
        )


def read(connection: Connection, task: str) -> Bookmark | None:
    """Return the task's row, None when it or the table does not exist."""
    if connection.execute("SELECT pg_catalog.to_regclass(%s)", (_TABLE,)).fetchone() == (None,):
        return None
    row = connection.execute(
        f"SELECT lsn::text, epoch, n FROM {_TABLE} WHERE task = %s".encode(),  # noqa: S608 - constants
        (task,),
    ).fetchone()
    return Bookmark(parse_lsn(str(row[0])), int(str(row[1])), int(str(row[2]))) if row else None


@durable("bookmark.claim")
def claim(connection: Connection, task: str, epoch: int) -> int:
    """Take the row for `epoch` and return its position. Waits for a batch that an older worker still commits.

    Raises LeaseOutrun when a newer epoch has it, TargetError when the row is gone.
    """
    if read(connection, task) is None:
        raise gone()
    with connection.transaction():
        connection.execute("SET LOCAL synchronous_commit = on")
        row = connection.execute(
            f"UPDATE {_TABLE} SET epoch = %s WHERE task = %s AND epoch <= %s RETURNING lsn::text".encode(),  # noqa: S608 - constants
            (epoch, task, epoch),
        ).fetchone()
    if row:
        return parse_lsn(str(row[0]))
    found = read(connection, task)
    if found is None:
        raise gone()
    said = say("epoch {epoch} has taken over from epoch {epoch_2}", epoch=found.epoch, epoch_2=epoch)
    raise LeaseOutrun(said, epoch=found.epoch)


def gone() -> TargetError:
    """Return the error for a bookmark that somebody has removed, the row or its table."""
    return TargetError(
        say("The bookmark of this migration is gone from the target, so nobody knows which changes it already has."),
        hint=say("If the target was restored from a backup, start the migration again with a new copy."),
        code="DST-BOOKMARK",
    )


@durable("bookmark.forget")
def forget(connection: Connection, task: str) -> None:
    """Delete one row; the schema stays. Idempotent."""
    connection.execute(f"DELETE FROM {_TABLE} WHERE task = %s".encode(), (task,))  # noqa: S608 - constants


@durable("bookmark.remove")
def remove(connection: Connection, task: str) -> bool:
    """Delete the task's row, and the whole schema when no other task uses it. Returns whether the schema is gone.

    Idempotent, in one transaction.
    """
    with connection.transaction():
        connection.execute("SELECT pg_catalog.pg_advisory_xact_lock(%s)", (_LOCK,))
        if connection.execute("SELECT pg_catalog.to_regclass(%s)", (_TABLE,)).fetchone() == (None,):
            return True
        # A table that was copied once more has a row below the task's own.
        connection.execute(
            f"DELETE FROM {_TABLE} WHERE split_part(task, '/', 1) = %s".encode(),  # noqa: S608 - constants
            (task,),
        )
        if connection.execute(f"SELECT FROM {_TABLE} LIMIT 1".encode()).fetchone() is not None:
            return False
        connection.execute(f"DROP TABLE {_TABLE}".encode())
        connection.execute(f"DROP SCHEMA {quote(TARGET_SCHEMA)}".encode())
    return True
