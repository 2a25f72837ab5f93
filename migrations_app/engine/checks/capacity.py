"""Items about limits that a large or busy server meets: locks, connections, timeouts, tools."""

from __future__ import annotations

from ..errors import EngineError
from ..pgtools import pg_dump_path, tool_version
from ..plan import Side
from .context import Context
from .registry import Finding, Group, count, failed, item, passed, warning

_TIMEOUTS = (
    "statement_timeout",
    "lock_timeout",
    "idle_in_transaction_session_timeout",
    "idle_session_timeout",
    "transaction_timeout",
)


@item(
    "source-locks",
    "Lock table of the source",
    Group.CAPACITY,
    "Reading the schema locks every selected table at once.",
)
def source_locks(context: Context) -> Finding:
    """Compare the lock table's size with the tables of the largest database."""

    def setting(name: str) -> int:
        return int(context.setting(Side.SOURCE, name) or 0)

    per_session = setting("max_locks_per_transaction")
    sessions = setting("max_connections") + setting("max_prepared_transactions")
    slots = per_session * sessions
    tables = max((len(context.tables(plan.source_name)) for plan in context.plan.databases), default=0)
    words = f"The source has room for about {slots} locks; {count(tables, 'table')} must be locked at once."
    if tables * 4 <= slots:
        return passed(words)
    sql = f"ALTER SYSTEM SET max_locks_per_transaction = {tables * 4 // max(sessions, 1) + 64};"
    hint = "Raise max_locks_per_transaction and restart the source, or migrate fewer tables in one task."
    if tables > slots:
        return failed(words, hint, sql, needs_restart=True)
    return warning(f"{words} Other sessions need locks too.", hint, sql, needs_restart=True)


def _connections(context: Context, side: Side, needed: int) -> Finding:
    row = (
        context.session(side)
        .execute("SELECT count(*) FROM pg_catalog.pg_stat_activity WHERE backend_type = 'client backend'")
        .fetchone()
    )
    used = int(str(row[0])) if row else 0
    reserved = sum(
        int(context.setting(side, n) or 0) for n in ("superuser_reserved_connections", "reserved_connections")
    )
    limit = int(context.setting(side, "max_connections")) - reserved
    own = int(context.one(side, "SELECT rolconnlimit FROM pg_catalog.pg_roles WHERE rolname = current_user") or -1)
    free = limit - used if own < 0 else min(limit - used, own)
    words = f"About {free} of {limit} connections are free on the {side}; the migration uses up to {needed}."
    if free >= needed:
        return passed(words)
    return warning(
        words,
        "The migration may have to wait for connections. Close idle sessions, raise max_connections (or the account's"
        " limit), or lower the number of parallel jobs.",
    )


@item("source-connections", "Connections of the source", Group.CAPACITY, "Enough connections are free for the copy.")
def source_connections(context: Context) -> Finding:
    """Compare the free connections of the source with what the copy opens."""
    return _connections(context, Side.SOURCE, context.plan.copy_jobs + 2 * len(context.plan.databases) + 2)


@item("target-connections", "Connections of the target", Group.CAPACITY, "Enough connections are free for the copy.")
def target_connections(context: Context) -> Finding:
    """Compare the free connections of the target with what the copy opens."""
    plan = context.plan
    return _connections(context, Side.TARGET, plan.copy_jobs + plan.index_jobs + 2 * len(plan.databases) + 2)


@item("timeouts", "Timeouts", Group.CAPACITY, "Timeouts of servers and accounts do not end a long copy.")
def timeouts(context: Context) -> Finding:
    """List timeouts that the servers or accounts set and our sessions override."""
    found = []
    for side in Side:
        rows = context.session(side).execute(
            "SELECT DISTINCT split_part(c, '=', 1) FROM pg_catalog.pg_db_role_setting s, unnest(s.setconfig) c"
            " WHERE split_part(c, '=', 1) = ANY (%s) ORDER BY 1",
            (list(_TIMEOUTS),),
        )
        found += [f"{row[0]} on the {side}" for row in rows.fetchall()]
    if found:
        return passed(
            f"Set for accounts or databases: {', '.join(found)}.", "The migration's own sessions override them."
        )
    return passed(
        "No account or database sets a timeout of its own.", "The migration's own sessions override the servers'."
    )


@item("pg-dump", "pg_dump for both versions", Group.CAPACITY, "A pg_dump that can read the source is installed here.")
def pg_dump(context: Context) -> Finding:
    """Look for a pg_dump that both ends accept."""
    try:
        path = pg_dump_path(context.version(Side.SOURCE), context.version(Side.TARGET))
        major, minor = tool_version(path)
    except EngineError as missing:
        return failed(missing.message, missing.hint)
    return passed(f"pg_dump {major}.{minor} is used.")
