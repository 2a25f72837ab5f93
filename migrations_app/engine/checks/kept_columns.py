"""Columns of tables of the target that a task uses as they are, beside those of the source."""

from __future__ import annotations

from ..catalog import read_tables
from ..mapping import renamed_schemas
from ..plan import DatabasePlan
from ..renaming import Renaming
from ..wording import Sentence, listing, say
from .context import Context
from .objects import Thing

MOST_COLUMNS = 5
"""Columns of one table that are named for each way in which they differ."""


def other_columns(context: Context, database: DatabasePlan, tables: list[Thing]) -> list[Sentence]:
    """Return the tables whose columns are not those of their counterparts, and what differs."""
    renaming = Renaming(schemas=renamed_schemas(context.plan.selection, database.source_name))
    wanted = {
        renaming.place((table.schema, table.name)): {c.name: renaming.shown(c.type_name) for c in table.copied_columns}
        for table in context.tables(database.source_name)
    }
    there = {
        (table.schema, table.name): {c.name: c.type_name for c in table.copied_columns}
        for table in read_tables(context.target(database.target_name), sizes=False)
    }
    places = [(thing.schema, thing.name) for thing in tables]
    return [
        say("{table} ({differences})", table=".".join(place), differences=_differences(source, target))
        for place in places
        if (source := wanted.get(place, {})) != (target := there.get(place, {}))
    ]


def _differences(source: dict[str, str], target: dict[str, str]) -> Sentence:
    """Say which columns differ, some of each kind."""
    lacks = [f"{name} {kind}" for name, kind in source.items() if name not in target]
    more = [f"{name} {kind}" for name, kind in target.items() if name not in source]
    other = [
        say("{name} is {target} instead of {source}", name=name, target=target[name], source=kind)
        for name, kind in source.items()
        if name in target and target[name] != kind
    ]
    first, *rest = [
        *([say("without {names}", names=listing(lacks, MOST_COLUMNS))] if lacks else []),
        *([say("with {names}", names=listing(more, MOST_COLUMNS))] if more else []),
        *([listing(other, MOST_COLUMNS)] if other else []),
    ]
    for part in rest:
        first = say("{first}; {second}", first=first, second=part)
    return first
