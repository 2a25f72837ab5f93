"""Makes the target's database and the structures that the rows go into, under the snapshot that the copy continues."""

from __future__ import annotations

from dataclasses import replace

from ..archive import Archive, open_archive
from ..catalog import Table
from ..connect import end_older_sessions
from ..outcome import DONE, Outcome, Run
from ..plan import DatabasePlan, Side
from ..ports import TableState
from ..restore import restore_pre_data
from ..snapshot import Snapshot, open_first
from ..target_database import ensure_database, may_silence_triggers
from ..target_objects import clear_for_restore, some

_WORTH_TELLING = frozenset({"VIEW", "MATERIALIZED VIEW", "FUNCTION", "PROCEDURE", "AGGREGATE", "TYPE", "DOMAIN"})


def run(run: Run) -> Outcome:
    """Restore the schema of every database of the task. Repeatable: a database that is done is left alone.

    Leaves an open snapshot in `run.snapshots` for each database that it worked on.
    """
    for database in run.databases():
        run.ports.control.check()
        if not run.ports.store.database(database.source_name).schema_done:
            restore_schema(run, database)
    return DONE


def restore_schema(run: Run, database: DatabasePlan) -> None:
    """Restore one database's structures and store its table list.

    An interrupted attempt is removed from the target by the ledger and begun anew: no rows are there yet.
    """
    store = run.ports.store
    store.step_progress(0, 1, f"reading the schema of {database.source_name}")
    ensure_database(run, database)
    with run.sessions.session(Side.TARGET, database.target_name) as connection:
        end_older_sessions(connection, run.plan.key, run.plan.epoch)
        replica_role = may_silence_triggers(connection)
    clear_for_restore(run, database)
    snapshot: Snapshot | None = run.snapshots.get(database.source_name)
    if snapshot is None or not snapshot.alive():
        snapshot = open_first(run, database)
    archive = open_archive(run, database, fresh=True)
    _report_left_out(run, database, archive)
    restore_pre_data(run, database, archive)
    store.save_tables(*(_table_state(database, table) for table in snapshot.tables if table.has_rows))
    state = store.database(database.source_name)
    store.save_database(replace(state, schema_done=True, replica_role=replica_role))


def _table_state(database: DatabasePlan, table: Table) -> TableState:
    return TableState(
        database=database.source_name,
        schema=table.schema,
        name=table.name,
        oid=table.oid,
        bytes_total=table.bytes,
        rows_estimate=table.rows_estimate,
        unlogged=table.persistence == "u",
    )


def _report_left_out(run: Run, database: DatabasePlan, archive: Archive) -> None:
    """Say what cannot come along because it hangs on tables that are not selected."""
    tables = {(entry.schema, entry.tag) for entry in archive.of_type("TABLE")}
    keys = [
        entry.label
        for entry in archive.left_out
        if entry.type == "FK CONSTRAINT" and (place := archive.place(entry)) and (place.schema, place.table) in tables
    ]
    others = [entry.label for entry in archive.left_out if entry.type in _WORTH_TELLING]
    for code, what, labels in (
        ("SUBSET-KEYS", "foreign key(s) to tables that are not selected", keys),
        ("SUBSET-OBJECTS", "object(s) that use tables which are not selected", others),
    ):
        if labels:
            run.ports.store.event(
                "warning",
                code,
                f"{len(labels)} {what} of database {database.source_name!r} are left out: {some(labels)}.",
                objects=labels[:500],
            )
