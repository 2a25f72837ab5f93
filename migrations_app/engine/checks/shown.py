"""Items about what is shown or computed otherwise on the target: views with rows, hidden columns, money, labels."""

from __future__ import annotations

from ..errors import ConnectFailed
from ..names import literal, qualified, quote
from ..plan import DatabasePlan, Side
from ..sql import query
from ..wording import count, listing, noun, say
from .context import Context
from .registry import ON_SOURCE, Finding, Group, failed, item, lines, passed, size, warning
from .shape import chosen_tables, table_name


@item(
    "materialized-views",
    "Materialized views",
    Group.SELECTION,
    "The rows of a materialized view are computed anew on the target.",
    per_database=True,
    sides=ON_SOURCE,
)
def materialized_views(context: Context, database: DatabasePlan) -> Finding:
    """Count selected materialized views and those that hold no rows yet."""
    rows = (
        context.source(database.source_name)
        .execute(
            "SELECT n.nspname::text, c.relname::text, pg_catalog.pg_relation_size(c.oid)"
            " FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
            " WHERE c.relkind = 'm' ORDER BY 1, 2"
        )
        .fetchall()
    )
    includes = context.plan.selection.includes
    chosen = [(f"{a}.{b}", int(str(held))) for a, b, held in rows if includes(database.source_name, str(a), str(b))]
    if not chosen:
        return passed(say("No materialized view is selected."))
    return warning(
        say(
            "{number} selected ({size}): {names}.",
            number=count(len(chosen), "{number} materialized view", "{number} materialized views"),
            size=size(sum(held for _name, held in chosen)),
            names=listing(name for name, _held in chosen),
        ),
        say(
            "Their rows are computed on the target from the migrated tables, which takes as long as "
            "a REFRESH; they may differ from those of the source, whose last REFRESH is older. "
            "Nothing needs to be done."
        ),
    )


@item(
    "with-oids",
    "Tables with oids",
    Group.SELECTION,
    "The hidden column oid, which servers before 12 may have, cannot be migrated.",
    per_database=True,
    sides=ON_SOURCE,
)
def with_oids(context: Context, database: DatabasePlan) -> Finding:
    """List selected tables that were made WITH OIDS."""
    chosen = chosen_tables(context, database)
    rows = context.source(database.source_name).execute(query("check_with_oids")).fetchall()
    found = [chosen[int(str(row[0]))] for row in rows if row[0] in chosen]
    if found:
        return warning(
            say(
                "{number} WITH OIDS: {names}.",
                number=count(len(found), "{number} table", "{number} tables"),
                names=listing(map(table_name, found)),
            ),
            say(
                "The values of the hidden column oid stay behind. If the application uses them, store "
                "them in an ordinary column first. Run the statements before the start or not at all: if the source "
                "is older than 10, they stop a sync and the table has to be copied again."
            ),
            lines(f"ALTER TABLE {qualified(t.schema, t.name)} SET WITHOUT OIDS;" for t in found),
        )
    return passed(say("No selected table has a hidden column oid."))


_REMOVED = {"abstime": 120000, "reltime": 120000, "tinterval": 120000, "unknown": 100000}
"""Types of old servers, and the first version that does not have them, or allows no column of them, any more."""
_INSTEAD = {"abstime": "timestamptz", "reltime": "interval"}


@item(
    "removed-types",
    "Types exist on the target",
    Group.SELECTION,
    "Types that were removed from PostgreSQL cannot be made on a newer target.",
    per_database=True,
)
def removed_types(context: Context, database: DatabasePlan) -> Finding:
    """List columns of selected tables whose types the target's version does not have any more."""
    target = context.version(Side.TARGET)
    gone = {name for name, since in _REMOVED.items() if target >= since}
    found = [
        (table, column)
        for table in context.tables(database.source_name)
        for column in table.columns
        if column.type_name.removesuffix("[]") in gone
    ]
    if not found:
        return passed(say("No selected table has a column of a type that was removed."))
    return failed(
        say(
            "{number} of types that the target does not have any more: {names}.",
            number=count(len(found), "{number} column", "{number} columns"),
            names=listing(f"{table.schema}.{table.name}.{column.name} ({column.type_name})" for table, column in found),
        ),
        say(
            "Change the columns on the source to a type that is still there, such as timestamptz, interval or text, or"
            " leave the tables out."
        ),
        lines(
            f"ALTER TABLE {qualified(table.schema, table.name)} ALTER COLUMN {quote(column.name)} TYPE"
            f" {_INSTEAD.get(column.type_name, 'text')};"
            for table, column in found
        ),
    )


