"""What the items share during one check: sessions, remembered failures, and facts that several items need."""

from __future__ import annotations

import contextlib
import math
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, TypeVar, cast

import psycopg

from ..catalog import Table, moving_tables, read_tables, selected_tables
from ..connect import Connection
from ..errors import EngineError
from ..names import APPLICATION_PREFIX
from ..plan import DatabasePlan, Plan, Side
from ..ports import Control
from ..probe import bounded, open_session, refuse_version, settle
from ..sql import query
from ..versions import knows_alter_system
from ..wording import say
from .pool import CANCELLED, MOST_SESSIONS, OF_THE_WHOLE_SIDE, Loan, Pool, Unavailable, stop, stopped_answering

__all__ = ["FACT_SECONDS", "ITEM_SECONDS", "Context", "Unavailable"]

ITEM_SECONDS = 15
"""How long one item may look, not counting facts that it shares with others."""
MANAGED_ROLES = ("rds_replication", "rds_superuser", "pg_tencentdb_superuser", "cloudsqlsuperuser", "azure_pg_admin")
FACT_SECONDS = 45
"""How long one shared fact, such as the list of tables, may take."""
Pins = Mapping[str, str | None]
_T = TypeVar("_T")


class Context:
    """Sessions and shared facts of one check. A context manager: leaving it closes the sessions.

    Thread-safe: each thread gets sessions of its own, and a fact is read once while the others wait for it. A
    connection that failed once is not tried again, so that an unreachable server costs its five seconds only once.
    Nothing is dialled before an item asks for it: a server that hangs holds up only what needs it.
    """

    def __init__(self, plan: Plan, control: Control) -> None:
        self.plan, self.control = plan, control
        self.unread: EngineError | None = None  # why the source's databases are not known
        self._pool = Pool(control, self._connect)
        self._here, self._lock = threading.local(), threading.Lock()
        self._loans: set[Loan] = set()
        self._facts: dict[object, tuple[Any, Exception | None]] = {}
        self._fact_locks: dict[object, threading.RLock] = {}
        self._again, self._asked_again, self._meeting = ({side: threading.Lock() for side in Side} for _ in range(3))
        self._answered: dict[Side, float] = {}
        self._met: set[Side] = set()
        self._accepting: dict[Side, set[str]] = {side: set() for side in Side}
        self._settled: dict[Side, dict[str, Any]] = {}  # what the first session found that the server knows
        self.waited: dict[Side, float] = {}  # seconds that the first login took that failed
        control.on_stop(self.interrupt)

    def __enter__(self) -> Context:
        self.control.check()
        return self

    def __exit__(self, *exc: object) -> None:
        self._pool.close()

    def complete(self, plan: Plan, unread: EngineError | None, seconds: float) -> None:
        """Take over a plan that names the databases. `unread`: why they could not be read, after how many seconds.

        A source that did not answer then is not dialled again.
        """
        self.plan, self.unread = plan, unread
        if self._many:
            for side in Side:
                self._pool.spare(side)
        if unread is not None and unread.code in OF_THE_WHOLE_SIDE:
            self.waited.setdefault(Side.SOURCE, seconds)
            self._pool.fail(Side.SOURCE, unread)

    def _meet(self, side: Side) -> None:
        """Log in, once for each side, before anybody else opens a session there; an unknown side is waited for."""
        if side in self._met:
            return
        with self._meeting[side]:
            if side not in self._met:
                try:
                    self._be_modest(side)
                finally:
                    self._met.add(side)

    def _be_modest(self, side: Side) -> None:
        """Share sessions where the server or the account has little room: a hint, so that no error counts."""
        loan = Loan()
        try:
            with contextlib.suppress(Unavailable, psycopg.Error):
                connection = self._pool.take((side, self.plan.server(side).database), loan)
                with bounded(connection, self.plan.connect_timeout_seconds):
                    row = connection.execute(query("check_room")).fetchone()
                    self._settled[side] = settle(connection)
                if self._many or (row and int(str(row[0])) < 2 * MOST_SESSIONS):
                    self._pool.spare(side)
        finally:
            self._pool.give_back(loan)

    @property
    def _many(self) -> bool:
        """Whether each database has to do with one session: what is opened in haste ends at leisure."""
        return len(self.plan.databases) > MOST_SESSIONS // 2

    @contextlib.contextmanager
    def looking(self, *, again: bool = False, sides: Collection[Side] = tuple(Side)) -> Iterator[Loan]:
        """Bound the block to ITEM_SECONDS, as `watch` sees to; after it, what it borrowed is there for others.

        `again`: others disturbed it before, so it shares its sessions with nobody; of those that ask one of the same
        `sides`, one such block runs at a time.
        """
        with contextlib.ExitStack() as turn:
            for side in Side if again else ():  # in one order
                if side in sides:
                    turn.enter_context(self._again[side])
            loan = Loan(due=time.monotonic() + ITEM_SECONDS, alone=again)
            self._here.loan = loan
            with self._lock:
                self._loans.add(loan)
            try:
                yield loan
            finally:
                del self._here.loan
                with self._lock:
                    self._loans.discard(loan)
                self._pool.give_back(loan)

    def _loan(self) -> Loan:
        """Return what this thread holds; outside `looking` it holds it until the end of the check."""
        if not hasattr(self._here, "loan"):
            self._here.loan = Loan()
        return cast(Loan, self._here.loan)

    def watch(self) -> None:
        """End the sessions of every block that is overdue: its statement then fails, and with it the item.

        A shared one is ended once: a second cancellation would meet one who waited, and take him for the slow one.
        """
        now = time.monotonic()
        with self._lock:
            late = [loan for loan in self._loans if loan.due < now]
            for loan in late:
                loan.overdue, loan.due = True, now + ITEM_SECONDS
        ended = self._pool.retire(session for loan in late for session in loan.sessions())
        if ended:
            threading.Thread(target=stop, args=(ended,), daemon=True).start()

    def lateness(self, error: psycopg.Error) -> EngineError | None:
        """Return the failure of this thread's block when it, or its statement, was ended for being slow, else None.

        A server that does not answer a new session either is not asked again by any item.
        """
        loan = self._loan()
        if not loan.overdue and error.sqlstate != CANCELLED:
            return None
        for side in loan.sides:
            self._ask_again(side)
        return EngineError(
            say("It took longer than {seconds} s.", seconds=ITEM_SECONDS),
            hint=say(
                "Run the item again. If it stays, the server is overloaded, or something holds locks on its catalogs."
            ),
            code="CHECK-SLOW",
        )

    def _ask_again(self, side: Side) -> None:
        with self._asked_again[side]:
            if time.monotonic() - self._answered.get(side, -math.inf) < ITEM_SECONDS:
                return
            server, seconds = self.plan.server(side), self.plan.connect_timeout_seconds
            try:
                connection = self._connect(side, server.database)
                with connection, bounded(connection, seconds):
                    connection.execute("SELECT 1")
                self._answered[side] = time.monotonic()
            except (EngineError, psycopg.Error) as failure:
                if isinstance(failure, EngineError) and failure.code == "CONNECT-FULL":  # that is an answer
                    self._answered[side] = time.monotonic()
                else:
                    self._pool.fail(side, stopped_answering(side, server))

    def interrupt(self) -> None:
        """End whatever runs, within about two seconds. Called from another thread when the check must stop."""
        with self._lock:
            fresh = [connection for loan in self._loans for connection in loan.fresh]
        stop([*self._pool.busy(), *fresh])

    def session(self, side: Side, database: str = "") -> Connection:
        """Return this thread's session on a side's database ('' = the one of the login). Raises Unavailable."""
        self._meet(side)
        return self._pool.take((side, database or self.plan.server(side).database), self._loan())

    @contextlib.contextmanager
    def fresh(
        self, side: Side, database: str = "", *, replication: bool = False, settings: Pins | None = None
    ) -> Iterator[Connection]:
        """Open a session that nobody shares, with these settings, and close it.

        Raises ConnectFailed, or Unavailable when the server has not answered before.
        """
        self._pool.refuse(side)
        server = self.plan.server(side)
        connection = open_session(
            server,
            side,
            database,
            seconds=self.plan.connect_timeout_seconds,
            replication=replication,
            name=self._name,
            accepting=self._accepting[side],
            **(settings or {}),
        )
        loan = self._loan()
        loan.fresh.append(connection)
        try:
            with connection, bounded(connection, ITEM_SECONDS):
                self.control.check()  # an interruption that came while it was opened did not see it
                yield connection
        finally:
            loan.fresh.remove(connection)

    @property
    def _name(self) -> str:
        return f"{APPLICATION_PREFIX}:{self.plan.key}:check"

    def _connect(self, side: Side, database: str) -> Connection:
        began = time.monotonic()
        try:
            return self._dial(side, database)
        except EngineError:
            self.waited.setdefault(side, time.monotonic() - began)
            raise

    def _dial(self, side: Side, database: str) -> Connection:
        server = self.plan.server(side)
        connection = open_session(
            server,
            side,
            database,
            seconds=self.plan.connect_timeout_seconds,
            name=self._name,
            accepting=self._accepting[side],
            statement_timeout=f"{ITEM_SECONDS}s",
            lock_timeout="5s",
            **self._settled.get(side, {}),
        )
        try:
            refuse_version(connection.info.server_version, side, server)
        except EngineError:
            connection.close()
            raise
        return connection

    def failure(self, side: Side) -> EngineError | None:
        """Return why a side's login failed, or None when it works."""
        try:
            self.session(side)
            return None
        except Unavailable as unavailable:
            return unavailable.failure

    def source(self, database: str = "") -> Connection:
        """Return the session on the source."""
        return self.session(Side.SOURCE, database)

    def target(self, database: str = "") -> Connection:
        """Return the session on the target."""
        return self.session(Side.TARGET, database)

    def remember(self, key: object, read: Callable[[], _T]) -> _T:
        """Return a fact, reading it on first use only. A failure to read it is remembered as well.

        The time for it is not the item's own: it may take FACT_SECONDS, and waiting for another item's reading is free.
        """
        if key not in self._facts:
            self._read(key, read)
        value, failure = self._facts[key]
        if failure is None:
            return cast(_T, value)
        raise failure

    def _read(self, key: object, read: Callable[[], Any]) -> None:
        with self._lock:
            lock = self._fact_locks.setdefault(key, threading.RLock())
        loan = self._loan()
        began = time.monotonic()
        left, loan.due = loan.due - began, math.inf
        try:
            with lock:
                loan.waited += time.monotonic() - began
                if key in self._facts:
                    return
                loan.due = time.monotonic() + FACT_SECONDS
                try:
                    self._facts[key] = (read(), None)
                except psycopg.Error as error:
                    self.control.check()
                    late = self.lateness(error)
                    if loan.was_disturbed(error):
                        raise  # whoever needs it next may read it
                    self._facts[key] = (None, Unavailable(late) if late else error)
        finally:
            loan.due = time.monotonic() + left

    def one(self, side: Side, text: str, database: str = "", parameters: tuple[object, ...] = ()) -> Any:
        """Return the first column of the first row, or None."""
        row = self.session(side, database).execute(text, parameters or None).fetchone()
        return row[0] if row else None

    def rows(self, side: Side, name: str, database: str = "") -> list[tuple[object, ...]]:
        """Run one of the named queries, in the form for this server's version, and return its rows."""
        connection = self.session(side, database)
        return connection.execute(query(name, connection.info.server_version)).fetchall()

    def setting(self, side: Side, name: str) -> str:
        """Return a server setting as pg_settings holds it (in its base unit), or '' when this version has none."""

        def read() -> dict[str, str]:
            rows = self.session(side).execute("SELECT name, setting FROM pg_catalog.pg_settings").fetchall()
            return {str(name): str(value) for name, value in rows}

        return self.remember(("settings", side), read).get(name, "")

    def version(self, side: Side) -> int:
        """Return the server's version number, such as 160014."""
        return self.session(side).info.server_version

    def is_superuser(self, side: Side) -> bool:
        """Say whether the account is a superuser."""
        return bool(self.one(side, "SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user"))

    def may_configure(self) -> bool:
        """Say whether our account may write the source's settings; on managed servers and before 9.4 nobody may."""
        return knows_alter_system(self.version(Side.SOURCE)) and self.is_superuser(Side.SOURCE)

    def is_managed(self, side: Side) -> bool:
        """Say whether the account stands in a role that a vendor gives the rights of a superuser piece by piece."""
        text = "SELECT bool_or(pg_catalog.pg_has_role(oid, 'MEMBER')) FROM pg_catalog.pg_roles WHERE rolname = ANY (%s)"
        return bool(self.one(side, text, parameters=(list(MANAGED_ROLES),)))

    def databases(self, side: Side) -> dict[str, dict[str, Any]]:
        """Return the databases of a server by name, with encoding and locale."""

        def read() -> dict[str, dict[str, Any]]:
            rows = self.session(side).execute(query("check_databases")).fetchall()
            names = ("encoding", "collate", "ctype", "provider", "locale", "rules", "may_create", "may_connect", "open")
            return {str(row[0]): dict(zip(names, row[1:], strict=True)) for row in rows}

        return self.remember(("databases", side), read)

    def source_database(self, database: str) -> dict[str, Any]:
        """Return encoding, locale and rights of a source database. Raises Unavailable when it cannot be entered."""
        self.source(database)
        return self.databases(Side.SOURCE)[database]

    def all_tables(self, database: str) -> list[Table]:
        """Return every user table of a source database."""
        return self.remember(("tables", database), lambda: self._read_tables(database))

    def _read_tables(self, database: str) -> list[Table]:
        connection = self.source(database)
        with self.unhurried(connection):
            return read_tables(connection)

    @contextlib.contextmanager
    def unhurried(self, connection: Connection) -> Iterator[None]:
        """Give the statements of a shared fact the time that a fact may take."""
        connection.execute(f"SET statement_timeout = '{FACT_SECONDS}s'")
        yield
        connection.execute(f"SET statement_timeout = '{ITEM_SECONDS}s'")

    def tables(self, database: str) -> list[Table]:
        """Return the selected tables of a source database, roots of selected partitions included."""
        chosen = self.plan.selection
        return self.remember(
            ("selected", database), lambda: selected_tables(self.all_tables(database), chosen, database)
        )

    def moving(self, database: str) -> list[Table]:
        """Return the tables of a source database whose rows move."""
        return self.remember(
            ("moving", database), lambda: moving_tables(self.all_tables(database), self.plan.selection, database)
        )

    def target_exists(self, database: DatabasePlan) -> bool:
        """Say whether the target database is there already."""
        return database.target_name in self.databases(Side.TARGET)

    def whole_database(self, database: str) -> bool:
        """Say whether everything in a database is selected."""
        return self.plan.selection.state(database) == "all"
