"""The one place that opens PostgreSQL sessions: pinned settings, deadlines, names, translation of errors.

Every session of a run is known to its `Sessions`, so that Cancel can cut all of them within a second, and carries an
`application_name` with the run's epoch, so that a later run can end what a killed worker left behind.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import replace

import psycopg
from psycopg import pq

from .errors import ConnectionLost, EngineError
from .diagnose import explain_connect_failure
from .forwarder import Forwarder
from .names import application_name
from .plan import Plan, Server, Side, TlsMode
from .ports import Control

Connection = psycopg.Connection[tuple[object, ...]]

_PINS = {
    # Text forms must be the same on both servers, or values change silently on the way (dates above all).
    "datestyle": "ISO",
    "intervalstyle": "postgres",
    "extra_float_digits": "3",
    "timezone": "UTC",
    "bytea_output": "hex",
    "lc_monetary": "C",
    "xmloption": "content",
    "search_path": "",
    # A role or database may carry timeouts that would kill a long copy or a snapshot holder.
    "statement_timeout": "0",
    "lock_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
    # Every row is meant: row security must raise instead of hiding, and scans must start at the beginning.
    "row_security": "off",
    "synchronize_seqscans": "off",
    # A NOTICE inside a raw copy stream would reach the other server as an unknown message.
    "client_min_messages": "error",
    "default_transaction_read_only": "off",
    "default_transaction_isolation": "read committed",
    "check_function_bodies": "off",
}
_PINS_BY_VERSION = {
    120000: {"default_table_access_method": "heap"},
    140000: {"idle_session_timeout": "0", "client_connection_check_interval": "1s"},
    170000: {"transaction_timeout": "0"},
}


def pinned_options(version: int, **extra: str) -> str:
    """Return the `options` value with every pin that a server of this version knows (engine: settings beat roles)."""
    pins = dict(_PINS)
    for since, more in _PINS_BY_VERSION.items():
        if version >= since:
            pins.update(more)
    pins.update(extra)
    return " ".join(f"-c {name}={value.replace(chr(92), chr(92) * 2).replace(' ', chr(92) + ' ')}" for name, value in pins.items())


def connect_arguments(server: Server, *, timeout_seconds: int) -> dict[str, str | int]:
    """Return libpq keywords for a server. Keywords only: a name is never read as a connection string."""
    arguments: dict[str, str | int] = {
        "host": server.host,
        "port": server.port,
        "user": server.user,
        # An empty dbname would mean the user's name; a quoted conninfo is built by psycopg, so no injection.
        "dbname": server.database,
        "connect_timeout": timeout_seconds,
        "sslmode": server.tls.value,
        "gssencmode": "disable",
        "keepalives_idle": 30,
        "keepalives_interval": 10,
        "keepalives_count": 6,
        "tcp_user_timeout": 120_000,
        "passfile": "/dev/null",
    }
    if server.password:
        arguments["password"] = server.password
    if server.tls in (TlsMode.VERIFY_CA, TlsMode.VERIFY_FULL):
        arguments["sslrootcert"] = server.ca_file or "system"
    # A rogue server that asks for a clear-text password gets nothing.
    arguments["require_auth"] = "scram-sha-256,md5,none"
    return arguments


class Sessions:
    """All sessions of one run. Thread-safe. Use as a context manager: leaving it closes everything.

    `open` raises ConnectFailed with the reason in words; a session that dies later raises psycopg's errors, which
    `translate` turns into EngineError.
    """

    def __init__(self, plan: Plan, control: Control) -> None:
        self.plan = plan
        self.control = control
        self._lock = threading.Lock()
        self._open: set[Connection] = set()
        self._versions: dict[Side, int] = {}
        self._forwarders: dict[Side, Forwarder] = {}
        self._stopped = False
        control.on_stop(self.interrupt)

    def __enter__(self) -> Sessions:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def server(self, side: Side, database: str = "") -> Server:
        """Return the address to dial for `side`: the server itself, or our TLS forwarder's private socket.

        pg_dump and the raw relay need a plain socket, so with TLS everything goes through the forwarder process.
        """
        server = self.plan.source if side is Side.SOURCE else self.plan.target
        if database:
            server = replace(server, database=database)
        if server.tls is TlsMode.DISABLE:
            return server
        with self._lock:
            forwarder = self._forwarders.get(side)
            if forwarder is None:
                forwarder = self._forwarders[side] = Forwarder.start(server, self.plan.connect_timeout_seconds)
        return forwarder.plain(server)

    def version(self, side: Side) -> int:
        """Return the server's version number, such as 160014."""
        if side not in self._versions:
            self.open(side).close()
        return self._versions[side]

    def open(
        self,
        side: Side,
        database: str = "",
        *,
        autocommit: bool = True,
        replication: bool = False,
        encoding: str = "UTF8",
        **settings: str,
    ) -> Connection:
        """Open a tracked session with all pins; `settings` are further GUCs sent in `options`.

        `encoding` is the client encoding; copy and replication sessions pass the source's server encoding so that
        bytes travel untouched. Raises ConnectFailed, or what `Control.check` raises when the run must stop.
        """
        self.control.check()
        server = self.server(side, database)
        known = self._versions.get(side)
        arguments = connect_arguments(server, timeout_seconds=self.plan.connect_timeout_seconds)
        if replication:
            arguments["replication"] = "database"
        extra = dict(settings)
        if known is not None and known < 140000:
            extra.pop("client_connection_check_interval", None)
        try:
            connection = psycopg.connect(
                autocommit=autocommit,
                prepare_threshold=None,
                application_name=application_name(self.plan.key, self.plan.epoch),
                client_encoding=encoding,
                options=pinned_options(known or 0, **extra),
                **arguments,  # type: ignore[arg-type]
            )
        except psycopg.OperationalError as error:
            self.control.check()
            raise explain_connect_failure(self.plan.source if side is Side.SOURCE else self.plan.target, side, server.database, error) from error
        if known is None:
            self._versions[side] = connection.info.server_version
            if not replication:
                self._pin_late(connection)
            else:
                connection.close()
                return self.open(side, database, autocommit=autocommit, replication=True, encoding=encoding, **settings)
        self._track(connection)
        return connection

    def _pin_late(self, connection: Connection) -> None:
        """Apply the pins that only some versions know, on the very first session, whose version was unknown."""
        with connection.transaction():
            for since, more in _PINS_BY_VERSION.items():
                if connection.info.server_version >= since:
                    for name, value in more.items():
                        connection.execute("SELECT set_config(%s, %s, false)", (name, value))

    def _track(self, connection: Connection) -> None:
        with self._lock:
            self._open = {known for known in self._open if not known.closed}
            self._open.add(connection)
            stopped = self._stopped
        if stopped:
            connection.close()
            self.control.check()

    @contextlib.contextmanager
    def session(self, side: Side, database: str = "", **arguments: object) -> Iterator[Connection]:
        """Open a session for a `with` block and close it afterwards."""
        connection = self.open(side, database, **arguments)  # type: ignore[arg-type]
        try:
            yield connection
        finally:
            connection.close()

    def interrupt(self) -> None:
        """Cancel whatever runs on every session. Called from another thread when the run must stop."""
        with self._lock:
            self._stopped = True
            connections = [connection for connection in self._open if not connection.closed]
        for connection in connections:
            with contextlib.suppress(psycopg.Error, OSError):
                if connection.pgconn.transaction_status == pq.TransactionStatus.ACTIVE:
                    connection.cancel_safe(timeout=2.0)

    def close(self) -> None:
        """Close every session and forwarder. Idempotent."""
        with self._lock:
            connections, self._open = self._open, set()
            forwarders, self._forwarders = self._forwarders, {}
        for connection in connections:
            with contextlib.suppress(psycopg.Error, OSError):
                connection.close()
        for forwarder in forwarders.values():
            forwarder.stop()


