"""Notes of emptied tables on sources before 11, whose stream of changes does not tell TRUNCATE.

A trigger of ours on each table writes the table's oid into a log of ours before the table is emptied. The row is in the
stream, in its transaction and in its place among the other changes, and says what the stream itself leaves out.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg

from . import source_items
from .catalog import Table
from .connect import Connection
from .failpoints import durable
from .names import TARGET_SCHEMA, qualified, quote
from .outcome import Run
from .plan import DatabasePlan, Side
from .ports import Kind, LedgerItem
from .wording import Sentence, listing, say

_NAMED = 5

Lock = Callable[[list[Table], str, Sentence], None]
"""Runs a statement that locks these tables, as long as it takes: (tables, statement, what is being done)."""


def log_name(key: str) -> str:
    """Name of the task's log, and of the function that writes it, in the schema `towpath` of the source database."""
    return f"emptied_{key}"


def trigger_name(key: str) -> str:
    """Name of the task's trigger on each table."""
    return f"towpath_{key}"


def log_oid(connection: Connection, key: str) -> int:
    """Return the oid of the task's log in the connected database, 0 when there is none. Raises psycopg.Error."""
    row = connection.execute(
        "SELECT c.oid::bigint FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
        " WHERE n.nspname = %s AND c.relname = %s AND c.relkind = 'r'",
        (TARGET_SCHEMA, log_name(key)),
    ).fetchone()
    return int(str(row[0])) if row else 0


def note_truncates(run: Run, database: DatabasePlan, connection: Connection, tables: list[Table], lock: Lock) -> None:
    """Make log, function and triggers, written in the ledger first. Repeatable.

    Where the account may not, that is told in an event, and only the comparison finds a table that was emptied.
    Raises what `lock` raises, or psycopg.Error.
    """
    key = run.plan.key
    followed = [table for table in tables if table.has_rows and table.persistence == "p"]
    refused = [table for table in followed if not table.is_owner]
    try:
        _make_log(run, database, connection)
    except psycopg.errors.InsufficientPrivilege:
        refused = followed
    else:
        done = _with_trigger(connection, trigger_name(key))
        source_items.follow_names(run, database.source_name, connection)
        for table in followed:
            if table.is_owner and table.oid not in done:
                detail = {"trigger": trigger_name(key), source_items.OID: table.oid}
                source_items.note(run, _item(database, Kind.TRUNCATE_TRIGGER, table.schema, table.name, detail))
                lock([table], trigger_sql(key, table.schema, table.name), say("making a trigger that notes TRUNCATE"))
    if refused:
        run.ports.store.event(
            "warning",
            "SRC-TRUNCATE",
            say(
                "The source does not tell when tables of {database} are emptied by TRUNCATE, and the account may not"
                " make triggers there: {names}. Only the comparison would find it.",
                database=database.source_name,
                names=listing((f"{table.schema}.{table.name}" for table in refused), _NAMED),
            ),
        )


def _item(
    database: DatabasePlan, kind: Kind, schema: str, name: str, detail: dict[str, Any] | None = None
) -> LedgerItem:
    return LedgerItem(
        side=Side.SOURCE, database=database.source_name, kind=kind, schema=schema, name=name, detail=detail or {}
    )


def _make_log(run: Run, database: DatabasePlan, connection: Connection) -> None:
    key = run.plan.key
    if log_oid(connection, key):
        return
    run.ports.ledger.intend(_item(database, Kind.TRUNCATE_LOG, TARGET_SCHEMA, log_name(key)))
    place = qualified(TARGET_SCHEMA, log_name(key))
    with durable("source.truncate_log"), connection.transaction():
        connection.execute(f"CREATE SCHEMA IF NOT EXISTS {quote(TARGET_SCHEMA)}".encode())
        connection.execute(f"CREATE TABLE {place} (relation oid NOT NULL)".encode())
        # The application fires it, with rights of its own and whatever search_path it has.
        connection.execute(
            f"CREATE OR REPLACE FUNCTION {place}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER"  # noqa: S608 - names of ours
            f" SET search_path = pg_catalog, pg_temp AS $$BEGIN INSERT INTO {place} VALUES (TG_RELID); RETURN NULL;"
            " END$$".encode()
        )


def trigger_sql(key: str, schema: str, name: str) -> str:
    """Return the statements that make the trigger on one table; it fires in replica sessions, too."""
    table, trigger = qualified(schema, name), quote(trigger_name(key))
    return (
        f"CREATE TRIGGER {trigger} BEFORE TRUNCATE ON {table} FOR EACH STATEMENT EXECUTE PROCEDURE"
        f" {qualified(TARGET_SCHEMA, log_name(key))}(); ALTER TABLE {table} ENABLE ALWAYS TRIGGER {trigger}"
    )


def drop_trigger_sql(item: LedgerItem) -> str:
    """Return the statement that removes a TRUNCATE_TRIGGER item of the ledger."""
    return f"DROP TRIGGER IF EXISTS {quote(str(item.detail['trigger']))} ON {qualified(item.schema, item.name)}"


def drop_log_sql(item: LedgerItem) -> str:
    """Return the statements that remove a TRUNCATE_LOG item of the ledger, after its triggers."""
    place = qualified(item.schema, item.name)
    return f"DROP FUNCTION IF EXISTS {place}(); DROP TABLE IF EXISTS {place}"


def _with_trigger(connection: Connection, trigger: str) -> set[int]:
    rows = connection.execute("SELECT tgrelid::bigint FROM pg_catalog.pg_trigger WHERE tgname = %s", (trigger,))
    return {int(str(row[0])) for row in rows.fetchall()}
