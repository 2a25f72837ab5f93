"""Items about what really answers at the two addresses: PostgreSQL itself, of a sound minor version, with no pooler."""

from __future__ import annotations

from ..errors import ConnectFailed
from ..names import quote
from ..plan import DatabasePlan, Side
from ..probe import version_words
from .context import Context, Unavailable
from .registry import ON_SOURCE, ON_TARGET, Finding, Group, failed, item, listing, passed, warning

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
    (14, 4, "indexes that were built CONCURRENTLY may miss rows"),
    *(
        (major, minor, "changes made while a publication is altered may be left out of logical decoding")
        for major, minor in ((13, 21), (14, 18), (15, 13), (16, 9), (17, 5))
    ),
)
"""Major version, first minor version without the fault, and the fault."""
_SWITCHES = ("rds.logical_replication", "cloudsql.logical_decoding", "alloydb.logical_decoding")


def _genuine(context: Context, side: Side) -> Finding:
    banner = str(context.one(side, "SELECT pg_catalog.version()"))
    other = next((name for mark, name in _LOOK_ALIKES.items() if mark in banner.lower()), "")
    row = context.one(
        side,
        "SELECT relname::text FROM pg_catalog.pg_class"
        " WHERE relname = ANY (%s) AND relnamespace = 'pg_catalog'::pg_catalog.regnamespace LIMIT 1",
        parameters=(list(_MARKS),),
    )
    if other := other or _MARKS.get(str(row), ""):
        return failed(
            f"The {side} is {other}, which speaks PostgreSQL's protocol but has another catalog and another log.",
            "Only PostgreSQL itself and services that run it are supported.",
        )
    return _direct(context, side)


def _direct(context: Context, side: Side) -> Finding:
    """Compare the process that greeted us with the one that answers, and the server behind two logins."""
    connection = context.session(side)
    greeted, answers = connection.info.backend_pid, context.one(side, "SELECT pg_catalog.pg_backend_pid()")
    hint = (
        "Enter the address of the PostgreSQL server itself: snapshots, settings and slots belong to one session on one"
        " server, which poolers and balancers share out."
    )
    if greeted != answers:
        words = f"A connection pooler stands before the {side}: another process answers than the one that greeted us."
        return failed(words, hint) if side is Side.SOURCE and context.plan.incremental else warning(words, hint)
    text = "SELECT pg_catalog.pg_postmaster_start_time()::text || pg_catalog.pg_is_in_recovery()::text"
    try:
        with context.fresh(side) as second:
            if second.execute(text.encode()).fetchone() != connection.execute(text.encode()).fetchone():
                return failed(f"Two logins to the {side} ended up on two different servers.", hint)
    except ConnectFailed as failure:
        raise Unavailable(failure) from failure
    return passed(f"PostgreSQL itself answers; no pooler or balancer stands before the {side}.")


@item(
    "source-genuine",
    "Source is PostgreSQL itself",
    Group.CONNECTION,
    "The source is no look-alike, and neither a pooler nor a balancer stands before it.",
    sides=ON_SOURCE,
)
def source_genuine(context: Context) -> Finding:
    """Look for other products, poolers and balancers at the source's address."""
    return _genuine(context, Side.SOURCE)


@item(
    "target-genuine",
    "Target is PostgreSQL itself",
    Group.CONNECTION,
    "The target is no look-alike, and neither a pooler nor a balancer stands before it.",
    sides=ON_TARGET,
)
def target_genuine(context: Context) -> Finding:
    """Look for other products, poolers and balancers at the target's address."""
    return _genuine(context, Side.TARGET)


def _minor(context: Context, side: Side) -> Finding:
    version = context.version(side)
    words = version_words(version)
    faults = [
        f"{fault} (mended in {major}.{fixed})"
        for major, fixed, fault in _KNOWN_BAD
        if version // 10000 == major and version % 10000 < fixed
    ]
    if faults:
        return warning(
            f"PostgreSQL {words} of the {side} has known faults: {listing(faults)}.",
            "Install the latest minor version, which needs a short restart and no migration, before the start.",
            needs_restart=side is Side.SOURCE,
        )
    return passed(f"PostgreSQL {words} has no known fault that matters here.")


@item(
    "source-minor-version",
    "Minor version of the source",
    Group.CONNECTION,
    "The source runs no minor version with a fault that could spoil a migration.",
    sides=ON_SOURCE,
)
def source_minor_version(context: Context) -> Finding:
    """Compare the source's minor version with the list of faulty ones."""
    return _minor(context, Side.SOURCE)


@item(
    "target-minor-version",
    "Minor version of the target",
    Group.CONNECTION,
    "The target runs no minor version with a fault that could spoil a migration.",
    sides=ON_TARGET,
)
def target_minor_version(context: Context) -> Finding:
    """Compare the target's minor version with the list of faulty ones."""
    return _minor(context, Side.TARGET)


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
            f"The source has no database {database.source_name}.",
            "Go back to the objects step, refresh the tree and select again.",
        )
    if not known["may_connect"]:
        return failed(
            f"The account may not connect to {database.source_name}, or the database accepts no connections.",
            "Grant the right, and let the database accept connections if it does not.",
            f"GRANT CONNECT ON DATABASE {quote(database.source_name)} TO {quote(context.source().info.user)};",
        )
    return passed(f"{database.source_name} is there and lets the account in.")


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
        value = context.one(Side.SOURCE, "SELECT pg_catalog.current_setting(%s, true)", parameters=(name,))
        if value in ("off", "0", "false", "no"):
            return failed(
                f"{name} is {value}: the vendor keeps logical replication switched off.",
                f"Set {name} to on in the server's parameter group or flags, and restart it.",
                needs_restart=True,
            )
        if value:
            return passed(f"{name} is {value}.")
    return passed("The source has no vendor's switch; wal_level alone decides.")
