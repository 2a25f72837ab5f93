"""One server during the clean-up: sessions that give up soon, and a list of what could not be removed."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator

import psycopg

from ..connect import Connection, end_older_sessions, first_line
from ..errors import ConnectFailed
from ..names import literal, qualified, quote
from ..outcome import Run
from ..plan import Side
from ..ports import Kind, LedgerItem
from ..probe import read_system_id
from ..replica_identity import identity_was
from ..silencing import restore_statement
from ..truncate_log import drop_log_sql, drop_trigger_sql
from ..values import frozen
from ..wording import NOTHING, Sentence, noun, say, template, verbatim

_SERVER_DOWN = frozenset(
    {"CONNECT-DNS", "CONNECT-REFUSED", "CONNECT-TIMEOUT", "CONNECT-UNREACHABLE", "CONNECT-STARTING", "NOT-POSTGRES"}
)
GONE = (psycopg.errors.UndefinedTable, psycopg.errors.UndefinedObject, psycopg.errors.UndefinedColumn)
"""What a server says of something that is not there any more."""

_LOCK_TIMEOUT = "2s"
_HURRIED_LOCK_TIMEOUT = "100ms"
_WAITING_SECONDS = 10.0  # Cancel has to end within 30, whatever is locked
_STATEMENT_TIMEOUT = "8s"


@frozen
class Left:
    """One thing that could not be removed: why, and the SQL that removes it by hand."""

    item: LedgerItem
    sql: str
    reason: Sentence
    unreachable: bool = False
    """The server could not be reached: trying again later may help."""

    def words(self) -> Sentence:
        """Return a sentence that names it."""
        item = self.item
        name = f"{item.schema}.{item.name}" if item.schema else item.name
        whole = template("{kind} {name} on the {side} (database {database}): {reason}")
        part = template("{kind} {name} on the {side} (database {database}): {reason}.")
        return say(
            whole if self.reason.endswith(".") else part,
            kind=noun(item.kind.value.replace("_", " ")),
            name=name,
            side=noun(item.side),
            database=item.database,
            reason=self.reason,
        )

    def told(self) -> dict[str, str]:
        """Return plain data for the event's details."""
        item = self.item
        return {
            "side": item.side.value,
            "database": item.database,
            "kind": item.kind.value,
            "schema": item.schema,
            "name": item.name,
            "sql": self.sql,
            "reason": self.reason.rstrip("."),
        }


