"""Checks whose functions read other tables, or tell the time: the rows come without them, and they are put back when
all tables are full. One that old rows break stays unproved, which is told.

Indexes of that kind are kept apart by the archive itself: one that is built too early has wrong entries, without an
error.
"""

from __future__ import annotations

import psycopg

from .archive import Archive, LateCheck
from .connect import Connection
from .failpoints import durable
from .names import qualified, quote
from .outcome import Run
from .plan import DatabasePlan, Side
from .ports import Kind
from .restore import raise_unless_refused
from .wording import say

_STANDING = (
    "SELECT n.nspname::text, c.relname::text, k.conname::text, k.coninhcount > 0"
    " FROM pg_catalog.pg_constraint k JOIN pg_catalog.pg_class c ON c.oid = k.conrelid"
    " JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE k.contype = 'c'"
)


def take_off_checks(run: Run, database: DatabasePlan, archive: Archive) -> None:
    """Drop such checks of the tables that the restore has just made. They are empty. Idempotent."""
    wanted = {one.key for one in _of_ours(run, database, archive)}
    if not wanted:
        return
    with run.sessions.session(Side.TARGET, database.target_name) as connection:
        # One that a child has from its parent cannot go before the parent's.
        while free := sorted(
            key for key, inherited in _standing(connection).items() if key in wanted and not inherited
        ):
            for schema, table, name in free:
                run.ports.control.check()
                text = f"ALTER TABLE {qualified(schema, table)} DROP CONSTRAINT {quote(name)}"
                with durable("target.drop", "check"):
                    connection.execute(text.encode())


def put_back_checks(run: Run, database: DatabasePlan, connection: Connection, archive: Archive) -> None:
    """Make them again, not proved yet. Idempotent. What the target refuses is told by the structure comparison."""
    wanted = _of_ours(run, database, archive)
    standing = _standing(connection) if wanted else {}
    for one in wanted:
        if one.key in standing:
            continue
        run.ports.control.check()
        text = f"ALTER TABLE {qualified(one.schema, one.table)} ADD CONSTRAINT {quote(one.name)} {one.definition}"
        try:
            with durable("target.entry", "check"):
                connection.execute(f"{text} NOT VALID".encode())
        except psycopg.Error as error:
            raise_unless_refused(run, error, say("restoring {label}", label=f"{one.schema}.{one.table}.{one.name}"))


def _of_ours(run: Run, database: DatabasePlan, archive: Archive) -> list[LateCheck]:
    if not archive.late_checks:
        return []
    items = run.ports.ledger.items(Side.TARGET, database.target_name, {Kind.TABLE})
    ours = {(item.schema, item.name) for item in items}
    return [one for one in archive.late_checks if (one.schema, one.table) in ours]


def _standing(connection: Connection) -> dict[tuple[str, str, str], bool]:
    """Return the checks of the target's tables, and whether a parent has given them."""
    rows = connection.execute(_STANDING).fetchall()
    return {(str(schema), str(table), str(name)): bool(inherited) for schema, table, name, inherited in rows}
