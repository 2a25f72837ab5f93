"""Gives a table of the target the name that it has on the source now, where somebody allowed that or did it himself.

A table is known by its oid on the source, so its new name belongs to no place of the stream: rows that were written
under the old one go to the same table. It is followed between two sessions, in a transaction of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import psycopg

from .. import drifting
from ..drift import Drift, Place
from ..errors import ConnectionLost, SchemaChanged
from ..layouts import layouts_of
from ..mapping import renaming_of
from ..outcome import Run
from ..plan import DatabasePlan, Side
from ..ports import NEVER, Kind, LedgerItem, TableState
from ..target_changes import change_target, refused
from ..wording import say
from .explained import renamed

_OF_TABLES = frozenset({Kind.TABLE, Kind.ADOPTED, Kind.REPLICA_IDENTITY, Kind.TRUNCATE_TRIGGER})
_OF_PARTS = frozenset({Kind.TRIGGER_STATE, Kind.IDENTITY_STATE})


class TableRenamed(ConnectionLost):
    """A table of the task has another name on the source and may get it on the target: the sync is opened anew."""

    def __init__(self, table: TableState, now: Place, drift: Drift) -> None:
        super().__init__(
            say(
                "Table {schema}.{name} is called {new} on the source now, and on the target from here on.",
                schema=table.schema,
                name=table.name,
                new=".".join(now),
            ),
            hint=say("The sync goes on by itself."),
        )
        self.table, self.now, self.drift = table, now, drift
        self.followed = False


def verdict(
    run: Run, database: DatabasePlan, table: TableState, now: Place, there: Callable[[Place], bool]
) -> TableRenamed | SchemaChanged:
    """Return what to raise for a table that is called `now` on the source; `there`: whether the target has a table.

    TableRenamed where the target has the new name already and not the old one, or somebody allowed to give it.
    """
    renaming, store, known = renaming_of(run, database), run.ports.store, (table.schema, table.name)
    old, new = renaming.place(known), renaming.place(now)
    # What is partitioned otherwise on the target is known by its name in more than one place.
    free = known not in layouts_of(run, database).kept.values() and now not in {
        (one.schema, one.name) for one in store.tables(table.database)
    }
    offered = free and there(old) and not there(new)
    drift = drifting.renamed_table(known, now, (old, new) if offered else None)
    drift = replace(drift, database=table.database, lsn=NEVER)
    leaves = [(one.schema, one.name, one.digest) for one in store.leaves(table.database)]
    done = free and there(new) and not there(old)
    if done or (offered and (*known, drift.digest) in leaves):
        return TableRenamed(table, now, drift)
    return renamed(drift)


def follow(run: Run, database: DatabasePlan, found: TableRenamed) -> None:
    """Give the table its new name: on the target unless it has it, in the ledger, and in the task. Once.

    No session of ours may hold the table. A worker that dies in between leaves a target whose table has the new name,
    which the next one takes up. Raises SchemaChanged when the target refuses, EngineError when it is to be tried again.
    """
    if found.followed:
        return
    table, renaming = found.table, renaming_of(run, database)
    old, new = renaming.place((table.schema, table.name)), renaming.place(found.now)
    items = _renamed_items(run, database, Side.SOURCE, (table.schema, table.name), found.now)
    items += _renamed_items(run, database, Side.TARGET, old, new)
    run.ports.ledger.intend(*(item for _, item in items))
    if found.drift.statements:
        with run.sessions.session(Side.TARGET, database.target_name) as connection:
            try:
                change_target(connection, found.drift.statements)
            except psycopg.Error as error:
                run.ports.ledger.removed(*(item for _, item in items))
                run.ports.control.check()
                doing = say("renaming {schema}.{name}", schema=table.schema, name=table.name)
                raise refused(error, doing, found.drift.statements, found.drift) from error
    run.ports.ledger.removed(*(item for item, _ in items))
    run.adopted.clear()
    run.ports.store.renamed(table, *found.now)
    found.followed = True
    told = say(
        "Table {schema}.{name} of {database} is called {new} from here on, as on the source. The sync goes on.",
        schema=table.schema,
        name=table.name,
        database=table.database,
        new=".".join(found.now),
    )
    run.ports.store.event("warning", "DDL-APPLIED", told)


def _renamed_items(
    run: Run, database: DatabasePlan, side: Side, old: Place, new: Place
) -> list[tuple[LedgerItem, LedgerItem]]:
    """Return what the ledger holds of a table or on it, each with what it is called from now on."""
    name = database.source_name if side is Side.SOURCE else database.target_name
    found = []
    for item in run.ports.ledger.items(side, name, _OF_TABLES | _OF_PARTS):
        if item.kind in _OF_TABLES and (item.schema, item.name) == old:
            found.append((item, replace(item, schema=new[0], name=new[1])))
        elif item.kind in _OF_PARTS and (item.schema, item.detail["table"]) == old:
            detail = {**item.detail, "table": new[1]}
            found.append((item, replace(item, schema=new[0], name=f"{new[1]}.{detail['name']}", detail=detail)))
    return found
