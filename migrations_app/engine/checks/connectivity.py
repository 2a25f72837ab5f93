"""Items about getting there: addresses, logins, TLS, versions, and that the two ends are two servers."""

from __future__ import annotations

import ipaddress

from ..connect import Connection
from ..diagnose import NETWORK_CODES, TLS_CODES
from ..names import quote
from ..one_server import Kinship, kinship
from ..plan import Side, TlsMode
from ..probe import tls_words
from ..reaching import VERIFIED
from ..versions import major, major_words, standby_lends_snapshots, version_words
from ..wording import Sentence, listing, noun, say
from .context import Context, Unavailable
from .registry import ON_SOURCE, ON_TARGET, Finding, Group, failed, item, passed, twins, warning

_SOON_DAYS = 14
_EXPIRES = (
    "SELECT rolvaliduntil::timestamptz(0)::text FROM pg_catalog.pg_roles WHERE rolname = session_user"
    " AND rolvaliduntil BETWEEN pg_catalog.now() AND pg_catalog.now() + %s::interval"
)


@twins(
    "reachable",
    Group.CONNECTION,
    source=("Source can be reached", "Name, address and port of the source answer."),
    target=("Target can be reached", "Name, address and port of the target answer."),
)
def reachable(context: Context, side: Side) -> Finding:
    """Look whether the port answers as PostgreSQL."""
    failure = context.failure(side)
    if failure is not None and failure.code in NETWORK_CODES:
        return failed(failure.message, failure.hint).took(context.waited.get(side))
    server = context.plan.server(side)
    address = f"{server.host}:{server.port}"
    if server.bastion:
        way = server.bastion.host
        return passed(say("PostgreSQL answers at {address}, through the SSH host {way}.", address=address, way=way))
    return passed(say("PostgreSQL answers at {address}.", address=address))


@twins(
    "tls",
    Group.CONNECTION,
    source=("TLS to the source", "The connection is protected in the way that was chosen."),
    target=("TLS to the target", "The connection is protected in the way that was chosen."),
)
def tls(context: Context, side: Side) -> Finding:
    """Look how the connection is protected."""
    server = context.plan.server(side)
    failure = context.failure(side)
    if failure is not None and failure.code in TLS_CODES:
        return failed(failure.message, failure.hint)
    connection = context.session(side)
    address, protocol = peer_address(connection), tls_words(connection)
    if protocol == "none":
        return _plain(server.tls, address)
    words = say("The connection uses {protocol} (mode {tls}).", protocol=protocol, tls=server.tls)
    if server.tls in VERIFIED:
        return passed(words)
    hint = say(
        "Anyone on the way could pose as the server. Choose the last TLS mode (verify-full), which has its certificate"
        " and name verified."
    )
    if is_public(address):
        return warning(
            words + say(" The certificate of the public address {address} is not verified.", address=address),
            hint,
        )
    return passed(words + say(" The certificate is not verified; the address is a private one."), hint)


def _plain(mode: TlsMode, address: str) -> Finding:
    if is_public(address):
        return warning(
            say("The connection to the public address {address} is not encrypted.", address=address),
            say("Rows travel in clear text. Choose one of the Required modes for TLS if the server offers it."),
        )
    if mode is TlsMode.DISABLE:
        return passed(say("The connection is not encrypted, as chosen; the address is a private one."))
    return passed(say("The connection is not encrypted: the server offers no TLS; the address is a private one."))


def peer_address(connection: Connection) -> str:
    """Return the numeric address that a session is connected to, without an IPv6 zone.

    Behind a bastion it is not known here; the way there is SSH's, so that it counts as this machine.
    """
    return connection.info.hostaddr.partition("%")[0] or "127.0.0.1"


def is_public(address: str) -> bool:
    """Say whether a numeric address can be reached from everywhere; an IPv4 one may be written as IPv6."""
    number = ipaddress.ip_address(address)
    return (getattr(number, "ipv4_mapped", None) or number).is_global


