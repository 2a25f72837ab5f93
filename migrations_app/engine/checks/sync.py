"""Items about how the source is set up for incremental sync: WAL, slots, senders, the login for replication."""

from __future__ import annotations

import psycopg

from ..connect import first_line
from ..errors import ConnectFailed
from ..names import quote
from ..password_kept import known_as_scram
from ..plan import DatabasePlan, Side
from ..prepare import hba_name, one_address
from ..probe import tls_words
from ..versions import can_decode, has_publications, version_words
from ..wording import Sentence, noun, say
from .context import MANAGED_ROLES, Context, Unavailable
from .registry import ON_SOURCE, Finding, Group, failed, item, passed, setting_size, size, warning
from .settings import set_by_us

SHORT_IDLE_SECONDS = 24 * 3600  # a slot is idle all through the copy, which may well take a night

_VENDORS_ROLE = "rds_replication"
_TOO_OLD = say("Servers before 9.4 know no logical decoding, so there is nothing to look at.")


@item(
    "logical-decoding",
    "The source can tell its changes",
    Group.SYNC,
    "The source's version knows logical decoding, and has a plugin that writes the changes.",
    incremental_only=True,
    sides=ON_SOURCE,
)
def logical_decoding(context: Context) -> Finding:
    """Look at the version and, where a superuser may load it, at the library of the plugin."""
    version = context.version(Side.SOURCE)
    words = version_words(version)
    if not can_decode(version):
        return failed(
            say("PostgreSQL {version} knows no logical decoding, so changes cannot be followed.", version=words),
            say(
                "Switch incremental sync off: the application then has to stop writing before the start. Upgrading the"
                " source to 9.4 or later (pg_upgrade) would make incremental sync possible."
            ),
        )
    if has_publications(version):
        return passed(say("PostgreSQL {version} writes its changes with pgoutput.", version=words))
    if not context.is_superuser(Side.SOURCE):
        return passed(
            say("PostgreSQL {version} writes its changes with test_decoding.", version=words),
            say("Whether its library is installed is seen at the start: it comes with postgresql-contrib."),
        )
    try:
        with context.fresh(Side.SOURCE) as connection:
            connection.execute("LOAD 'test_decoding'")
    except ConnectFailed as failure:
        raise Unavailable(failure) from failure
    except psycopg.Error as error:
        return failed(
            say("The source lacks the library of the decoding plugin: {words}.", words=first_line(error)),
            say(
                "Install what PostgreSQL brings along for the source's version (the package"
                " postgresql-contrib); nothing has to be restarted."
            ),
        )
    return passed(say("PostgreSQL {version} writes its changes with test_decoding, which is installed.", version=words))


@item(
    "wal-level",
    "wal_level is logical",
    Group.SYNC,
    "The source writes what logical decoding needs into its WAL.",
    incremental_only=True,
    sides=ON_SOURCE,
)
def wal_level(context: Context) -> Finding:
    """Look at wal_level."""
    if not can_decode(context.version(Side.SOURCE)):
        return passed(_TOO_OLD)
    level = context.setting(Side.SOURCE, "wal_level")
    if level == "logical":
        return passed(say("wal_level is logical."))
    finding = failed(
        say("wal_level is {level}; incremental sync needs logical.", level=level),
        say("Set it and restart the source. On managed servers it is a parameter, such as rds.logical_replication."),
        "ALTER SYSTEM SET wal_level = 'logical';",
        needs_restart=True,
    )
    return set_by_us(context, finding, "wal_level", "logical")


def _free(context: Context, setting: str, used: int, what: Sentence) -> Finding:
    needed = len(context.plan.databases) + 1
    limit = int(context.setting(Side.SOURCE, setting) or 0)
    free = limit - used
    words = say(
        "{free} of {limit} {what} are free; this task needs {needed} (one per database and one for comparisons).",
        free=free,
        limit=limit,
        what=what,
        needed=needed,
    )
    if free >= needed:
        return passed(words)
    finding = failed(
        words,
        say("Raise {setting} and restart the source, or release what is no longer used.", setting=setting),
        f"ALTER SYSTEM SET {setting} = {limit + needed - free};",
        needs_restart=True,
    )
    return set_by_us(context, finding, setting, limit + needed - free)


