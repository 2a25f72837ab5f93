"""Decides what the copy has to do: which snapshot, which tables are left, and in what portions the lanes take them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

import psycopg

from . import large_objects
from .catalog import Table, moving_tables, read_tables
from .connect import end_older_sessions, translate
from .copy_board import Unit
from .copying import Lane
from .errors import ConnectionLost, SchemaChanged, TargetError
from .large_objects import Held
from .layout_parts import note_parts
from .layouts import arranged, layouts_of
from .mapping import renaming_of
from .occupied import adopted
from .outcome import Run
from .parts import Part, Shares, part_size, plan_parts
from .plan import DatabasePlan, Side
from .ports import Kind, TableState, TableStatus
from .publishing import brought_by
from .renaming import Renaming
from .rows_file import numbers_of_copy
from .silencing import refused, silence
from .snapshot import Snapshot, open_again, open_locked, open_now
from .table_work import Busy, Moved, TableWork, file_of, shape_changed
from .unindexing import take_off_indexes
from .unmoved import GONE, LOCK_NOT_AVAILABLE, TableName
from .wording import say

_SMALL_TABLE_BYTES = 4 << 20
_BATCH_BYTES = 16 << 20
_BATCH_TABLES = 50
_ByName = dict[TableName, Table]
_TO_COPY = frozenset({TableStatus.WAITING, TableStatus.COPYING})


@dataclass
class DatabaseWork:
    """What is left to do in one database."""

    database: DatabasePlan
    snapshot: Snapshot | None
    to_copy: list[TableWork] = field(default_factory=list)
    to_index: list[TableWork] = field(default_factory=list)
    done: list[TableState] = field(default_factory=list)
    held: Held = field(default_factory=Held)
    """The large objects of the source."""
    spans_left: int = 0
    """Portions of them that are still to be copied: `carried_bytes` have passed or were there, about."""
    carried_bytes: int = 0


def plan_database(run: Run, database: DatabasePlan, *, again: bool = False) -> DatabaseWork:
    """Find out what is left to do, opening a snapshot when tables are left and the run has none that is alive.

    Without incremental sync all tables must come from one snapshot: if it was lost, everything is copied again.
    `again`: what is left did not fit the snapshot of this same run, so it gets a new one in any case.
    """
    states = run.ports.store.tables(database.source_name)
    if again and all(state.status is TableStatus.DONE or state.set_aside for state in states):
        return DatabaseWork(database, None, done=states)
    snapshot: Snapshot | None = run.snapshots.get(database.source_name)
    if snapshot and not snapshot.alive():
        snapshot = None
    if any(state.status in _TO_COPY for state in states):
        if again and not run.plan.incremental:
            snapshot = open_now(run, database)
        elif snapshot is None:
            states = states if run.plan.incremental else _start_over(run, database, states)
            snapshot = open_again(run, database)
    source, target = _catalogs(run, database, snapshot)
    made, there_before = made_tables(run, database), adopted(run, database)
    work = DatabaseWork(database, snapshot)
    if not again and large_objects.selected(run, database):
        work.held = large_objects.look(run, database)
        work.spans_left = len(work.held.spans)
    for state in states:
        if state.status is TableStatus.DONE or state.set_aside:
            work.done.append(state)
            continue
        one = _table_work(run, database, state, source, target, made, there_before)
        (work.to_copy if state.status in _TO_COPY else work.to_index).append(one)
    _silence(run, database, [one.place for one in work.to_copy])
    if not run.plan.incremental:  # with sync a table with indexes is one whose copy counts
        take_off_indexes(run, database, work.to_copy)
    return work


def _silence(run: Run, database: DatabasePlan, places: list[TableName]) -> None:
    """Let no trigger act on the rows: a table that was there before has its own, a new partition its parent's.

    The session that copies keeps the ordinary ones quiet, if it may; those that fire always are switched off.
    """
    if not places:
        return
    role = run.ports.store.database(database.source_name).replica_role
    with run.sessions.session(Side.TARGET, database.target_name) as connection:
        try:
            silence(run, database, connection, places, replica_role=role)
        except psycopg.Error as error:
            run.ports.control.check()
            raise refused(database, error) from error


def _table_work(
    run: Run,
    database: DatabasePlan,
    state: TableState,
    source: _ByName,
    target: _ByName,
    made: set[TableName],
    there_before: set[TableName],
) -> TableWork:
    """Put together what is known of a table. Raises SchemaChanged when it is not what the target was made from."""
    name = (state.schema, state.name)
    if name not in source:
        raise SchemaChanged(
            say(
                "The table {schema}.{name} of {source_name} is no longer there.",
                schema=state.schema,
                name=state.name,
                source_name=database.source_name,
            ),
            hint=say("Bring it back, or cancel the task and start it again with what the source has now."),
        )
    state = replace(state, oid=source[name].oid)  # another table may have taken its place
    renaming = renaming_of(run, database)
    place = renaming.place(name)
    work = TableWork(database, state, source[name], target.get(place), ours=place in made, place=place)
    work.adopted = place in there_before
    if state.status in _TO_COPY and work.ours and work.target and _shape(work.table, renaming) != _shape(work.target):
        raise shape_changed(work)
    if work.table.gathered and state.status in _TO_COPY:
        note_parts(run, database, work.table)
    return work


def _shape(table: Table, renaming: Renaming | None = None) -> set[tuple[str, str]]:
    """Return names and types of the columns, with `renaming` the types as the target calls them."""
    shown = renaming.shown if renaming else str
    return {(column.name, shown(column.type_name)) for column in table.copied_columns}


def _start_over(run: Run, database: DatabasePlan, states: list[TableState]) -> list[TableState]:
    finished = [state for state in states if state.status not in _TO_COPY and not state.set_aside]
    if finished:
        run.ports.store.event(
            "warning",
            "COPY-AGAIN",
            say(
                "The snapshot of {source_name} was lost. A full copy needs one snapshot for all tables, "
                "so {number} finished tables are copied again.",
                source_name=database.source_name,
                number=len(finished),
            ),
        )
        run.ports.store.save_tables(
            *(replace(state, status=TableStatus.WAITING, bytes_done=0, rows_done=0) for state in finished)
        )
    return run.ports.store.tables(database.source_name)


def copy_again(run: Run, database: DatabasePlan, wanted: Callable[[TableState], bool]) -> int:
    """Copy the tables for which `wanted` says yes once more, as the source has them now; returns how many there were.

    For what the stream of changes does not carry, such as unlogged tables, while nobody writes any more. Each table is
    one transaction; what stands on the target is replaced. Triggers keep silent from here on, until Complete.
    Raises TargetError for a table that this task did not make.
    """
    states = [state for state in run.ports.store.tables(database.source_name) if wanted(state)]
    if not states:
        return 0
    snapshot = open_now(run, database)
    try:
        source, target = _catalogs(run, database, snapshot)
        made, renaming = made_tables(run, database), renaming_of(run, database)
        _silence(run, database, [renaming.place((state.schema, state.name)) for state in states])
        lane = Lane(run, database, snapshot, run.ports.control.check)
        try:
            for state in states:
                name = (state.schema, state.name)
                place = renaming.place(name)
                if place not in made or name not in source:
                    raise TargetError(
                        say(
                            "The table {schema}.{name} cannot be copied again: it is not ours.",
                            schema=state.schema,
                            name=state.name,
                        )
                    )
                work = TableWork(database, state, source[name], target.get(place), ours=True, place=place)
                try:
                    lane.copy_over(work)
                except (Moved, Busy) as error:
                    raise ConnectionLost(
                        say("{label} is emptied or locked on the source just now.", label=work.label)
                    ) from error
                run.ports.store.save_tables(replace(state, rows_done=work.rows_done, bytes_done=work.bytes_done))
        finally:
            lane.close()
    finally:
        snapshot.close()
    return len(states)


def work_on(run: Run, database: DatabasePlan, state: TableState, snapshot: Snapshot) -> TableWork:
    """Put together what is known of a table that is to be copied under a snapshot, and let no trigger act on its rows.

    Raises SchemaChanged when it is not what the target was made from, TargetError when it is gone there or not ours.
    """
    source, target = _catalogs(run, database, snapshot)
    waiting = replace(state, status=TableStatus.WAITING)
    work = _table_work(run, database, waiting, source, target, made_tables(run, database), adopted(run, database))
    if work.target is None:
        raise TargetError(
            say("Table {schema}.{name} is missing on the target.", schema=work.place[0], name=work.place[1]),
            hint=say("Make it there as on the source and press Retry; or press Drop from task beside it and Retry."),
        )
    if not work.ours:
        raise TargetError(
            say(
                "The table {schema}.{name} cannot be copied again: it is not ours.",
                schema=state.schema,
                name=state.name,
            )
        )
    work.state = state
    _silence(run, database, [work.place])
    return work


def tell_locked(run: Run, database: DatabasePlan, label: str) -> None:
    """Tell that a table (as it is shown) is locked on the source from its snapshot on."""
    told = say(
        "{label} of {source_name} changes too often for a copy without a lock: who wants to "
        "empty or rewrite it on the source now waits until it is copied.",
        label=label,
        source_name=database.source_name,
    )
    run.ports.store.event("warning", "COPY-LOCKED", told)


def copy_locked(run: Run, database: DatabasePlan) -> int:
    """Copy the tables that are left one by one, each locked from its snapshot on; returns how many there were.

    For tables that the application empties or rewrites again and again: it waits while such a table is copied. Their
    indexes are left to do. Raises SchemaChanged for a table that is gone or has other columns now.
    """
    states = [state for state in run.ports.store.tables(database.source_name) if state.status in _TO_COPY]
    made, there_before = made_tables(run, database), adopted(run, database)
    for state in states:
        tell_locked(run, database, f"{state.schema}.{state.name}")
        snapshot = open_locked(run, database, (state.schema, state.name))
        try:
            source, target = _catalogs(run, database, snapshot)
            work = _table_work(run, database, state, source, target, made, there_before)
            lane = Lane(run, database, snapshot, run.ports.control.check, held=True)
            try:
                lane.copy_whole([work])
            finally:
                lane.close()
            run.ports.store.save_tables(copied_state(work, snapshot))
        finally:
            if run.snapshots.get(database.source_name) is snapshot:
                del run.snapshots[database.source_name]
            snapshot.close()
    return len(states)


def copied_state(work: TableWork, snapshot: Snapshot | None) -> TableState:
    """Return the state of a table whose rows are on the target's disk; it remembers the place of its snapshot."""
    known = work.state.numbers, work.table.numbers
    return replace(
        work.state,
        status=TableStatus.COPIED,
        watermark=snapshot.lsn if snapshot else None,
        published_by=brought_by(work.table.members, snapshot.entries) if snapshot else (),
        numbers=numbers_of_copy(*known) if snapshot and snapshot.lsn is not None else (),
        bytes_done=work.bytes_done,
        rows_done=sum(work.shares.finished.values()) or work.rows_done,  # the lanes of parts add up without a lock
    )


