"""Looks what of a table is on the target before rows are copied there, and keeps everybody's rows safe meanwhile."""

from __future__ import annotations

from collections.abc import Sequence

from .connect import Connection
from .errors import ConflictError, ConnectionLost
from .outcome import Run
from .plan import DatabasePlan
from .restore import make_durable
from .table_work import TableWork, acting_keys, reading, target_name
from .wording import listing, say

_IN_DOUBT_TRIES = 50
_IN_DOUBT_SECONDS = 0.2


def beginning(works: Sequence[TableWork]) -> str:
    """Return what begins the transaction that fills these tables, for which only one session at a time may do so.

    An earlier one of ours may still have rows in them that nobody sees before it commits: it is waited for.
    """
    ours = ", ".join("ONLY " + target_name(work) for work in works if work.ours and not work.adopted)
    return f"BEGIN; LOCK TABLE {ours} IN SHARE ROW EXCLUSIVE MODE" if ours else "BEGIN"


def filled(connection: Connection, database: DatabasePlan, works: Sequence[TableWork]) -> list[TableWork]:
    """Return the tables that have rows on the target. Raises ConflictError when one of them is not ours."""
    asked = ", ".join(f"EXISTS (SELECT FROM {reading(work)})" for work in works)
    row = connection.execute(f"SELECT {asked}".encode()).fetchone() or ()
    found = [work for work, has_rows in zip(works, row, strict=True) if has_rows]
    foreign = [work.label for work in found if not work.ours]
    if foreign:
        raise ConflictError(
            say(
                "The target is not empty: {names} in database {target_name} has rows.",
                names=", ".join(foreign[:5]),
                target_name=database.target_name,
            ),
            hint=say("This task did not make the table, so it does not empty it. Empty it, or leave it out."),
            code="DST-CONFLICT",
        )
    return found


def spare_others(connection: Connection, database: DatabasePlan, works: Sequence[TableWork]) -> None:
    """Raise ConflictError where to delete all rows of these tables would take rows of other tables with them."""
    keys = acting_keys(connection, works) if works else []
    if keys:
        raise ConflictError(
            say(
                "The rows of {names} in database {target_name} are not replaced: foreign keys would delete or "
                "change rows of other tables with them: {keys}.",
                names=", ".join(work.label for work in works[:5]),
                target_name=database.target_name,
                keys=listing(keys, 5),
            ),
            hint=say(
                "Drop these keys on the target (those of the source are made at the end), or let a superuser there "
                "grant the target account the right to set session_replication_role."
            ),
            code="DST-CONFLICT",
        )


def took_place(run: Run, connection: Connection, transaction: str) -> bool:
    """Say whether a transaction of the target has committed whose session was lost at its commit.

    Its session has been ended before. Raises ConnectionLost while the server is still at it: both may yet come true.
    """
    for _ in range(_IN_DOUBT_TRIES):
        row = connection.execute("SELECT pg_catalog.txid_status(%s::bigint)", (transaction,)).fetchone()
        if row and row[0] == "committed":
            make_durable(connection)  # it may have been ended while a standby had not confirmed it
            return True
        if row and row[0] == "aborted":
            return False
        run.ports.control.sleep(_IN_DOUBT_SECONDS)
    raise ConnectionLost(say("The target does not say whether the last commit of a copy took place."))
