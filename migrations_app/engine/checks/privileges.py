"""Items about what the two accounts may do."""

from __future__ import annotations

import psycopg

from ..names import TARGET_SCHEMA, qualified, quote
from ..plan import DatabasePlan, Side
from ..sql import query
from .context import Context
from .registry import ON_SOURCE, ON_TARGET, Finding, Group, count, failed, item, lines, listing, passed, warning


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
    schemas = {table.schema for table in tables}
    rows = context.source(database.source_name).execute(query("check_readable")).fetchall()
    includes = context.plan.selection.includes
    missing: list[str] = []
    grants: list[str] = []
    for kind, schema, name in ((str(a), str(b), str(c)) for a, b, c in rows):
        if kind == "schema" and schema in schemas:
            missing.append(f"schema {schema}")
            grants.append(f"GRANT USAGE ON SCHEMA {quote(schema)} TO {user};")
        elif kind == "sequence" and includes(database.source_name, schema, name):
            missing.append(f"sequence {schema}.{name}")
            grants.append(f"GRANT SELECT ON SEQUENCE {qualified(schema, name)} TO {user};")
    for table in tables:
        if not table.can_read:
            missing.append(f"{table.schema}.{table.name}")
            grants.append(f"GRANT SELECT ON TABLE {qualified(table.schema, table.name)} TO {user};")
    if missing:
        return failed(
            f"The source account may not read {count(len(missing), 'object')}: {listing(missing)}.",
            f"Run this in {database.source_name} on the source as the objects' owner or a superuser.",
            lines(grants),
        )
    return passed(f"The account can read all {count(len(tables), 'selected table')} and their sequences.")


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
            f"Row-level security hides rows of {listing(f'{table.schema}.{table.name}' for table in bound)}.",
            "Copying must see every row. Give the account the right to pass by row security, or use the tables' owner.",
            f"ALTER ROLE {user} BYPASSRLS;",
        )
    if guarded:
        return passed(f"The account sees every row of {count(len(guarded), 'table')} with row-level security.")
    return passed("No selected table has row-level security.")


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
            return passed(f"The database {database.target_name} will be created by {user}.")
        return failed(
            f"The target has no database {database.target_name}, and {user} may not create one.",
            "Create the database, owned by the account, or give the account the right to create databases.",
            f"CREATE DATABASE {quote(database.target_name)} OWNER {quote(user)} TEMPLATE template0;",
        )
    if not context.databases(Side.TARGET)[database.target_name]["may_create"]:
        return failed(
            f"The account {user} may not create schemas in the target database {database.target_name}.",
            "Grant it, or make the account the database's owner.",
            f"GRANT CREATE ON DATABASE {quote(database.target_name)} TO {quote(user)};",
        )
    return _schemas_on_target(context, database, user)


def _schemas_on_target(context: Context, database: DatabasePlan, user: str) -> Finding:
    rows = context.target(database.target_name).execute(query("check_schema_rights")).fetchall()
    used = {table.schema for table in context.tables(database.source_name)}
    name_of = context.plan.selection.target_schema
    wanted = {name_of(database.source_name, schema) for schema in used} | {TARGET_SCHEMA}
    closed = [str(name) for name, may_create in rows if str(name) in wanted and not may_create]
    if closed:
        return failed(
            f"On the target, {user} may not create objects in {listing(f'schema {name}' for name in closed)}.",
            f"Grant it in {database.target_name}, or make the account the schema's owner.",
            lines(f"GRANT USAGE, CREATE ON SCHEMA {quote(name)} TO {quote(user)};" for name in closed),
        )
    return passed(f"The account {user} may create objects in {database.target_name}.")


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
        hint = (
            "The migration still works: foreign keys, triggers and rules are then created at the end, which makes"
            " Complete take longer. A superuser can grant the right."
        )
        sql = (
            f"GRANT SET ON PARAMETER session_replication_role TO {user};"
            if context.version(Side.TARGET) >= 150000
            else ""
        )
        return warning("The target account may not set session_replication_role.", hint, sql)
    return passed("The target account may set session_replication_role.")


@item(
    "target-roles",
    "Owners exist on the target",
    Group.PRIVILEGES,
    "The roles that own the selected objects are on the target and the account may act for them.",
    per_database=True,
)
def target_roles(context: Context, database: DatabasePlan) -> Finding:
    """Compare the owners of selected tables with the roles of the target."""
    owners = {table.owner for table in context.tables(database.source_name)}
    rows = context.target().execute(
        "SELECT rolname::text, pg_catalog.pg_has_role(oid, 'MEMBER') FROM pg_catalog.pg_roles"
    )
    usable = {str(name): bool(member) for name, member in rows.fetchall()}
    missing = sorted(owner for owner in owners if owner not in usable)
    foreign = sorted(owner for owner in owners if owner in usable and not usable[owner])
    if not missing and not foreign:
        return passed(f"{count(len(owners), 'owning role')} found on the target.")
    user = _user(context, Side.TARGET)
    statements = [f"CREATE ROLE {quote(name)} NOLOGIN;" for name in missing]
    statements += [f"GRANT {quote(name)} TO {quote(user)};" for name in (*missing, *foreign)]
    finding = warning(
        f"The target account cannot hand objects over to {listing([*missing, *foreign])}.",
        f"Their objects will belong to {user} on the target. Create or grant the roles first if ownership matters.",
        lines(statements),
    )
    able = "SELECT rolsuper OR rolcreaterole FROM pg_catalog.pg_roles WHERE rolname = current_user"
    ordinary = [name for name in missing if not name.startswith("pg_")]
    return (
        finding.fixed_by("roles", roles=ordinary, user=user) if ordinary and context.one(Side.TARGET, able) else finding
    )
