"""Test connection: opens one session, looks at what answers, closes it. Makes nothing on the server."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from dataclasses import replace

import psycopg

from .bastions import shared_forwarder
from .connect import Connection, set_all
from .diagnose import CONNECT_SECONDS, failure_of
from .dialling import HandshakeEnded, dial
from .errors import ConnectFailed, EngineError
from .forwarder import Forwarder
from .handshake import accepted_methods
from .pins import COMPILES_SINCE, pinned_options
from .plan import Server, Side, TlsMode
from .reaching import connect_arguments, forwarded_failure, patience_seconds, reached
from .sql import query
from .values import frozen
from .versions import NEWEST_MAJOR, OLDEST_SOURCE, OLDEST_TARGET, major_words, shows_tls, supported, version_words
from .wording import noun, printable, say


@frozen
class ProbeResult:
    """What one look at a server found."""

    version_text: str  # "16.14"
    version: int  # 160014
    latency_ms: float  # of one round trip with a trivial query
    tls: str  # "none", or the protocol such as "TLSv1.3"
    database: str
    user: str
    system_id: str | None  # None when the account may not read it
    started_at: str  # postmaster start, to the microsecond: with the system id it names one running server
    is_standby: bool
    is_superuser: bool
    server_encoding: str
    locale: str
    address: str  # the numeric address that answered


def cut(connection: Connection) -> None:
    """Shut the connection's socket from another thread: whatever waits on it fails at once. Never raises."""
    with contextlib.suppress(OSError, psycopg.Error), socket.socket(fileno=os.dup(connection.fileno())) as twin:
        twin.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def deadline(seconds: float, over: Callable[[], None]) -> Iterator[None]:
    """Call `over` from another thread when the block takes longer than `seconds`.

    A server-side timeout needs a server that keeps its word; a stopped or hostile one does not, and libpq waits for
    ever.
    """
    timer = threading.Timer(seconds, over)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def bounded(connection: Connection, seconds: float) -> contextlib.AbstractContextManager[None]:
    """Cut the connection when the block takes longer than `seconds`."""
    return deadline(seconds, lambda: cut(connection))


def open_session(
    server: Server,
    side: Side,
    database: str = "",
    *,
    seconds: float = CONNECT_SECONDS,
    replication: bool = False,
    name: str = "towpath:probe",
    accepting: set[str] | None = None,
    **settings: str | None,
) -> Connection:
    """Open a short-lived autocommit session: straight to the server, or through a shared SSH connection to its bastion.

    Raises ConnectFailed with the reason in words. The address is judged and resolved first, so that a slow name server
    or a second dead address cannot stretch the wait beyond about twice `seconds`. `accepting`: addresses of this server
    that have accepted the caller's last sessions, which are not tried first; what is found out is noted there.
    """
    if database:
        server = replace(server, database=database)
    started = time.monotonic()
    forwarder = None
    if server.bastion:
        reached(server, side, seconds)
        forwarder = shared_forwarder(server, max(2, int(seconds)))
    accepting = set() if accepting is None else accepting
    near = _near(server, side, forwarder, seconds, accepting)
    arguments = connect_arguments(near, timeout_seconds=patience_seconds(server, max(2, int(seconds))))
    if replication:
        arguments["replication"] = "database"
    try:
        connection = psycopg.connect(
            autocommit=True,
            prepare_threshold=None,
            application_name=name,
            client_encoding="UTF8",
            options=pinned_options(0, **settings),
            **arguments,  # type: ignore[arg-type]
        )
    except psycopg.OperationalError as error:
        accepting.difference_update(near.addresses)
        raise forwarded_failure(
            forwarder, server, side, server.database, error, started, replication=replication
        ) from error
    if forwarder and server.tls is not TlsMode.DISABLE:
        _protected.add(connection)
    return connection


_SETTLED = {
    # While one item of a check looks, the sessions of others have nothing to do.
    90600: {"idle_in_transaction_session_timeout": "0"},
    # Queries of the catalog look costly to a server with LLVM, and are not.
    COMPILES_SINCE: {"jit": "off"},
    140000: {"idle_session_timeout": "0"},
    170000: {"transaction_timeout": "0"},
}


def settle(connection: Connection) -> dict[str, str]:
    """Have no query of the session compiled, and let no setting of the server end it while it waits.

    Sessions of a run log in with that; one of `open_session` does not know at its login what the server knows. Returns
    the settings that it knows, for the next ones to log in with. Raises psycopg's errors.
    """
    version = connection.info.server_version
    settings = {name: value for since, some in _SETTLED.items() if version >= since for name, value in some.items()}
    set_all(connection, settings)
    return settings


_protected: weakref.WeakSet[Connection] = weakref.WeakSet()
"""Sessions whose TLS is the forwarder's: libpq itself sees a plain socket."""


