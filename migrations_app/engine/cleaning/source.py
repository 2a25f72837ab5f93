"""What we made on the source: slots first, since they hold its disk, then publications, then replica identities."""

from __future__ import annotations

import contextlib
import time

import psycopg

from .. import publishing, source_items
from ..connect import Connection
from ..failpoints import durable
from ..names import quote
from ..outcome import Run
from ..plan import Side
from ..ports import Kind, LedgerItem
from ..slots import readers_of
from ..truncate_log import drop_log_sql, drop_trigger_sql
from ..versions import can_decode, has_publications
from ..wording import say
from .side import Cleaner, Left, replica_identity_sql

_SLOT_SECONDS, _HURRIED_SLOT_SECONDS = 10.0, 1.0


def clean(run: Run) -> list[Left]:
    """Remove everything of this task from the source. Returns what is left. Idempotent."""
    cleaner = Cleaner(run, Side.SOURCE)
    items = _items(run)
    names = dict.fromkeys([database.source_name for database in run.databases()] + [item.database for item in items])
    for name in names:
        mine = [item for item in reversed(items) if item.database == name]
        with cleaner.database(name, mine) as connection:
            if connection is not None:
                # What is left is told by the names of now. Without them the clean-up itself still goes by the oids.
                with contextlib.suppress(psycopg.Error):
                    source_items.follow_names(run, name, connection)
                    mine = [item for item in reversed(_items(run)) if item.database == name]
                _clean_database(cleaner, connection, name, mine)
    return cleaner.left


def _items(run: Run) -> list[LedgerItem]:
    return [item for item in run.ports.ledger.items(Side.SOURCE) if item.kind is not Kind.FILE]


def _clean_database(cleaner: Cleaner, connection: Connection, name: str, items: list[LedgerItem]) -> None:
    slots = _with_unrecorded(items, _own_slots(connection, cleaner.run.plan.key), Kind.SLOT, name)
    for item in slots:
        cleaner.attempt(item, lambda item=item: drop_slot(cleaner, connection, item.name))  # type: ignore[misc]
    publications = _with_unrecorded(items, _own_publications(connection, cleaner.run.plan.key), Kind.PUBLICATION, name)
    published = False
    for item in publications:
        published |= not cleaner.attempt(item, lambda item=item: publishing.drop(connection, item.name))  # type: ignore[misc]
    for item in items:
        if item.kind is Kind.TRUNCATE_TRIGGER:
            cleaner.attempt(item, lambda item=item: _drop_trigger(cleaner, connection, item))  # type: ignore[misc]
    for item in items:
        if item.kind is Kind.TRUNCATE_LOG:
            cleaner.attempt(item, lambda item=item: _drop_log(connection, item))  # type: ignore[misc]
    _give_back_identities(
        cleaner, connection, [item for item in items if item.kind is Kind.REPLICA_IDENTITY], published=published
    )


def _give_back_identities(
    cleaner: Cleaner, connection: Connection, items: list[LedgerItem], *, published: bool
) -> None:
    """Restore replica identities, but for published tables: without one they refuse the application's updates."""
    others: dict[tuple[str, str], str] = {}
    if items and not published and has_publications(connection.info.server_version):
        with contextlib.suppress(psycopg.Error):
            others = publishing.of_other_tasks(connection, cleaner.run.plan.key)
    for item in items:
        if published:
            cleaner.leave(item, say("its publication could not be removed, and must go first"))
        elif name := others.get((item.schema, item.name)):
            cleaner.leave(
                item,
                say(
                    "another task still follows the table by its publication {name}, and without it the application's "
                    "own updates would fail; run this when that task has ended",
                    name=name,
                ),
            )
        else:
            cleaner.attempt(item, lambda item=item: restore_identity(cleaner, connection, item))  # type: ignore[misc]