@twins(
    "login",
    Group.CONNECTION,
    source=("Login to the source", "Account, password and pg_hba.conf let us in."),
    target=("Login to the target", "Account, password and pg_hba.conf let us in."),
)
def login(context: Context, side: Side) -> Finding:
    """Look whether the server lets the account in."""
    failure = context.failure(side)
    if failure is None:
        return _expiring(context, side) or _logged_in(context, side)
    if failure.code == "VERSION-OUT-OF-RANGE":
        return passed(say("The account can log in."))
    if failure.code in NETWORK_CODES | TLS_CODES:
        raise Unavailable(failure)
    return failed(failure.message, failure.hint)


def _logged_in(context: Context, side: Side) -> Finding:
    info = context.session(side).info
    return passed(say("The account {user} can log in to the database {dbname}.", user=info.user, dbname=info.dbname))


def _expiring(context: Context, side: Side) -> Finding | None:
    """Return what is found where no login will succeed any more soon: a task logs in again and again.

    Only a password expires: who comes in by a certificate, or is trusted, comes in afterwards as well.
    """
    if not context.session(side).pgconn.used_password:
        return None
    until = context.one(side, _EXPIRES, parameters=(f"{_SOON_DAYS} days",))
    if until is None:
        return None
    user = context.session(side).info.user
    return warning(
        say("The password of the account {user} expires at {until}.", user=user, until=until),
        say("From then on the server refuses each login, and the task stops. Let it be valid until the task is over."),
        f"ALTER ROLE {quote(user)} VALID UNTIL 'infinity';",
    )


@twins(
    "version",
    Group.CONNECTION,
    source=("Version of the source", "The source is PostgreSQL 9.3 to 18."),
    target=("Version of the target", "The target is PostgreSQL 10 to 18."),
)
def version(context: Context, side: Side) -> Finding:
    """Look at the server's version."""
    failure = context.failure(side)
    if failure is not None and failure.code == "VERSION-OUT-OF-RANGE":
        return failed(failure.message, failure.hint)
    banner = str(context.one(side, "SELECT pg_catalog.version()"))
    if not banner.startswith(("PostgreSQL ", "EnterpriseDB ")):
        return failed(
            say(
                "The {side} speaks PostgreSQL's protocol but calls itself {banner}.",
                side=noun(side),
                banner=f"{banner[:60]!r}",
            ),
            say("Only PostgreSQL itself is supported."),
        )
    return passed(say("PostgreSQL {version}.", version=version_words(context.version(side))))


@item("version-order", "Target not older than source", Group.CONNECTION, "A newer server's schema fits no older one.")
def version_order(context: Context) -> Finding:
    """Compare the major versions."""
    versions = [context.version(side) for side in Side]
    source, target = map(major_words, versions)
    if major(versions[1]) < major(versions[0]):
        return failed(
            say("The target is PostgreSQL {target}, the source is {source}.", target=target, source=source),
            say(
                "An older server may not know what the newer one's schema uses. Take a target of version "
                "{source} or later.",
                source=source,
            ),
        )
    return passed(say("From PostgreSQL {source} to {target}.", source=source, target=target))


@item(
    "different-servers",
    "Source and target differ",
    Group.CONNECTION,
    "The two ends are not the same database, and the source does not follow the target.",
)
def different_servers(context: Context) -> Finding:
    """Compare the servers, where it can be told; a standby with the target's identifier is not believed to be apart."""
    match kinship(context.source(), context.target()):
        case Kinship.STRANGERS:
            return passed(say("The system identifiers differ."))
        case Kinship.COPIES:
            return passed(
                say("The target was made as a physical copy of the source, and now runs as a server of its own.")
            )
        case Kinship.STARTED_APART:
            return passed(
                say("The servers were started at different times."),
                say("The account may not read the system identifiers."),
            )
        case Kinship.SAME:
            return _same_server(context)
        case Kinship.FOLLOWER:
            return _follower(
                context,
                say("The source is a standby with the target's system identifier: it may follow the target. "),
                say("Enter the address of the source's primary, or another target server."),
            )
        case Kinship.UNKNOWN:
            hint = say(
                "Let both accounts run pg_control_system(), which shows the system identifier, enter the address of the"
                " source's primary, or another target server."
            )
            said = say("The source is a standby, and the account may not read the system identifiers of both servers. ")
            return _follower(context, said, hint)


