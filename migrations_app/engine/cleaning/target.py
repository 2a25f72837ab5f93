"""What we made on the target beside the user's objects: the bookmark, and states that were changed for the sync."""

from __future__ import annotations

import psycopg

from ..connect import Connection
from ..failpoints import durable
from ..other_tasks import Relation, of_others
from ..outcome import Run
from ..plan import Side
from ..ports import ALONE, Kind, LedgerItem
from ..replication import bookmark
from ..silencing import quiet_events, restore_statement
from ..wording import say
from .side import Cleaner, Left

STATES = frozenset({Kind.TRIGGER_STATE, Kind.IDENTITY_STATE})
_OURS = STATES | {Kind.BOOKMARK}


def clean(run: Run, *, keep_objects: bool) -> list[Left]:
    """Remove our bookmark and put changed states back in every target database. Returns what is left. Idempotent.

    The user's objects are not touched; unless `keep_objects`, they are crossed off the ledger.
    """
    cleaner = Cleaner(run, Side.TARGET)
    known = run.ports.ledger.items(Side.TARGET)
    marks = [item for item in known if item.detail.get(ALONE)]
    run.ports.ledger.removed(*marks)  # nothing of them is on the server
    everything = [item for item in known if item not in marks]
    ours = [item for item in everything if item.kind in _OURS]
    names = dict.fromkeys([database.target_name for database in run.databases()] + [item.database for item in ours])
    for name in names:
        mine = [item for item in reversed(ours) if item.database == name]
        if mine:
            with cleaner.database(name, mine) as connection:
                if connection is not None:
                    _clean_database(cleaner, connection, name, mine)
    if not keep_objects:
        _leave_roles(cleaner, [item for item in everything if item.kind is Kind.MEMBERSHIP])
        run.ports.ledger.removed(
            *(item for item in everything if item.kind not in _OURS | {Kind.FILE, Kind.MEMBERSHIP})
        )
    return cleaner.left


def _clean_database(cleaner: Cleaner, connection: Connection, database: str, items: list[LedgerItem]) -> None:
    key = cleaner.run.plan.key
    quiet_events(connection)
    theirs = _of_others(cleaner, connection, database, items)
    for item in items:
        if item.kind is Kind.BOOKMARK:
            cleaner.attempt(item, lambda: _remove_bookmark(connection, key))
        elif (item.schema, str(item.detail.get("table", ""))) in theirs:
            cleaner.leave(item, say("another migration has this table now; it needs it as it is until it has ended"))
        else:
            cleaner.attempt(item, lambda item=item: restore_state(connection, item))  # type: ignore[misc]


def _of_others(cleaner: Cleaner, connection: Connection, database: str, items: list[LedgerItem]) -> set[Relation]:
    """Return what other tasks have there now: since a first clean-up had to leave something, they may use it."""
    if STATES.isdisjoint(item.kind for item in items):
        return set()
    try:
        return of_others(cleaner.run, connection, database)
    except psycopg.Error:  # whatever it is, each item meets it as well
        return set()


def _leave_roles(cleaner: Cleaner, items: list[LedgerItem]) -> None:
    """Take our account out of the roles that it was put into to hand objects over."""
    if items:
        with cleaner.database("", items) as connection:
            if connection is not None:
                for item in items:
                    cleaner.attempt(item, lambda item=item: _revoke(connection, item))  # type: ignore[misc]


@durable("target.role")
def _revoke(connection: Connection, item: LedgerItem) -> None:
    connection.execute(str(item.detail["drop"]).encode())


def _remove_bookmark(connection: Connection, key: str) -> None:
    bookmark.remove(connection, key)


@durable("target.restored")
def restore_state(connection: Connection, item: LedgerItem) -> None:
    """Put one trigger, rule or identity column back into the state that it had before the sync. Idempotent."""
    connection.execute(restore_statement(item).encode())
