"""Items about what the two accounts may do."""

from __future__ import annotations

import psycopg

from ..names import TARGET_SCHEMA, qualified, quote
from ..owners import inherits, joining, may_own
from ..plan import DatabasePlan, Side
from ..sequences import is_selected, owning_table
from ..sql import query
from ..wording import NOTHING, Sentence, count, listing, say
from .alike import Like, like_source
from .context import Context
from .fixes import create_database
from .objects import chosen_things, selected_things, things_along
from .registry import MOST_STATEMENTS, ON_SOURCE, ON_TARGET, Finding, Group, failed, item, lines, passed, warning
from .roles import made_roles, may_make_roles

_OWNER_OF_DATABASE = "pg_database_owner"
"""A role that nobody can be put into: the owner of the database at hand is in it."""


def _user(context: Context, side: Side) -> str:
    return context.session(side).info.user


@item(
    "source-readable",
    "Selected objects can be read",
    Group.PRIVILEGES,
    "The source account may read every selected table and sequence and enter every schema.",
    per_database=True,
    sides=ON_SOURCE,
)
def source_readable(context: Context, database: DatabasePlan) -> Finding:
    """Look for selected tables, sequences and schemas that the account may not read."""
    tables = context.tables(database.source_name)
    user = quote(_user(context, Side.SOURCE))
    rows = context.source(database.source_name).execute(query("check_readable")).fetchall()
    sequences = _sequences_to_read(context, database, rows)
    schemas = {table.schema for table in tables} | {schema for schema, _ in sequences}
    missing: list[str] = []
    grants: list[str] = []
    for kind, schema, name in ((str(a), str(b), str(c)) for a, b, c, *_ in rows):
        if kind == "schema" and schema in schemas:
            missing.append(say("schema {schema}", schema=schema))
            grants.append(f"GRANT USAGE ON SCHEMA {quote(schema)} TO {user};")
        elif kind == "sequence" and sequences.get((schema, name)):
            missing.append(say("sequence {schema}.{name}", schema=schema, name=name))
            grants.append(f"GRANT SELECT ON SEQUENCE {qualified(schema, name)} TO {user};")
    for table in tables:
        if not table.can_read:
            missing.append(f"{table.schema}.{table.name}")
            grants.append(f"GRANT SELECT ON TABLE {qualified(table.schema, table.name)} TO {user};")
    if missing:
        return failed(
            say(
                "The source account may not read {number}: {names}.",
                number=count(len(missing), "{number} object", "{number} objects"),
                names=listing(missing),
            ),
            say(
                "Run this in {source_name} on the source as the objects' owner or a superuser.",
                source_name=database.source_name,
            ),
            lines(grants, MOST_STATEMENTS),
        )
    return passed(
        say(
            "The account can read {number}, sequences included.",
            number=count(len(tables), "{number} selected table", "{number} selected tables"),
        )
    )


def _sequences_to_read(
    context: Context, database: DatabasePlan, rows: list[tuple[object, ...]]
) -> dict[tuple[str, str], bool]:
    """Return the sequences whose values are carried over, and whether each is closed to the account."""
    tables = {(table.schema, table.name) for table in context.tables(database.source_name)}
    sequences = [
        ((str(schema), str(name)), owning_table(*table), bool(closed))
        for kind, schema, name, *table, closed in rows
        if kind == "sequence"
    ]
    selection = context.plan.selection
    return {
        key: closed
        for key, owner, closed in sequences
        if is_selected(key, owner, tables, selection, database.source_name)
    }


@item(
    "row-security",
    "Row security hides no rows",
    Group.PRIVILEGES,
    "The account sees every row of tables with row-level security.",
    per_database=True,
    sides=ON_SOURCE,
)
def row_security(context: Context, database: DatabasePlan) -> Finding:
    """Ask the server for each selected table with policies whether they bind this account."""
    guarded = [table for table in context.tables(database.source_name) if table.row_security]
    bound = [
        table
        for table in guarded
        if context.one(
            Side.SOURCE, "SELECT pg_catalog.row_security_active(%s::oid)", database.source_name, (table.oid,)
        )
    ]
    if bound:
        user = quote(_user(context, Side.SOURCE))
        return failed(
            say(
                "Row-level security hides rows of {names}.",
                names=listing(f"{table.schema}.{table.name}" for table in bound),
            ),
            say(
                "The copy must see every row. Give the account BYPASSRLS, as a superuser, or use the owner of the "
                "tables: an owner sees all rows unless row security is forced."
            ),
            f"ALTER ROLE {user} BYPASSRLS;",
        )
    if guarded:
        return passed(
            say(
                "The account sees every row of {number} with row-level security.",
                number=count(len(guarded), "{number} table", "{number} tables"),
            )
        )
    return passed(say("No selected table has row-level security."))


