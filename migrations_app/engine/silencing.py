"""Keeps triggers and rules of the target's tables quiet while a task puts rows into them, and puts them back.

Everything is written in the ledger first; Complete and cleanup put it back by the ledger's details.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Sequence

import psycopg

from .connect import Connection, translate
from .errors import EngineError, TargetError
from .failpoints import durable
from .names import literal, qualified, quote
from .outcome import Run
from .plan import DatabasePlan, Side
from .ports import Kind, LedgerItem
from .sql import query
from .wording import say

_EVENTS_OFF_SINCE = 170000


def may_silence_triggers(connection: Connection) -> bool:
    """Say whether our target account may set session_replication_role, which keeps triggers and foreign keys quiet."""
    try:
        with connection.transaction(force_rollback=True):
            connection.execute("SET LOCAL session_replication_role = replica")
    except psycopg.errors.InsufficientPrivilege:
        return False
    except psycopg.Error as error:
        raise translate(error, Side.TARGET, say("looking at our rights")) from error
    return True


def quiet_events(connection: Connection) -> None:
    """Keep event triggers from acting on what the session does from here on, as far as our account may."""
    since_17 = connection.info.server_version >= _EVENTS_OFF_SINCE
    with contextlib.suppress(psycopg.errors.InsufficientPrivilege):
        connection.execute("SET event_triggers = off" if since_17 else "SET session_replication_role = replica")


def silence(
    run: Run,
    database: DatabasePlan,
    connection: Connection,
    tables: Iterable[tuple[str, str]],
    *,
    replica_role: bool,
    identities: bool = False,
) -> list[LedgerItem]:
    """Switch off what would act on rows that come into these tables of the target; return what was switched off.

    With `replica_role`, ordinary triggers and rules keep silent by themselves. `identities`: identity columns accept
    values from now on. `connection`: an ordinary autocommit session. Idempotent; takes short table locks. Raises
    psycopg's errors (see `refused`), with what was not switched off crossed off the ledger.
    """
    places = sorted(tables)
    found = connection.execute(
        query("prepare_tables"),
        {
            "schemas": [schema for schema, _ in places],
            "names": [name for _, name in places],
            "states": _firing(replica_role=replica_role),
        },
    ).fetchall()
    rows = [tuple(str(value) for value in row) for row in found]
    items = [_item(database, *row) for row in rows if identities or row[0] != "identity"]
    run.ports.ledger.intend(*items)
    for number, item in enumerate(items):
        try:
            with durable("target.silence"):
                connection.execute(silence_statement(item).encode())
        except psycopg.Error:
            if not connection.closed:
                run.ports.ledger.removed(*items[number:])
            raise
    return items


def _firing(*, replica_role: bool) -> list[str]:
    return ["A", "R"] if replica_role else ["A", "R", "O"]


def asked(tables: Iterable[tuple[str, str]], *, replica_role: bool) -> str:
    """Return the query for what would act on rows that come into these tables of the target, as whole text."""
    places = sorted(tables)
    lists = {
        "schemas": [schema for schema, _ in places],
        "names": [name for _, name in places],
        "states": _firing(replica_role=replica_role),
    }
    lines = [line for line in query("prepare_tables").splitlines() if not line.startswith("--")]
    filled = {name: f"ARRAY[{', '.join(map(literal, values))}]" for name, values in lists.items()}
    return re.sub(r"%\((\w+)\)s", lambda found: filled[found[1]], "\n".join(lines))


def triggers_among(database: DatabasePlan, rows: Iterable[Sequence[str]]) -> list[LedgerItem]:
    """Return the triggers and rules among the rows that `asked` found."""
    return [_item(database, *row) for row in rows if row[0] != "identity"]


def put_back(run: Run, connection: Connection, items: Iterable[LedgerItem]) -> None:
    """Put triggers, rules and identity columns back as they were, and cross them off. Raises psycopg's errors."""
    for item in items:
        run.ports.control.check()
        with durable("target.restored"):
            connection.execute(restore_statement(item).encode())
        run.ports.ledger.removed(item)


def refused(database: DatabasePlan, error: psycopg.Error) -> EngineError:
    """Return the error to raise when the target does not let itself be prepared."""
    name = database.target_name
    if error.sqlstate != "42501":
        return translate(error, Side.TARGET, say("preparing database {target_name}", target_name=name))
    return TargetError(
        say(
            "The target account may not prepare database {target_name}: {message_primary}",
            target_name=name,
            message_primary=error.diag.message_primary,
        ),
        hint=say("Connect with the account that owns the migrated tables and may create schemas there."),
        code="DST-PRIVILEGE",
    )


def _item(database: DatabasePlan, what: str, schema: str, table: str, name: str, was: str) -> LedgerItem:
    return LedgerItem(
        side=Side.TARGET,
        database=database.target_name,
        kind=Kind.IDENTITY_STATE if what == "identity" else Kind.TRIGGER_STATE,
        schema=schema,
        name=f"{table}.{name}",
        detail={"what": what, "table": table, "name": name, "was": was},
    )


def silence_statement(item: LedgerItem) -> str:
    """Return the statement that switches one item off."""
    start = f"ALTER TABLE {qualified(item.schema, item.detail['table'])} "
    name, what = quote(item.detail["name"]), item.detail["what"]
    if what == "identity":
        return start + f"ALTER COLUMN {name} SET GENERATED BY DEFAULT"
    return start + f"DISABLE {what.upper()} {name}"


def restore_statement(item: LedgerItem) -> str:
    """Return the statement that puts an IDENTITY_STATE or TRIGGER_STATE item of the ledger back as it was."""
    start = f"ALTER TABLE {qualified(item.schema, item.detail['table'])} "
    name, what, was = quote(item.detail["name"]), item.detail["what"], item.detail["was"]
    if what == "identity":
        return start + f"ALTER COLUMN {name} SET GENERATED ALWAYS"
    how = {"A": "ENABLE ALWAYS", "R": "ENABLE REPLICA", "D": "DISABLE"}.get(was, "ENABLE")
    return start + f"{how} {what.upper()} {name}"