def made_tables(run: Run, database: DatabasePlan) -> set[TableName]:
    items = run.ports.ledger.items(Side.TARGET, database.target_name, {Kind.TABLE, Kind.ADOPTED})
    return {(item.schema, item.name) for item in items}


def _catalogs(run: Run, database: DatabasePlan, snapshot: Snapshot | None) -> tuple[_ByName, _ByName]:
    """Return the tables of the source whose rows move, and those of the target, where dead runs are ended."""
    if snapshot:
        tables = snapshot.tables
    else:
        with run.sessions.session(Side.SOURCE, database.source_name) as connection:
            tables = arranged(read_tables(connection), layouts_of(run, database))
            tables = moving_tables(tables, run.plan.selection, database.source_name)
    with run.sessions.session(Side.TARGET, database.target_name) as connection:
        try:
            end_older_sessions(connection, run.plan.key, run.plan.epoch, strict=Side.TARGET)
            run.sessions.end_orphans(connection)
            there = read_tables(connection, sizes=False)
        except psycopg.Error as error:
            run.ports.control.check()
            raise translate(error, Side.TARGET, say("reading the tables of the target")) from error
    return _by_name(tables), _by_name(there)


def _by_name(tables: Iterable[Table]) -> _ByName:
    return {(table.schema, table.name): table for table in tables}