def end_older_sessions(connection: Connection, key: str, epoch: int) -> int:
    """Terminate sessions of this task that belong to other epochs. Returns how many were told to end.

    A killed worker's CREATE INDEX or COPY may still run on the server; it must be gone before we look at what exists.
    """
    row = connection.execute(
        "SELECT count(pg_catalog.pg_terminate_backend(pid)) FROM pg_catalog.pg_stat_activity"
        " WHERE application_name LIKE %s AND application_name <> %s AND pid <> pg_catalog.pg_backend_pid()",
        (application_name(key, 0)[:-1] + "%", application_name(key, epoch)),
    ).fetchone()
    return int(str(row[0])) if row else 0


def translate(error: psycopg.Error, side: Side, doing: str) -> EngineError:
    """Turn a driver error into ours: a lost session is retryable, anything else says what was being done.

    Classified by SQLSTATE, never by words: servers speak many languages.
    """
    state = error.sqlstate or ""
    lost = state.startswith(("08", "57P")) or (not state and isinstance(error, psycopg.OperationalError))
    words = first_line(error)
    if lost:
        return ConnectionLost(f"Lost the connection to the {side} while {doing}: {words}")
    if state in ("40001", "40P01", "55P03", "53300", "53400"):
        return ConnectionLost(f"The {side} could not go on while {doing}: {words}")
    kind = "SRC-ERROR" if side is Side.SOURCE else "DST-ERROR"
    if state == "53100":
        kind = "SRC-FULL" if side is Side.SOURCE else "DST-FULL"
    if state == "25006":
        kind = "DST-READONLY"
    return EngineError(f"The {side} reported an error while {doing}: {words} ({state})", code=kind)


def first_line(error: psycopg.Error) -> str:
    """Return the primary message of a server error, without row contents, shortened to 500 characters."""
    message = error.diag.message_primary or str(error)
    return "".join(ch if ch.isprintable() else " " for ch in message.strip().splitlines()[0])[:500] if message else type(error).__name__
