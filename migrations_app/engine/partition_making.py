"""Makes a partition on the target that is to be copied, and with it what stands in its way or belongs to it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import psycopg

from . import drifting
from .connect import translate
from .copy_plan import made_tables
from .drift import Doubt, Drift, NewTable, Partition, Place
from .mapping import renaming_of
from .names import qualified
from .outcome import Run
from .own_columns import statements_for
from .plan import DatabasePlan, Side
from .ports import Kind, LedgerItem, TableState
from .shapes import Shape, read_lineage
from .target_changes import change_target, refused
from .wording import listing, say

Read = Callable[[Side, Place], Shape | None]
"""Reads a table of one side as it is now; None when it has none of that name."""

_CHILDREN = (
    "SELECT n.nspname::text, c.relname::text FROM pg_catalog.pg_inherits i"
    " JOIN pg_catalog.pg_class c ON c.oid = i.inhrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
    " WHERE i.inhparent = pg_catalog.to_regclass(%s) AND c.relispartition ORDER BY 1, 2"
)


def make_partition(run: Run, database: DatabasePlan, state: TableState, read: Read) -> None:
    """Make a table of the target that is missing, where the source's is a partition of one that is there.

    Partitioned tables in between that are missing as well are made with it. What is no partition of that table any more
    on the source is detached on the target first, if it is ours: it may be in the way. Nothing else of it changes.
    Raises SchemaChanged with the drift for what the target refuses, EngineError of the side that failed.
    """
    renaming, lineage = renaming_of(run, database), _lineage(run, database, state.oid)
    found = drifting.missing_partition(
        [replace(one, born=True) for one in lineage],  # its rows are copied
        renaming.place,
        lambda place: read(Side.TARGET, place) is not None,
    )
    if found is None:
        return
    former = _former_parts(run, database, lineage)
    for schema, name in (renaming.place(one) for one in (*found.above, (state.schema, state.name))):
        run.ports.ledger.intend(
            LedgerItem(side=Side.TARGET, database=database.target_name, kind=Kind.TABLE, schema=schema, name=name)
        )
    # The statements alone would not do: its rows came without the stream, so it is copied in any case.
    drift = replace(found, statements=(), doubt=Doubt.ATTACHED, database=state.database, digest="")
    _change(run, database, state, [*former, *found.statements], drift)
    if former:
        _tell(run, state, former)
    _make_own(run, database, state, read)


def detach_former(run: Run, database: DatabasePlan, table: NewTable) -> None:
    """Detach on the target what would be in the way of a new partition because the source has detached it. Idempotent.

    Raises EngineError of the side that failed.
    """
    state = TableState(database=database.source_name, schema=table.schema, name=table.name, oid=table.oid)
    if former := _former_parts(run, database, _lineage(run, database, table.oid)):
        _change(run, database, state, former)
        _tell(run, state, former)


def _lineage(run: Run, database: DatabasePlan, oid: int) -> list[Partition]:
    with run.sessions.session(Side.SOURCE, database.source_name) as connection:
        try:
            return read_lineage(connection, oid, renaming_of(run, database))
        except psycopg.Error as error:
            run.ports.control.check()
            raise translate(error, Side.SOURCE, say("reading partitions")) from error


def _former_parts(run: Run, database: DatabasePlan, lineage: Sequence[Partition]) -> list[str]:
    """Return what detaches from the target's tables above those partitions that the source's do not have any more."""
    place, ours = renaming_of(run, database).place, made_tables(run, database)
    found = []
    for parent in [one.parent for one in lineage]:
        there = [one for one in _children(run, Side.TARGET, database.target_name, place(parent)) if one in ours]
        here = {place(one) for one in _children(run, Side.SOURCE, database.source_name, parent)} if there else set()
        table = qualified(*place(parent))
        found += [f"ALTER TABLE {table} DETACH PARTITION {qualified(*one)}" for one in there if one not in here]
    return found


def _children(run: Run, side: Side, database: str, parent: Place) -> list[Place]:
    with run.sessions.session(side, database) as connection:
        try:
            rows = connection.execute(_CHILDREN, (qualified(*parent),)).fetchall()
        except psycopg.Error as error:
            run.ports.control.check()
            raise translate(error, side, say("reading partitions")) from error
    return [(str(schema), str(name)) for schema, name in rows]


def _tell(run: Run, state: TableState, statements: Sequence[str]) -> None:
    told = say(
        "Before {schema}.{name} of {database} is made on the target, what the source has detached is detached there "
        "too: {statements}.",
        schema=state.schema,
        name=state.name,
        database=state.database,
        statements=listing(statements, 5),
    )
    run.ports.store.event("warning", "DDL-APPLIED", told)


def _make_own(run: Run, database: DatabasePlan, state: TableState, read: Read) -> None:
    """Give a new partition of the target what the columns of the source's have of their own."""
    place = (state.schema, state.name)
    source, there = read(Side.SOURCE, place), read(Side.TARGET, renaming_of(run, database).place(place))
    if source is None or there is None:
        return
    _change(run, database, state, statements_for(run, database, source, there))


def _change(
    run: Run, database: DatabasePlan, state: TableState, statements: Sequence[str], drift: Drift | None = None
) -> None:
    with run.sessions.session(Side.TARGET, database.target_name) as connection:
        try:
            change_target(connection, statements)
        except psycopg.Error as error:
            run.ports.control.check()
            doing = say("changing the columns of {schema}.{name}", schema=state.schema, name=state.name)
            raise refused(error, doing, statements, drift) from error