def make_units(run: Run, works: list[DatabaseWork]) -> list[Unit]:
    """Cut the work into units: large objects first, then tables by size, then the small ones in batches."""
    jobs = max(run.plan.copy_jobs, 1)
    size = part_size(sum(one.table.bytes for work in works for one in work.to_copy), jobs)
    apart = run.plan.incremental  # then Complete looks at all of them once more
    first = [Unit(database=work.database, span=span, apart=apart) for work in works for span in work.held.spans]
    large: list[Unit] = []
    small: list[Unit] = []
    for work in works:
        for one in work.to_copy:
            if _goes_alone(one):
                large += _cut(run, work, one, size, jobs)
        small += _batches(work, jobs)
    large.sort(key=lambda unit: unit.part.bytes if unit.part else unit.tables[0].table.bytes, reverse=True)
    return first + large + small


def _goes_alone(one: TableWork) -> bool:
    """Say whether a table is too much for a batch: many rows, or many partitions that have to be locked."""
    return one.table.bytes > _SMALL_TABLE_BYTES or len(one.table.parts) > _BATCH_TABLES


def _cut(run: Run, work: DatabaseWork, one: TableWork, size: int, jobs: int) -> list[Unit]:
    if one.ours and work.snapshot:
        one.shares = _kept(run, one, work.snapshot) or Shares(_parts(work.snapshot, one.table, size, jobs))
        if len(one.shares.parts) > 1:
            if not one.state.unlogged:  # a crash of the target empties those
                work.snapshot.shares[one.table.oid] = one.shares
            parts = one.shares.left
            one.left = len(parts)
            return [Unit(database=work.database, tables=(one,), part=part) for part in parts]
    return [Unit(database=work.database, tables=(one,))]


