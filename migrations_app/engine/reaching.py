"""What libpq is told so that it reaches a server: the judged address, TLS, the accepted ways of signing in."""

from __future__ import annotations

from dataclasses import replace

import psycopg

from .diagnose import explain_connect_failure, failure_of, refuse_bad_address
from .dialling import HandshakeEnded, allowed_addresses
from .errors import ConnectFailed, PlanError
from .forwarder import Forwarder
from .handshake import accepted_methods
from .plan import Server, Side, TlsMode

# Nothing can be there. libpq warns of a password file that is something else than a file, and of none that is missing.
NO_FILE = "/dev/null/none"

VERIFIED = frozenset({TlsMode.VERIFY_CA, TlsMode.VERIFY_FULL})
"""Modes in which the server has proved who it is."""


def connect_arguments(server: Server, *, timeout_seconds: int) -> dict[str, str | int]:
    """Return libpq keywords for a server. Keywords only: a name is never read as a connection string."""
    arguments: dict[str, str | int] = {
        # One name per address: libpq tries them in turn, and checks the certificate against the name.
        "host": ",".join([server.host] * max(1, len(server.addresses))),
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
        "passfile": NO_FILE,
        "sslcertmode": "disable",  # never a certificate from the home folder
    }
    if server.addresses:
        arguments["hostaddr"] = ",".join(server.addresses)
    if server.password:
        arguments["password"] = server.password
    if server.tls in VERIFIED:
        arguments["sslrootcert"] = server.ca_file or "system"
        if not server.ca_file:  # libpq refuses the system's store with anything weaker, and rightly
            arguments["sslmode"] = TlsMode.VERIFY_FULL.value
    if server.cert_file and server.tls is not TlsMode.DISABLE:
        arguments |= {"sslcert": server.cert_file, "sslkey": server.key_file, "sslcertmode": "allow"}
        arguments["sslpassword"] = "-"  # opens nothing; without it OpenSSL would ask at the terminal
    if methods := accepted_methods(server):
        arguments["require_auth"] = methods
    return arguments


BASTION_SECONDS = 25
"""How much longer a connection may take when an SSH connection must be made first."""


def patience_seconds(server: Server, seconds: int) -> int:
    """Return how long libpq waits for a connection to this server."""
    return seconds + (BASTION_SECONDS if server.bastion else 0)


def reached(server: Server, side: Side, seconds: float) -> Server:
    """Return the server with its name resolved, once, and every address judged; those are dialled.

    Raises ConnectFailed ADDRESS-BAD, CONNECT-DNS or POLICY-DENIED. Dials nothing. Behind a bastion the name is not
    resolved here.
    """
    try:
        refuse_bad_address(server.host, server.port)
        if server.bastion:
            refuse_bad_address(server.bastion.host, server.bastion.port)
            return server
        found = allowed_addresses(server.host, server.port, server.policy, seconds)
    except PlanError as bad:
        raise ConnectFailed(bad.message, hint=bad.hint, code=bad.code) from None
    except HandshakeEnded as ended:
        raise failure_of(ended.answer, server, side, server.database) from None
    return replace(server, addresses=tuple(found))


def forwarded_failure(
    forwarder: Forwarder | None,
    server: Server,
    side: Side,
    database: str,
    error: psycopg.OperationalError,
    since: float,
    *,
    replication: bool,
) -> ConnectFailed:
    """Return why a connection failed: what the forwarder met after `since`, else what a repeated login shows."""
    answer = forwarder.failure(since) if forwarder else None
    if answer is not None:
        return failure_of(answer, server, side, database, error)
    through = None
    if forwarder:
        through = replace(forwarder.plain(server), database=database, require_auth=accepted_methods(server))
    return explain_connect_failure(server, side, database, error, replication=replication, through=through)
