"""Items about schemas that get another name on the target."""

from __future__ import annotations

from collections import defaultdict

from ..errors import PlanError
from ..mapping import arguments_that_name, bodies_that_name, refuse_name, renamed_schemas
from ..names import quote
from ..plan import DatabasePlan
from ..sql import query
from ..wording import count, listing, pair, say, together
from .context import Context
from .registry import ON_SOURCE, Finding, Group, failed, item, passed, warning


@item(
    "schema-names",
    "Names of schemas on the target",
    Group.SELECTION,
    "Every schema that is renamed gets a name that the target accepts, and one that no other schema has.",
    per_database=True,
    sides=ON_SOURCE,
)
def schema_names(context: Context, database: DatabasePlan) -> Finding:
    """Look for names that no schema can have, and for schemas that would become one."""
    name, selection = database.source_name, context.plan.selection
    renamed = renamed_schemas(selection, name)
    for target in renamed.values():
        try:
            refuse_name(target)
        except PlanError as error:
            return failed(error.message, error.hint)
    there = [str(row[0]) for row in context.source(name).execute(query("inventory_schemas")).fetchall()]
    if unknown := sorted(renamed.keys() - there):
        return warning(
            say(
                "The source has no {names}.", names=listing(say("schema {schema}", schema=schema) for schema in unknown)
            ),
            say("A new name was given for what is not there. Check the spelling on the objects step."),
        )
    origins: dict[str, list[str]] = defaultdict(list)
    for schema in there:
        if selection.touches(name, schema):
            origins[renamed.get(schema, schema)].append(schema)
    merged = [
        say("{names} become {target}", names=pair(found), target=target)
        for target, found in origins.items()
        if len(found) > 1
    ]
    if merged:
        return warning(
            say("Schemas that become one: {names}.", names=listing(merged)),
            say(
                "That works only while no two of their objects have the same name. Give each a name of "
                "its own otherwise."
            ),
        )
    if "public" in renamed:
        place = f'"$user", {quote(renamed["public"])}'
        return warning(
            say("What is in public will be in {renamed}.", renamed=renamed["public"]),
            say(
                "Applications that do not name their schema look in public. Set their search_path, or "
                "the database's on the target after the migration:"
            ),
            f"ALTER DATABASE {quote(database.target_name)} SET search_path = {place};",
        )
    if renamed:
        return passed(
            say("{number} will be renamed.", number=count(len(renamed), "{number} schema", "{number} schemas"))
        )
    return passed(say("No schema is renamed."))


@item(
    "renamed-bodies",
    "Functions and triggers that name a renamed schema",
    Group.SELECTION,
    "Bodies of functions and arguments of triggers are text and never changed; all else follows the new names.",
    per_database=True,
    sides=ON_SOURCE,
)
def renamed_bodies(context: Context, database: DatabasePlan) -> Finding:
    """List functions and triggers whose text names a schema that has another name on the target."""
    source, selection, name = context.source(database.source_name), context.plan.selection, database.source_name
    bodies = bodies_that_name(source, selection, name)
    triggers = arguments_that_name(source, selection, name)
    if not bodies and not triggers:
        return passed(say("No text of a function or trigger names a renamed schema."))
    found = [
        say(
            "{number} whose text names a renamed schema: {names}.",
            number=count(len(bodies), "{number} function", "{number} functions"),
            names=listing(bodies),
        )
    ] * bool(bodies)
    found += [
        say(
            "{number} whose arguments name a renamed schema: {names}.",
            number=count(len(triggers), "{number} trigger", "{number} triggers"),
            names=listing(triggers),
        )
    ] * bool(triggers)
    hint = say(
        "On the target they look for the old name. Put the new name in there after the "
        "migration, before they are called."
    )
    return warning(together(found), hint)