def _near(server: Server, side: Side, forwarder: Forwarder | None, seconds: float, accepting: set[str]) -> Server:
    """Return what libpq is to dial: the forwarder's socket, or the first address of the server that accepts."""
    if forwarder:
        return replace(forwarder.plain(server), require_auth=accepted_methods(server))
    server = reached(server, side, seconds)
    for address in server.addresses:
        if address in accepting:
            return replace(server, addresses=(address,))
    ended: HandshakeEnded | None = None
    deadline = time.monotonic() + seconds
    for address in server.addresses:
        try:
            found, _same = dial(address, server.port, max(deadline - time.monotonic(), 0.05))
        except HandshakeEnded as failure:
            ended = failure
            continue
        found.close()
        accepting.add(address)
        return replace(server, addresses=(address,))
    raise failure_of(ended.answer, server, side, server.database) if ended else AssertionError


def probe(server: Server, side: Side, *, seconds: float = CONNECT_SECONDS) -> ProbeResult:
    """Open a session and describe the server.

    Raises ConnectFailed (see `diagnose`) or EngineError VERSION-OUT-OF-RANGE / LOOK-ALIKE. Takes about `seconds` at
    most for the connection and again for the questions.
    """
    connection = open_session(server, side, seconds=seconds, statement_timeout=f"{int(seconds * 1000)}")
    try:
        with connection, bounded(connection, seconds):
            refuse_version(connection.info.server_version, side, server)
            return _describe(connection, server, side)
    except psycopg.Error as error:
        raise ConnectFailed(
            say(
                "The {side} {host}:{port} accepted the login but did not answer the first questions.",
                side=noun(side),
                host=server.host,
                port=server.port,
            ),
            hint=say("Try again; if it stays, look into the server's log."),
            code="CONNECT-TIMEOUT",
            retryable=True,
        ) from error


def refuse_version(version: int, side: Side, server: Server) -> None:
    """Raise EngineError VERSION-OUT-OF-RANGE for a server that is too old or too new."""
    as_source = side is Side.SOURCE
    if supported(version, as_source=as_source):
        return
    oldest = major_words(OLDEST_SOURCE if as_source else OLDEST_TARGET)
    raise EngineError(
        say(
            "The {side} {host}:{port} is PostgreSQL {version}; versions {oldest} to {newest} are supported.",
            side=noun(side),
            host=server.host,
            port=server.port,
            version=version_words(version),
            oldest=oldest,
            newest=NEWEST_MAJOR,
        ),
        hint=say("Use a {side} of version {oldest} to {newest}.", side=noun(side), oldest=oldest, newest=NEWEST_MAJOR),
        code="VERSION-OUT-OF-RANGE",
    )


def _describe(connection: Connection, server: Server, side: Side) -> ProbeResult:
    started = time.monotonic()
    row = connection.execute("SELECT pg_catalog.version()").fetchone()
    latency = (time.monotonic() - started) * 1000
    banner = str(row[0]) if row else ""
    if not banner.startswith(("PostgreSQL ", "EnterpriseDB ")):
        raise EngineError(
            say(
                "The {side} {host}:{port} speaks PostgreSQL's protocol but is {printable}.",
                side=noun(side),
                host=server.host,
                port=server.port,
                printable=f"{printable(banner, 60)!r}",
            ),
            hint=say("Only PostgreSQL itself is supported."),
            code="LOOK-ALIKE",
        )
    facts = connection.execute(query("server")).fetchone()
    if facts is None:
        raise psycopg.DataError(say("no answer"))
    database, user, started_at, standby, superuser, encoding, locale = facts
    return ProbeResult(
        version_text=version_words(connection.info.server_version),
        version=connection.info.server_version,
        latency_ms=round(latency, 1),
        tls=tls_words(connection),
        database=str(database),
        user=str(user),
        system_id=read_system_id(connection),
        started_at=str(started_at),
        is_standby=bool(standby),
        is_superuser=bool(superuser),
        server_encoding=str(encoding),
        locale=str(locale),
        address=connection.info.hostaddr or server.host,
    )


def tls_words(connection: Connection) -> str:
    """Return the TLS protocol of a session, or `none`."""
    if not connection.pgconn.ssl_in_use and connection not in _protected:
        return "none"
    if not shows_tls(connection.info.server_version):
        return "TLS"
    row = connection.execute(
        "SELECT version FROM pg_catalog.pg_stat_ssl WHERE pid = pg_catalog.pg_backend_pid()"
    ).fetchone()
    return str(row[0]) if row and row[0] else "TLS"  # a proxy in between ends TLS before the server sees it


def read_system_id(connection: Connection) -> str | None:
    """Return the server's system identifier, or None when the account may not read it. Breaks no transaction."""
    try:
        with connection.transaction():
            row = connection.execute("SELECT system_identifier FROM pg_catalog.pg_control_system()").fetchone()
    except (psycopg.errors.InsufficientPrivilege, psycopg.errors.UndefinedFunction):
        return None
    return str(row[0]) if row else None
