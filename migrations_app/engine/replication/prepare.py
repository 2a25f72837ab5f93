"""Makes a target database ready to take changes: the bookmark, identity columns that accept values, silent triggers.

Everything is written in the ledger first; Complete and cleanup put it back by the ledger's details.
"""

from __future__ import annotations

from dataclasses import replace

import psycopg

from ..connect import Connection
from ..errors import PlanError, TargetError
from ..mapping import renaming_of
from ..names import TARGET_SCHEMA
from ..outcome import Run
from ..plan import DatabasePlan, Side
from ..ports import DatabaseState, Kind, LedgerItem
from ..silencing import refused, silence
from ..wording import say
from . import bookmark


def prepare_target(run: Run, database: DatabasePlan, connection: Connection | None = None) -> None:
    """Prepare the target database of `database` for its first change. Idempotent; takes short table locks.

    `connection`: an ordinary autocommit session on the target, opened when not given. Raises EngineError; TargetError
    when the account does not own a table whose identity or triggers must be changed.
    """
    if connection is None:
        with run.sessions.session(Side.TARGET, database.target_name) as opened:
            prepare_target(run, database, opened)
        return
    try:
        _prepare_bookmark(run, database, connection)
        _prepare_tables(run, database, connection)
    except psycopg.Error as error:
        run.ports.control.check()
        raise refused(database, error) from error


def open_for_changes(run: Run, database: DatabasePlan, state: DatabaseState, encoding: str) -> Connection:
    """Open the session that applies changes. Raises TargetError when triggers cannot be kept quiet any more."""
    sessions = run.sessions
    settings = {"synchronous_commit": "off", "enable_seqscan": "off"}
    settings |= {"enable_hashjoin": "off", "enable_mergejoin": "off"}
    if state.replica_role:
        settings["session_replication_role"] = "replica"
    # A plan is made before a table has grown: only an index keeps its price, and JIT would be paid per statement.
    version = sessions.version(Side.TARGET)
    if version >= 110000:
        settings["jit"] = "off"
    if version >= 120000:
        settings["plan_cache_mode"] = "force_generic_plan"
    name = database.target_name
    connection = sessions.open(Side.TARGET, name, autocommit=True, replication=False, encoding=encoding, **settings)
    if state.replica_role:
        row = connection.execute("SHOW session_replication_role").fetchone()
        if row != ("replica",):
            connection.close()
            raise TargetError(
                say("The target account may not set session_replication_role any more, so triggers would fire twice."),
                hint=say("Give the account back its right: GRANT SET ON PARAMETER session_replication_role TO it."),
                code="DST-PRIVILEGE",
            )
    return connection


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


def _prepare_tables(run: Run, database: DatabasePlan, connection: Connection) -> None:
    store = run.ports.store
    renaming = renaming_of(run, database)
    tables = [renaming.place((table.schema, table.name)) for table in store.tables(database.source_name)]
    role = store.database(database.source_name).replica_role
    silence(run, database, connection, tables, replica_role=role, identities=True)
