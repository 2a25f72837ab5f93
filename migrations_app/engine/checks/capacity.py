"""Items about limits that a large or busy server meets: locks, connections, timeouts, tools."""

from __future__ import annotations

from functools import partial

from ..errors import ConnectFailed, EngineError
from ..names import APPLICATION_PREFIX, quote
from ..pgtools import pg_dump_path, tool_version
from ..pieces import pieces_of
from ..plan import DatabasePlan, Side
from ..versions import has_places_for_senders, set_setting
from ..wording import count, listing, noun, printable, say
from .context import Context, Unavailable
from .registry import ON_SOURCE, ON_TARGET, Finding, Group, failed, item, lines, passed, warning
from .settings import set_by_us

_TIMEOUTS = {  # and the first version that knows each
    "statement_timeout": 0,
    "lock_timeout": 0,
    "idle_in_transaction_session_timeout": 90600,
    "idle_session_timeout": 140000,
    "transaction_timeout": 170000,
}
_ASKED = {"row_security": ("off", 90500), "extra_float_digits": ("3", 0)}
"""Pins that differ from every server's own default, and the first version that knows each: when they are not in force,
none of the pins has arrived."""
_USED = (
    "SELECT count(*) FROM pg_catalog.pg_stat_activity a"
    " WHERE coalesce(pg_catalog.row_to_json(a) ->> 'backend_type', 'client backend') = ANY (%s)"
)
_OWN_LIMIT = (
    "SELECT r.rolconnlimit, (SELECT count(*) FROM pg_catalog.pg_stat_activity a"
    " WHERE a.usesysid = r.oid AND a.application_name NOT LIKE %s)"
    " FROM pg_catalog.pg_roles r WHERE r.rolname = current_user"
)
_DATABASE_LIMITS = (
    "SELECT d.datname::text, d.datconnlimit, (SELECT count(*) FROM pg_catalog.pg_stat_activity a"
    " WHERE a.datid = d.oid AND coalesce(a.application_name, '') NOT LIKE %s)"
    " FROM pg_catalog.pg_database d WHERE d.datconnlimit >= 0 AND d.datname = ANY (%s) ORDER BY 1"
)
_LEAST = 2
"""Connections that a migration needs beside one for each database: it cannot work with fewer."""


