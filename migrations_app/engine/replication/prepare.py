"""Makes a target database ready to take changes: the bookmark, identity columns that accept values, silent triggers.

Everything is written in the ledger first; Complete and cleanup put it back by the ledger's details.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import psycopg

from ..connect import Connection, set_all, speak, translate
from ..errors import PlanError, TargetError
from ..lsn import format_lsn
from ..mapping import renaming_of
from ..names import TARGET_SCHEMA
from ..native import ZONE, native_zone
from ..outcome import Run
from ..patience import Session
from ..plan import DatabasePlan, Side
from ..ports import DatabaseState, Kind, LedgerItem, TableState
from ..probe import read_system_id
from ..silencing import quiet_events, refused, silence
from ..target_history import settle
from ..wording import say
from . import bookmark


def prepare_target(
    run: Run,
    database: DatabasePlan,
    connection: Connection | None = None,
    tables: Sequence[TableState] | None = None,
) -> None:
    """Prepare the target database of `database` for its first change. Idempotent; takes short table locks.

    `connection`: an ordinary autocommit session on the target, opened when not given. `tables`: those of the task, read
    when not given. Raises EngineError; TargetError when the account does not own a table whose identity or triggers
    must be changed.
    """
    if connection is None:
        with run.sessions.session(Side.TARGET, database.target_name) as opened:
            prepare_target(run, database, opened, tables)
        return
    known = run.ports.store.tables(database.source_name) if tables is None else tables
    quiet_events(connection)  # a Complete that is repeated finds them made
    try:
        _require_same_target(run, database, connection)
        _prepare_bookmark(run, database, connection)
        _prepare_tables(run, database, connection, known)
    except psycopg.Error as error:
        run.ports.control.check()
        raise refused(database, error) from error


def open_for_changes(run: Run, database: DatabasePlan, state: DatabaseState, encoding: str) -> Connection:
    """Open a session that applies changes. Raises as `take_for_changes`, and ConnectFailed."""
    connection = run.sessions.open(Side.TARGET, database.target_name)
    try:
        take_for_changes(connection, state, encoding, native_zone(run, database, connection))
    except BaseException:
        connection.close()
        raise
    return connection


def take_for_changes(connection: Connection, state: DatabaseState, encoding: str, zone: str) -> None:
    """Have an ordinary session on the target apply changes from now on, with the source's encoding and time zone.

    Raises TargetError when triggers cannot be kept quiet any more, and psycopg's errors.
    """
    settings = {"synchronous_commit": "off", "enable_seqscan": "off", ZONE: zone}
    settings |= {"enable_hashjoin": "off", "enable_mergejoin": "off"}
    # A plan is made before a table has grown: only an index keeps its price, and JIT would be paid per statement.
    version = connection.info.server_version
    if version >= 110000:
        settings["jit"] = "off"
    if version >= 120000:
        settings["plan_cache_mode"] = "force_generic_plan"
    if state.replica_role:
        settings["session_replication_role"] = "replica"
    try:
        process = set_all(connection, settings, "pg_catalog.pg_backend_pid()")
    except psycopg.errors.InsufficientPrivilege as error:
        raise TargetError(
            say("The target account may not set session_replication_role any more, so triggers would fire twice."),
            hint=say("Give the account back its right: GRANT SET ON PARAMETER session_replication_role TO it."),
            code="DST-PRIVILEGE",
        ) from error
    if isinstance(connection, Session):
        connection.process = int(str(process))
    speak(connection, encoding)


def _prepare_bookmark(run: Run, database: DatabasePlan, connection: Connection) -> None:
    if run.ports.store.database(database.source_name).bookmark is None:
        settle(run, database, copying=False)  # from here on the bookmark tells what a standby that takes over has
    state = run.ports.store.database(database.source_name)
    if state.consistent_point is None:
        raise PlanError(
            say(
                "Database {source_name} has no slot yet, so changes cannot be applied.",
                source_name=database.source_name,
            ),
            hint=say("The initial copy must run first."),
        )
    if state.bookmark is not None:
        return
    run.ports.ledger.intend(
        LedgerItem(
            side=Side.TARGET,
            database=database.target_name,
            kind=Kind.BOOKMARK,
            name=TARGET_SCHEMA,
            detail={"task": run.plan.key},
        )
    )
    bookmark.create(connection)
    if (ahead := _ahead(connection, run.plan.key, state)) is not None:
        run.ports.store.save_database(replace(state, bookmark=ahead))
        said = say(
            "The target already holds changes up to {position} that this console did not know of, as after its own "
            "database was restored from a backup. The target's position counts: the sync goes on from there.",
            position=format_lsn(ahead),
        )
        run.ports.store.event("warning", "RUN-EPOCH", said)
        return
    bookmark.reset(connection, run.plan.key, state.consistent_point, run.plan.epoch)
    # From here on the row on the target is the truth: once it has moved it must never be set back.
    run.ports.store.save_database(replace(state, bookmark=state.consistent_point))


def _require_same_target(run: Run, database: DatabasePlan, connection: Connection) -> None:
    """Raise TargetError when this is not the server that got the first change; a standby that took over is the same."""
    store = run.ports.store
    state, now = store.database(database.source_name), read_system_id(connection)
    if now is None or now == state.target_system_id:
        return
    if not state.target_system_id:
        store.save_database(replace(state, target_system_id=now))
        return
    raise TargetError(
        say(
            "This is not the target that the migration started with: system {now} instead of {before}. What was copied "
            "and applied may be missing there.",
            now=now,
            before=state.target_system_id,
        ),
        code="DST-CHANGED",
    )


def require_nothing_applied(run: Run, database: DatabasePlan) -> None:
    """Raise TargetError when the target has got changes of this task that its rows here know nothing of.

    Tables must not be copied then: they would be set back to before changes that are never sent again.
    """
    state = run.ports.store.database(database.source_name)
    if state.consistent_point is None or state.bookmark is not None:
        return
    with run.sessions.session(Side.TARGET, database.target_name) as connection:
        try:
            ahead = _ahead(connection, run.plan.key, state)
        except psycopg.Error as error:
            run.ports.control.check()
            raise translate(error, Side.TARGET, say("reading the bookmark")) from error
    if ahead is not None:
        raise TargetError(
            say(
                "The target of {name} already holds changes up to {position} that this console does not know of, so "
                "nothing is copied onto it: the console's own database seems to be older than the target.",
                name=database.source_name,
                position=format_lsn(ahead),
            ),
            code="DST-AHEAD",
        )


def _ahead(connection: Connection, key: str, state: DatabaseState) -> int | None:
    """Return the target's position when it has taken changes of this very slot, None when it has not."""
    row = bookmark.read(connection, key)
    if row is None or not row.batches or state.consistent_point is None or row.lsn <= state.consistent_point:
        return None
    return row.lsn


def _prepare_tables(run: Run, database: DatabasePlan, connection: Connection, tables: Sequence[TableState]) -> None:
    renaming = renaming_of(run, database)
    places = [renaming.place((table.schema, table.name)) for table in tables]
    role = run.ports.store.database(database.source_name).replica_role
    silence(run, database, connection, places, replica_role=role, identities=True)
