"""Columns of tables of the target that a task uses as they are, beside those of the source."""

from __future__ import annotations

from ..catalog import Table, read_tables
from ..mapping import renamed_schemas
from ..plan import DatabasePlan
from ..renaming import Renaming
from ..wording import Sentence, listing, say
from .context import Context
from .objects import Thing

_STORED, _VIRTUAL = " GENERATED", " GENERATED VIRTUAL"
_MARKS = {"": "", "v": _VIRTUAL}
_AS_THEY_ARE = Renaming()
MOST_COLUMNS = 5
"""Columns of one table that are named for each way in which they differ."""


def other_columns(context: Context, database: DatabasePlan, tables: list[Thing]) -> list[Sentence]:
    """Return the tables whose columns are not those of their counterparts, and what differs.

    Generated ones do not travel, but a comparison of rows looks for each that is stored, and refuses any that only the
    target has.
    """
    renaming = Renaming(schemas=renamed_schemas(context.plan.selection, database.source_name))
    wanted = {
        renaming.place((table.schema, table.name)): _shown(table, renaming)
        for table in context.tables(database.source_name)
    }
    there = {
        (table.schema, table.name): _shown(table, _AS_THEY_ARE)
        for table in read_tables(context.target(database.target_name), sizes=False)
    }
    found = []
    for place in ((thing.schema, thing.name) for thing in tables):
        source, target = _compared(wanted.get(place, {}), there.get(place, {}))
        if source != target:
            differences = _differences(source, target)
            found.append(say("{table} ({differences})", table=".".join(place), differences=differences))
    return found


def _shown(table: Table, renaming: Renaming) -> dict[str, str]:
    """Return the types of all columns by name; those of generated ones with a mark."""
    return {c.name: renaming.shown(c.type_name) + _MARKS.get(c.generated, _STORED) for c in table.columns}


def _compared(source: dict[str, str], target: dict[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """Leave out what both compute: the rows of a stored one, whatever its type, or a virtual one that nobody reads."""
    passed = set()
    for name, kind in source.items():
        other = target.get(name, _VIRTUAL)
        if kind.endswith(_VIRTUAL):
            passed |= {name} if other.endswith((_STORED, _VIRTUAL)) else set()
        elif kind.endswith(_STORED) and other.endswith(_STORED):
            passed.add(name)
    return (
        {name: kind for name, kind in source.items() if name not in passed},
        {name: kind for name, kind in target.items() if name not in passed},
    )


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
