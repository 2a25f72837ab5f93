"""Items about what a target takes of partitions and children by inheritance only otherwise than the source has it."""

from __future__ import annotations

from ..catalog import Table, read_tables
from ..layouts import Place
from ..mapping import renamed_schemas
from ..names import qualified, quote
from ..plan import DatabasePlan, Side
from ..renaming import Renaming
from ..sql import query
from ..wording import count, listing, say
from .context import Context
from .layout import USED, other_layouts, target_branches
from .registry import Finding, Group, failed, item, lines, passed
from .shape import chosen_tables, table_name

_IDENTITIES_SINCE = 100000
_NO_OWN_IDENTITY_SINCE = 170000


@item(
    "identity-partitions",
    "Identity columns of partitions",
    Group.SELECTION,
    "From 17 on a partition has its parent's identity columns, and none of its own.",
    per_database=True,
)
def identity_partitions(context: Context, database: DatabasePlan) -> Finding:
    """List identity columns that partitions have of their own, where the target would not attach such a partition."""
    found = _own_identities(context, database)
    if not found:
        return passed(say("The target takes every identity column of the selected partitions."))
    return failed(
        say(
            "{number} of partitions' own: {names}.",
            number=count(len(found), "{number} identity column", "{number} identity columns"),
            names=listing(f"{table_name(table)}.{column}" for table, column in found),
        ),
        say(
            "The target refuses to attach such a partition. Take the identity off on the source: rows that are inserted"
            " by the parent get its numbers as before, those that are inserted into the partition itself get none any"
            " more. Or leave the tables out."
        ),
        lines(
            f"ALTER TABLE {qualified(table.schema, table.name)} ALTER COLUMN {quote(column)} DROP IDENTITY;"
            for table, column in found
        ),
    )


def _own_identities(context: Context, database: DatabasePlan) -> list[tuple[Table, str]]:
    source, target = context.version(Side.SOURCE), context.version(Side.TARGET)
    if not _IDENTITIES_SINCE <= source < _NO_OWN_IDENTITY_SINCE <= target:
        return []
    chosen = chosen_tables(context, database)
    rows = context.source(database.source_name).execute(query("check_identity_partitions")).fetchall()
    found = [(chosen[int(str(oid))], str(column)) for oid, column in rows if oid in chosen]
    return [one for one in found if not stands(context, database, one[0])] if found else []


def stands(context: Context, database: DatabasePlan, table: Table) -> bool:
    """Say whether a table of the source is not made: the target's, whatever its layout, is used as it stands there."""
    if context.plan.selection.existing not in USED or not context.target_exists(database):
        return False
    renaming = Renaming(schemas=renamed_schemas(context.plan.selection, database.source_name))
    others = {below.oid for one in other_layouts(context, database) for below in (one.table, *one.below)}
    return table.oid in others or renaming.place((table.schema, table.name)) in target_branches(context, database)


@item(
    "moved-fields",
    "Rows in columns keep their order",
    Group.SELECTION,
    "A value that is a row of a table is read by the places of the table's columns.",
    per_database=True,
)
def moved_fields(context: Context, database: DatabasePlan) -> Finding:
    """List columns of selected tables that hold rows of a child whose columns get other places on the target."""
    chosen = chosen_tables(context, database)
    rows = context.source(database.source_name).execute(query("check_moved_fields")).fetchall()
    holding = [
        (chosen[int(str(oid))], str(column), (str(schema), str(name)))
        for oid, column, schema, name in rows
        if oid in chosen
    ]
    alike = _standing_alike(context, database, {child for _, _, child in holding})
    found = [
        f"{table_name(table)}.{column} ({'.'.join(child)})" for table, column, child in holding if child not in alike
    ]
    if not found:
        return passed(say("No selected table has rows of another in a column that are read otherwise on the target."))
    return failed(
        say(
            "Columns hold rows of tables whose columns have other places on the target: {names}.", names=listing(found)
        ),
        say(
            "PostgreSQL makes a child with the columns of its parents first, whatever their order was, and reads a row"
            " by the places: values would get into other fields. Make the child anew on the source with its parents'"
            " columns first, or leave the tables out."
        ),
    )


def _standing_alike(context: Context, database: DatabasePlan, children: set[Place]) -> set[Place]:
    """Return those that the target has already, with their columns in the source's order, and that are used there."""
    if not children or context.plan.selection.existing not in USED or not context.target_exists(database):
        return set()
    renaming = Renaming(schemas=renamed_schemas(context.plan.selection, database.source_name))
    here, there = (
        {(table.schema, table.name): [column.name for column in table.columns] for table in tables}
        for tables in (
            context.all_tables(database.source_name),
            read_tables(context.target(database.target_name), sizes=False),
        )
    )
    return {child for child in children if here.get(child, []) == there.get(renaming.place(child))}