def drop_slot(cleaner: Cleaner, connection: Connection, name: str) -> None:
    """Drop a slot of ours, ending the walsender that holds it. Idempotent.

    Tries for 10 seconds (1 in a hurry), then raises ObjectInUse. Raises InsufficientPrivilege when the account may not.
    """
    deadline = time.monotonic() + (_HURRIED_SLOT_SECONDS if cleaner.in_a_hurry else _SLOT_SECONDS)
    while True:
        found, readers = readers_of(connection, name)
        if not found:
            return
        if readers:
            connection.execute("SELECT count(pg_catalog.pg_terminate_backend(p)) FROM unnest(%s::int[]) p", (readers,))
        try:
            with durable("source.slot.drop"):
                connection.execute("SELECT pg_catalog.pg_drop_replication_slot(%s)", (name,))
        except psycopg.errors.UndefinedObject:
            return
        except psycopg.errors.ObjectInUse:
            if time.monotonic() > deadline:
                raise
            cleaner.run.ports.control.sleep(0.2)


def restore_identity(cleaner: Cleaner, connection: Connection, item: LedgerItem) -> None:
    """Give a table back the replica identity that it had, unless somebody has changed it since. Idempotent.

    Another table that has got the name of one that is gone is left alone.
    """
    now = source_items.called_now(connection, item)
    if now is None:
        return
    row = connection.execute(
        "SELECT c.relreplident FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
        " WHERE n.nspname = %s AND c.relname = %s",
        (now.schema, now.name),
    ).fetchone()
    if row is not None and row[0] == "f":
        _patiently(cleaner, connection, replica_identity_sql(now))


def _drop_trigger(cleaner: Cleaner, connection: Connection, item: LedgerItem) -> None:
    now = source_items.called_now(connection, item)
    if now is not None:
        _patiently(cleaner, connection, drop_trigger_sql(now))


def _patiently(cleaner: Cleaner, connection: Connection, statement: str) -> None:
    """Run a statement that locks a table.

    Each of three tries waits 2 seconds at most, so that nobody queues behind us for longer; in a hurry one hardly does.
    """
    for last in (True,) if cleaner.in_a_hurry else (False, False, True):
        try:
            _execute(connection, statement.encode())
            return
        except psycopg.errors.LockNotAvailable:
            if last:
                raise
            cleaner.run.ports.control.sleep(0.5)


def _drop_log(connection: Connection, item: LedgerItem) -> None:
    _execute(connection, drop_log_sql(item).encode())
    with contextlib.suppress(psycopg.errors.DependentObjectsStillExist, psycopg.errors.InvalidSchemaName):
        _execute(connection, ("DROP SCHEMA " + quote(item.schema)).encode())  # other tasks may use it


def _own_slots(connection: Connection, key: str) -> list[str]:
    """Return the task's slots of the connected database, temporary ones too, by their name."""
    if not can_decode(connection.info.server_version):
        return []
    rows = connection.execute(
        "SELECT slot_name FROM pg_catalog.pg_replication_slots"
        " WHERE slot_name LIKE %s AND database = pg_catalog.current_database()",
        (_pattern(key),),
    ).fetchall()
    return [str(row[0]) for row in rows]


def _own_publications(connection: Connection, key: str) -> list[str]:
    if not has_publications(connection.info.server_version):
        return []
    rows = connection.execute(
        "SELECT pubname FROM pg_catalog.pg_publication WHERE pubname LIKE %s", (_pattern(key),)
    ).fetchall()
    return [str(row[0]) for row in rows]


def _pattern(key: str) -> str:
    return f"towpath\\_{key}\\_%"


def _with_unrecorded(items: list[LedgerItem], found: list[str], kind: Kind, database: str) -> list[LedgerItem]:
    """Return the recorded items of a kind, and further ones for what carries our name although nobody recorded it."""
    known = [item for item in items if item.kind is kind]
    names = {item.name for item in known}
    more = [
        LedgerItem(side=Side.SOURCE, database=database, kind=kind, name=name) for name in found if name not in names
    ]
    return known + more


@durable("source.restored")
def _execute(connection: Connection, statement: bytes) -> None:
    connection.execute(statement)
