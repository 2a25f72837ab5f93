"""Says why a connection failed, in words that an operator can act on, each way of failing with a code of its own."""

from __future__ import annotations

import ipaddress
import re

import psycopg

from .dialling import Answer, Reason
from .errors import ConnectFailed, PlanError
from .handshake import attempt, printable
from .plan import Server, Side, TlsMode

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
            f"The address {printable(host, 80)!r} {problem}.",
            hint="Enter one host name or one IP address, such as db.example.com or 192.0.2.10.",
            code="ADDRESS-BAD",
        )
    if not 1 <= port <= 65535:
        raise PlanError(
            f"The port {port} does not exist.", hint="Enter a port from 1 to 65535; 5432 is usual.", code="ADDRESS-BAD"
        )


def _host_problem(host: str) -> str:
    if not host:
        return "is empty"
    if any(ch.isspace() or not ch.isprintable() for ch in host):
        return "contains blanks or characters that cannot be printed"
    if "," in host:
        return "names more than one host"
    if "/" in host or "\\" in host or host.startswith("@"):
        return "is a path or a URL, not a host"
    if len(host) > 253:
        return "is too long for a host name"
    try:
        ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        if ":" in host:
            return "contains a colon but is not an IPv6 address; the port has a field of its own"
        if _ODD_NUMBER.fullmatch(host.rstrip(".").rpartition(".")[2]):
            return "is not a complete IP address"
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
    where = f"{side} {server.host}:{server.port}"
    if answer.reason is Reason.SERVER_ERROR:
        return _refusal(answer, server, side, database)
    if answer.reason is Reason.READY:
        words = _scrubbed(str(error) if error else "", server)
        return ConnectFailed(
            f"The {where} accepts the login, but the session could not be opened. {words}".strip(),
            hint="Try again. If it stays, look into the server's log for the reason.",
            retryable=True,
        )
    code, message, hint, retryable = _WALK[answer.reason]
    values = {
        "where": where,
        "host": server.host,
        "address": answer.words or server.host,
        "port": server.port,
        "side": side,
        "user": server.user,
        "words": answer.words or "no reason given",
        "ssh": f"{server.bastion.host}:{server.bastion.port}" if server.bastion else "",
        "ssh_user": server.bastion.user if server.bastion else "",
        "is": answer.detail.get("fingerprint", ""),
        "was": answer.detail.get("fingerprint_was", ""),
    }
    failure = ConnectFailed(message.format(**values), hint=hint.format(**values), code=code, retryable=retryable)
    failure.detail = dict(answer.detail)
    return failure


