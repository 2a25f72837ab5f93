"""Items about the tables that incremental sync has to follow."""

from __future__ import annotations

from ..catalog import Table
from ..names import qualified, quote
from ..owners import inherits, joining
from ..plan import DatabasePlan, Side
from ..prepare_role import ORDINARY_ROLE, commented, handed_over
from ..publishing import published
from ..sql import query
from ..versions import can_decode, decodes_truncate, has_publications
from ..wording import NOTHING, Sentence, count, listing, say
from .context import Context
from .objects import followed_tables
from .registry import MOST_STATEMENTS, ON_SOURCE, Finding, Group, failed, item, lines, passed, warning

_REFUSES_GENERATED_SINCE = 180000


def _names(tables: list[Table]) -> str:
    return listing(f"{table.schema}.{table.name}" for table in tables)


@item(
    "publication-rights",
    "Publication can be created",
    Group.SYNC,
    "The source account owns the selected tables and may create a publication in their database.",
    incremental_only=True,
    per_database=True,
    sides=ON_SOURCE,
)
def publication_rights(context: Context, database: DatabasePlan) -> Finding:
    """Look for CREATE on the database and for selected tables of other owners."""
    if not has_publications(context.version(Side.SOURCE)):
        return passed(say("Before 10 there are no publications: the server sends every table to who may replicate."))
    user, name = context.source().info.user, quote(database.source_name)
    may_create = context.source_database(database.source_name)["may_create"]
    listed = published(context.moving(database.source_name), context.version(Side.SOURCE))
    foreign = [table for table in listed if not table.is_owner]
    memberships, mighty = _memberships(context, foreign)
    statements = [] if may_create else [f"GRANT CREATE ON DATABASE {name} TO {quote(user)};"]
    if foreign:
        return failed(
            say(
                "{number} to other accounts, and only owners can publish them: {names}.",
                number=count(len(foreign), "{number} selected table belongs", "{number} selected tables belong"),
                names=_names(foreign),
            ),
            say("Make the source account a member of the owning roles, or use the owner's account.") + mighty,
            lines([*statements, *memberships], MOST_STATEMENTS),
        )
    if not may_create:
        return failed(
            say("The account may not create a publication in {source_name}.", source_name=database.source_name),
            say("Grant CREATE on the database."),
            lines(statements),
        )
    return passed(say("The account may create a publication for all selected tables."))


def _memberships(context: Context, tables: list[Table]) -> tuple[list[str], Sentence]:
    """Return the statements that give the source account the rights of the tables' owners, and what to say of those
    that are superusers: nobody is put into such a one, since he could become it."""
    if not tables:
        return [], NOTHING
    source, owners = context.source(), {table.owner for table in tables}
    rows = source.execute("SELECT rolname::text FROM pg_catalog.pg_roles WHERE rolsuper").fetchall()
    mighty = owners & {str(row[0]) for row in rows}
    user, version = source.info.user, source.info.server_version
    statements = joining(sorted(owners - mighty), user, version, inheriting=inherits(source))
    if not mighty:
        return statements, NOTHING
    statements += [handed_over(table) for table in tables if table.owner in mighty]
    statements += map(commented, joining([ORDINARY_ROLE], user, version, inheriting=inherits(source)))
    return statements, say(
        " {names} is a superuser, whose members can become one: give its tables to an ordinary role, of which the"
        " account is a member. The lines for that are comments.",
        names=listing(sorted(mighty)),
    )


@item(
    "truncate-noted",
    "Emptied tables are told",
    Group.SYNC,
    "Before 11 the stream does not tell TRUNCATE; a trigger of this task on each selected table notes it meanwhile.",
    incremental_only=True,
    per_database=True,
    sides=ON_SOURCE,
)
def truncate_noted(context: Context, database: DatabasePlan) -> Finding:
    """Look for what the triggers need on a source before 11: ownership of the tables, and CREATE on the database."""
    version = context.version(Side.SOURCE)
    if decodes_truncate(version):
        return passed(say("The stream of this version tells it."))
    if not can_decode(version):
        return passed(say("Servers before 9.4 know no logical decoding, so there is nothing to look at."))
    foreign = [table for table in followed_tables(context, database) if not table.is_owner]
    user, name = quote(context.source().info.user), quote(database.source_name)
    hint = say("Without them the target keeps rows of a table that is emptied, and only the comparison finds it.")
    memberships, mighty = _memberships(context, foreign)
    if not context.source_database(database.source_name)["may_create"]:
        return warning(
            say("The account may not make the log of emptied tables in {database}.", database=database.source_name),
            hint,
            f"GRANT CREATE ON DATABASE {name} TO {user};",
        )
    if foreign:
        return warning(
            say(
                "{number} to other accounts, so that no trigger can be made there: {names}.",
                number=count(len(foreign), "{number} selected table belongs", "{number} selected tables belong"),
                names=_names(foreign),
            ),
            hint + mighty,
            lines(memberships, MOST_STATEMENTS),
        )
    return passed(
        say("A trigger on each selected table notes TRUNCATE while the task runs, and is removed at its end.")
    )


