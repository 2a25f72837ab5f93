"""Items about the selection itself: that it is not empty, still true, and complete."""

from __future__ import annotations

import re
from collections.abc import Container

from ..mapping import leaves_any
from ..names import TARGET_SCHEMA, literal, quote
from ..plan import DatabasePlan, Side
from ..sql import query
from ..wording import Sentence, count, listing, say, template
from .context import Context
from .registry import ON_SOURCE, Finding, Group, failed, item, passed, warning

NOT_THERE = template("What is left out by name is not on the source: {names}.")
"""Said of the selection: a misspelt name leaves nothing out."""


@item(
    "selection",
    "Selected objects exist",
    Group.SELECTION,
    "Something is selected, and everything that is selected by name is still on the source.",
    sides=ON_SOURCE,
)
def selection(context: Context) -> Finding:
    """Look for an empty selection and for names that the source does not have."""
    gone = _gone(context)
    if not gone and not (context.plan.databases and context.plan.selection.touches()):
        return failed(say("Nothing is selected."), say("Go back to the objects step and select at least one table."))
    targets = [plan.target_name for plan in context.plan.databases]
    if twice := sorted({name for name in targets if targets.count(name) > 1}):
        return failed(
            say("More than one selected database would become {names} on the target.", names=listing(twice)),
            say("Give each database a target name of its own."),
        )
    known = context.databases(Side.SOURCE)
    missing = gone + [plan.source_name for plan in context.plan.databases if plan.source_name not in known]
    unknown: list[str] = []
    tables = 0
    for plan in context.plan.databases:
        if plan.source_name in known:
            missing += _missing(context, plan.source_name, wanted=True)
            unknown += _missing(context, plan.source_name, wanted=False)
            tables += len(context.tables(plan.source_name))
    if missing:
        return failed(
            say("The source no longer has {names}.", names=listing(missing)),
            say(
                "Go back to the objects step, refresh the tree and select again. What a database left behind goes when "
                "the topmost line is unticked."
            ),
        )
    if unknown:
        return warning(
            say(NOT_THERE, names=listing(unknown)),
            say(
                "What was renamed there, or is spelt otherwise, is migrated. Leave it out by the name that it has, "
                "unless it is gone."
            ),
        )
    if not tables:
        return warning(
            say("No selected database or schema holds a table."),
            say(
                "Only other objects, such as functions and types, would be migrated. Select more if this is not meant."
            ),
        )
    return passed(
        say(
            "{number} in {number_2} selected.",
            number=count(tables, "{number} table", "{number} tables"),
            number_2=count(len(context.plan.databases), "{number} database", "{number} databases"),
        )
    )


def _gone(context: Context) -> list[str]:
    """Return the databases that are selected by their names, and that a source whose databases are known lacks."""
    if context.unread is not None:
        return []
    chosen = context.plan.selection
    named = {path[0] for path, moves in chosen.rules.items() if path and moves}
    named |= {rule.scope[0] for rule in chosen.patterns if rule.mode and rule.scope}
    named -= {plan.source_name for plan in context.plan.databases}
    return sorted(named - set(context.databases(Side.SOURCE))) if named else []


def _missing(context: Context, database: str, *, wanted: bool) -> list[str]:
    """Return what the source lacks of the objects that are selected by their names, or else left out by them."""
    rows = context.source(database).execute(query("inventory_schemas")).fetchall()
    schemas = {str(row[0]) for row in rows}
    relations = {
        (str(schema), str(name))
        for schema, name in context.source(database).execute(query("check_relations")).fetchall()
    }
    missing = []
    for rule, moves in context.plan.selection.rules.items():
        if bool(moves) is not wanted or len(rule) < 2 or rule[0] != database:
            continue
        gone = rule[1] not in schemas if len(rule) == 2 else (rule[1], rule[2]) not in relations
        if gone:
            missing.append(".".join(rule))
    return missing


