"""Items about what a migration means for the source as a running server: memory, snapshots, WAL, other replication."""

from __future__ import annotations

from ..names import literal, quote
from ..other_tasks import Claim, claims, keys_in, told
from ..owners import inherits, joining
from ..plan import DatabasePlan, Side
from ..versions import has_monitor_role
from ..wording import NOTHING, Sentence, count, listing, noun, say
from .context import Context
from .objects import selected_things, things_of
from .registry import ON_SOURCE, Finding, Group, failed, item, lines, passed, setting_size, size, warning
from .settings import set_by_us

DECODING_KILOBYTES = 64 << 10
IDLE_SLOT_BYTES = 1 << 30
OLD_TRANSACTIONS = 1_000_000_000
TUNED_BYTES = 10 << 30
LARGE_BYTES = 1 << 40


@item(
    "decoding-memory",
    "Memory for logical decoding",
    Group.SYNC,
    "Decoded changes of one transaction fit into memory before they are written to the source's disk.",
    incremental_only=True,
    sides=ON_SOURCE,
)
def decoding_memory(context: Context) -> Finding:
    """Look at logical_decoding_work_mem, which 13 and later have."""
    text = context.setting(Side.SOURCE, "logical_decoding_work_mem")
    if not text:
        return passed(say("This version decodes in a fixed amount of memory."))
    if int(text) >= DECODING_KILOBYTES:
        return passed(say("logical_decoding_work_mem is {size}.", size=setting_size(int(text) << 10)))
    return warning(
        say("logical_decoding_work_mem is only {size}.", size=setting_size(int(text) << 10)),
        say(
            "Larger transactions are written to the source's disk while they are decoded, which "
            "slows the sync. 64 MB is the usual value."
        ),
        "ALTER SYSTEM SET logical_decoding_work_mem = '64MB';\nSELECT pg_reload_conf();",
    )


@item(
    "old-snapshots",
    "Old snapshots stay usable",
    Group.CAPACITY,
    "The copy reads under one snapshot for as long as it takes; the source must not declare it too old.",
    sides=ON_SOURCE,
)
def old_snapshots(context: Context) -> Finding:
    """Look at old_snapshot_threshold, which servers before 17 have."""
    minutes = int(context.setting(Side.SOURCE, "old_snapshot_threshold") or -1)
    if minutes < 0:
        return passed(say("The source keeps what an open snapshot needs."))
    finding = warning(
        say(
            "old_snapshot_threshold is {minutes} min: a copy that takes longer may fail with 'snapshot too old'.",
            minutes=minutes,
        ),
        say("Switch it off and restart the source before the start, unless the copy is much shorter."),
        "ALTER SYSTEM SET old_snapshot_threshold = -1;",
        needs_restart=True,
    )
    return set_by_us(context, finding, "old_snapshot_threshold", -1)


@item(
    "transaction-age",
    "Transaction ids of the source",
    Group.CAPACITY,
    "While a long copy holds its snapshot, vacuum cannot clean up; there must be transaction ids enough until then.",
    sides=ON_SOURCE,
)
def transaction_age(context: Context) -> Finding:
    """Look at the oldest frozen transaction id of all databases."""
    row = (
        context.source()
        .execute(
            "SELECT datname::text, pg_catalog.age(datfrozenxid)::bigint FROM pg_catalog.pg_database"
            " ORDER BY 2 DESC LIMIT 1"
        )
        .fetchone()
    )
    name, age = (str(row[0]), int(str(row[1]))) if row else ("", 0)
    if age <= OLD_TRANSACTIONS:
        return passed(say("The oldest transaction id is {age} transactions old.", age=f"{age:,}"))
    return warning(
        say(
            "The oldest transaction id, in {name}, is {age} transactions old; the server stops at about 2,100,000,000.",
            name=name,
            age=f"{age:,}",
        ),
        say(
            "Let vacuum catch up before the start: the copy's snapshot holds it back, and dead rows stay until it ends."
        ),
        "VACUUM (FREEZE);",
    )


