"""Items about what already stands on the target, and whether the copy fits."""

from __future__ import annotations

from dataclasses import replace

from ..large_object_numbers import Span, windows
from ..layouts import descendants
from ..names import TARGET_SCHEMA, qualified, quote
from ..plan import DatabasePlan, Side
from ..silencing import may_silence_triggers
from ..sql import query
from ..wording import Sentence, count, listing, noun, say, together
from .context import Context
from .kept_columns import other_columns
from .kept_rights import loaded_tables, rights_lacking
from .kept_tables import noted, rows_refused
from .layout import other_layouts, target_branches
from .objects import KIND_WORDS, Thing, selected_things, things_along, things_of
from .referring import referring_from_outside
from .registry import ON_SOURCE, Finding, Group, failed, item, lines, passed, size, warning

_WITH_INDEXES = ("r", "p", "m")
_LARGE = 10 << 30
_GRANTS_SETTINGS = 150000


@item(
    "target-conflicts",
    "Nothing is in the way on the target",
    Group.TARGET,
    "The target has no object with the name of one that will be migrated.",
    per_database=True,
)
def target_conflicts(context: Context, database: DatabasePlan) -> Finding:
    """List objects of the target that have the name of a selected one."""
    if not context.target_exists(database):
        return passed(
            say("The target has no database {target_name}; it will be created.", target_name=database.target_name)
        )
    there = things_of(context, Side.TARGET, database.target_name)
    wanted = {thing.place for thing in selected_things(context, database)}
    taken = [thing for thing in there if thing.place in wanted]
    tables = {thing.owner for thing in taken if thing.kind in _WITH_INDEXES}
    # An index or sequence of a table that is in the way goes with it.
    hard = [t for t in taken if t.catalog != "function" and (t.kind in _WITH_INDEXES or t.owner not in tables)]
    soft = [thing for thing in taken if thing.catalog == "function"]
    also = {thing.place for thing in things_along(context, database)} - wanted
    along = [thing for thing in there if thing.place in also]
    if (hard or along) and context.plan.selection.existing == "refuse":
        return _conflicts(database, there, hard, along)
    if hard:
        finding = _what_happens(context, database, hard, soft, [thing for thing in taken if thing.kind == "S"])
        return replace(finding, found=together([finding.found, _stay(along)])) if along else finding
    if along:
        return warning(_stay(along), say("They come along whatever is selected, and differences are not looked for."))
    if soft:
        return warning(
            say(
                "{number} of the same name on the target: {names}.",
                number=count(len(soft), "{number} function", "{number} functions"),
                names=listing(t.words for t in soft),
            ),
            say("They are left as they are. Drop them first if the source's version is wanted."),
        )
    return passed(say("No object of {target_name} is in the way.", target_name=database.target_name))


def _stay(along: list[Thing]) -> Sentence:
    return say(
        "{number} that nobody has selected will be used as they are, with what is in them: {names}.",
        number=count(len(along), "{number} object", "{number} objects"),
        names=listing(thing.words for thing in along),
    )


def _what_happens(
    context: Context, database: DatabasePlan, hard: list[Thing], soft: list[Thing], sequences: list[Thing]
) -> Finding:
    """Say what the chosen policy does to which object; what it could not do fails here already."""
    if strange := _strange(context, database, hard):
        return strange
    tables = [thing for thing in hard if thing.kind in ("r", "p")]
    whole = {one.target for one in other_layouts(context, database)}
    looked = [one for one in tables if one.kind == "r" or (one.schema, one.name) in whole]
    if context.plan.selection.existing == "recreate":
        return _made_anew(context, database, [*hard, *soft], _filled(context, database, looked))
    loaded = loaded_tables(context, database)
    looked = [one for one in looked if (one.schema, one.name) in loaded]
    lacking = rights_lacking(context, database, [*looked, *sequences]) or rows_refused(context, database, looked)
    if lacking:
        return lacking
    filled = _filled(context, database, looked)
    refused = _unfit(context, database, tables, filled)
    if context.plan.selection.existing == "truncate":
        moved = [one for one in tables if (one.schema, one.name) in loaded]
        refused = refused or referring_from_outside(context, database, moved)
    return refused or noted(context, database, tables, _used(context, database, hard, filled))


def _used(context: Context, database: DatabasePlan, hard: list[Thing], filled: list[Thing]) -> Finding:
    """Say which objects stay, and which tables will be emptied."""
    kept = say(
        "{number} of {name} will be used as they are: {names}.",
        number=count(len(hard), "{number} object", "{number} objects"),
        name=database.target_name,
        names=listing(thing.words for thing in hard),
    )
    if context.plan.selection.existing == "keep":
        return warning(
            kept,
            say("What they lack (indexes, keys, triggers) is added. What is other than on the source is noted later."),
        )
    return warning(
        say(
            "{number} with rows will be emptied: {names}. {kept}",
            number=count(len(filled), "{number} table", "{number} tables"),
            names=_names(filled),
            kept=kept,
        ),
        say("Emptied at once when the task starts. What the tables lack is added; other differences are noted."),
        lines(f"TRUNCATE {'ONLY ' * (t.kind == 'r')}{qualified(t.schema, t.name)};" for t in filled),
    )


