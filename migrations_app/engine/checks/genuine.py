"""Items about what really answers at the two addresses: PostgreSQL itself, of a sound minor version, with no pooler."""

from __future__ import annotations

from ..errors import ConnectFailed
from ..names import quote
from ..plan import DatabasePlan, Side
from ..versions import knows_allow_connections, open_database, version_words
from ..wording import listing, noun, say
from .context import Context, Unavailable
from .registry import ON_SOURCE, Finding, Group, failed, item, passed, twins, warning

_LOOK_ALIKES = {
    "cockroachdb": "CockroachDB",
    "redshift": "Amazon Redshift",
    "greenplum": "Greenplum",
    "-yb-": "YugabyteDB",
    "yellowbrick": "Yellowbrick",
    "opengauss": "openGauss",
    "gaussdb": "GaussDB",
    "materialize": "Materialize",
    "questdb": "QuestDB",
}
_MARKS = {"gp_segment_configuration": "Greenplum", "pgxc_node": "Postgres-XL or GaussDB", "stv_sessions": "Redshift"}
"""Relations of pg_catalog that PostgreSQL does not have."""
_KNOWN_BAD = (
    (14, 4, say("indexes that were built CONCURRENTLY may miss rows")),
    *(
        (major, minor, say("changes made while a publication is altered may be left out of logical decoding"))
        for major, minor in ((13, 21), (14, 18), (15, 13), (16, 9), (17, 5))
    ),
)
"""Major version, first minor version without the fault, and the fault."""
_SWITCHES = ("rds.logical_replication", "cloudsql.logical_decoding", "alloydb.logical_decoding")


@twins(
    "genuine",
    Group.CONNECTION,
    source=(
        "Source is PostgreSQL itself",
        "The source is no look-alike, and neither a pooler nor a balancer stands before it.",
    ),
    target=(
        "Target is PostgreSQL itself",
        "The target is no look-alike, and neither a pooler nor a balancer stands before it.",
    ),
)
def genuine(context: Context, side: Side) -> Finding:
    """Look for other products, poolers and balancers at the address."""
    banner = str(context.one(side, "SELECT pg_catalog.version()"))
    other = next((name for mark, name in _LOOK_ALIKES.items() if mark in banner.lower()), "")
    row = context.one(
        side,
        "SELECT relname::text FROM pg_catalog.pg_class"
        " WHERE relname = ANY (%s) AND relnamespace = "
        "(SELECT oid FROM pg_catalog.pg_namespace WHERE nspname = 'pg_catalog') LIMIT 1",
        parameters=(list(_MARKS),),
    )
    if other := other or _MARKS.get(str(row), ""):
        return failed(
            say(
                "The {side} is {other}, which speaks PostgreSQL's protocol but has another catalog and another log.",
                side=noun(side),
                other=other,
            ),
            say("Only PostgreSQL itself and services that run it are supported."),
        )
    return _direct(context, side)


def _direct(context: Context, side: Side) -> Finding:
    """Compare the process that greeted us with the one that answers, and the server behind two logins."""
    connection = context.session(side)
    greeted, answers = connection.info.backend_pid, context.one(side, "SELECT pg_catalog.pg_backend_pid()")
    hint = say(
        "Enter the address of the PostgreSQL server itself: snapshots, settings and slots belong "
        "to one session on one server, which poolers and balancers share out."
    )
    if greeted != answers:
        words = say(
            "A connection pooler stands before the {side}: another process answers than the one that greeted us.",
            side=noun(side),
        )
        return failed(words, hint) if side is Side.SOURCE and context.plan.incremental else warning(words, hint)
    text = "SELECT pg_catalog.pg_postmaster_start_time()::text || pg_catalog.pg_is_in_recovery()::text"
    try:
        with context.fresh(side) as second:
            if second.execute(text.encode()).fetchone() != connection.execute(text.encode()).fetchone():
                return failed(say("Two logins to the {side} ended up on two different servers.", side=noun(side)), hint)
    except ConnectFailed as failure:
        raise Unavailable(failure) from failure
    return passed(say("PostgreSQL itself answers; no pooler or balancer stands before the {side}.", side=noun(side)))


@twins(
    "minor-version",
    Group.CONNECTION,
    source=(
        "Minor version of the source",
        "The source runs no minor version with a fault that could spoil a migration.",
    ),
    target=(
        "Minor version of the target",
        "The target runs no minor version with a fault that could spoil a migration.",
    ),
)
def minor(context: Context, side: Side) -> Finding:
    """Compare the minor version with the list of faulty ones."""
    version = context.version(side)
    words = version_words(version)
    faults = [
        say("{fault} (mended in {major}.{fixed})", fault=fault, major=major, fixed=fixed)
        for major, fixed, fault in _KNOWN_BAD
        if version // 10000 == major and version % 10000 < fixed
    ]
    if faults:
        return warning(
            say(
                "PostgreSQL {words} of the {side} has known faults: {names}.",
                words=words,
                side=noun(side),
                names=listing(faults),
            ),
            say("Install the latest minor version, which needs a short restart and no migration, before the start."),
            needs_restart=True,
        )
    return passed(say("PostgreSQL {words} has no known fault that matters here.", words=words))


@item(
    "source-database",
    "Selected database can be entered",
    Group.CONNECTION,
    "The database is on the source, accepts connections, and the account may connect to it.",
    per_database=True,
    sides=ON_SOURCE,
)
def source_database(context: Context, database: DatabasePlan) -> Finding:
    """Look for the database in the source's list, and for the right to connect."""
    known = context.databases(Side.SOURCE).get(database.source_name)
    if known is None:
        return failed(
            say("The source has no database {source_name}.", source_name=database.source_name),
            say("Go back to the objects step, refresh the tree and select again."),
        )
    if not known["open"]:
        return failed(
            say("The database {source_name} accepts no connections.", source_name=database.source_name),
            say("Let it accept connections, as its owner or a superuser.")
            if knows_allow_connections(context.version(Side.SOURCE))
            else say("Let it accept connections, as a superuser."),
            open_database(context.version(Side.SOURCE), database.source_name),
        )
    if not known["may_connect"]:
        return failed(
            say("The account may not connect to {source_name}.", source_name=database.source_name),
            say("Grant the right, as the database's owner or a superuser."),
            f"GRANT CONNECT ON DATABASE {quote(database.source_name)} TO {quote(context.source().info.user)};",
        )
    return passed(say("{source_name} is there and lets the account in.", source_name=database.source_name))


def _switch(context: Context, name: str) -> str:
    """Return a setting that the server may not know. Before 9.6 only a look into the list tells without an error."""
    if context.version(Side.SOURCE) < 90600:
        return context.setting(Side.SOURCE, name)
    return context.one(Side.SOURCE, "SELECT pg_catalog.current_setting(%s, true)", parameters=(name,)) or ""


@item(
    "vendor-switch",
    "Vendor's switch for logical replication",
    Group.SYNC,
    "Managed servers have a parameter of their own that switches logical decoding on.",
    incremental_only=True,
    sides=ON_SOURCE,
)
def vendor_switch(context: Context) -> Finding:
    """Look at the vendors' parameters; a server has at most one of them."""
    for name in _SWITCHES:
        value = _switch(context, name)
        if value in ("off", "0", "false", "no"):
            return failed(
                say("{name} is {value}: the vendor keeps logical replication switched off.", name=name, value=value),
                say("Set {name} to on in the server's parameter group or flags, and restart it.", name=name),
                needs_restart=True,
            )
        if value:
            return passed(say("{name} is {value}.", name=name, value=value))
    return passed(say("The source has no vendor's switch; wal_level alone decides."))