def _follower(context: Context, said: Sentence, hint: Sentence) -> Finding:
    if same := _onto_themselves(context):
        lost = say("If it follows the target, it loses all rows that are removed there: {names}.", names=listing(same))
        return failed(said + lost, hint)
    return warning(said + say("Source and target have no database in common."), hint)


def _onto_themselves(context: Context) -> list[str]:
    sources = {plan.source_name for plan in context.plan.databases}
    return [plan.target_name for plan in context.plan.databases if plan.target_name in sources]


def _same_server(context: Context) -> Finding:
    if same := _onto_themselves(context):
        return failed(
            say(
                "Source and target are the same server, and the task would write into databases that it reads: "
                "{names}.",
                names=listing(same),
            ),
            say("Enter another target server, or another target database name."),
        )
    return warning(
        say("Source and target are two databases of the same server."),
        say("This works, but copy and application share the server's memory, disk and slots."),
    )


@item(
    "source-primary",
    "Source is a primary",
    Group.CONNECTION,
    "Incremental sync needs a primary; rows can be copied from a standby as well, from 10 on.",
    sides=ON_SOURCE,
)
def source_primary(context: Context) -> Finding:
    """Look whether the source is in recovery."""
    if not context.one(Side.SOURCE, "SELECT pg_catalog.pg_is_in_recovery()"):
        return passed(say("The source is a primary server."))
    version = context.version(Side.SOURCE)
    if not standby_lends_snapshots(version):
        return failed(
            say(
                "The source is a standby of PostgreSQL {version}. Before 10 the sessions of a standby cannot share a"
                " snapshot, which a copy needs.",
                version=major_words(version),
            ),
            say("Enter the primary's address."),
        )
    if context.plan.incremental:
        return failed(
            say("The source is a standby; incremental sync needs a publication, which only a primary can hold."),
            say("Enter the primary's address, or switch incremental sync off."),
        )
    if unlogged := _unlogged(context):
        return failed(
            say("The source is a standby, where nobody can read unlogged tables: {names}.", names=listing(unlogged)),
            say("Enter the primary's address, leave these tables out, or let only their structure move."),
        )
    if context.setting(Side.SOURCE, "hot_standby_feedback") == "on":
        return passed(say("The source is a standby that tells its primary what its readers need."))
    return warning(
        say("The source is a standby."),
        say(
            "A full migration from a standby works, but replay conflicts may cancel the copy. Set "
            "hot_standby_feedback = on, or enter the primary's address."
        ),
        "ALTER SYSTEM SET hot_standby_feedback = on;\nSELECT pg_reload_conf();",
    )


def _unlogged(context: Context) -> list[str]:
    """Return the unlogged tables whose rows are to move."""
    names = [database.source_name for database in context.plan.databases]
    return [f"{one.schema}.{one.name}" for name in names for one in context.moving(name) if one.persistence == "u"]


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
        return failed(
            say("The target is a standby and accepts no writes."), say("Enter the address of the target's primary.")
        )
    if context.one(Side.TARGET, "SELECT pg_catalog.current_setting('transaction_read_only')") == "on":
        return failed(
            say("Transactions on the target are read-only."),
            say(
                "The migration overrides default_transaction_read_only of servers, databases and "
                "accounts, but an event trigger ON login or a pooler acts after that. Exempt this account there."
            ),
        )
    return passed(say("The target is a primary server and accepts writes."))