def _made_anew(context: Context, database: DatabasePlan, taken: list[Thing], filled: list[Thing]) -> Finding:
    """Say what will be dropped, with the partitions that go with their tables although the source has none such."""
    places = {(thing.schema, thing.name) for thing in taken}
    branches = target_branches(context, database)
    below = sorted(descendants(branches, places) - places)
    more = _filled(context, database, [Thing("relation", branches[place].kind, *place, 0) for place in below])
    found = say(
        "{number} of {name} will be dropped and made anew: {names}. Tables with rows among them: {filled}.",
        number=count(len(taken), "{number} object", "{number} objects"),
        name=database.target_name,
        names=listing(thing.words for thing in taken),
        filled=_names([*filled, *more]),
    )
    if below:
        found += say(
            " With them go {number} that the source does not have: {names}.",
            number=count(len(below), "{number} partition", "{number} partitions"),
            names=listing(".".join(place) for place in below),
        )
    drops = (
        f"DROP {KIND_WORDS[thing.kind].upper()} {qualified(thing.schema, thing.name)};"
        for thing in taken
        if thing.catalog != "function"
    )
    return warning(
        found,
        say("All or none of them are dropped when the task starts, never what depends on them: then it stops."),
        lines(drops),
    )


def _strange(context: Context, database: DatabasePlan, hard: list[Thing]) -> Finding | None:
    """Say what no choice makes room for: another kind of object, or an index of a table that is not in the way."""
    kinds = {thing.place: thing.kind for thing in selected_things(context, database)}
    tables = {"p": "r"}  # whether rows can go into other partitions is a check of its own
    found = [
        thing
        for thing in hard
        if thing.kind in ("i", "I")
        or tables.get(thing.kind, thing.kind) != tables.get(kinds[thing.place], kinds[thing.place])
    ]
    if not found:
        return None
    return failed(
        say(
            "{number} of {name} is something else than on the source, or belongs to something else: {names}.",
            number=count(len(found), "{number} object", "{number} objects"),
            name=database.target_name,
            names=listing(
                say("{thing} ({kind} on the source)", thing=thing.words, kind=noun(KIND_WORDS[kinds[thing.place]]))
                for thing in found
            ),
        ),
        say("It can neither be used nor made anew in its place. Rename or drop it, or choose another target database."),
        lines(f"DROP {KIND_WORDS[thing.kind].upper()} {qualified(thing.schema, thing.name)};" for thing in found),
    )


def _unfit(context: Context, database: DatabasePlan, tables: list[Thing], filled: list[Thing]) -> Finding | None:
    """Say why tables of the target cannot take the rows as they stand; None when they can."""
    name = database.target_name
    if shapes := other_columns(context, database, tables):
        return failed(
            say(
                "{number} of {name} cannot take the rows, because their columns are not those of the source: {names}.",
                number=count(len(shapes), "{number} table", "{number} tables"),
                name=name,
                names=listing(shapes),
            ),
            say("Change them, remove them, or let the task drop and make them anew."),
        )
    if context.plan.selection.existing == "keep" and filled:
        return failed(
            say(
                "{number} of {name} hold rows, and are to be kept: {names}.",
                number=count(len(filled), "{number} table", "{number} tables"),
                name=name,
                names=_names(filled),
            ),
            say("Empty them, leave them out, or choose on the objects step that they are emptied."),
        )
    return _firing_keys(context, database, tables)


def _firing_keys(context: Context, database: DatabasePlan, tables: list[Thing]) -> Finding | None:
    """Say which foreign keys would act on each row that is copied; None when they can be kept quiet."""
    target, places = context.target(database.target_name), {(thing.schema, thing.name) for thing in tables}
    found = [(str(a), str(b), str(c)) for a, b, c in target.execute(query("foreign_key_names")).fetchall()]
    keys = [one for one in found if one[:2] in places]
    if not keys or may_silence_triggers(target):
        return None
    drops = [f"ALTER TABLE {qualified(schema, table)} DROP CONSTRAINT {quote(key)};" for schema, table, key in keys]
    grant = f"GRANT SET ON PARAMETER session_replication_role TO {quote(target.info.user)};"
    return failed(
        say(
            "{number} of {name} would act on the rows while they are copied in any order, and the target account may"
            " not keep them quiet: {names}.",
            number=count(len(keys), "{number} foreign key", "{number} foreign keys"),
            name=database.target_name,
            names=listing(f"{schema}.{table} ({key})" for schema, table, key in keys),
        ),
        say("Let a superuser of the target grant the right, or drop the keys: those of the source are made at the end.")
        if context.version(Side.TARGET) >= _GRANTS_SETTINGS
        else say("Drop the keys on the target: those of the source are made at the end."),
        grant if context.version(Side.TARGET) >= _GRANTS_SETTINGS else lines(drops),
    )