@item(
    "foreign-key-parents",
    "Foreign-key parents are selected",
    Group.SELECTION,
    "Every table that a selected table refers to is selected as well.",
    per_database=True,
    sides=ON_SOURCE,
)
def foreign_key_parents(context: Context, database: DatabasePlan) -> Finding:
    """Look for foreign keys that leave the selection, or lead from rows that move to rows that do not."""
    chosen = {table.oid for table in context.tables(database.source_name)}
    moving = {table.oid for table in context.moving(database.source_name)}
    rows = context.source(database.source_name).execute(query("check_foreign_keys")).fetchall()
    missing: dict[str, str] = {}
    whole = not leaves_any(context.plan.selection, database.source_name)
    for child, parent, constraint, parent_words, child_words, of_extension in rows:
        if of_extension and whole:
            continue  # its rows come with the extension, and those that users have added with the database
        if (child in chosen and parent not in chosen) or (child in moving and parent not in moving):
            missing.setdefault(
                str(parent_words),
                say(
                    "{parent_words} (parent of {child_words} by {constraint})",
                    parent_words=parent_words,
                    child_words=child_words,
                    constraint=constraint,
                ),
            )
    if missing and context.plan.selection.foreign_keys == "without":
        return warning(
            say(
                "Foreign keys to {number} will not be made: {names}.",
                number=count(len(missing), "{number} table", "{number} tables"),
                names=listing(missing.values()),
            ),
            say("That was chosen. The events of the task list the statements that add them later."),
        )
    if missing:
        return failed(
            say(
                "{number} that selected tables refer to by foreign keys must be selected with their rows: {names}.",
                number=count(len(missing), "{number} table", "{number} tables"),
                names=listing(missing.values()),
            ),
            say(
                "Go back to the objects step and select the parents as well, leave out the tables that "
                "refer to them, or migrate without these foreign keys."
            ),
        )
    return passed(say("Every foreign key of a selected table stays inside the selection."))


@item(
    "large-objects",
    "Large objects",
    Group.SELECTION,
    "Large objects belong to no table; they travel when the whole database is selected.",
    per_database=True,
    sides=ON_SOURCE,
)
def large_objects(context: Context, database: DatabasePlan) -> Finding:
    """Count large objects and look for those that the account may not read."""
    name = database.source_name
    total, foreign = context.source(name).execute(query("check_large_objects")).fetchone() or (0, 0)
    if not total:
        return passed(say("The database has no large objects."))
    if not context.whole_database(name):
        return warning(
            say(
                "The database has {number}, which are left out of a partial selection.",
                number=count(int(str(total)), "{number} large object", "{number} large objects"),
            ),
            say("Select the whole database if the selected tables refer to large objects."),
        )
    if foreign:
        return failed(
            say(
                "The account may not read {number}.",
                number=count(int(str(foreign)), "{number} large object", "{number} large objects"),
            ),
            say("Grant SELECT on them (run this in psql as a superuser), or use their owner or a superuser."),
            "SELECT format('GRANT SELECT ON LARGE OBJECT %s TO %I;', oid, "  # noqa: S608 - shown to be copied, and quoted
            + literal(context.source().info.user)
            + ") FROM pg_largeobject_metadata \\gexec",
        )
    if context.plan.incremental:
        return warning(
            say(
                "The database has {number}; a sync cannot follow changes to them.",
                number=count(int(str(total)), "{number} large object", "{number} large objects"),
            ),
            say("They are copied at the start and once more at Complete. Nothing needs to be done."),
        )
    return passed(
        say(
            "{number} will be copied.", number=count(int(str(total)), "{number} large object", "{number} large objects")
        )
    )


@item(
    "reserved-schema",
    "No schema has our name",
    Group.SELECTION,
    say(
        "On the target the schema {TARGET_SCHEMA} keeps the position of the sync, so it cannot be migrated.",
        TARGET_SCHEMA=TARGET_SCHEMA,
    ),
    per_database=True,
    sides=ON_SOURCE,
)
def reserved_schema(context: Context, database: DatabasePlan) -> Finding:
    """Look for a selected schema of the source that has the name of ours: its rows would silently stay behind."""
    there = context.one(
        Side.SOURCE,
        "SELECT count(*) FROM pg_catalog.pg_namespace WHERE nspname = %s",
        database.source_name,
        (TARGET_SCHEMA,),
    )
    if there and context.plan.selection.includes(database.source_name, TARGET_SCHEMA, ""):
        return failed(
            say("The source database has a schema {TARGET_SCHEMA}, which is selected.", TARGET_SCHEMA=TARGET_SCHEMA),
            say(
                "If this database is the target of another migration, complete that one first. If a sync from here was "
                "broken off, cancel its task, which removes the schema. A schema of your own needs another name, or "
                "select the other schemas only."
            ),
            f"ALTER SCHEMA {quote(TARGET_SCHEMA)} RENAME TO {quote('my_' + TARGET_SCHEMA)};",
        )
    return passed(say("No selected schema is called {TARGET_SCHEMA}.", TARGET_SCHEMA=TARGET_SCHEMA))