@item(
    "replication-slots",
    "Free replication slots",
    Group.SYNC,
    "One slot per database to migrate and one for comparisons.",
    incremental_only=True,
    sides=ON_SOURCE,
)
def replication_slots(context: Context) -> Finding:
    """Compare max_replication_slots with the slots in use."""
    if not can_decode(context.version(Side.SOURCE)):
        return passed(_TOO_OLD)
    used = int(context.one(Side.SOURCE, "SELECT count(*) FROM pg_catalog.pg_replication_slots") or 0)
    return _free(context, "max_replication_slots", used, say("replication slots"))


@item(
    "wal-senders",
    "Free WAL senders",
    Group.SYNC,
    "One WAL sender per database to migrate and one for comparisons.",
    incremental_only=True,
    sides=ON_SOURCE,
)
def wal_senders(context: Context) -> Finding:
    """Compare max_wal_senders with the senders in use."""
    if not can_decode(context.version(Side.SOURCE)):
        return passed(_TOO_OLD)
    used = int(context.one(Side.SOURCE, "SELECT count(*) FROM pg_catalog.pg_stat_replication") or 0)
    return _free(context, "max_wal_senders", used, say("WAL senders"))


@item(
    "replication-privilege",
    "Replication privilege",
    Group.SYNC,
    "The source account may use replication slots.",
    incremental_only=True,
    sides=ON_SOURCE,
)
def replication_privilege(context: Context) -> Finding:
    """Look for the REPLICATION attribute, superuser, or a vendor's role that stands for it."""
    row = (
        context.source()
        .execute("SELECT rolsuper, rolreplication FROM pg_catalog.pg_roles WHERE rolname = current_user")
        .fetchone()
    )
    superuser, replication = row if row else (False, False)
    if superuser or replication:
        return passed(
            say("The account is a superuser.") if superuser else say("The account has the REPLICATION attribute.")
        )
    vendor = context.one(
        Side.SOURCE,
        "SELECT rolname::text FROM pg_catalog.pg_roles"
        " WHERE rolname = ANY (%s) AND pg_catalog.pg_has_role(oid, 'MEMBER') LIMIT 1",
        parameters=(list(MANAGED_ROLES),),
    )
    if vendor:
        return passed(
            say("The account is a member of {vendor}; whether that is enough is tried by the next item.", vendor=vendor)
        )
    user = context.source().info.user
    return failed(
        say("The account {user} has no replication privilege.", user=user),
        say("Grant it as a superuser. On Amazon RDS grant the role rds_replication instead."),
        _replicating(context, user),
    )


def _replicating(context: Context, user: str) -> str:
    """Return what lets an account replicate; where the vendor keeps the attribute to itself, its role."""
    asked = "SELECT count(*) FROM pg_catalog.pg_roles WHERE rolname = %s"
    if context.one(Side.SOURCE, asked, parameters=(_VENDORS_ROLE,)):
        return f"GRANT {quote(_VENDORS_ROLE)} TO {quote(user)};"
    return f"ALTER ROLE {quote(user)} REPLICATION;"


@item(
    "replication-login",
    "Replication login",
    Group.SYNC,
    "A replication connection to each database is really opened.",
    incremental_only=True,
    per_database=True,
    sides=ON_SOURCE,
)
def replication_login(context: Context, database: DatabasePlan) -> Finding:
    """Open a replication connection, ask it who the server is, and close it."""
    if not can_decode(context.version(Side.SOURCE)):
        return passed(_TOO_OLD)
    context.source(database.source_name)  # what stops an ordinary login is told by the items of the connection
    try:
        with context.fresh(Side.SOURCE, database.source_name, replication=True) as connection:
            row = connection.execute("IDENTIFY_SYSTEM").fetchone()
    except ConnectFailed as failure:
        if failure.code == "CONNECT-FULL":
            return failed(failure.message, say("Raise max_wal_senders or max_connections, or close idle sessions."))
        refused = say("The account {user} may open no replication connection.", user=context.plan.source.user)
        return failed(
            refused if failure.code == "RIGHTS-MISSING" else failure.message,
            _replication_hint(failure.code, failure.hint),
            _replication_line(context, database, failure.code),
        )
    return passed(
        say("A replication connection was opened; the server is {server}.", server=row[0] if row else noun("unknown"))
    )


def _replication_hint(code: str, hint: Sentence) -> Sentence:
    if code == "RIGHTS-MISSING":
        return say("Give the account the replication privilege.")
    if code == "HBA-REFUSED":
        return say(
            "Add this line to the source's pg_hba.conf, above any line that would refuse the account, and run SELECT"
            " pg_reload_conf()."
        )
    return hint


