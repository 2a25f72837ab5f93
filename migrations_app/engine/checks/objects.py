"""The objects of source and target by name: what the migration makes, as selected or because it comes along."""

from __future__ import annotations

from dataclasses import replace

from ..catalog import Table
from ..mapping import leaves_any, renamed_schemas
from ..plan import DatabasePlan, Side
from ..renaming import Renaming
from ..sql import query
from ..values import frozen
from ..wording import Sentence, noun, say
from .context import Context
from .layout import other_layouts

KIND_WORDS = {
    "r": "table",
    "p": "table",
    "f": "foreign table",
    "v": "view",
    "m": "materialized view",
    "S": "sequence",
    "i": "index",
    "I": "index",
    "c": "type",
    "type": "type",
    "function": "function",
}
_TABLES = ("r", "p")
_ALONG = ("S", "c", "type")
"""Kinds that come along whatever is selected, and for which another one of the same name cannot pass."""


@frozen(kw_only=False)
class Thing:
    """An object that has a name in a schema. `owner` is the oid of the table that it belongs to, or of itself; `role`
    owns it."""

    catalog: str  # relation, type or function: names are unique within a catalog and a schema
    kind: str
    schema: str
    name: str
    owner: int
    role: str = ""

    @property
    def place(self) -> tuple[str, str, str]:
        """What two objects cannot share."""
        return (self.catalog, self.schema, self.name)

    @property
    def words(self) -> Sentence:
        """The object as an operator reads it."""
        return say(
            "{kind} {schema}.{name}",
            kind=noun(KIND_WORDS.get(self.kind, self.kind)),
            schema=self.schema,
            name=self.name,
        )


def things_of(context: Context, side: Side, database: str) -> list[Thing]:
    """Return everything in user schemas of a database that has a name of its own."""

    def read() -> list[Thing]:
        rows = context.session(side, database).execute(query("check_objects")).fetchall()
        return [Thing(str(a), str(b), str(c), str(d), int(str(e)), str(f)) for a, b, c, d, e, f in rows]

    return context.remember(("things", side, database), read)


def followed_tables(context: Context, database: DatabasePlan) -> list[Table]:
    """Return the tables whose changes are in the stream under their own names: no partitioned or unlogged ones."""
    return [one for one in context.moving(database.source_name) if one.has_rows and one.persistence == "p"]


def selected_things(context: Context, plan: DatabasePlan) -> list[Thing]:
    """Return what the migration will make, under the target's names."""
    renaming = Renaming(schemas=renamed_schemas(context.plan.selection, plan.source_name))
    return [
        replace(thing, schema=renaming.schema(thing.schema), name=_name(thing, renaming))
        for thing in chosen_things(context, plan)
    ]


def chosen_things(context: Context, plan: DatabasePlan) -> list[Thing]:
    """Return what the migration will make: what belongs to selected tables, and what is selected by its own name.
    Partitions whose rows go by the name of the whole table are not made."""
    database = plan.source_name
    tables = {table.oid for table in context.tables(database)}
    tables -= {below.oid for one in other_layouts(context, plan) for below in one.below}
    all_tables = {table.oid for table in context.all_tables(database)}
    includes = context.plan.selection.includes
    return [
        thing
        for thing in things_of(context, Side.SOURCE, database)
        if (thing.owner in tables if thing.owner in all_tables else includes(database, thing.schema, thing.name))
    ]


def _name(thing: Thing, renaming: Renaming) -> str:
    return renaming.shown(thing.name) if thing.catalog == "function" else thing.name


def things_along(context: Context, plan: DatabasePlan) -> list[Thing]:
    """Return what the migration makes although nobody has selected it, under the target's names: types and sequences
    that tables may need, and the tables that a selected one cannot be without."""
    database, selection = plan.source_name, context.plan.selection
    if not leaves_any(selection, database):
        return []
    chosen = [table.oid for table in context.tables(database)]
    rows = context.source(database).execute(query("check_needed_tables"), {"tables": chosen}).fetchall()
    needed = {int(str(row[0])) for row in rows}
    tables = {table.oid for table in context.all_tables(database)}
    renaming = Renaming(schemas=renamed_schemas(selection, database))
    return [
        replace(thing, schema=renaming.schema(thing.schema))
        for thing in things_of(context, Side.SOURCE, database)
        if (
            thing.owner in needed and thing.kind in _TABLES
            if thing.owner in tables
            else thing.kind in _ALONG and not selection.includes(database, thing.schema, thing.name)
        )
    ]