@item(
    "idle-slots",
    "Forgotten replication slots",
    Group.SYNC,
    "Slots of others that nobody reads keep WAL, and with it the disk of the source fills during the migration.",
    sides=ON_SOURCE,
)
def idle_slots(context: Context) -> Finding:
    """List inactive slots that keep much WAL. What ours keep is told by `leftovers`."""
    rows = context.rows(Side.SOURCE, "check_idle_slots")
    kept = [(str(name), int(str(held))) for name, held in rows if int(str(held)) >= IDLE_SLOT_BYTES]
    if not kept:
        return passed(say("No slot that nobody reads keeps much WAL."))
    return warning(
        say(
            "Nobody reads {names}.",
            names=listing(say("slot {name} ({size} of WAL)", name=name, size=size(held)) for name, held in kept),
        ),
        say("Find out whose they are, and drop those that nobody needs. A slot also keeps dead rows of the catalogs."),
        lines(f"SELECT pg_drop_replication_slot({literal(name)});" for name, _held in kept),
    )


@item(
    "replication-objects",
    "Other replication in the database",
    Group.SELECTION,
    "Publications and subscriptions of others are not migrated.",
    per_database=True,
    sides=ON_SOURCE,
)
def replication_objects(context: Context, database: DatabasePlan) -> Finding:
    """List publications, subscriptions and replication extensions of the source database."""
    rows = context.rows(Side.SOURCE, "check_replication_objects", database.source_name)
    if not rows:
        return passed(say("The database has no publication and no subscription of its own."))
    return warning(
        say(
            "The database takes part in other replication: {names}.",
            names=listing(say("{kind} {name}", kind=noun(kind), name=name) for kind, name in rows),
        ),
        say(
            "These are not migrated. Make them anew on the target after Complete, and drop the "
            "subscriptions of the source before the application writes to the target, so that no "
            "change goes to both."
        ),
    )


@item(
    "monitoring-rights",
    "Activity can be seen",
    Group.PRIVILEGES,
    "The source account may see how long other sessions' transactions have been open. No migration depends on it.",
    sides=ON_SOURCE,
)
def monitoring_rights(context: Context) -> Finding:
    """Look for superuser, or for the rights of pg_read_all_stats."""
    text = (
        "SELECT bool_or(pg_catalog.pg_has_role(oid, 'USAGE')) FROM pg_catalog.pg_roles"
        " WHERE rolname = 'pg_read_all_stats'"
    )
    if context.is_superuser(Side.SOURCE) or context.one(Side.SOURCE, text):
        return passed(say("The account sees the activity of other accounts."), _unlisted_wal(context))
    words, source = say("The account cannot see the activity of other accounts."), context.source()
    hint = say("The migration works without it, but what it waits for is then shown without age and user.")
    version = context.version(Side.SOURCE)
    if not has_monitor_role(version):
        return warning(words, hint + say(" Before 10 only a superuser sees them."))
    return warning(words, hint, lines(joining(["pg_monitor"], source.info.user, version, inheriting=inherits(source))))


def _unlisted_wal(context: Context) -> Sentence:
    """Say what the rights on activity do not bring."""
    may = "SELECT pg_catalog.has_function_privilege('pg_catalog.pg_ls_waldir()', 'EXECUTE')"
    if not has_monitor_role(context.version(Side.SOURCE)) or context.one(Side.SOURCE, may):
        return NOTHING
    return say("How much WAL lies on the source's disk is not shown: that takes the rights of pg_monitor.")


def _selected_bytes(context: Context) -> int:
    return sum(table.bytes for plan in context.plan.databases for table in context.tables(plan.source_name))


