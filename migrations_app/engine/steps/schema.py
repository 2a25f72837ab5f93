"""Makes the target's database and the structures that the rows go into, under the snapshot that the copy continues."""

from __future__ import annotations

from dataclasses import replace

from ..analyzing import analyze_catalogs
from ..archive import Archive, open_archive
from ..catalog import Table, selected_tables
from ..connect import end_older_sessions
from ..late import take_off_checks
from ..left_out import report_left_out
from ..mapping import leaves_rows
from ..outcome import DONE, Outcome, Run
from ..plan import DatabasePlan, Side
from ..ports import TableState
from ..renamed_entries import bodies_that_name
from ..restore import entry_state, restore_pre_data
from ..restoring_roles import restore_roles
from ..secret_options import shown_sql
from ..silencing import may_silence_triggers
from ..snapshot import Snapshot, open_first
from ..target_database import ensure_database, own_like_source, own_public_like_source
from ..target_objects import clear_for_restore, some
from ..user_mappings import fill_mappings
from ..versions import exports_hold_transactions
from ..wording import count, say


def run(run: Run) -> Outcome:
    """Restore the schema of every database of the task. Repeatable: a database that is done is left alone.

    Leaves an open snapshot in `run.snapshots` for each database that it worked on.
    """
    missing = [one for one in run.databases() if not run.ports.store.database(one.source_name).schema_done]
    if missing:
        with run.sessions.session(Side.TARGET) as connection:  # one may be at a database or a role
            end_older_sessions(connection, run.plan.key, run.plan.epoch, strict=Side.TARGET)
        if run.plan.selection.roles != "none":
            run.ports.store.step_progress(0, 1, say("making roles"))
        restore_roles(run)
    if run.plan.incremental and len(missing) > 1 and exports_hold_transactions(run.sessions.version(Side.SOURCE)):
        for database in missing:  # a slot waits for the end of every snapshot that is lent, so all slots come first
            ensure_database(run, database)
            _open(run, database)
    for database in missing:
        run.ports.control.check()
        restore_schema(run, database)
    return DONE


def _open(run: Run, database: DatabasePlan) -> Snapshot:
    snapshot: Snapshot | None = run.snapshots.get(database.source_name)
    return open_first(run, database) if snapshot is None or not snapshot.alive() else snapshot


def restore_schema(run: Run, database: DatabasePlan) -> None:
    """Restore one database's structures and store its table list.

    An interrupted attempt is removed from the target by the ledger and begun anew: no rows are there yet.
    """
    store = run.ports.store
    store.step_progress(0, 1, say("reading the schema of {source_name}", source_name=database.source_name))
    ensure_database(run, database)
    own_like_source(run, database)
    own_public_like_source(run, database)
    with run.sessions.session(Side.TARGET, database.target_name) as connection:
        end_older_sessions(connection, run.plan.key, run.plan.epoch, strict=Side.TARGET)
        replica_role = may_silence_triggers(connection)
    clear_for_restore(run, database)
    snapshot = _open(run, database)
    archive = open_archive(run, database, fresh=True)
    report_left_out(run, database, archive)
    _report_names(run, database, archive)
    _report_bare(run, database, snapshot)
    restore_pre_data(run, database, archive)
    take_off_checks(run, database, archive)
    fill_mappings(run, database, archive)
    analyze_catalogs(run, database, archive)
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


def _report_names(run: Run, database: DatabasePlan, archive: Archive) -> None:
    """Say what the new names of schemas do not reach."""
    refused = [f"{one.entry.label}: {one.why}" for one in archive.refused]
    if refused:
        run.ports.store.save_entries(*(entry_state(database, one.entry, error=one.why) for one in archive.refused))
        run.ports.store.event(
            "warning",
            "SCHEMA-RENAME",
            say(
                "{number} of database {source_name} are left out, because their text can be read in two "
                "ways under the new name of a schema: {names}.",
                number=count(len(refused), "{number} object", "{number} objects"),
                source_name=database.source_name,
                names=some(refused),
            ),
            objects=[one.entry.label for one in archive.refused[:500]],
            statements=[shown_sql(one.entry) for one in archive.refused[:500]],
        )
    bodies = [entry.label for entry in bodies_that_name(archive.entries, archive.renaming)]
    if bodies:
        run.ports.store.event(
            "warning",
            "SCHEMA-BODIES",
            say(
                "The bodies of {number} name a schema that has another name on the target. Bodies are "
                "never changed, so put the new name in: {names}.",
                number=count(len(bodies), "{number} function", "{number} functions"),
                names=some(bodies),
            ),
            objects=bodies[:500],
        )


def _report_bare(run: Run, database: DatabasePlan, snapshot: Snapshot) -> None:
    """Say which tables are made without rows."""
    if not leaves_rows(run.plan.selection, database.source_name):
        return
    moving = {table.oid for table in snapshot.tables}
    tables = selected_tables(snapshot.everything, run.plan.selection, database.source_name)
    bare = [f"{table.schema}.{table.name}" for table in tables if table.oid not in moving and table.has_rows]
    if bare:
        run.ports.store.event(
            "info",
            "STRUCTURE-ONLY",
            say(
                "{number} of database {source_name} are made without their rows, with the sequences of "
                "their columns where the source's are: {names}.",
                number=count(len(bare), "{number} table", "{number} tables"),
                source_name=database.source_name,
                names=some(bare),
            ),
            objects=bare[:500],
        )