_WALK: dict[Reason, tuple[str, str, str, bool]] = {
    Reason.DNS: (
        "CONNECT-DNS",
        "The name {host} of the {side} cannot be resolved: {words}.",
        "Check the spelling, or enter the IP address. The name is looked up from the machine that runs the workers.",
        False,
    ),
    Reason.REFUSED: (
        "CONNECT-REFUSED",
        "Nothing accepts connections at the {where}.",
        "Check address and port, that PostgreSQL runs, and that its listen_addresses is not only localhost.",
        True,
    ),
    Reason.TIMEOUT: (
        "CONNECT-TIMEOUT",
        "The {where} does not answer within 5 seconds.",
        "Check the address, and that firewalls and security groups let this machine reach port {port}.",
        True,
    ),
    Reason.SILENT: (
        "CONNECT-TIMEOUT",
        "The {where} accepts the connection but does not answer within 5 seconds.",
        "Check that PostgreSQL itself listens on port {port}, and that no proxy in between holds the connection.",
        True,
    ),
    Reason.UNREACHABLE: (
        "CONNECT-UNREACHABLE",
        "There is no way to the {where}: {words}.",
        "Check the address and the route or VPN between this machine and the {side}.",
        True,
    ),
    Reason.NOT_POSTGRES: (
        "NOT-POSTGRES",
        "What answers at the {where} is not PostgreSQL: {words}.",
        "Check the port; PostgreSQL usually listens on 5432.",
        False,
    ),
    Reason.TLS_NONE: (
        "TLS-REFUSED",
        "The {where} does not offer TLS, but the connection asks for it.",
        "Switch TLS on at the server (ssl = on), or choose Off for TLS if the network is trusted.",
        False,
    ),
    Reason.TLS_FAILED: (
        "TLS-FAILED",
        "TLS with the {where} failed: {words}.",
        "Check the certificate's host name, issuer and dates, and the CA certificate entered here.",
        False,
    ),
    Reason.TLS_SELF_SIGNED: (
        "TLS-SELF-SIGNED",
        "The {where} shows a self-signed certificate that nothing here vouches for: {words}.",
        "Enter that certificate, or its issuer's, as the CA certificate here.",
        False,
    ),
    Reason.TLS_ISSUER: (
        "TLS-UNKNOWN-CA",
        "The certificate of the {where} was issued by somebody else than the CA entered here: {words}.",
        "Enter the certificate of the authority that issued the {side}'s certificate, in PEM form.",
        False,
    ),
    Reason.TLS_NAME: (
        "TLS-NAME",
        "The certificate of the {where} is for another name: {words}.",
        "Enter the name that the certificate carries as the {side}'s address, or have a certificate issued for {host}.",
        False,
    ),
    Reason.TLS_EXPIRED: (
        "TLS-EXPIRED",
        "The certificate of the {where} is not valid today: {words}.",
        "Renew the {side}'s certificate, and look at the clocks of both machines.",
        False,
    ),
    Reason.TLS_CLIENT: (
        "TLS-CLIENT-CERT",
        "The {where} does not accept our client certificate, or asks for one: {words}.",
        "Enter the client certificate and key that the {side} knows; its ssl_ca_file must hold their issuer.",
        False,
    ),
    Reason.TLS_FILES: (
        "TLS-FILES",
        "TLS with the {where} cannot begin: {words}.",
        "Enter certificates and key in PEM form; the key without a passphrase.",
        False,
    ),
    Reason.POLICY: (
        "POLICY-DENIED",
        "The address {address} (for the {side}) is not allowed by this installation's policy. Nothing was dialled.",
        "Use another address, or ask an administrator to allow it (TOWPATH_ALLOW_ADDRESSES).",
        False,
    ),
    Reason.AUTH_NONE: (
        "AUTH-NONE",
        "The {where} lets the account {user} in without asking for its password: it could be anybody's server.",
        "In the {side}'s pg_hba.conf use scram-sha-256 instead of trust, or choose to accept any way of signing in.",
        False,
    ),
    Reason.AUTH_WEAK: (
        "AUTH-WEAK",
        "The {where} asks for {words} of {user}, which shows too much of it and is not sent.",
        "On the {side} set password_encryption = 'scram-sha-256', set the account's password anew, and use"
        " scram-sha-256 in pg_hba.conf; or choose to accept any password method.",
        False,
    ),
    Reason.SSH_KEY_UNKNOWN: (
        "SSH-HOST-KEY-UNKNOWN",
        "The SSH host {ssh} shows a key that nobody has confirmed yet: {is}.",
        "Compare the fingerprint with the one that the host's administrator knows, then confirm it.",
        False,
    ),
    Reason.SSH_KEY_CHANGED: (
        "SSH-HOST-KEY-CHANGED",
        "The SSH host {ssh} shows another key than the one confirmed: it was {was} and is {is}. Nothing was sent.",
        "Somebody may be in between. When the host was really set up anew, remove the confirmed key and confirm again.",
        False,
    ),
    Reason.SSH_LOGIN: (
        "SSH-LOGIN",
        "The SSH host {ssh} does not let the user {ssh_user} in: {words}.",
        "Check the SSH user and its password or private key (OpenSSH or PEM form, without a passphrase).",
        False,
    ),
    Reason.SSH_UNREACHABLE: (
        "SSH-UNREACHABLE",
        "The SSH host {ssh} cannot be reached: {words}.",
        "Check its address and port, and that firewalls let this machine reach it.",
        True,
    ),
    Reason.SSH_FORWARD: (
        "SSH-FORWARD",
        "The SSH host {ssh} refuses to forward connections to {host}:{port}: {words}.",
        "In its sshd_config set AllowTcpForwarding yes, and PermitOpen so that it names {host}:{port}.",
        False,
    ),
    Reason.SSH_BEYOND: (
        "CONNECT-UNREACHABLE",
        "The SSH host {ssh} is reached, but it cannot connect to the {where}: {words}.",
        "Enter the {side}'s address as the SSH host sees it, and check that PostgreSQL listens there.",
        True,
    ),
    Reason.PASSWORD_NEEDED: (
        "PASSWORD-NEEDED",
        "The {where} asks for the password of {user}, and none was given.",
        "Enter the account's password.",
        False,
    ),
    Reason.AUTH_METHOD: (
        "AUTH-UNSUPPORTED",
        "The {where} asks the account {user} for {words}, which is not sent.",
        "In the {side}'s pg_hba.conf use the method scram-sha-256 for this account.",
        False,
    ),
}