@item(
    "table-keys",
    "Tables have keys",
    Group.SYNC,
    "Updates and deletes can be followed only where a row can be recognised.",
    incremental_only=True,
    per_database=True,
    sides=ON_SOURCE,
)
def table_keys(context: Context, database: DatabasePlan) -> Finding:
    """List selected tables without a primary key or a replica identity of their own."""
    if closed := _closed_to_writers(context, database):
        return failed(
            say(
                "{number} without a key that this server can publish: {names}.",
                number=count(len(closed), "{number} table", "{number} tables"),
                names=_names(closed),
            ),
            say(
                "They have generated columns, and from 18 on the application's own updates of such a table would fail "
                "once it is published with all its columns as identity. Add a primary key over ordinary columns, or "
                "leave these tables out of the sync."
            ),
            lines((f"-- {qualified(t.schema, t.name)}: ADD PRIMARY KEY" for t in closed), MOST_STATEMENTS),
        )
    bare = [table for table in followed_tables(context, database) if not table.has_identity]
    if not bare:
        return passed(say("Every selected table has a primary key or a replica identity."))
    foreign = [table for table in bare if not table.is_owner]
    if foreign:
        return failed(
            say(
                "Without a key, {number} to other accounts: {names}.",
                number=count(len(foreign), "{number} table belongs", "{number} tables belong"),
                names=_names(foreign),
            ),
            say(
                "Add a primary key, or let the owner set REPLICA IDENTITY FULL. Without it the "
                "application's own updates would fail once the table is published."
            ),
            _identities(foreign),
        )
    finding = warning(
        say(
            "{number} without a key: {names}.",
            number=count(len(bare), "{number} table", "{number} tables"),
            names=_names(bare),
        ),
        say(
            "REPLICA IDENTITY FULL is set there during the migration and put back afterwards. "
            "Updates and deletes there write more WAL and are slower to follow; a primary key avoids "
            "that."
        ),
        _identities(bare),
    )
    indexes = _unique_indexes(context, database.source_name, bare)
    tables = [[t.schema, t.name, indexes.get(t.oid, ""), t.replica_identity] for t in bare]
    return finding.fixed_by("replica-identity", database=database.source_name, tables=tables)


def _identities(tables: list[Table]) -> str:
    statements = (f"ALTER TABLE {qualified(one.schema, one.name)} REPLICA IDENTITY FULL;" for one in tables)
    return lines(statements, MOST_STATEMENTS)


def _closed_to_writers(context: Context, database: DatabasePlan) -> list[Table]:
    """Return the tables whose writers a server from 18 on would refuse once all their columns are the identity."""
    if context.version(Side.SOURCE) < _REFUSES_GENERATED_SINCE:
        return []
    return [
        table
        for table in followed_tables(context, database)
        if len(table.copied_columns) < len(table.columns) and (table.replica_identity == "f" or not table.has_identity)
    ]


def _unique_indexes(context: Context, database: str, tables: list[Table]) -> dict[int, str]:
    """Return, for tables with a unique index that can stand for a primary key, the index's name."""
    oids = [table.oid for table in tables if table.unique_key]
    rows = context.source(database).execute(query("check_identity_indexes"), (oids,)) if oids else ()
    return {int(str(oid)): str(name) for oid, name in rows}


@item(
    "keyless-types",
    "Key-less rows can be compared",
    Group.SYNC,
    "A row without a key is found by comparing all its columns; some types know no equality.",
    incremental_only=True,
    per_database=True,
    sides=ON_SOURCE,
)
def keyless_types(context: Context, database: DatabasePlan) -> Finding:
    """List columns of key-less tables whose types have no equality operator."""
    found = [
        f"{table.schema}.{table.name}.{column.name} ({column.type_name})"
        for table in context.moving(database.source_name)
        if not table.key
        for column in table.copied_columns
        if not column.has_equality
    ]
    if found:
        return warning(
            say(
                "Tables without a key have {number} that cannot be compared for equality: {names}.",
                number=count(len(found), "{number} column", "{number} columns"),
                names=listing(found),
            ),
            say(
                "Rows of these tables are recognised by the text of such columns, which is slow in large "
                "tables. A primary key avoids that."
            ),
        )
    return passed(say("Every column that is needed to recognise a row can be compared."))


@item(
    "always-triggers",
    "Triggers that fire always",
    Group.SYNC,
    "Triggers marked ALWAYS or REPLICA would act on synced rows.",
    incremental_only=True,
    per_database=True,
    sides=ON_SOURCE,
)
def always_triggers(context: Context, database: DatabasePlan) -> Finding:
    """List triggers of selected tables that fire in replica sessions."""
    chosen = {table.oid for table in context.moving(database.source_name)}
    rows = context.source(database.source_name).execute(query("check_triggers")).fetchall()
    found = [say("{trigger} on {table}", trigger=trigger, table=table) for oid, table, trigger in rows if oid in chosen]
    if found:
        return warning(
            say(
                "{number} would fire for synced rows too: {names}.",
                number=count(len(found), "{number} trigger", "{number} triggers"),
                names=listing(found),
            ),
            say("They are switched off on the target while the sync runs and put back at Complete."),
        )
    return passed(say("No trigger of a selected table fires for synced rows."))
