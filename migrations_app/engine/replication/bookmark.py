"""The bookmark: how far the target has got, kept on the target in the same transaction as the rows.

One row per migration task in `towpath.bookmark`. Several tasks may share the schema of a database. `moved` and
`moved_n` repeat where its last batch has put the row, so that one that was changed by hand is not believed.
"""

from __future__ import annotations

from typing import NamedTuple

from ..connect import Connection
from ..errors import LeaseOutrun, TargetError
from ..failpoints import durable
from ..lsn import format_lsn, parse_lsn
from ..names import TARGET_SCHEMA, literal, qualified, quote
from ..wording import say

TABLE = "bookmark"
_TABLE = qualified(TARGET_SCHEMA, TABLE)
LOCK = 0x746F7770  # "towp"
"""Advisory lock of a target database: two tasks may make or drop the schema, or take tables over, at the same time."""

# Dead versions of the row stay as long as any snapshot of the target is held, and whoever looks for it by its key walks
# over all of them. So it is looked for where this session has put it last, and by its key only when it is not there. A
# place that is out of date shows no row of the task, since nobody sees a dead version; the key decides then.
_ROW = (
    f"task = {{task}} AND ctid = coalesce((SELECT ctid FROM {_TABLE} WHERE ctid = {{place}}::pg_catalog.tid"  # noqa: S608 - constants
    f" AND task = {{task}}), (SELECT ctid FROM {_TABLE} WHERE task = {{task}}))"
)
# The row is locked, which leaves no dead version, and stays so until the commit. The division makes a batch of a worker
# that lost its lease, or that was already applied, fail as a whole. So does the logarithm one that a pooler has brought
# to another process than the one that has the session's settings.
CLAIM_SQL = (
    "SELECT CASE WHEN pg_catalog.pg_backend_pid() <> $4::int"  # noqa: S608 - constants
    " THEN pg_catalog.ln((-1 - n)::double precision)::bigint"
    " ELSE 1 / (CASE WHEN lsn = $1::pg_catalog.pg_lsn AND epoch = $2::bigint THEN 1 ELSE 0 END) END AS one"
    f" FROM {_TABLE} WHERE {_ROW.format(task='$3', place='$5')} FOR UPDATE"
).encode()
ELSEWHERE = "2201E"
"""SQLSTATE of a claim that came to another process."""
SURE_CLAIM_SQL = (
    f"WITH x AS ({CLAIM_SQL.decode()}) SELECT 1 / (CASE count(one) WHEN 1 THEN 1 ELSE 0 END) FROM x"  # noqa: S608 - constants
).encode()
MOVE_SQL = (
    f"UPDATE {_TABLE} SET lsn = $1::pg_catalog.pg_lsn, n = n + 1, moved = $1::pg_catalog.pg_lsn, moved_n = n + 1"  # noqa: S608 - constants
    f" WHERE {_ROW.format(task='$2', place='$3')} RETURNING ctid"
).encode()
"""Puts the row that was claimed to another position, and returns where it is from then on."""
_ADD_SQL = (
    f"ALTER TABLE {_TABLE} ADD COLUMN IF NOT EXISTS moved pg_catalog.pg_lsn, ADD COLUMN IF NOT EXISTS moved_n bigint"
).encode()
_COLUMNS_SQL = (
    f"SELECT FROM pg_catalog.pg_attribute WHERE attrelid = '{_TABLE}'::pg_catalog.regclass AND attname = 'moved_n'"
).encode()


class Bookmark(NamedTuple):
    """The stored row."""

    lsn: int
    epoch: int
    batches: int


