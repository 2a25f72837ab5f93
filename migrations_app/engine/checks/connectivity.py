"""Items about getting there: addresses, logins, TLS, versions, and that the two ends are two servers."""

from __future__ import annotations

import ipaddress

from ..connect import Connection
from ..diagnose import NETWORK_CODES, TLS_CODES
from ..plan import Side, TlsMode
from ..probe import read_system_id, tls_words, version_words
from ..reaching import VERIFIED
from .context import Context, Unavailable
from .registry import ON_SOURCE, ON_TARGET, Finding, Group, failed, item, passed, warning


def _address(context: Context, side: Side) -> str:
    server = context.plan.source if side is Side.SOURCE else context.plan.target
    return f"{server.host}:{server.port}"


def _reachable(context: Context, side: Side) -> Finding:
    failure = context.failure(side)
    if failure is not None and failure.code in NETWORK_CODES:
        return failed(failure.message, failure.hint)
    return passed(f"PostgreSQL answers at {_address(context, side)}.")


def _login(context: Context, side: Side) -> Finding:
    failure = context.failure(side)
    if failure is None:
        info = context.session(side).info
        return passed(f"The account {info.user} can log in to the database {info.dbname}.")
    if failure.code == "VERSION-OUT-OF-RANGE":
        return passed("The account can log in.")
    if failure.code in NETWORK_CODES | TLS_CODES:
        raise Unavailable(failure)
    return failed(failure.message, failure.hint)


def _tls(context: Context, side: Side) -> Finding:
    server = context.plan.source if side is Side.SOURCE else context.plan.target
    failure = context.failure(side)
    if failure is not None and failure.code in TLS_CODES:
        return failed(failure.message, failure.hint)
    connection = context.session(side)
    address, protocol = peer_address(connection), tls_words(connection)
    if protocol == "none":
        return _plain(server.tls, address)
    words = f"The connection uses {protocol} (mode {server.tls})."
    if server.tls in VERIFIED:
        return passed(words)
    hint = "Anyone on the way could pose as the server. Choose the last TLS mode to have its certificate verified."
    if is_public(address):
        return warning(f"{words} The certificate of the public address {address} is not verified.", hint)
    return passed(f"{words} The certificate is not verified; the address is a private one.", hint)


def _plain(mode: TlsMode, address: str) -> Finding:
    if is_public(address):
        return warning(
            f"The connection to the public address {address} is not encrypted.",
            "Rows travel in clear text. Choose one of the Required modes for TLS if the server offers it.",
        )
    chosen = ", as chosen" if mode is TlsMode.DISABLE else ": the server offers no TLS"
    return passed(f"The connection is not encrypted{chosen}; the address is a private one.")


def peer_address(connection: Connection) -> str:
    """Return the numeric address that a session is connected to, without an IPv6 zone.

    Behind a bastion it is not known here; the way there is SSH's, so that it counts as this machine.
    """
    return connection.info.hostaddr.partition("%")[0] or "127.0.0.1"


def is_public(address: str) -> bool:
    """Say whether a numeric address can be reached from everywhere; an IPv4 one may be written as IPv6."""
    number = ipaddress.ip_address(address)
    return (getattr(number, "ipv4_mapped", None) or number).is_global


def _version(context: Context, side: Side) -> Finding:
    failure = context.failure(side)
    if failure is not None and failure.code == "VERSION-OUT-OF-RANGE":
        return failed(failure.message, failure.hint)
    banner = str(context.one(side, "SELECT pg_catalog.version()"))
    if not banner.startswith(("PostgreSQL ", "EnterpriseDB ")):
        return failed(
            f"The {side} speaks PostgreSQL's protocol but calls itself {banner[:60]!r}.",
            "Only PostgreSQL itself is supported.",
        )
    return passed(f"PostgreSQL {version_words(context.version(side))}.")


@item(
    "source-reachable",
    "Source can be reached",
    Group.CONNECTION,
    "Name, address and port of the source answer.",
    sides=ON_SOURCE,
)
def source_reachable(context: Context) -> Finding:
    """Look whether the source's port answers as PostgreSQL."""
    return _reachable(context, Side.SOURCE)


@item(
    "target-reachable",
    "Target can be reached",
    Group.CONNECTION,
    "Name, address and port of the target answer.",
    sides=ON_TARGET,
)
def target_reachable(context: Context) -> Finding:
    """Look whether the target's port answers as PostgreSQL."""
    return _reachable(context, Side.TARGET)


@item(
    "source-tls",
    "TLS to the source",
    Group.CONNECTION,
    "The connection is protected in the way that was chosen.",
    sides=ON_SOURCE,
)
def source_tls(context: Context) -> Finding:
    """Look how the source connection is protected."""
    return _tls(context, Side.SOURCE)


@item(
    "target-tls",
    "TLS to the target",
    Group.CONNECTION,
    "The connection is protected in the way that was chosen.",
    sides=ON_TARGET,
)
def target_tls(context: Context) -> Finding:
    """Look how the target connection is protected."""
    return _tls(context, Side.TARGET)