@item(
    "foreign-tables",
    "Foreign tables and servers",
    Group.SELECTION,
    "Foreign tables hold no rows of their own.",
    per_database=True,
    sides=ON_SOURCE,
)
def foreign_tables(context: Context, database: DatabasePlan) -> Finding:
    """List foreign tables in the selection."""
    rows = context.source(database.source_name).execute(query("check_foreign_tables")).fetchall()
    includes = context.plan.selection.includes
    found = [f"{a}.{b}" for a, b in rows if includes(database.source_name, str(a), str(b))]
    if found:
        return warning(
            say(
                "{number} selected: {names}.",
                number=count(len(found), "{number} foreign table", "{number} foreign tables"),
                names=listing(found),
            ),
            say("Only their definitions are migrated: the rows stay on the servers that they stand for."),
        )
    return passed(say("No foreign table is selected."))


@item(
    "unlogged-tables",
    "Unlogged tables",
    Group.SELECTION,
    "Unlogged tables write no WAL, so incremental sync cannot see their changes.",
    incremental_only=True,
    per_database=True,
    sides=ON_SOURCE,
)
def unlogged_tables(context: Context, database: DatabasePlan) -> Finding:
    """List selected unlogged tables."""
    found = [f"{t.schema}.{t.name}" for t in context.moving(database.source_name) if t.persistence == "u"]
    if found:
        return warning(
            say(
                "{number} selected: {names}.",
                number=count(len(found), "{number} unlogged table", "{number} unlogged tables"),
                names=listing(found),
            ),
            say("Their rows are copied at the start and once more at Complete; changes in between are not followed."),
        )
    return passed(say("No selected table is unlogged."))


@item(
    "table-rules",
    "Rules on selected tables",
    Group.SELECTION,
    "Rules rewrite statements; on the target they must not act on synced rows.",
    per_database=True,
    sides=ON_SOURCE,
)
def table_rules(context: Context, database: DatabasePlan) -> Finding:
    """List selected tables with rules."""
    found = [f"{t.schema}.{t.name}" for t in context.tables(database.source_name) if t.has_rules]
    if not found:
        return passed(say("No selected table has rules."))
    hint = say("The rules are restored after the rows.")
    if not context.whole_database(database.source_name):
        hint += say(
            " Tables that a rule writes to may be outside the selection: select whole schemas or the whole database."
        )
    return warning(
        say(
            "{number} with rules: {names}.",
            number=count(len(found), "{number} selected table", "{number} selected tables"),
            names=listing(found),
        ),
        hint,
    )


@item(
    "read-by-views",
    "Tables that views, policies, rules and triggers use",
    Group.SELECTION,
    "A selected view needs the tables that it reads, a policy or rule those that it uses, and a trigger those that its "
    "function names.",
    per_database=True,
    sides=ON_SOURCE,
)
def read_by_views(context: Context, database: DatabasePlan) -> Finding:
    """Look for tables outside the selection that selected views read, or that what hangs on selected tables needs."""
    name = database.source_name
    chosen = {table.oid for table in context.tables(name)}
    left = [table for table in context.all_tables(name) if table.oid not in chosen]
    if not left:
        return passed(
            say("Every table of the database is selected, and with them what views, policies, rules and triggers use.")
        )
    outside = {table.oid for table in left}
    includes = context.plan.selection.includes
    rows = context.source(name).execute(query("check_view_tables")).fetchall()
    found = [
        say("view {schema}.{view} reads {table}", schema=schema, view=view, table=words)
        for schema, view, oid, words in rows
        if oid in outside and includes(name, str(schema), str(view))
    ]
    found += _bound_to(context, name, chosen, outside)
    names = {table.name for table in left if table.name.isidentifier()}
    for oid, table, trigger, body in context.source(name).execute(query("check_trigger_bodies")).fetchall():
        if oid in chosen:
            named = sorted(names.intersection(re.findall(r"\w+", str(body))))
            found += [
                say("trigger {trigger} of {table} names {other}", trigger=trigger, table=table, other=other)
                for other in named[:3]
            ]
    if found:
        return warning(
            say("Tables outside the selection are used: {names}.", names=listing(found)),
            say(
                "Views, policies and rules that lack a table are left out, so that more or fewer rows may be seen and "
                "changed; a trigger whose function looks for one fails on the target once the application writes "
                "there. Select the tables as well if they are needed."
            ),
        )
    return passed(say("No selected view, policy, rule or trigger uses a table outside the selection."))


def _bound_to(context: Context, name: str, chosen: Container[int], outside: Container[int]) -> list[Sentence]:
    """Say which policies and rules of chosen tables use tables outside, and are therefore not made on the target."""
    source, found = context.source(name), []
    rows = source.execute(query("check_bound_tables", source.info.server_version)).fetchall()
    for oid, table, kind, called, other, words in rows:
        if oid not in chosen or other not in outside:
            continue
        if kind == "policy":
            found.append(say("policy {name} on {table} uses {other}", name=called, table=table, other=words))
        else:
            found.append(say("rule {name} on {table} uses {other}", name=called, table=table, other=words))
    return found
