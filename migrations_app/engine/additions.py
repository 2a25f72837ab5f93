"""Makes a new table of the source a table of the task: what it is there, and everything that it needs on both servers.

Its rows come later (`steps.adding`). Until then the stream leaves it out altogether: its watermark is NEVER.
"""

from __future__ import annotations

from collections.abc import Iterable

import psycopg

from .archive import Archive, archive_of_all, open_archive
from .catalog import Table, moving_tables, read_tables
from .choosing import TABLE_TYPES, required
from .connect import Connection
from .copy_plan import made_tables
from .drift import NewTable, Place
from .errors import SchemaChanged
from .failpoints import durable
from .late import take_off_checks_of
from .layouts import arranged, layouts_of
from .left_out import report_left_out
from .mapping import renaming_of
from .outcome import Run
from .plan import DatabasePlan, Side
from .ports import NEVER, TableState, TableStatus
from .postdata import hanging_on, restore_added
from .replication.prepare import prepare_target
from .restore import (
    Manner,
    Refused,
    entry_text,
    failed,
    raise_unless_refused,
    remember,
    run_entries,
    run_otherwise,
    set_owners,
)
from .source_setup import prepare
from .target_objects import Identity, claim, creates, existing, identity, record
from .toc import POST_DATA, PRE_DATA, Entry
from .wording import say

_LOCK_TIMEOUT = "SET LOCAL lock_timeout = '10s'"
_LISTED = Manner(is_fatal=lambda entry: False, text=entry_text, repeatable=True)
_SETTLED = frozenset({TableStatus.DONE, TableStatus.DROPPED})
_OF_TABLES = frozenset({"DEFAULT", "TABLE ATTACH", "CHECK CONSTRAINT"})


def note(run: Run, database: DatabasePlan, table: NewTable) -> list[Table]:
    """Store what of the table holds rows, and return it as the source has it now, with everything below it.

    Before anything is made, so that no stream that begins from now on is surprised. Idempotent. Raises SchemaChanged
    when the source has no such table any more.
    """
    tree = read_tree(run, database, table)
    if not tree:
        text = say("There is no table {schema}.{name} any more.", schema=table.schema, name=table.name)
        raise SchemaChanged(text, hint=say("Ignore it, or add it again when it is there."))
    _store(run, database, tree)
    return tree


def make(run: Run, database: DatabasePlan, tree: list[Table]) -> None:
    """Make tables that were noted on the target, empty, then publish them on the source. Idempotent.

    Nothing is changed on the source before the target has them. Raises EngineError of the side that refuses.
    """
    snapshot = run.snapshots.pop(database.source_name, None)
    if snapshot is not None:
        snapshot.close()  # it is older than the table
    archive = open_archive(run, database, fresh=True)
    _restore(run, database, archive, tree)
    report_left_out(run, database, archive, _places(run, database, tree))
    prepare_target(run, database)
    _publish(run, database, tree)


def finish(run: Run, database: DatabasePlan, table: NewTable) -> None:
    """Make what follows the rows: indexes of partitioned tables, checks that were put off, triggers, rules, keys,
    comments. Idempotent.

    Raises as `postdata.restore_added`.
    """
    oids = [one.oid for one in read_tree(run, database, table)]
    restore_added(run, database, archive_of_all(run, database), oids)
    prepare_target(run, database)


def read_tree(run: Run, database: DatabasePlan, table: NewTable) -> list[Table]:
    """Return the table as the source has it now, and everything below it that is selected; empty when it is gone."""
    with run.sessions.session(Side.SOURCE, database.source_name) as connection:
        tables = arranged(read_tables(connection, sizes=False), layouts_of(run, database))
        tables = moving_tables(tables, run.plan.selection, database.source_name)
    same = [one for one in tables if one.oid == table.oid]
    found = same or [one for one in tables if (one.schema, one.name) == table.place]
    oids = {one.oid for one in found}
    while below := [one for one in tables if one.is_partition and one.parent_oid in oids and one.oid not in oids]:
        found += below
        oids |= {one.oid for one in below}
    return found


def unfinished(run: Run, database: DatabasePlan, tree: Iterable[Table]) -> list[TableState]:
    """Return the stored tables of a tree whose rows are not there yet."""
    oids = {one.oid for one in tree}
    states = run.ports.store.tables(database.source_name)
    return [state for state in states if state.oid in oids and state.status not in _SETTLED]