@item(
    "target-create",
    "Target account can create objects",
    Group.PRIVILEGES,
    "The account may create the target database, or schemas and objects in one that exists.",
    per_database=True,
)
def target_create(context: Context, database: DatabasePlan) -> Finding:
    """Look for CREATEDB, or for CREATE on the database that exists."""
    user = _user(context, Side.TARGET)
    if not context.target_exists(database):
        allowed = context.one(
            Side.TARGET, "SELECT rolcreatedb OR rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user"
        )
        if allowed:
            made = say(
                "The database {target_name} will be created by {user}.", target_name=database.target_name, user=user
            )
            return _made_now(context, database, made)
        return failed(
            say(
                "The target has no database {target_name}, and {user} may not create one.",
                target_name=database.target_name,
                user=user,
            ),
            say("Create the database, owned by the account, or give the account the right to create databases.")
            + (_lacking(like) if (like := like_source(context, database)) else NOTHING),
            _creating(database.target_name, like, user) if like else "",
        )
    if not context.databases(Side.TARGET)[database.target_name]["may_create"]:
        return failed(
            say(
                "The account {user} may not create schemas in the target database {target_name}.",
                user=user,
                target_name=database.target_name,
            ),
            say("Grant it, or make the account the database's owner."),
            f"GRANT CREATE ON DATABASE {quote(database.target_name)} TO {quote(user)};",
        )
    return _schemas_on_target(context, database, user)


def _early() -> Sentence:
    return say("The start makes it. Make it now only to prepare something in it, such as an extension or rights.")


def _made_now(context: Context, database: DatabasePlan, made: Sentence) -> Finding:
    """Offer to create the target database now, like the source's, where the source can be looked at.

    Not where a locale seems to be lacking: the start tries it, and takes another one when it is refused.
    """
    like = like_source(context, database)
    if like is None:
        return passed(made, _early())
    if like.lacking:
        return passed(made, say("The start makes it.") + _lacking(like))
    return passed(made, _early()).fixed_by("database", **{**like.options, "database": database.target_name})


def _lacking(like: Like) -> Sentence:
    if not like.lacking:
        return NOTHING
    return say(
        " The target does not know the locale {name}. Install it on the target's machine; without it the database has"
        " another one, and may order text differently.",
        name=like.lacking,
    )


def _creating(name: str, like: Like, owner: str) -> str:
    statements = [create_database(name, like.options, owner)]
    without = create_database(name, like.instead, owner) if like.instead else ""
    if without.isprintable() and like.lacking.isprintable():  # a line break would end the comment
        statements += [f"-- or, without the locale {like.lacking}:", f"-- {without}"] if without else []
    return lines(statements)


def _schemas_on_target(context: Context, database: DatabasePlan, user: str) -> Finding:
    rows = context.target(database.target_name).execute(query("check_schema_rights")).fetchall()
    used = {table.schema for table in context.tables(database.source_name)}
    name_of = context.plan.selection.target_schema
    wanted = {name_of(database.source_name, schema) for schema in used} | {TARGET_SCHEMA}
    closed = [str(name) for name, may_create in rows if str(name) in wanted and not may_create]
    if closed:
        return failed(
            say(
                "On the target, {user} may not create objects in {names}.",
                user=user,
                names=listing(say("schema {name}", name=name) for name in closed),
            ),
            say("Grant it in {target_name}, or make the account the schema's owner.", target_name=database.target_name),
            lines(f"GRANT USAGE, CREATE ON SCHEMA {quote(name)} TO {quote(user)};" for name in closed),
        )
    if beside := _closed_beside(context, database, {str(name) for name, may_create in rows if not may_create}):
        return warning(
            say(
                "On the target, {user} may not create objects in {names}, where types, functions or others are to"
                " come.",
                user=user,
                names=listing(say("schema {name}", name=name) for name in beside),
            ),
            say(
                "Tables that need them stop the start; others are noted. Grant it in {target_name}.",
                target_name=database.target_name,
            ),
            lines(f"GRANT USAGE, CREATE ON SCHEMA {quote(name)} TO {quote(user)};" for name in beside),
        )
    told = say("The account {user} may create objects in {target_name}.", user=user, target_name=database.target_name)
    missing = sorted(wanted - {TARGET_SCHEMA} - {str(name) for name, _ in rows})
    if not missing:
        return passed(told)
    will = say(" It will create {names}.", names=listing(say("schema {name}", name=name) for name in missing))
    return passed(told + will, _early()).fixed_by("schemas", database=database.target_name, schemas=missing)


