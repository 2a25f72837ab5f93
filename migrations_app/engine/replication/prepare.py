"""Makes a target database ready to take changes: the bookmark, identity columns that accept values, silent triggers.

Everything is written in the ledger first; Complete and cleanup put it back by the ledger's details.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import psycopg

from ..connect import Connection, set_all, speak
from ..errors import PlanError, TargetError
from ..mapping import renaming_of
from ..names import TARGET_SCHEMA
from ..outcome import Run
from ..plan import DatabasePlan, Side
from ..ports import DatabaseState, Kind, LedgerItem, TableState
from ..silencing import refused, silence
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
    try:
        _prepare_bookmark(run, database, connection)
        _prepare_tables(run, database, connection, known)
    except psycopg.Error as error:
        run.ports.control.check()
        raise refused(database, error) from error


def open_for_changes(run: Run, database: DatabasePlan, state: DatabaseState, encoding: str) -> Connection:
    """Open a session that applies changes. Raises as `take_for_changes`, and ConnectFailed."""
    connection = run.sessions.open(Side.TARGET, database.target_name)
    try:
        take_for_changes(connection, state, encoding)
    except BaseException:
        connection.close()
        raise
    return connection


def take_for_changes(connection: Connection, state: DatabaseState, encoding: str) -> None:
    """Have an ordinary session on the target apply changes from now on, with the source's encoding.

    Raises TargetError when triggers cannot be kept quiet any more, and psycopg's errors.
    """
    settings = {"synchronous_commit": "off", "enable_seqscan": "off"}
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
        set_all(connection, settings)
    except psycopg.errors.InsufficientPrivilege as error:
        raise TargetError(
            say("The target account may not set session_replication_role any more, so triggers would fire twice."),
            hint=say("Give the account back its right: GRANT SET ON PARAMETER session_replication_role TO it."),
            code="DST-PRIVILEGE",
        ) from error
    speak(connection, encoding)


def _prepare_bookmark(run: Run, database: DatabasePlan, connection: Connection) -> None:
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
    bookmark.reset(connection, run.plan.key, state.consistent_point, run.plan.epoch)
    # From here on the row on the target is the truth: once it has moved it must never be set back.
    run.ports.store.save_database(replace(state, bookmark=state.consistent_point))


def _prepare_tables(run: Run, database: DatabasePlan, connection: Connection, tables: Sequence[TableState]) -> None:
    renaming = renaming_of(run, database)
    places = [renaming.place((table.schema, table.name)) for table in tables]
    role = run.ports.store.database(database.source_name).replica_role
    silence(run, database, connection, places, replica_role=role, identities=True)
