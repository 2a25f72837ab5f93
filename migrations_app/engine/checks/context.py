"""What the items share during one check: sessions, remembered failures, and facts that several items need."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import psycopg

from ..catalog import Table, read_tables, selected_tables
from ..connect import Connection
from ..errors import EngineError
from ..names import APPLICATION_PREFIX
from ..plan import DatabasePlan, Plan, Server, Side
from ..ports import Control
from ..probe import cut, deadline, open_session, refuse_version
from ..sql import query

ITEM_SECONDS = 15
MANAGED_ROLES = ("rds_replication", "rds_superuser", "pg_tencentdb_superuser", "cloudsqlsuperuser", "azure_pg_admin")
MOST_SESSIONS = 10
_T = TypeVar("_T")


class Unavailable(Exception):
    """An item cannot look because a session cannot be had; carries the failure."""

    def __init__(self, failure: EngineError) -> None:
        super().__init__(failure.message)
        self.failure = failure


class Context:
    """Sessions and shared facts of one check. A context manager: leaving it closes the sessions.

    A connection that failed once is not tried again, so that an unreachable server costs its five seconds only once.
    """

    def __init__(self, plan: Plan, control: Control) -> None:
        self.plan = plan
        self.control = control
        self._lock = threading.Lock()
        self._sessions: dict[tuple[Side, str], Connection | EngineError] = {}
        self._facts: dict[object, Any] = {}
        control.on_stop(self.interrupt)

    def __enter__(self) -> Context:
        with ThreadPoolExecutor(max_workers=2) as pool:  # two dead servers cost one wait
            list(pool.map(self._open_quietly, Side))
        self.control.check()
        return self

    def __exit__(self, *exc: object) -> None:
        for connection in self._open():
            with contextlib.suppress(psycopg.Error, OSError):
                connection.close()

    def _open(self) -> list[Connection]:
        with self._lock:
            return [
                known for known in self._sessions.values() if not isinstance(known, EngineError) and not known.closed
            ]

    def interrupt(self) -> None:
        """Cancel whatever runs. Called from another thread when the check must stop."""
        for connection in self._open():
            with contextlib.suppress(psycopg.Error, OSError):
                connection.cancel_safe(timeout=2.0)

    @contextlib.contextmanager
    def patience(self) -> Iterator[None]:
        """Cut every session if the block takes far longer than the server-side limit allows."""
        with deadline(3 * ITEM_SECONDS, self._cut_all):
            yield

    def _cut_all(self) -> None:
        for connection in self._open():
            cut(connection)

    def _open_quietly(self, side: Side) -> None:
        with contextlib.suppress(Unavailable):
            self.session(side)

    def session(self, side: Side, database: str = "") -> Connection:
        """Return the session on a side's database ('' = the one of the login). Raises Unavailable."""
        server = self.plan.source if side is Side.SOURCE else self.plan.target
        key = (side, database or server.database)
        known = self._sessions.get(key)
        if isinstance(known, EngineError):
            raise Unavailable(known)
        if known is not None and not known.closed:
            return known
        self.control.check()
        try:
            connection = self._connect(server, side, key[1])
        except EngineError as failure:
            with self._lock:
                self._sessions[key] = failure
            raise Unavailable(failure) from failure
        with self._lock:
            self._close_oldest()
            self._sessions[key] = connection
        return connection

    def _connect(self, server: Server, side: Side, database: str) -> Connection:
        connection = open_session(
            server,
            side,
            database,
            seconds=self.plan.connect_timeout_seconds,
            name=f"{APPLICATION_PREFIX}:{self.plan.key}:check",
            statement_timeout=f"{ITEM_SECONDS}s",
            lock_timeout="5s",
        )
        try:
            refuse_version(connection.info.server_version, side, server)
        except EngineError:
            connection.close()
            raise
        return connection

    def _close_oldest(self) -> None:
        """Keep a task of many databases from taking many connections; a session in use is never among the oldest."""
        databases = [
            (key, known)
            for key, known in self._sessions.items()
            if isinstance(known, psycopg.Connection)
            and key[1] not in (self.plan.source.database, self.plan.target.database)
        ]
        for key, known in databases[:-MOST_SESSIONS]:
            known.close()
            del self._sessions[key]

    def failure(self, side: Side) -> EngineError | None:
        """Return why a side's login failed, or None when it works."""
        try:
            self.session(side)
        except Unavailable as unavailable:
            return unavailable.failure
        return None

    def source(self, database: str = "") -> Connection:
        """Return the session on the source."""
        return self.session(Side.SOURCE, database)

    def target(self, database: str = "") -> Connection:
        """Return the session on the target."""
        return self.session(Side.TARGET, database)

    def remember(self, key: object, read: Callable[[], _T]) -> _T:
        """Return a fact, reading it on first use only."""
        if key not in self._facts:
            self._facts[key] = read()
        value: _T = self._facts[key]
        return value

    def one(self, side: Side, text: str, database: str = "", parameters: tuple[object, ...] = ()) -> Any:
        """Return the first column of the first row, or None."""
        row = self.session(side, database).execute(text, parameters or None).fetchone()
        return row[0] if row else None

    def setting(self, side: Side, name: str) -> str:
        """Return a server setting as pg_settings holds it (in its base unit), or '' when this version has none."""
        settings = self.remember(("settings", side), lambda: self._settings(side))
        return settings.get(name, "")

    def _settings(self, side: Side) -> dict[str, str]:
        rows = self.session(side).execute("SELECT name, setting FROM pg_catalog.pg_settings").fetchall()
        return {str(name): str(value) for name, value in rows}

    def version(self, side: Side) -> int:
        """Return the server's version number, such as 160014."""
        return self.session(side).info.server_version

    def is_superuser(self, side: Side) -> bool:
        """Say whether the account is a superuser."""
        return bool(self.one(side, "SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user"))

    def may_configure(self) -> bool:
        """Say whether our account may write the source's settings; on managed servers nobody may."""
        return self.is_superuser(Side.SOURCE)

    def is_managed(self, side: Side) -> bool:
        """Say whether the account stands in a role that a vendor gives the rights of a superuser piece by piece."""
        return bool(
            self.one(
                side,
                "SELECT count(*) FROM pg_catalog.pg_roles"
                " WHERE rolname = ANY (%s) AND pg_catalog.pg_has_role(oid, 'MEMBER')",
                parameters=(list(MANAGED_ROLES),),
            )
        )

    def databases(self, side: Side) -> dict[str, dict[str, Any]]:
        """Return the databases of a server by name, with encoding and locale."""

        def read() -> dict[str, dict[str, Any]]:
            rows = self.session(side).execute(query("check_databases")).fetchall()
            names = ("encoding", "collate", "ctype", "provider", "locale", "may_create", "may_connect")
            return {str(row[0]): dict(zip(names, row[1:], strict=True)) for row in rows}

        return self.remember(("databases", side), read)

    def source_database(self, database: str) -> dict[str, Any]:
        """Return encoding, locale and rights of a source database. Raises Unavailable when it cannot be entered."""
        self.source(database)
        return self.databases(Side.SOURCE)[database]

    def all_tables(self, database: str) -> list[Table]:
        """Return every user table of a source database."""
        return self.remember(("tables", database), lambda: read_tables(self.source(database)))

    def tables(self, database: str) -> list[Table]:
        """Return the selected tables of a source database, roots of selected partitions included."""
        return self.remember(
            ("selected", database), lambda: selected_tables(self.all_tables(database), self.plan.selection, database)
        )

    def target_exists(self, database: DatabasePlan) -> bool:
        """Say whether the target database is there already."""
        return database.target_name in self.databases(Side.TARGET)

    def whole_database(self, database: str) -> bool:
        """Say whether everything in a database is selected."""
        return self.plan.selection.state(database) == "all"
