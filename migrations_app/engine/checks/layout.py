"""The item about tables that stand on the target already with other partitions than on the source."""

from __future__ import annotations

from collections.abc import Mapping

from ..catalog import read_tables
from ..layouts import WAYS_OUT, Branch, Layout, Other, Place, differing, read_branches, refusal
from ..mapping import renamed_schemas
from ..plan import DatabasePlan, Side
from ..renaming import Renaming
from ..wording import NOTHING, Sentence, count, listing, say
from .context import Context
from .registry import Finding, Group, failed, item, passed, warning

USED = ("keep", "truncate")


def other_layouts(context: Context, database: DatabasePlan) -> list[Other]:
    """Return the selected tables that have another layout on the target and are used there as they are."""
    if context.plan.selection.existing not in USED or not context.target_exists(database):
        return []
    return context.remember(("layouts", database.source_name), lambda: _read(context, database))


def target_branches(context: Context, database: DatabasePlan) -> Mapping[Place, Branch]:
    """Return how the tables of the target database are partitioned."""
    return context.remember(
        ("branches", database.target_name), lambda: read_branches(context.target(database.target_name))
    )


def _read(context: Context, database: DatabasePlan) -> list[Other]:
    name = database.source_name
    renaming = Renaming(schemas=renamed_schemas(context.plan.selection, name))
    tables = context.tables(name)
    partitioned = any(table.kind == "p" for table in tables)
    source = read_branches(context.source(name), renaming) if partitioned else {}
    return differing(tables, source, target_branches(context, database), renaming)


@item(
    "target-layouts",
    "Partitions on the target",
    Group.TARGET,
    "Tables that stand on the target are partitioned as on the source, or their rows can go in by their names.",
    per_database=True,
)
def target_layouts(context: Context, database: DatabasePlan) -> Finding:
    """List the tables whose partitions are others on the target, and what happens to their rows."""
    if not context.target_exists(database) or context.plan.selection.existing not in USED:
        return passed(say("No table of the target is used as it stands there."))
    others = other_layouts(context, database)
    if not others:
        return passed(say("No table that stands on the target is partitioned otherwise there."))
    moving = {table.oid for table in context.moving(database.source_name)}
    since = context.version(Side.SOURCE) if context.plan.incremental else None
    branches = target_branches(context, database)
    if refusals := [why for one in others if (why := refusal(one, moving, branches, since))]:
        return failed(
            say("The target has other partitions, into which rows cannot go: {names}.", names=listing(refusals)),
            WAYS_OUT,
        )
    hint = say("Indexes and keys of these tables stay as the target has them; what they lack is noted at the end.")
    if context.plan.incremental:
        hint += _while_syncing(context, database, others)
    return warning(
        say(
            "{number} with other partitions on the target: {names}.",
            number=count(len(others), "{number} table", "{number} tables"),
            names=listing(one.words for one in others),
        ),
        hint,
    )


def _while_syncing(context: Context, database: DatabasePlan, others: list[Other]) -> Sentence:
    words: Sentence = NOTHING
    if any(one.layout is Layout.GATHERED for one in others):
        words = say(
            " During the sync, TRUNCATE of a single partition and ATTACH of one with rows stop it until the table is "
            "copied again; DETACH and DROP of a partition leave its rows on the target until then."
        )
    there = {
        (table.schema, table.name): table
        for table in read_tables(context.target(database.target_name), sizes=False)
        if not table.key
    }
    bare = [".".join(one.target) for one in others if one.target in there]
    if bare:
        words += say(
            " Without a primary key on the target each changed row is looked for in the whole table: {names}.",
            names=listing(bare),
        )
    return words