_GENERATED_AS_PARENTS_SINCE = 160000


@item(
    "generated-children",
    "Generated columns of children",
    Group.SELECTION,
    "From 16 on a child's column may be generated only where its parent's is.",
    per_database=True,
)
def generated_children(context: Context, database: DatabasePlan) -> Finding:
    """List generated columns of selected tables that parents have as ordinary ones, where the target refuses it."""
    chosen = chosen_tables(context, database)
    rows = context.source(database.source_name).execute(query("check_generated_children")).fetchall()
    found = [(chosen[int(str(oid))], str(name), str(parent)) for oid, name, parent in rows if oid in chosen]
    if not found or context.version(Side.TARGET) < _GENERATED_AS_PARENTS_SINCE:
        return passed(say("The target takes every generated column of the selected tables."))
    return failed(
        say(
            "{number} that the parent has as ordinary ones: {names}.",
            number=count(len(found), "{number} generated column", "{number} generated columns"),
            names=listing(f"{table_name(table)}.{column}" for table, column, _parent in found),
        ),
        say(
            "The target refuses such tables. Make the columns ordinary ones on the source, which keeps their values but"
            " computes no new ones, or leave the tables out."
        ),
        lines(
            _made_ordinary(qualified(table.schema, table.name), quote(column), parent)
            for table, column, parent in found
            if parent
        ),
    )


def _made_ordinary(table: str, column: str, parent: str) -> str:
    """Return the statements; a server takes no expression off a column that is inherited at that moment."""
    return (
        f"BEGIN; ALTER TABLE {table} NO INHERIT {parent}; ALTER TABLE {table} ALTER COLUMN {column} DROP EXPRESSION;"
        f" ALTER TABLE {table} INHERIT {parent}; COMMIT;"
    )


@item(
    "money-columns",
    "Money is shown alike",
    Group.SELECTION,
    "Values of the type money are shown by the server's lc_monetary; their digits are migrated exactly.",
    per_database=True,
)
def money_columns(context: Context, database: DatabasePlan) -> Finding:
    """Compare lc_monetary of both ends when a selected table has a column of the type money."""
    columns = [
        f"{table_name(table)}.{column.name}"
        for table in context.tables(database.source_name)
        for column in table.columns
        if column.type_name in ("money", "money[]")
    ]
    if not columns:
        return passed(say("No selected table has a column of the type money."))
    target = database.target_name if context.target_exists(database) else ""
    source_words = _lc_monetary(context, Side.SOURCE, database.source_name)
    target_words = _lc_monetary(context, Side.TARGET, target)
    if source_words and source_words == target_words:
        return passed(
            say(
                "{number} of the type money; both ends use {source_words}.",
                number=count(len(columns), "{number} column", "{number} columns"),
                source_words=source_words,
            )
        )
    return warning(
        say(
            "{number} of the type money: {names}. lc_monetary is {source_words} on the source and "
            "{target_words} on the target.",
            number=count(len(columns), "{number} column", "{number} columns"),
            names=listing(columns),
            source_words=source_words or noun("unknown"),
            target_words=target_words or noun("unknown"),
        ),
        say(
            "The numbers are migrated exactly, but shown with the target's currency and number of "
            "decimals. Make both settings alike."
        ),
        f"ALTER DATABASE {quote(target)} SET lc_monetary = {literal(source_words)};" if target and source_words else "",
    )


def _lc_monetary(context: Context, side: Side, database: str) -> str:
    """Return the setting as a session has it that does not pin it; '' where the server has no room for one."""
    context.session(side, database)  # what stops an ordinary login is told by the items of the connection
    try:
        with context.fresh(side, database, settings={"lc_monetary": None}) as connection:
            row = connection.execute("SELECT pg_catalog.current_setting('lc_monetary')").fetchone()
    except ConnectFailed:
        return ""
    return str(row[0]) if row else ""


@item(
    "security-labels",
    "Security labels",
    Group.TARGET,
    "Security labels belong to the policy of one server and are not migrated.",
    per_database=True,
    sides=ON_SOURCE,
)
def security_labels(context: Context, database: DatabasePlan) -> Finding:
    """Count security labels of the source database."""
    rows = context.source(database.source_name).execute(query("check_security_labels")).fetchall()
    if not rows:
        return passed(say("The database has no security labels."))
    return warning(
        say(
            "The database has security labels: {names}.",
            names=listing(say("{number} of {provider}", number=number, provider=provider) for provider, number in rows),
        ),
        say("They are not migrated. Set them on the target, where the label provider must be loaded."),
    )