def _replication_line(context: Context, database: DatabasePlan, code: str) -> str:
    user = context.plan.source.user
    if code == "RIGHTS-MISSING":
        return _replicating(context, user)
    return _access_line(context, database, user) if code == "HBA-REFUSED" else ""


def _access_line(context: Context, database: DatabasePlan, user: str) -> str:
    """Return the line of pg_hba.conf for logical replication from where the source sees our ordinary sessions."""
    source = context.source(database.source_name)
    row = source.execute("SELECT pg_catalog.host(pg_catalog.inet_client_addr())").fetchone()
    kind = "host" if tls_words(source) == "none" else "hostssl"
    by_name = has_publications(context.version(Side.SOURCE))  # before 10 no name of a database matches
    words = (
        kind,
        hba_name(database.source_name) if by_name else "replication",
        hba_name(user),
        one_address(str(row[0])) if row and row[0] else "samehost",
        "scram-sha-256" if known_as_scram(source) else "md5",  # which lets in whose password is kept as SCRAM as well
    )
    return "  ".join(words)


@item(
    "slot-wal-limit",
    "WAL kept for slots",
    Group.SYNC,
    "The source keeps enough WAL for a slot while the copy runs.",
    incremental_only=True,
    sides=ON_SOURCE,
)
def slot_wal_limit(context: Context) -> Finding:
    """Compare max_slot_wal_keep_size with what is copied; look at idle_replication_slot_timeout."""
    idle = int(context.setting(Side.SOURCE, "idle_replication_slot_timeout") or 0)
    if 0 < idle < SHORT_IDLE_SECONDS:
        words = context.one(Side.SOURCE, "SELECT pg_catalog.current_setting('idle_replication_slot_timeout')")
        finding = warning(
            say("The source drops slots that are idle for {words}.", words=words),
            say(
                "A copy or a pause of the task longer than that would lose the slot, and the copy must "
                "start again. Lift the limit while the task runs."
            ),
            "ALTER SYSTEM SET idle_replication_slot_timeout = 0;\nSELECT pg_reload_conf();",
        )
        return set_by_us(context, finding, "idle_replication_slot_timeout", 0)
    text = context.setting(Side.SOURCE, "max_slot_wal_keep_size")
    if text in ("", "-1"):
        return passed(
            say("The source keeps WAL for slots without a limit."), say("Watch the free disk space of the source.")
        )
    limit = int(text) << 20
    needed = max(1 << 30, _selected_bytes(context))
    if limit >= needed:
        return passed(say("The source keeps up to {size} of WAL for slots.", size=setting_size(limit)))
    wanted = f"{max(needed >> 20, 1024) * 2}MB"
    finding = warning(
        say(
            "The source keeps only {size} of WAL for slots; {size_2} will be copied.",
            size=setting_size(limit),
            size_2=size(_selected_bytes(context)),
        ),
        say(
            "If the application writes more than that during the copy, the slot is lost and the copy must start again."
        ),
        f"ALTER SYSTEM SET max_slot_wal_keep_size = '{wanted}';\nSELECT pg_reload_conf();",
    )
    return set_by_us(context, finding, "max_slot_wal_keep_size", wanted)


def _selected_bytes(context: Context) -> int:
    return sum(table.bytes for plan in context.plan.databases for table in context.tables(plan.source_name))


@item(
    "wal-sender-timeout",
    "WAL sender timeout",
    Group.SYNC,
    "The source does not end replication connections too soon.",
    incremental_only=True,
    sides=ON_SOURCE,
)
def wal_sender_timeout(context: Context) -> Finding:
    """Look at wal_sender_timeout."""
    if not can_decode(context.version(Side.SOURCE)):
        return passed(_TOO_OLD)
    milliseconds = int(context.setting(Side.SOURCE, "wal_sender_timeout") or 0)
    if not milliseconds:
        return passed(say("The source never ends a replication connection by itself."))
    if milliseconds >= 10_000:
        return passed(say("wal_sender_timeout is {milliseconds} s.", milliseconds=milliseconds // 1000))
    finding = warning(
        say("wal_sender_timeout is only {milliseconds} s.", milliseconds=f"{milliseconds / 1000:g}"),
        say("A short stall of the network would cut the sync, which then connects again. 60 s is the usual value."),
        "ALTER SYSTEM SET wal_sender_timeout = '60s';\nSELECT pg_reload_conf();",
    )
    return set_by_us(context, finding, "wal_sender_timeout", "60s")
