"""Keeps the names of what we changed on tables of the source: they are known by their oids, whatever they are called.

A table gets another name there whenever somebody wants it, two may exchange theirs, and a new one may take a name that
was left. What is to be put back on a table is put back on the one that it was changed on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from .connect import Connection
from .drift import Place
from .outcome import Run
from .plan import Side
from .ports import Kind, LedgerItem

ON_TABLES = frozenset({Kind.REPLICA_IDENTITY, Kind.TRUNCATE_TRIGGER})
OID = "oid"

_PLACES = """
SELECT c.oid::bigint, n.nspname, c.relname
  FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 WHERE c.oid = ANY(%s::oid[])
"""


def note(run: Run, item: LedgerItem) -> None:
    """Record what is about to be changed on a table, in place of what was on one of its name that is gone.

    `follow_names` comes first: what was on a table that has another name now would be forgotten.
    """
    run.ports.ledger.intend(item)
    run.ports.ledger.amend(item)


def follow_names(run: Run, database: str, connection: Connection) -> None:
    """Let the ledger call what was changed on tables of a source database as these are called there now. Idempotent.

    Raises psycopg.Error. A worker that dies in between leaves some of it twice, of the same table.
    """
    items = _identified(run, database)
    if not items:
        return
    pairs = zip(items, _called_now(connection, items), strict=True)
    if moved := {item: now for item, now in pairs if now is not None and now != item}:
        _rename(run, moved, items)


def called_now(connection: Connection, item: LedgerItem) -> LedgerItem | None:
    """Return what is on a table with the name that this has now; None when the table is gone. Raises psycopg.Error.

    An item of an older ledger, which does not know the table, is returned as it is.
    """
    return _called_now(connection, [item])[0]


def all_called_now(run: Run, database: str, connection: Connection) -> list[LedgerItem]:
    """Return what was changed on tables of a source database that are there, by their names. Raises psycopg.Error.

    Of an older ledger, which does not know the tables, everything is returned as it is.
    """
    items = run.ports.ledger.items(Side.SOURCE, database, ON_TABLES)
    return [item for item in _called_now(connection, items) if item is not None]


def in_task(run: Run, database: str) -> list[tuple[LedgerItem, Place]]:
    """Return what was changed on tables of a source database, each with what the task calls the table."""
    known = {state.oid: (state.schema, state.name) for state in run.ports.store.tables(database)}
    items = run.ports.ledger.items(Side.SOURCE, database, ON_TABLES)
    return [(item, known.get(item.detail.get(OID, 0), _place(item))) for item in items]


def _called_now(connection: Connection, items: list[LedgerItem]) -> list[LedgerItem | None]:
    oids = sorted({item.detail[OID] for item in items if OID in item.detail})
    rows = connection.execute(_PLACES, (oids,)).fetchall() if oids else []
    places: dict[int, Place] = {int(str(oid)): (str(schema), str(name)) for oid, schema, name in rows}
    found = [(item, places.get(item.detail[OID]) if OID in item.detail else _place(item)) for item in items]
    return [replace(item, schema=now[0], name=now[1]) if now else None for item, now in found]


def _rename(run: Run, moved: Mapping[LedgerItem, LedgerItem], items: list[LedgerItem]) -> None:
    known, after = set(items), set(moved.values())
    ledger = run.ports.ledger
    ledger.intend(*(item for item in after if item not in known))
    # Tables that exchanged their names, each of which has had the other's: all at once, or what one was would be lost.
    ledger.amend(*(item for item in after if item in known))
    ledger.removed(*(item for item in moved if item not in after))


def _identified(run: Run, database: str) -> list[LedgerItem]:
    """Return what is on tables, each with its oid: an older ledger has none, so the task's own names tell."""
    items = run.ports.ledger.items(Side.SOURCE, database, ON_TABLES)
    lacking = [item for item in items if OID not in item.detail]
    if not lacking:
        return items
    oids = {(state.schema, state.name): state.oid for state in run.ports.store.tables(database)}
    found = [replace(item, detail={**item.detail, OID: oids[_place(item)]}) for item in lacking if _place(item) in oids]
    run.ports.ledger.amend(*found)
    return [item for item in items if OID in item.detail] + found


def _place(item: LedgerItem) -> Place:
    return item.schema, item.name
