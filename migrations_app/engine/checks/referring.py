"""Foreign keys of the target that keep the tables of a task from being emptied."""

from __future__ import annotations

from ..names import qualified, quote
from ..plan import DatabasePlan
from ..sql import query
from ..wording import count, listing, say
from .context import Context
from .objects import Thing
from .registry import Finding, failed, lines


def referring_from_outside(context: Context, database: DatabasePlan, tables: list[Thing]) -> Finding | None:
    """Say which other tables refer to those that the task would empty; None when there are none.

    A server empties no table that another one refers to, whether that has rows or not, and nothing here cascades.
    """
    places = {(thing.schema, thing.name) for thing in tables}
    target = context.target(database.target_name)
    rows = target.execute(query("check_referring_keys")).fetchall()
    keys = [tuple(map(str, row)) for row in rows]
    found = list(dict.fromkeys(key[:3] for key in keys if key[3:] in places and key[:2] not in places))
    if not found:
        return None
    return failed(
        say(
            "On {name}, {number} from tables that stay as they are to tables that would be emptied: {names}.",
            number=count(len(found), "{number} foreign key leads", "{number} foreign keys lead"),
            name=database.target_name,
            names=listing(f"{key[0]}.{key[1]} ({key[2]})" for key in found),
        ),
        say("Drop these keys and add them again after the migration, or choose another policy or target database."),
        lines(f"ALTER TABLE {qualified(*key[:2])} DROP CONSTRAINT {quote(key[2])};" for key in found),
    )
