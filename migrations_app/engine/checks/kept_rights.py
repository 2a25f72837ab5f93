"""Rights that the target account needs on tables of the target that a task uses as they are."""

from __future__ import annotations

from typing import Any

from ..mapping import renamed_schemas
from ..names import qualified, quote
from ..plan import DatabasePlan
from ..renaming import Renaming
from ..sql import query
from ..wording import Sentence, count, listing, noun, say
from .context import Context
from .objects import KIND_WORDS, Thing
from .registry import MOST_STATEMENTS, Finding, failed, lines

_ON_SEQUENCES = ("SELECT", "UPDATE")


def loaded_tables(context: Context, database: DatabasePlan) -> set[tuple[str, str]]:
    """Return (schema, name) on the target of the tables whose rows move."""
    renaming = Renaming(schemas=renamed_schemas(context.plan.selection, database.source_name))
    return {renaming.place((table.schema, table.name)) for table in context.moving(database.source_name)}


def rights_lacking(context: Context, database: DatabasePlan, things: list[Thing]) -> Finding | None:
    """Say which rights the account lacks on tables and sequences that stay, and for identity columns of those tables.

    None when it lacks none. Without them the copy stops at the first row, or after the last one.
    """
    target = context.target(database.target_name)
    asked = {
        "schemas": [thing.schema for thing in things],
        "names": [thing.name for thing in things],
        "on_tables": _on_tables(context),
        "on_sequences": list(_ON_SEQUENCES),
    }
    rows: list[tuple[Any, ...]] = target.execute(query("check_kept_rights"), asked).fetchall()
    found = [(str(kind), (str(schema), str(name)), ", ".join(rights)) for kind, schema, name, rights in rows]
    if not found:
        return None
    user = quote(target.info.user)
    return failed(
        say(
            "{number} of {name} are to be used as they are, and the target account lacks rights on them: {names}.",
            number=count(len(found), "{number} object", "{number} objects"),
            name=database.target_name,
            names=listing(_words(kind, place, rights) for kind, place, rights in found),
        ),
        say("Their owner can grant them. What the tables lack (indexes, keys, triggers) only their owner can add."),
        lines(
            (
                f"GRANT {rights} ON {'SEQUENCE' if kind == 'S' else 'TABLE'} {qualified(*place)} TO {user};"
                for kind, place, rights in found
            ),
            MOST_STATEMENTS,
        ),
    )


def _on_tables(context: Context) -> list[str]:
    """Return what is done to rows: a table that was interrupted is emptied row by row and copied again."""
    rights = ["SELECT", "INSERT", "DELETE"]
    if context.plan.incremental:
        rights.append("UPDATE")
    if context.plan.incremental or context.plan.selection.existing == "truncate":
        rights.append("TRUNCATE")
    return rights


def _words(kind: str, place: tuple[str, str], rights: str) -> Sentence:
    return say("{kind} {label} ({rights})", kind=noun(KIND_WORDS[kind]), label=".".join(place), rights=rights)