@item(
    "target-tuning",
    "Settings of the target for a large copy",
    Group.CAPACITY,
    "A large copy is slowed down by settings that are made for a small server.",
)
def target_tuning(context: Context) -> Finding:
    """Compare max_wal_size, and for very large copies shared_buffers, with what will be copied."""
    total = _selected_bytes(context)
    wal = int(context.setting(Side.TARGET, "max_wal_size") or 0) << 20
    buffers = int(context.setting(Side.TARGET, "shared_buffers") or 0) << 13
    found, statements = [], []
    if total >= TUNED_BYTES and wal < 4 << 30:
        found.append(say("max_wal_size is {size}", size=setting_size(wal)))
        statements.append("ALTER SYSTEM SET max_wal_size = '16GB';")
    small_buffers = total >= LARGE_BYTES and buffers < 8 << 30
    if small_buffers:
        found.append(say("shared_buffers is {size}", size=setting_size(buffers)))
    if not found:
        return passed(say("Nothing stands out for a copy of {size}.", size=size(total)))
    return warning(
        say("For a copy of {size} the target is set up small: {names}.", size=size(total), names=listing(found)),
        say(
            "The copy works, but checkpoints and index builds will slow it down. Raise the settings, "
            "or take a larger server, at least until the migration has completed."
        ),
        lines([*statements, "SELECT pg_reload_conf();"]) if statements else "",
        needs_restart=small_buffers,
    )


@item(
    "temporary-files",
    "Temporary files on the target",
    Group.CAPACITY,
    "Index builds sort in temporary files, which a limit could end.",
)
def temporary_files(context: Context) -> Finding:
    """Compare temp_file_limit with the largest selected table."""
    limit = int(context.setting(Side.TARGET, "temp_file_limit") or -1)
    largest = max(
        (table.bytes for plan in context.plan.databases for table in context.tables(plan.source_name)), default=0
    )
    if limit < 0 or limit << 10 >= largest:
        return passed(say("No limit on temporary files is in the way of index builds."))
    user = quote(context.target().info.user)
    return warning(
        say(
            "Sessions of the target may write {size} of temporary files; the largest table has {size_2}.",
            size=setting_size(limit << 10),
            size_2=size(largest),
        ),
        say("Building its indexes may fail. A superuser can lift the limit for the account."),
        f"ALTER ROLE {user} SET temp_file_limit = -1;",
    )


@item(
    "other-tasks",
    "No other migration is here",
    Group.TARGET,
    "No other migration task, of this console or another one, works on the target databases.",
    per_database=True,
)
def other_tasks(context: Context, database: DatabasePlan) -> Finding:
    """Look for other tasks in the target database: what they have by their ledgers, sessions, positions they keep."""
    name, others = database.target_name, context.plan.others
    there = context.target_exists(database)
    keys = keys_in(context.target(name), name) if there else set()
    here = dict.fromkeys(keys, say("not at work in this console")) | {
        one.key: one.name for one in others.neighbours if one.database == name and (one.near or one.key in keys)
    }
    here.pop(context.plan.key, None)
    if not there and not here:
        return passed(say("The target has no database {target_name} yet.", target_name=name))
    if not here:
        return passed(say("No other migration works on {target_name}.", target_name=name))
    if found := _claims(context, database, keys):
        return failed(*told(found, name))
    return warning(
        say(
            "{number} works or worked on {target_name}: {names}.",
            number=count(len(here), "{number} other migration", "{number} other migrations"),
            target_name=name,
            names=listing(say("task {key} ({here})", key=key, here=here[key]) for key in sorted(here)),
        ),
        say(
            "Two tasks may share a target database only if they migrate different tables. Complete "
            "or cancel the other one first, or choose another target database."
        ),
    )


def _claims(context: Context, database: DatabasePlan, keys: set[str]) -> list[Claim]:
    """Return the tasks that have what this one would make; those of other consoles where it takes over what is there,
    since nobody knows here which tables they have."""
    places = {one.place for one in selected_things(context, database) if one.catalog == "relation"}
    wanted = {(schema, name) for _, schema, name in places}
    found = claims(context.plan.others, context.plan.key, database.target_name, keys, wanted)
    if all(one.name for one in found):
        return found
    there = {one.place for one in things_of(context, Side.TARGET, database.target_name)}
    takes_over = context.plan.selection.existing != "refuse" and not places.isdisjoint(there)
    return [one for one in found if one.name or takes_over]