def _refusal(answer: Answer, server: Server, side: Side, database: str) -> ConnectFailed:
    state = answer.sqlstate
    values = {
        "where": f"{side} {server.host}:{server.port}",
        "side": side,
        "user": server.user,
        "database": database,
        "words": answer.words or state,
    }
    if state == "28000":
        state = "28000+" if answer.authenticated else "28000"
    code, message, hint, retryable = _STATES.get(state, _STATES[""])
    if code == "HBA-REFUSED" and server.tls is TlsMode.DISABLE:
        hint += " If the server accepts encrypted connections only, choose Required for TLS."
    elif code == "HBA-REFUSED" and not server.cert_file:
        hint += " If it asks for a client certificate, enter one."
    return ConnectFailed(
        message.format(**values, state=answer.sqlstate), hint=hint.format(**values), code=code, retryable=retryable
    )


_STATES: dict[str, tuple[str, str, str, bool]] = {
    "28P01": (
        "AUTH-FAILED",
        "The {where} refused the account {user}: user name or password is wrong.",
        "Enter the password again, and check the account's name.",
        False,
    ),
    "28000": (
        "HBA-REFUSED",
        "The {where} does not let the account {user} in from here: {words}",
        "Add a line for this account, database {database} and this machine's address to the {side}'s pg_hba.conf,"
        " then run SELECT pg_reload_conf().",
        False,
    ),
    "28000+": (
        "AUTH-FAILED",
        "The {where} refused the account {user}: {words}",
        "Check that the account exists and may log in (ALTER ROLE ... LOGIN).",
        False,
    ),
    "3D000": (
        "DATABASE-MISSING",
        "There is no database {database} on the {where}.",
        "Check the database's name; upper and lower case are different.",
        False,
    ),
    "42501": (
        "RIGHTS-MISSING",
        "The account {user} may not connect to the database {database} on the {where} in this way: {words}",
        "Grant the missing right on the {side}, or use another account.",
        False,
    ),
    "55000": (
        "DATABASE-CLOSED",
        "The database {database} on the {where} does not accept connections: {words}",
        "Open it with ALTER DATABASE ... ALLOW_CONNECTIONS true, or choose another database.",
        False,
    ),
    "53300": (
        "CONNECT-FULL",
        "The {where} has no connection left: {words}",
        "Close idle sessions on the {side}, or raise max_connections or the account's limit.",
        True,
    ),
    "57P03": (
        "CONNECT-STARTING",
        "The {where} is starting up or shutting down: {words}",
        "Wait until the server is up, then try again.",
        True,
    ),
    "08P01": (
        "POOLER-REFUSED",
        "The {where} refuses session settings, as connection poolers do: {words}",
        "Enter the address of the PostgreSQL server itself instead of the pooler's.",
        False,
    ),
    "": (
        "CONNECT-FAILED",
        "The {where} refused the connection: {words} ({state})",
        "Look into the server's log for the reason.",
        False,
    ),
}


def _scrubbed(text: str, server: Server) -> str:
    if server.password:
        text = text.replace(server.password, "***")
    return printable(text)
