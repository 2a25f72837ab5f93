"""Clears the target for another start: drops exactly the objects that this task made, never anybody else's."""

from __future__ import annotations

import contextlib

import psycopg

from ..errors import ConnectFailed
from ..failpoints import durable
from ..large_object_numbers import how_many
from ..large_objects import drop_large_objects
from ..names import quote
from ..outcome import Run
from ..plan import Side
from ..ports import Kind, LedgerItem
from ..settings_for_all import is_for_all, take_back
from ..target_objects import drop_made, existing

_ALWAYS_THERE = {
    (2615, "", "public"),
    (3079, "", "plpgsql"),
    *((2612, "", language) for language in ("c", "internal", "sql", "plpgsql")),
}
"""What a new database has, as `target_objects.existing` names it."""


def clear_target(run: Run) -> list[LedgerItem]:
    """Drop what the ledger lists on the target. Never cascades; returns what others' objects keep alive. Idempotent.

    A database that the task made is dropped too when nothing of others is in it. Each drop is a transaction of its own
    and crossed off at once. Raises ConnectFailed, ConnectionLost or what `Control.check` raises.
    """
    left: list[LedgerItem] = []
    for name in dict.fromkeys(item.database for item in run.ports.ledger.items(Side.TARGET) if item.database):
        items = [item for item in run.ports.ledger.items(Side.TARGET, name) if item.kind is not Kind.FILE]
        if not _exists(run, name):
            run.ports.ledger.removed(*items)
            continue
        run.ports.ledger.removed(*(item for item in items if item.kind is Kind.ADOPTED))
        run.adopted.clear()
        drop_large_objects(run, name)
        drop_made(run, name)
        _drop_database(run, name, items)
        left += [item for item in run.ports.ledger.items(Side.TARGET, name) if item.kind is not Kind.FILE]
    return left + _take_settings_back(run) + _drop_roles(run)


def _take_settings_back(run: Run) -> list[LedgerItem]:
    """Take the settings away that the task gave to all roles; returns those that the account may not."""
    left: list[LedgerItem] = []
    items = [one for one in run.ports.ledger.items(Side.TARGET, "") if is_for_all(one)]
    if items:
        with run.sessions.session(Side.TARGET) as connection:
            for one in items:
                run.ports.control.check()
                try:
                    take_back(connection, one)
                except psycopg.errors.InsufficientPrivilege:
                    left.append(one)
                else:
                    run.ports.ledger.removed(one)
    return left


def _drop_roles(run: Run) -> list[LedgerItem]:
    """Drop the roles that the task made, but for those that own something or are granted something by now."""
    items = [one for one in run.ports.ledger.items(Side.TARGET, "") if one.kind in (Kind.ROLE, Kind.MEMBERSHIP)]
    roles = [one for one in reversed(items) if one.kind is Kind.ROLE]
    left = []
    if roles:
        with run.sessions.session(Side.TARGET) as connection:
            for one in roles:
                run.ports.control.check()
                try:
                    with durable("target.drop", "role"):
                        connection.execute(("DROP ROLE IF EXISTS " + quote(one.name)).encode())
                except (psycopg.errors.DependentObjectsStillExist, psycopg.errors.InsufficientPrivilege):
                    left.append(one)
                else:
                    run.ports.ledger.removed(*(item for item in items if item.name == one.name))
    return left


def _exists(run: Run, name: str) -> bool:
    try:
        run.sessions.open(Side.TARGET, name).close()
    except ConnectFailed as failure:
        if failure.code != "DATABASE-MISSING":
            raise
        return False
    return True


def _drop_database(run: Run, name: str, items: list[LedgerItem]) -> None:
    """Drop a database that the task made, unless somebody has put something into it."""
    ours = [item for item in items if item.kind is Kind.DATABASE]
    if not ours:
        return
    with run.sessions.session(Side.TARGET, name) as connection:
        if existing(connection) - _ALWAYS_THERE or how_many(connection):
            return
    other = next(one for one in (run.plan.target.database, "postgres", "template1") if one != name)
    with run.sessions.session(Side.TARGET, other) as connection:
        run.ports.control.check()
        with contextlib.suppress(psycopg.errors.ObjectInUse, psycopg.errors.InsufficientPrivilege):
            with durable("target.drop", "database"):
                connection.execute(("DROP DATABASE IF EXISTS " + quote(name)).encode())
            run.ports.ledger.removed(*items)