@item(
    "source-login",
    "Login to the source",
    Group.CONNECTION,
    "Account, password and pg_hba.conf let us in.",
    sides=ON_SOURCE,
)
def source_login(context: Context) -> Finding:
    """Look whether the source lets the account in."""
    return _login(context, Side.SOURCE)


@item(
    "target-login",
    "Login to the target",
    Group.CONNECTION,
    "Account, password and pg_hba.conf let us in.",
    sides=ON_TARGET,
)
def target_login(context: Context) -> Finding:
    """Look whether the target lets the account in."""
    return _login(context, Side.TARGET)


@item(
    "source-version", "Version of the source", Group.CONNECTION, "The source is PostgreSQL 10 to 18.", sides=ON_SOURCE
)
def source_version(context: Context) -> Finding:
    """Look at the source's version."""
    return _version(context, Side.SOURCE)


@item(
    "target-version", "Version of the target", Group.CONNECTION, "The target is PostgreSQL 10 to 18.", sides=ON_TARGET
)
def target_version(context: Context) -> Finding:
    """Look at the target's version."""
    return _version(context, Side.TARGET)


@item("version-order", "Target not older than source", Group.CONNECTION, "A newer server's schema fits no older one.")
def version_order(context: Context) -> Finding:
    """Compare the major versions."""
    source, target = (context.version(side) // 10000 for side in Side)
    if target < source:
        return failed(
            f"The target is PostgreSQL {target}, the source is {source}.",
            "An older server may not know what the newer one's schema uses. Take a target of version"
            f" {source} or later.",
        )
    return passed(f"From PostgreSQL {source} to {target}.")


@item("different-servers", "Source and target differ", Group.CONNECTION, "The two ends are not the same database.")
def different_servers(context: Context) -> Finding:
    """Compare system identifiers, and the start of the server process where the identifiers are equal."""
    first, second = (read_system_id(context.session(side)) for side in Side)
    if first is None or second is None:
        return _by_start(context)
    if first != second:
        return passed("The system identifiers differ.")
    if not _same_start(context):
        return passed("The target was made as a physical copy of the source, and now runs as a server of its own.")
    return _same_server(context)


def _same_start(context: Context) -> bool:
    text = "SELECT pg_catalog.pg_postmaster_start_time()::text"
    first, second = (context.one(side, text) for side in Side)
    return bool(first == second)


def _by_start(context: Context) -> Finding:
    if _same_start(context):
        return _same_server(context)
    return passed("The servers were started at different times.", "The account may not read the system identifiers.")


def _same_server(context: Context) -> Finding:
    same = [plan.source_name for plan in context.plan.databases if plan.source_name == plan.target_name]
    if same:
        return failed(
            f"Source and target are the same server, and {', '.join(same)} would be copied onto itself.",
            "Enter another target server, or another target database name.",
        )
    return warning(
        "Source and target are two databases of the same server.",
        "This works, but copy and application share the server's memory, disk and slots.",
    )


@item(
    "source-primary",
    "Source is a primary",
    Group.CONNECTION,
    "A standby cannot be prepared for a migration.",
    sides=ON_SOURCE,
)
def source_primary(context: Context) -> Finding:
    """Look whether the source is in recovery."""
    if not context.one(Side.SOURCE, "SELECT pg_catalog.pg_is_in_recovery()"):
        return passed("The source is a primary server.")
    if context.plan.incremental:
        return failed(
            "The source is a standby; incremental sync needs a publication, which only a primary can hold.",
            "Enter the primary's address, or switch incremental sync off.",
        )
    if context.setting(Side.SOURCE, "hot_standby_feedback") == "on":
        return passed("The source is a standby that tells its primary what its readers need.")
    return warning(
        "The source is a standby.",
        "A full migration from a standby works, but replay conflicts may cancel the copy."
        " Set hot_standby_feedback = on, or enter the primary's address.",
        "ALTER SYSTEM SET hot_standby_feedback = on;\nSELECT pg_reload_conf();",
    )


@item(
    "target-writable",
    "Target accepts writes",
    Group.CONNECTION,
    "The target is not a standby and not read-only.",
    sides=ON_TARGET,
)
def target_writable(context: Context) -> Finding:
    """Look whether the target is a primary that lets us write."""
    if context.one(Side.TARGET, "SELECT pg_catalog.pg_is_in_recovery()"):
        return failed("The target is a standby and accepts no writes.", "Enter the address of the target's primary.")
    if context.one(Side.TARGET, "SELECT pg_catalog.current_setting('transaction_read_only')") == "on":
        return failed(
            "Transactions on the target are read-only.",
            "The migration overrides default_transaction_read_only of servers, databases and accounts, but an event"
            " trigger ON login or a pooler has the last word. Let it leave this account alone.",
        )
    return passed("The target is a primary server and accepts writes.")