@durable("bookmark.create")
def create(connection: Connection) -> None:
    """Make schema and table unless they exist. Idempotent, in one transaction."""
    with connection.transaction():
        connection.execute("SELECT pg_catalog.pg_advisory_xact_lock(%s)", (LOCK,))
        if connection.execute("SELECT pg_catalog.to_regclass(%s)", (_TABLE,)).fetchone() != (None,):
            _complete(connection)
            return
        connection.execute(f"CREATE SCHEMA IF NOT EXISTS {quote(TARGET_SCHEMA)}".encode())
        connection.execute(
            (
                f"CREATE TABLE {_TABLE} (task text PRIMARY KEY, lsn pg_catalog.pg_lsn NOT NULL,"
                " epoch bigint NOT NULL, n bigint NOT NULL DEFAULT 0, moved pg_catalog.pg_lsn, moved_n bigint)"
                " WITH (fillfactor = 50)"
            ).encode()
        )


def _complete(connection: Connection) -> None:
    """Add what the table lacks that an older version of the product has made."""
    if connection.execute(_COLUMNS_SQL).fetchone() is None:
        connection.execute(_ADD_SQL)


@durable("bookmark.reset")
def reset(connection: Connection, task: str, position: int, epoch: int) -> None:
    """Put the task's row at `position`, where its first change will be taken from. Only before anything was applied."""
    with connection.transaction():
        connection.execute("SET LOCAL synchronous_commit = on")
        _complete(connection)
        connection.execute(
            f"INSERT INTO {_TABLE} AS b (task, lsn, epoch, moved, moved_n)"  # noqa: S608 - constants
            " VALUES (%s, %s::pg_catalog.pg_lsn, %s, %s::pg_catalog.pg_lsn, 0)"
            " ON CONFLICT (task) DO UPDATE SET lsn = excluded.lsn, epoch = excluded.epoch, n = 0,"
            " moved = excluded.moved, moved_n = 0"
            " WHERE b.epoch <= excluded.epoch".encode(),
            (task, format_lsn(position), epoch, format_lsn(position)),
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

    Raises LeaseOutrun when a newer epoch has it, TargetError when the row is gone or was changed by hand.
    """
    if read(connection, task) is None:
        raise gone()
    _complete(connection)
    with connection.transaction():
        connection.execute("SET LOCAL synchronous_commit = on")
        row = connection.execute(
            f"UPDATE {_TABLE} SET epoch = %s WHERE task = %s AND epoch <= %s"  # noqa: S608 - constants
            " RETURNING lsn::text, moved::text, moved_n IS NOT DISTINCT FROM n".encode(),
            (epoch, task, epoch),
        ).fetchone()
    if row:
        if row[2] and row[1] != row[0]:  # a batch of an older version moves the place alone, and counts itself
            raise _set_by_hand(task, str(row[0]), str(row[1]))
        return parse_lsn(str(row[0]))
    found = read(connection, task)
    if found is None:
        raise gone()
    said = say("epoch {epoch} has taken over from epoch {epoch_2}", epoch=found.epoch, epoch_2=epoch)
    raise LeaseOutrun(said, epoch=found.epoch)


def _set_by_hand(task: str, found: str, moved: str) -> TargetError:
    return TargetError(
        say(
            "Somebody has changed the bookmark of this migration on the target: it says {found}, but the last change "
            "that was applied moved it to {moved}. From another place changes would be lost, or applied twice.",
            found=found,
            moved=moved,
        ),
        hint=say(
            "Run on the target: {statement}. Then press Retry: nothing is lost. Or press Restart with new copy.",
            statement=f"UPDATE {_TABLE} SET lsn = moved WHERE task = {literal(task)}",  # noqa: S608 - constants
        ),
        code="DST-BOOKMARKSET",
    )


def gone() -> TargetError:
    """Return the error for a bookmark that somebody has removed, the row or its table."""
    return TargetError(
        say("The bookmark of this migration is gone from the target, so nobody knows which changes it already has."),
        hint=say("Press Restart with new copy: it removes what is ours and begins anew."),
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
        connection.execute("SELECT pg_catalog.pg_advisory_xact_lock(%s)", (LOCK,))
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