class Cleaner:
    """Removes items on one side, database by database. Collects failures in `left` instead of raising them.

    When 10 seconds in all were spent on what could not be removed, the rest is tried once each, without waiting.
    """

    def __init__(self, run: Run, side: Side) -> None:
        self.run = run
        self.side = side
        self.left: list[Left] = []
        self._down: Sentence = NOTHING
        self._waited = 0.0
        self._connection: Connection | None = None

    @property
    def in_a_hurry(self) -> bool:
        """Say whether so much time went into what could not be removed that nothing is waited for any more."""
        return self._waited >= _WAITING_SECONDS

    @contextlib.contextmanager
    def database(self, name: str, items: list[LedgerItem]) -> Iterator[Connection | None]:
        """Yield a session in a database; None when there is none, and then `items` are judged.

        A database that no longer exists has taken the items with it. Older sessions of the task are ended first.
        """
        connection = self._open(name, items)
        if connection is None:
            yield None
            return
        with contextlib.closing(connection):
            with contextlib.suppress(psycopg.Error):
                end_older_sessions(connection, self.run.plan.key, self.run.plan.epoch)
            self._connection = connection
            yield connection

    def attempt(self, item: LedgerItem, work: Callable[[], None]) -> bool:
        """Do `work` and cross `item` off; on a server's refusal list it as left. Returns whether it is gone."""
        self.run.ports.control.check()
        began = time.monotonic()
        try:
            work()
        except psycopg.Error as error:
            self.run.ports.control.check()
            self._note_waiting(time.monotonic() - began)
            if isinstance(error, GONE):
                self.run.ports.ledger.removed(item)  # somebody was faster, or the whole table is gone
                return True
            self.leave(item, verbatim(first_line(error)), unreachable=error.sqlstate is None)
            return False
        self.run.ports.ledger.removed(item)
        return True

    def _note_waiting(self, seconds: float) -> None:
        before, self._waited = self.in_a_hurry, self._waited + seconds
        if self.in_a_hurry and not before and self._connection is not None:
            with contextlib.suppress(psycopg.Error):
                self._connection.execute(f"SET lock_timeout = '{_HURRIED_LOCK_TIMEOUT}'".encode())

    def leave(self, item: LedgerItem, reason: Sentence, *, unreachable: bool = False) -> None:
        """List an item as left."""
        self.left.append(Left(item=item, sql=by_hand(item), reason=reason, unreachable=unreachable))

    def _open(self, name: str, items: list[LedgerItem]) -> Connection | None:
        if not self._down:
            try:
                connection = self._connect(name)
                if not self._another_server(connection):
                    return connection
                connection.close()
            except ConnectFailed as failure:
                if failure.code == "DATABASE-MISSING" and not self._elsewhere():
                    self.run.ports.ledger.removed(*items)
                    return None
                if failure.code in _SERVER_DOWN:
                    self._down = failure.message
                elif not self._down:
                    self._list(items, failure.message)
                    return None
        self._list(items, self._down)
        return None

    def _list(self, items: list[LedgerItem], reason: Sentence) -> None:
        for item in items:
            self.leave(item, reason, unreachable=True)

    def _connect(self, name: str) -> Connection:
        lock_timeout = _HURRIED_LOCK_TIMEOUT if self.in_a_hurry else _LOCK_TIMEOUT
        return self.run.sessions.open(self.side, name, lock_timeout=lock_timeout, statement_timeout=_STATEMENT_TIMEOUT)

    def _elsewhere(self) -> bool:
        """Say whether the database is missing because this is another server. False when nobody can tell."""
        try:
            with contextlib.closing(self._connect("")) as connection:
                return self._another_server(connection)
        except ConnectFailed:
            return False

    def _another_server(self, connection: Connection) -> bool:
        """Say whether this is not the server that the task made its things on: nothing can be missing from it then."""
        states = [self.run.ports.store.database(database.source_name) for database in self.run.databases()]
        known = {state.system_id for state in states if state.system_id} if self.side is Side.SOURCE else set()
        found = None
        with contextlib.suppress(psycopg.Error):  # what cannot be asked is no answer; the clean-up tells what is wrong
            found = read_system_id(connection) if known else None
        if found is None or found in known:
            return False
        self._down = say(
            "this is another server than the one that the migration started with: system {system} instead of {known}",
            system=found,
            known=", ".join(sorted(known)),
        )
        return True


def by_hand(item: LedgerItem) -> str:
    """Return the SQL that an operator runs to remove this, in the item's database."""
    name, task = item.name, literal(str(item.detail.get("task", "")))
    simple = {
        Kind.SLOT: "SELECT pg_drop_replication_slot(" + literal(name) + ")",
        Kind.PUBLICATION: "DROP PUBLICATION IF EXISTS " + quote(name),
        # Only this task's row: other tasks may keep their positions in the same schema.
        Kind.BOOKMARK: "DELETE FROM towpath.bookmark WHERE task = " + task,  # noqa: S608 - a quoted literal
        Kind.DATABASE: "DROP DATABASE " + quote(name),
        Kind.ROLE: "DROP ROLE " + quote(name),
    }
    if item.kind in simple:
        return simple[item.kind]
    if item.kind is Kind.TRUNCATE_TRIGGER:
        return drop_trigger_sql(item)
    if item.kind is Kind.TRUNCATE_LOG:
        return drop_log_sql(item)
    if item.kind is Kind.REPLICA_IDENTITY:
        return replica_identity_sql(item)
    if item.kind in (Kind.TRIGGER_STATE, Kind.IDENTITY_STATE):
        return restore_statement(item)
    plain = {
        Kind.TABLE: "DROP TABLE " + qualified(item.schema, name),
        Kind.SCHEMA: "DROP SCHEMA " + quote(name),
        Kind.EXTENSION: "DROP EXTENSION " + quote(name),
    }
    return str(item.detail.get("drop") or plain.get(item.kind, ""))


def replica_identity_sql(item: LedgerItem) -> str:
    """Return the statement that gives a table back the replica identity that it had."""
    was = identity_was(item) or "DEFAULT"
    return "ALTER TABLE ONLY " + qualified(item.schema, item.name) + " REPLICA IDENTITY " + was
