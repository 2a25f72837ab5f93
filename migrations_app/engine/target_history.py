"""Whether the target is on the same history as when rows were copied to it, until its bookmark tells that by itself.

A standby that takes over is the same system on a newer timeline. One that lagged behind never had the last rows that
the former server had confirmed: what is noted as copied is counted there.
"""

from __future__ import annotations

from dataclasses import replace

import psycopg

from .connect import Connection, translate
from .errors import ConnectionLost, TargetError
from .mapping import renaming_of
from .names import qualified
from .outcome import Run
from .plan import DatabasePlan, Side
from .ports import TableState, TableStatus
from .wording import count, listing, say

_TIMELINE = (
    "SELECT CASE WHEN NOT pg_catalog.pg_is_in_recovery() THEN ('x' || substr("
    "pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_insert_lsn()), 1, 8))::bit(32)::int END"
)
_KIND = "SELECT relkind::text FROM pg_catalog.pg_class WHERE oid = pg_catalog.to_regclass(%s)"
_TO_COPY = frozenset({TableStatus.WAITING, TableStatus.COPYING})
_NAMED = 5
_WITHOUT_SYNC = say(
    "Press Copy again at the tables where it is offered, then Retry; or press Cancel, then Start again with the objects"
    " made on the target cleared."
)


class TookOver(ConnectionLost):
    """Another server has taken the target's place since the copy began: what it has must be looked at first."""


def timeline_of(connection: Connection) -> int | None:
    """Return a server's timeline; None where it does not tell, or is a standby. Only in a session with autocommit.

    Raises psycopg's errors when the session is lost.
    """
    try:
        row = connection.execute(_TIMELINE).fetchone()
    except psycopg.Error:
        if connection.closed:
            raise
        return None
    return int(str(row[0])) if row and row[0] is not None else None


def require_same_history(run: Run, database: DatabasePlan, connection: Connection) -> None:
    """Raise TookOver when a session on the target speaks to another server than the one that `settle` has seen."""
    known, now = run.ports.store.database(database.source_name).target_timeline, timeline_of(connection)
    if known and now not in (None, known):
        raise TookOver(say("A standby of the target took over (timeline {timeline}).", timeline=now))


def settle(run: Run, database: DatabasePlan, *, copying: bool) -> None:
    """Store the target's timeline; when it has changed, count there what is noted as copied. Repeatable.

    `copying`: tables that lack rows are copied again. Otherwise raises TargetError, DST-FAILOVER, for them; for tables
    that are gone in any case. Unlogged tables do not count then where Complete copies them once more.
    """
    store = run.ports.store
    with run.sessions.session(Side.TARGET, database.target_name) as connection:
        try:
            now, before = timeline_of(connection), store.database(database.source_name).target_timeline
            if now is None or now == before:
                return
            if before:
                _count(run, database, connection, now, copying=copying)
        except psycopg.Error as error:
            run.ports.control.check()
            raise translate(error, Side.TARGET, say("counting rows")) from error
    store.save_database(replace(store.database(database.source_name), target_timeline=now))


def _count(run: Run, database: DatabasePlan, connection: Connection, now: int, *, copying: bool) -> None:
    store, name = run.ports.store, database.source_name
    if name in run.snapshots:  # portions that were finished on the former server are no longer believed
        run.snapshots[name].shares.clear()
    lacking = []
    for state in store.tables(name):
        run.ports.control.check()
        if state.status in _TO_COPY or state.set_aside:
            continue
        rows = _rows(run, database, connection, state)
        if rows is None:
            raise _failed_over(run, now, [state])
        if state.unlogged and run.plan.incremental and not copying:
            continue  # always empty on a standby that took over, and Complete copies it once more
        if rows != state.rows_done:
            lacking.append(state)
    if lacking and not copying:
        raise _failed_over(run, now, lacking)
    text = say("A standby of the target took over (timeline {timeline}).", timeline=now)
    if lacking:
        store.save_tables(
            *(
                replace(state, status=TableStatus.WAITING, bytes_done=0, rows_done=0, watermark=None)
                for state in lacking
            )
        )
        text += say(
            " It lacks rows that were copied: {number}, {names}. They are copied again.",
            number=count(len(lacking), "{number} table", "{number} tables"),
            names=_names(lacking),
        )
    else:
        text += say(" All its tables have the rows that were copied.")
    text += say(
        " Its large objects, indexes and keys were not looked at here: the comparison and Complete tell what it lacks"
        " of these."
    )
    store.event("warning", "COPY-AGAIN", text)


def _rows(run: Run, database: DatabasePlan, connection: Connection, state: TableState) -> int | None:
    """Return how many rows a table has on the target, None when it is not there."""
    name = qualified(*renaming_of(run, database).place((state.schema, state.name)))
    kind = connection.execute(_KIND, (name,)).fetchone()
    if kind is None:
        return None
    only = "" if kind[0] == "p" else "ONLY "
    row = connection.execute(f"SELECT count(*) FROM {only}{name}".encode()).fetchone()  # noqa: S608 - quoted names only
    return int(str(row[0])) if row else None


def _failed_over(run: Run, now: int, tables: list[TableState]) -> TargetError:
    return TargetError(
        say(
            "A standby of the target took over (timeline {timeline}), which never had all rows that were copied:"
            " {names}.",
            timeline=now,
            names=_names(tables),
        ),
        hint="" if run.plan.incremental else _WITHOUT_SYNC,
        code="DST-FAILOVER",
    )


def _names(tables: list[TableState]) -> str:
    return listing((f"{one.schema}.{one.name}" for one in tables), _NAMED)