def _kept(run: Run, one: TableWork, snapshot: Snapshot) -> Shares | None:
    """Return what an attempt that failed has copied of a table under this same snapshot, if that is still there."""
    known = snapshot.shares.get(one.table.oid)
    if known is None or not known.file:
        return None
    with run.sessions.session(Side.TARGET, one.database.target_name) as connection:
        try:
            if file_of(connection, one) != known.file:
                return None
        except psycopg.Error as error:
            run.ports.control.check()
            raise translate(error, Side.TARGET, say("reading the tables of the target")) from error
    one.rows_done = sum(known.finished.values())
    one.bytes_done = sum(part.bytes for part in known.finished)
    return known


def _parts(snapshot: Snapshot, table: Table, size: int, jobs: int) -> list[Part]:
    """Plan without keeping a lock: the holder lives as long as the whole copy, and a failure would end its snapshot."""
    try:
        with snapshot.holder.transaction(force_rollback=True):
            if table.gathered:  # all under one snapshot, or a row that moved in between would be there twice
                return [
                    replace(part, of=(one.schema, one.name))
                    for one in table.parts
                    for part in plan_parts(snapshot.holder, one, size, jobs)
                ]
            return plan_parts(snapshot.holder, table, size, jobs)
    except psycopg.Error as error:
        if error.sqlstate == LOCK_NOT_AVAILABLE or error.sqlstate in GONE:
            return []
        raise translate(
            error, Side.SOURCE, say("planning the copy of {schema}.{name}", schema=table.schema, name=table.name)
        ) from error


def _batches(work: DatabaseWork, jobs: int) -> list[Unit]:
    """Put small tables together: a transaction costs more than their rows. Every lane gets some."""
    small = [one for one in work.to_copy if not _goes_alone(one)]
    most = min(_BATCH_TABLES, max(1, -(-len(small) // (2 * jobs))))
    units: list[Unit] = []
    batch: list[TableWork] = []
    for one in small:
        if batch and (len(batch) == most or sum(item.table.bytes for item in batch) + one.table.bytes > _BATCH_BYTES):
            units.append(Unit(database=work.database, tables=tuple(batch)))
            batch = []
        batch.append(one)
    if batch:
        units.append(Unit(database=work.database, tables=tuple(batch)))
    return units