def _filled(context: Context, database: DatabasePlan, tables: list[Thing]) -> list[Thing]:
    """Return those of these tables of the target that have rows; foreign ones have none."""
    target, found = context.target(database.target_name), []
    for one in tables:
        if one.kind == "f":
            continue
        only = "ONLY " if one.kind == "r" else ""
        row = target.execute(f"SELECT EXISTS (TABLE {only}{qualified(one.schema, one.name)})".encode()).fetchone()
        if row and row[0]:
            found.append(one)
    return found


def _names(tables: list[Thing]) -> Sentence:
    return listing(f"{one.schema}.{one.name}" for one in tables) if tables else say("none")


def _within_others(context: Context, database: DatabasePlan) -> set[tuple[str, str]]:
    """Return the partitions of the target that rows come into by the name of the whole table."""
    tops = {one.target for one in other_layouts(context, database) if one.target_partitioned}
    return descendants(target_branches(context, database), tops) if tops else set()


def _conflicts(database: DatabasePlan, there: list[Thing], hard: list[Thing], along: list[Thing]) -> Finding:
    hint = say(
        "Remove or rename them in {target_name}, choose another target database, or choose on the objects step that"
        " they are kept, emptied or made anew.",
        target_name=database.target_name,
    )
    if along:
        hint += say(
            " Nobody has selected {names}, which would come along: with any of these choices they stay as they are.",
            names=listing(thing.words for thing in along),
        )
    if any(thing.schema == TARGET_SCHEMA for thing in there):
        hint += say(
            " The schema {schema} shows that a task works or worked here: if it was "
            "cancelled, its Start again offers to clear exactly what it made.",
            schema=TARGET_SCHEMA,
        )
    drops = (
        f"DROP {KIND_WORDS[thing.kind].upper()} {qualified(thing.schema, thing.name)};"
        for thing in hard
        if thing.kind in KIND_WORDS
    )
    return failed(
        say(
            "{number} with the same name on the target: {names}.",
            number=count(len(hard) + len(along), "{number} object", "{number} objects"),
            names=listing(thing.words for thing in [*hard, *along]),
        ),
        hint,
        lines(drops, limit=20),
    )


@item(
    "target-empty",
    "Target database is empty",
    Group.TARGET,
    "Other objects in the target database stay as they are.",
    per_database=True,
)
def target_empty(context: Context, database: DatabasePlan) -> Finding:
    """Count the relations of the target database that are not in the way."""
    if not context.target_exists(database):
        return passed(say("The target database will be created."))
    wanted = {thing.place for thing in selected_things(context, database)}
    wanted |= {("relation", *place) for place in _within_others(context, database)}
    others = [
        thing
        for thing in things_of(context, Side.TARGET, database.target_name)
        if thing.kind in ("r", "p", "v", "m", "f") and thing.place not in wanted and thing.schema != TARGET_SCHEMA
    ]
    if others:
        return warning(
            say(
                "{target_name} already holds {number}: {names}.",
                target_name=database.target_name,
                number=count(len(others), "{number} other object", "{number} other objects"),
                names=listing((thing.words for thing in others), 10),
            ),
            say("They are neither touched nor compared. Take an empty database if the target is to equal the source."),
        )
    return passed(say("{target_name} holds nothing else.", target_name=database.target_name))


@item(
    "target-large-objects",
    "Numbers of large objects are free",
    Group.TARGET,
    "Large objects keep their numbers, which the target database must not have given to others.",
    per_database=True,
)
def target_large_objects(context: Context, database: DatabasePlan) -> Finding:
    """Look for large objects of the target that have the number of one that will be migrated."""
    name = database.source_name
    moves = context.whole_database(name) and context.plan.selection.mode(name) == "data"
    if not moves or not context.target_exists(database):
        return passed(say("No large object is in the way."))
    source, target = context.source(name), context.target(database.target_name)
    for window in windows(source, target, Span(), context.control.check):
        if taken := sorted(window.here.intersection(window.there)):
            return failed(
                say(
                    "{name} has large objects with the numbers of the source's: {names}.",
                    name=database.target_name,
                    names=listing(map(str, taken), 10),
                ),
                say("They are kept whatever is chosen. Remove them there, or choose another target database."),
                lines(f"SELECT lo_unlink({number});" for number in taken),
            )
    return passed(say("No large object is in the way."))


@item(
    "target-disk",
    "Disk space on the target",
    Group.TARGET,
    "The selected tables fit on the target's disk.",
    sides=ON_SOURCE,
)
def target_disk(context: Context) -> Finding:
    """Tell how much is needed: a server does not say through SQL how much space it has."""
    total = sum(table.bytes for plan in context.plan.databases for table in context.moving(plan.source_name))
    words = say(
        "The selected tables take {size}; with indexes and WAL about {size_2} may be needed.",
        size=size(total),
        size_2=size(total * 2),
    )
    hint = say("PostgreSQL does not tell its free disk space. Compare with the target's disk before the start.")
    if total >= _LARGE:
        return warning(words, hint)
    return passed(words, hint)