def _places(run: Run, database: DatabasePlan, tree: Iterable[Table]) -> set[Place]:
    place = renaming_of(run, database).place
    return {place((one.schema, one.name)) for one in tree}


def _store(run: Run, database: DatabasePlan, tables: Iterable[Table]) -> None:
    settled = {one.oid for one in run.ports.store.tables(database.source_name) if one.status in _SETTLED}
    states = [
        TableState(
            database=database.source_name,
            schema=one.schema,
            name=one.name,
            oid=one.oid,
            rows_estimate=one.rows_estimate,
            watermark=NEVER,
            unlogged=one.persistence == "u",
        )
        for one in tables
        if one.has_rows and one.oid not in settled
    ]
    run.ports.store.save_tables(*states)


def _publish(run: Run, database: DatabasePlan, tree: list[Table]) -> None:
    with run.sessions.session(Side.SOURCE, database.source_name, lock_timeout="2s") as connection:
        prepare(run, database, connection, tree, anew=False)


def _restore(run: Run, database: DatabasePlan, archive: Archive, tree: list[Table]) -> None:
    """Make what is missing of the tables and of all that they need, in one transaction."""
    oids = {one.oid for one in tree}
    tables = {entry.dump_id for entry in archive.of_type(*TABLE_TYPES) if entry.oid in oids}
    with run.sessions.session(Side.TARGET, database.target_name) as connection:
        connection.execute(archive.setup or b"SELECT 1")
        entries = _missing(archive, tables, existing(connection), made_tables(run, database))
        entries = claim(run, database, connection, entries, along=archive.along)
        _run(run, connection, archive, entries)
        helpers = _helpers(archive, oids, existing(connection))
        record(run, database, helpers)
        remember(run, database, run_entries(run, connection, helpers, _LISTED))
        set_owners(run, connection, entries + helpers)


def _missing(archive: Archive, tables: set[int], there: set[Identity], ours: set[Place]) -> list[Entry]:
    """Return the entries to run: a table that stands and is ours was made whole."""
    needed = required(archive.entries, lambda entry: entry.dump_id in tables)
    found: list[Entry] = []
    to_make: set[int] = set()
    for entry in archive.section(PRE_DATA):
        is_new = identity(entry) not in there
        hangs = not to_make.isdisjoint(entry.depends_on)
        if entry.dump_id in tables:
            wanted = is_new or (entry.schema, entry.tag) not in ours
        elif entry.type in ("SEQUENCE", "SEQUENCE OWNED BY"):
            wanted = (is_new or entry.type != "SEQUENCE") and (hangs or entry.dump_id in needed)
        elif creates(entry):
            wanted = is_new and entry.dump_id in needed
        else:
            wanted = hangs and (entry.dump_id in needed or entry.type in _OF_TABLES)
        if wanted:
            found.append(entry)
            if entry.type in TABLE_TYPES or entry.type == "SEQUENCE":
                to_make.add(entry.dump_id)
    return found


def _helpers(archive: Archive, tables: set[int], there: set[Identity]) -> list[Entry]:
    """Return what is missing of that which indexes and triggers of the tables need, such as functions."""
    hanging = hanging_on(archive, tables)
    later = [entry for entry in archive.section(POST_DATA) if entry.dump_id in hanging]
    needed = {on for entry in later if entry.type != "FK CONSTRAINT" for on in entry.depends_on}
    found = [entry for entry in archive.section(PRE_DATA) if creates(entry) and identity(entry) not in there]
    for entry in reversed(found):
        if entry.dump_id in needed:
            needed.update(entry.depends_on)
    return [entry for entry in found if entry.dump_id in needed and entry.type not in TABLE_TYPES]


def _run(run: Run, connection: Connection, archive: Archive, entries: list[Entry]) -> None:
    with durable("target.entry", "added"), connection.transaction():
        connection.execute(_LOCK_TIMEOUT)
        for entry in entries:
            run.ports.control.check()
            try:
                with connection.transaction():
                    connection.execute(entry_text(entry))
            except psycopg.Error as error:
                raise_unless_refused(run, error, say("restoring {label}", label=entry.label))
                if not run_otherwise(run, connection, entry, entry_text(entry), error):
                    raise Refused([failed(entry, error)]) from error
        take_off_checks_of(run, connection, archive, entries)