def _closed_beside(context: Context, database: DatabasePlan, closed: set[str]) -> list[str]:
    """Return closed schemas of the target in which the migration makes something that is no table."""
    if not closed:
        return []
    things = [*selected_things(context, database), *things_along(context, database)]
    return sorted(closed & {thing.schema for thing in things})


@item(
    "target-replica-role",
    "Triggers can be kept quiet",
    Group.PRIVILEGES,
    "The target account may set session_replication_role, so that triggers and foreign keys do not act on synced rows.",
    sides=ON_TARGET,
)
def target_replica_role(context: Context) -> Finding:
    """Try the setting in a transaction that is rolled back."""
    connection = context.target()
    try:
        with connection.transaction(force_rollback=True):
            connection.execute("SET LOCAL session_replication_role = 'replica'")
    except psycopg.errors.InsufficientPrivilege:
        user = quote(_user(context, Side.TARGET))
        hint = say(
            "The migration still works: foreign keys, triggers and rules are then created at the "
            "end, which makes Complete take longer. A superuser can grant the right."
        )
        sql = (
            f"GRANT SET ON PARAMETER session_replication_role TO {user};"
            if context.version(Side.TARGET) >= 150000
            else ""
        )
        return warning(say("The target account may not set session_replication_role."), hint, sql)
    return passed(say("The target account may set session_replication_role."))


@item(
    "target-roles",
    "Owners exist on the target",
    Group.PRIVILEGES,
    "The roles that own the selected objects are on the target and the account may act for them.",
    per_database=True,
)
def target_roles(context: Context, database: DatabasePlan) -> Finding:
    """Compare the owners of selected objects with the roles of the target that objects can be handed to."""
    owners = _owners(context, database)
    there = context.target_exists(database)
    session = context.target(database.target_name) if there else context.target()
    roles = {str(row[0]) for row in session.execute("SELECT rolname::text FROM pg_catalog.pg_roles").fetchall()}
    usable = may_own(session) | {session.info.user} | (set() if there else {_OWNER_OF_DATABASE})
    will_be = made_roles(context)
    missing = sorted(owner for owner in owners if owner not in roles and owner not in {*will_be, *usable})
    foreign = sorted(owner for owner in owners if owner in roles and owner not in usable)
    if not missing and not foreign:
        return passed(
            say(
                "{number} found on the target.",
                number=count(len(owners), "{number} owning role", "{number} owning roles"),
            )
        )
    return _not_handed_over(context, missing, foreign)


def _owners(context: Context, database: DatabasePlan) -> set[str]:
    """Return who owns the selected objects, and the schemas that are made for them."""
    things = [thing for thing in chosen_things(context, database) if thing.schema != TARGET_SCHEMA]
    includes, places = context.plan.selection.includes, {thing.schema for thing in things}
    schemas = context.source(database.source_name).execute(query("source_schemas")).fetchall()
    made = [(str(name), str(owner)) for name, owner, _ in schemas if name not in ("public", TARGET_SCHEMA)]
    return {thing.role for thing in things} | {
        owner for name, owner in made if name in places or includes(database.source_name, name)
    }


def _not_handed_over(context: Context, missing: list[str], foreign: list[str]) -> Finding:
    """Offer roles that may be handed out; never a superuser's, whose members could become superusers."""
    user = _user(context, Side.TARGET)
    superusers = {name for side in Side for name in _superusers(context, side)}
    mighty = [name for name in (*missing, *foreign) if name in superusers]
    missing = [name for name in missing if name not in superusers]
    foreign = [name for name in foreign if name not in superusers]
    grantable = [name for name in (*missing, *foreign) if name != _OWNER_OF_DATABASE]
    version, inheriting = context.version(Side.TARGET), inherits(context.target())
    statements = [f"CREATE ROLE {quote(name)} NOLOGIN;" for name in missing if name in grantable]
    statements += joining(grantable, user, version, inheriting=inheriting, become=True)
    hint = say("Their objects will belong to {user} on the target.", user=user)
    if statements:
        hint += say(" Create or grant the roles first if ownership matters.")
    if mighty:
        hint += say(
            " Nothing is offered for {names}: whoever is a member of a superuser can become one.", names=listing(mighty)
        )
    names = [*mighty, *missing, *foreign]
    finding = warning(
        say("The target account cannot hand objects over to {names}.", names=listing(names)), hint, lines(statements)
    )
    ordinary = [name for name in missing if not name.startswith("pg_")]
    if not ordinary or not may_make_roles(context) or not (inheriting or version >= 160000):
        return finding
    return finding.fixed_by("roles", roles=ordinary, user=user, version=version)


def _superusers(context: Context, side: Side) -> set[str]:
    rows = context.session(side).execute("SELECT rolname::text FROM pg_catalog.pg_roles WHERE rolsuper").fetchall()
    return {str(row[0]) for row in rows}
