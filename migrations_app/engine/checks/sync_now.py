"""Items about what stands in the way on the source now: transactions that a slot waits for, slots of earlier tasks."""

from __future__ import annotations

from ..names import literal, quote
from ..plan import Side
from ..sql import query
from ..versions import can_decode, has_monitor_role, has_publications
from ..wording import count, listing, printable, say, template
from .context import Context
from .registry import ON_SOURCE, Finding, Group, item, lines, passed, warning

LONG_TRANSACTION_SECONDS = 300
_DATED_BY_MEMBERS = template("{number} of other accounts cannot be dated; membership in pg_monitor makes them visible.")
_DATED_BY_SUPERUSERS = template(
    "{number} of other accounts cannot be dated; before 10 only a superuser sees since when they run."
)


@item(
    "long-transactions",
    "Long transactions on the source",
    Group.SYNC,
    "A slot can be made only after every transaction that has written is over.",
    incremental_only=True,
    sides=ON_SOURCE,
)
def long_transactions(context: Context) -> Finding:
    """List writing transactions older than five minutes."""
    rows = context.source().execute(query("check_writers")).fetchall()
    old = [row for row in rows if row[2] is not None and int(str(row[2])) >= LONG_TRANSACTION_SECONDS]
    unseen = [row for row in rows if row[2] is None]
    if old:
        words = [
            say("PID {pid} of {user}, {minutes} min", pid=pid, user=user, minutes=int(str(age)) // 60)
            for pid, user, age in old
        ]
        return warning(
            say(
                "{number} with writes open on the source: {names}.",
                number=count(len(old), "{number} long transaction", "{number} long transactions"),
                names=listing(words),
            ),
            say("The start waits until they end. Let them end, or end them if the application allows it."),
            lines(f"SELECT pg_terminate_backend({int(str(pid))});" for pid, _user, _age in old),
        )
    if unseen:
        return passed(
            say("No long transaction is visible."),
            say(
                _DATED_BY_MEMBERS if has_monitor_role(context.version(Side.SOURCE)) else _DATED_BY_SUPERUSERS,
                number=count(len(unseen), "{number} writing transaction", "{number} writing transactions"),
            ),
        )
    return passed(say("No writing transaction has been open for more than five minutes."))


@item(
    "prepared-transactions",
    "Prepared transactions on the source",
    Group.SYNC,
    "A slot can be made only after prepared transactions are committed or rolled back.",
    incremental_only=True,
    sides=ON_SOURCE,
)
def prepared_transactions(context: Context) -> Finding:
    """List prepared transactions of the whole source server."""
    rows = (
        context.source()
        .execute("SELECT gid::text, owner::text, database::text FROM pg_catalog.pg_prepared_xacts ORDER BY prepared")
        .fetchall()
    )
    if not rows:
        return passed(say("No prepared transaction is open."))
    words = [
        say("{gid} of {owner} in {database}", gid=gid, owner=owner, database=database) for gid, owner, database in rows
    ]
    return warning(
        say(
            "{number} on the source: {names}.",
            number=count(len(rows), "{number} prepared transaction", "{number} prepared transactions"),
            names=listing(words),
        ),
        say("The start waits until each is committed or rolled back, in its own database."),
        lines(f"ROLLBACK PREPARED {literal(str(gid))};  -- or COMMIT PREPARED" for gid, _owner, _database in rows),
    )


@item(
    "leftovers",
    "Leftovers of earlier tasks",
    Group.SYNC,
    "Slots and publications with our names that nobody uses any more.",
    sides=ON_SOURCE,
)
def leftovers(context: Context) -> Finding:
    """List inactive towpath slots and the publications that belong to no active one, but for those of tasks at work.

    A slot is inactive while its task copies, is paused, or failed: dropped then, the task would be lost.
    """
    if not can_decode(context.version(Side.SOURCE)):
        return passed(say("Before 9.4 a server has no slots, and nothing of ours is on the source."))
    text = "SELECT slot_name::text, active FROM pg_catalog.pg_replication_slots WHERE slot_name LIKE 'towpath\\_%'"
    rows = context.source().execute(text).fetchall()
    idle = [str(name) for name, active in rows if not active and not _at_work(context, str(name))]
    used = {str(name) for name, active in rows}
    found, statements = [say("slot {name}", name=name) for name in idle], []
    statements += [f"SELECT pg_drop_replication_slot({literal(name)});" for name in idle]
    for plan in context.plan.databases:
        for name in _publications(context, plan.source_name):
            if name not in used and not _at_work(context, name):
                found.append(say("publication {name} in {source_name}", name=name, source_name=plan.source_name))
                statements.append(f"DROP PUBLICATION {quote(name)};  -- in {printable(plan.source_name)}")
    if found:
        return warning(
            say("The source still has {names}.", names=listing(found)),
            say(
                "A slot keeps WAL for ever. Drop what belongs to no task that is paused or running on another console."
            ),
            lines(statements),
        )
    return passed(say("No unused slot or publication of ours is on the source."))


def _at_work(context: Context, name: str) -> bool:
    """Say whether an object of ours belongs to an unfinished task of this console; it carries the task's key."""
    return name.split("_")[1] in context.plan.at_work


def _publications(context: Context, database: str) -> list[str]:
    if not has_publications(context.version(Side.SOURCE)):
        return []
    rows = context.source(database).execute(
        "SELECT pubname::text FROM pg_catalog.pg_publication WHERE pubname LIKE 'towpath\\_%'"
    )
    return [str(row[0]) for row in rows.fetchall()]
