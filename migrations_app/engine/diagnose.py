"""Says why a connection failed, in words that an operator can act on, each way of failing with a code of its own."""

from __future__ import annotations

import ipaddress
import re

import psycopg

from .diagnoses import STATES, WALK
from .dialling import Answer, Reason
from .errors import AcceptedNow, ConnectFailed, PlanError
from .handshake import attempt
from .plan import Server, Side, TlsMode
from .wording import NOTHING, Sentence, noun, printable, say

CONNECT_SECONDS = 5.0
"""What one diagnosis, or one connection test, may take."""
NETWORK_CODES = frozenset(
    {
        "ADDRESS-BAD",
        "CONNECT-DNS",
        "CONNECT-REFUSED",
        "CONNECT-TIMEOUT",
        "CONNECT-UNREACHABLE",
        "NOT-POSTGRES",
        "POLICY-DENIED",
        "SSH-HOST-KEY-UNKNOWN",
        "SSH-HOST-KEY-CHANGED",
        "SSH-LOGIN",
        "SSH-UNREACHABLE",
        "SSH-FORWARD",
    }
)
"""Codes that say: the server itself was not reached."""
TLS_CODES = frozenset(
    {
        "TLS-REFUSED",
        "TLS-FAILED",
        "TLS-SELF-SIGNED",
        "TLS-UNKNOWN-CA",
        "TLS-NAME",
        "TLS-EXPIRED",
        "TLS-CLIENT-CERT",
        "TLS-FILES",
    }
)
"""Codes that say: reached, but the connection could not be protected as chosen."""

_ODD_NUMBER = re.compile(r"(0x[0-9a-f]*|[0-9]+)", re.IGNORECASE)


def refuse_bad_address(host: str, port: int) -> None:
    """Raise PlanError for what is not one host and one port.

    libpq would read a comma as a list of hosts, a leading slash as a socket folder, and `2130706433` or `127.1` as an
    address; none of these is what an operator means, and some reach places that nobody meant to open.
    """
    problem = _host_problem(host)
    if problem:
        raise PlanError(
            say("The address {address} {problem}.", address=repr(printable(host, 80)), problem=problem),
            hint=say("Enter one host name or one IP address, such as db.example.com or 192.0.2.10."),
            code="ADDRESS-BAD",
        )
    if not 1 <= port <= 65535:
        raise PlanError(
            say("The port {port} does not exist.", port=port),
            hint=say("Enter a port from 1 to 65535; 5432 is usual."),
            code="ADDRESS-BAD",
        )


def _host_problem(host: str) -> str:
    if not host:
        return say("is empty")
    if any(ch.isspace() or not ch.isprintable() for ch in host):
        return say("contains blanks or characters that cannot be printed")
    if "," in host:
        return say("names more than one host")
    if "/" in host or "\\" in host or host.startswith("@"):
        return say("is a path or a URL, not a host")
    if len(host) > 253:
        return say("is too long for a host name")
    try:
        ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        if ":" in host:
            return say("contains a colon but is not an IPv6 address; the port has a field of its own")
        if _ODD_NUMBER.fullmatch(host.rstrip(".").rpartition(".")[2]):
            return say("is not a complete IP address")
    return ""


def explain_connect_failure(
    server: Server,
    side: Side,
    database: str,
    error: psycopg.OperationalError | None,
    *,
    replication: bool = False,
    seconds: float = CONNECT_SECONDS,
    through: Server | None = None,
) -> ConnectFailed:
    """Return the typed reason of a failed connection attempt. `server` is the real address, not a forwarder's.

    `through` is the forwarder's, when one stands between; the login is repeated there.

    Repeats the login on a raw socket, at most `seconds` long, and classifies by where it ends and by SQLSTATE; the
    driver's words are only shown when nothing else is known. Never raises.
    """
    try:
        refuse_bad_address(server.host, server.port)
    except PlanError as bad:
        return ConnectFailed(bad.message, hint=bad.hint, code=bad.code)
    if isinstance(error, psycopg.errors.ConnectionTimeout):
        seconds = min(seconds, 0.5)  # the patience is spent; only tell a dead host from a silent one
    answer = attempt(through or server, database, seconds=seconds, replication=replication)
    return failure_of(answer, server, side, database, error)


def failure_of(
    answer: Answer, server: Server, side: Side, database: str, error: psycopg.OperationalError | None = None
) -> ConnectFailed:
    """Turn the end of a raw login into a failure with code, message and hint."""
    where = _where(server, side)
    if answer.reason is Reason.SERVER_ERROR:
        return _refusal(answer, server, side, database)
    if answer.reason is Reason.READY:
        words = _scrubbed(str(error) if error else "", server)
        return AcceptedNow(
            say("The {where} accepts the login, but the session could not be opened.", where=where)
            + (say(" {words}", words=words) if words else NOTHING),
            hint=say("Try again. If it stays, look into the server's log for the reason."),
            retryable=True,
        )
    code, message, hint, retryable = WALK[answer.reason]
    values = {
        "where": where,
        "host": server.host,
        "address": answer.words or server.host,
        "port": server.port,
        "side": noun(side),
        "user": server.user,
        "words": answer.words or say("no reason given"),
        "ssh": f"{server.bastion.host}:{server.bastion.port}" if server.bastion else "",
        "ssh_user": server.bastion.user if server.bastion else "",
        "is": answer.detail.get("fingerprint", ""),
        "was": answer.detail.get("fingerprint_was", ""),
    }
    failure = ConnectFailed(say(message, **values), hint=say(hint, **values), code=code, retryable=retryable)
    failure.detail = dict(answer.detail)
    return failure


def _where(server: Server, side: Side) -> Sentence:
    return say("{side} {host}:{port}", side=noun(side), host=server.host, port=server.port)


def _refusal(answer: Answer, server: Server, side: Side, database: str) -> ConnectFailed:
    state = answer.sqlstate
    values = {
        "where": _where(server, side),
        "side": noun(side),
        "user": server.user,
        "database": database,
        "words": answer.words or state,
    }
    if state == "28000":
        state = "28000+" if answer.authenticated else "28000"
    code, message, hint, retryable = STATES.get(state, STATES[""])
    more = NOTHING
    if code == "HBA-REFUSED" and server.tls is TlsMode.DISABLE:
        more = say(" If the server accepts encrypted connections only, choose Required for TLS.")
    elif code == "HBA-REFUSED" and not server.cert_file:
        more = say(" If it asks for a client certificate, enter one.")
    told = say(hint, **values) + more
    return ConnectFailed(say(message, **values, state=answer.sqlstate), hint=told, code=code, retryable=retryable)


def _scrubbed(text: str, server: Server) -> str:
    if server.password:
        text = text.replace(server.password, "***")
    return printable(text)