@item(
    "source-locks",
    "Lock table of the source",
    Group.CAPACITY,
    "Reading the schema locks all tables at once, or in pieces where the server has no room for that.",
    sides=ON_SOURCE,
)
def source_locks(context: Context) -> Finding:
    """Compare the lock table's size with the tables of the largest database."""

    def setting(name: str) -> int:
        return int(context.setting(Side.SOURCE, name) or 0)

    per_session = setting("max_locks_per_transaction")
    sessions = setting("max_connections") + setting("max_prepared_transactions")
    slots = per_session * sessions
    tables = max((len(context.tables(plan.source_name)) for plan in context.plan.databases), default=0)
    words = say(
        "The source has room for about {slots} locks; the largest database has {number}.",
        slots=slots,
        number=count(tables, "{number} table", "{number} tables"),
    )
    pieces = pieces_of(tables, slots)
    if pieces == 1:
        return passed(words)
    wanted = str(tables * 4 // max(sessions, 1) + 64)
    sql = set_setting(context.version(Side.SOURCE), "max_locks_per_transaction", wanted)
    finding = warning(
        words + say(" Its schema is read in {number} pieces, which takes longer.", number=pieces),
        say(
            "Nothing needs to be done: other sessions keep half of the room. To read all of it at once, raise"
            " max_locks_per_transaction and restart the source."
        ),
        sql,
        needs_restart=True,
    )
    if not context.may_configure():
        return finding
    change = ["max_locks_per_transaction", wanted, str(per_session)]
    return finding.fixed_by("settings", settings=[change], restart=True)


def _connections(context: Context, side: Side, needed: int) -> Finding:
    kinds = ["client backend"] if has_places_for_senders(context.version(side)) else ["client backend", "walsender"]
    used = int(context.one(side, _USED, parameters=(kinds,)) or 0)
    reserved = sum(
        int(context.setting(side, n) or 0) for n in ("superuser_reserved_connections", "reserved_connections")
    )
    limit = int(context.setting(side, "max_connections")) - reserved
    own, held = _own_limit(context, side)
    free = max(0, limit - used if own is None else min(limit - used, own - held))
    words = say(
        "About {free} of {limit} connections are free on the {side}; the migration uses up to {needed}.",
        free=free,
        limit=limit,
        side=noun(side),
        needed=needed,
    )
    if free >= needed:
        return _database_limits(context, side, needed) or passed(words)
    too_few = free < len(context.plan.databases) + _LEAST
    found = partial(failed if too_few else warning, words)
    if limit - used >= needed:
        hint = say(
            "The account may have only {own} of them. Raise its limit, or lower the number of parallel jobs.", own=own
        )
        return found(hint, f"ALTER ROLE {quote(context.session(side).info.user)} CONNECTION LIMIT {held + needed};")
    hint = say(
        "Close idle sessions, lower the number of parallel jobs, or raise max_connections and restart the {side}."
        " Until then the migration may have to wait for connections.",
        side=noun(side),
    )
    wanted = used + reserved + needed
    sql = set_setting(context.version(side), "max_connections", str(wanted))
    finding = found(hint, sql, needs_restart=True)
    return set_by_us(context, finding, "max_connections", wanted) if side is Side.SOURCE else finding


def _own_limit(context: Context, side: Side) -> tuple[int | None, int]:
    """Return the account's own limit, None without one, and its sessions of others: those of this task end with it."""
    if context.is_superuser(side):
        return None, 0  # whom no such limit binds
    row = context.session(side).execute(_OWN_LIMIT, (f"{APPLICATION_PREFIX}:{context.plan.key}:%",)).fetchone()
    most, held = (int(str(value)) for value in row or (-1, 0))
    return (None if most < 0 else most), held


def _database_limits(context: Context, side: Side, needed: int) -> Finding | None:
    """Return what is found where a database allows fewer connections than its migration uses; None where none does."""
    if context.is_superuser(side):
        return None
    names = [one.source_name if side is Side.SOURCE else one.target_name for one in context.plan.databases]
    one_of_them = needed - 2 * (len(names) - 1)
    rows = context.session(side).execute(_DATABASE_LIMITS, (f"{APPLICATION_PREFIX}:{context.plan.key}:%", names))
    limits = [(str(name), int(str(most)), int(str(held))) for name, most, held in rows.fetchall()]
    tight = [one for one in limits if one[1] - one[2] < one_of_them]
    if not tight:
        return None
    too_few = any(most - held < 1 + _LEAST for _, most, held in tight)
    return (failed if too_few else warning)(
        say(
            "Databases of the {side} allow few connections: {names}; the migration uses up to {needed} in each.",
            side=noun(side),
            names=listing(
                say("{name} has {free} of {limit} free", name=name, free=max(0, most - held), limit=most)
                for name, most, held in tight
            ),
            needed=one_of_them,
        ),
        say("Raise the databases' limits, or lower the number of parallel jobs."),
        lines(f"ALTER DATABASE {quote(name)} CONNECTION LIMIT {held + one_of_them};" for name, _, held in tight),
    )


@item(
    "source-connections",
    "Connections of the source",
    Group.CAPACITY,
    "Enough connections are free for the copy.",
    sides=ON_SOURCE,
)
def source_connections(context: Context) -> Finding:
    """Compare the free connections of the source with what the copy opens."""
    return _connections(context, Side.SOURCE, context.plan.copy_jobs + 2 * len(context.plan.databases) + 2)


@item(
    "target-connections",
    "Connections of the target",
    Group.CAPACITY,
    "Enough connections are free for the copy.",
    sides=ON_TARGET,
    counts_databases=True,
)
def target_connections(context: Context) -> Finding:
    """Compare the free connections of the target with what the copy opens."""
    plan = context.plan
    return _connections(context, Side.TARGET, plan.copy_jobs + plan.index_jobs + 2 * len(plan.databases) + 2)


@item(
    "timeouts",
    "Timeouts",
    Group.CAPACITY,
    "Our sessions' own settings hold on both servers, so that no timeout ends a long copy.",
    per_database=True,
)
def timeouts(context: Context, database: DatabasePlan) -> Finding:
    """Open a session on either side as the migration does, and look whether its settings are what was asked for."""
    found, statements = [], []
    target = database.target_name if context.target_exists(database) else ""
    for side, name in ((Side.SOURCE, database.source_name), (Side.TARGET, target)):
        settings = _fresh_settings(context, side, name)
        if lost := [
            say("{key} is {settings}", key=key, settings=settings[key])
            for key, (value, _) in _ASKED.items()
            if settings.get(key, value) != value
        ]:
            return failed(
                say(
                    "The settings that our sessions ask for do not reach the {side}: {names}.",
                    side=noun(side),
                    names=listing(lost),
                ),
                say(
                    "Connection poolers and proxies may drop them, and then values could change on the way. "
                    "Enter the address of the PostgreSQL server itself."
                ),
            )
        left = [
            say("{key} is {settings}", key=key, settings=settings[key])
            for key in _TIMEOUTS
            if settings.get(key, "0") != "0"
        ]
        if left:
            found.append(say("{names} on the {side}", names=listing(left), side=noun(side)))
            statements += _login_triggers(context, side, name)
    if found:
        return warning(
            say("Something changes our sessions at login: {names}.", names=listing(found)),
            say(
                "A long copy could be ended by it. The migration overrides what servers, databases and "
                "accounts set, but an event trigger ON login acts after that: exempt the migration's account "
                "there, or disable it."
            ),
            lines(statements),
        )
    return passed(say("No timeout of a server, database or account applies to the migration's own sessions."))


def _fresh_settings(context: Context, side: Side, database: str) -> dict[str, str]:
    """Return the settings in force in a new session that pins them as every session of the migration does."""
    context.session(side, database)  # what stops an ordinary login is told by the items of the connection
    version = context.version(side)
    pins = {name: "0" for name, since in _TIMEOUTS.items() if version >= since}
    pins |= {name: value for name, (value, since) in _ASKED.items() if version >= since}
    try:
        with context.fresh(side, database, settings=pins) as connection:
            rows = connection.execute(
                "SELECT name, pg_catalog.current_setting(name) FROM pg_catalog.pg_settings WHERE name = ANY (%s)",
                ([*_TIMEOUTS, *_ASKED],),
            ).fetchall()
    except ConnectFailed as failure:
        raise Unavailable(failure) from failure
    return {str(name): str(value) for name, value in rows}


def _login_triggers(context: Context, side: Side, database: str) -> list[str]:
    """Return a statement for each event trigger that acts at login; only 17 and later have such."""
    rows = context.session(side, database).execute(
        "SELECT evtname::text, pg_catalog.current_database()::text FROM pg_catalog.pg_event_trigger"
        " WHERE evtevent = 'login' AND evtenabled <> 'D' ORDER BY 1"
    )
    return [
        f"ALTER EVENT TRIGGER {quote(str(name))} DISABLE;  -- in {printable(str(where))} on the {side}"
        for name, where in rows.fetchall()
    ]


@item("pg-dump", "pg_dump for both versions", Group.CAPACITY, "A pg_dump that can read the source is installed here.")
def pg_dump(context: Context) -> Finding:
    """Look for a pg_dump that both ends accept."""
    try:
        path = pg_dump_path(context.version(Side.SOURCE), context.version(Side.TARGET))
        major, minor = tool_version(path)
    except EngineError as missing:
        return failed(missing.message, missing.hint)
    return passed(say("pg_dump {major}.{minor} is used.", major=major, minor=minor))
