"""Items about what already stands on the target, and whether the copy fits."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ..catalog import read_tables
from ..layouts import descendants
from ..mapping import renamed_schemas
from ..names import TARGET_SCHEMA, qualified, quote
from ..plan import DatabasePlan, Side
from ..renaming import Renaming
from ..silencing import may_silence_triggers
from ..sql import query
from ..wording import Sentence, count, listing, noun, say
from .context import Context
from .layout import other_layouts, target_branches
from .registry import ON_SOURCE, Finding, Group, failed, item, lines, passed, size, warning

_WORDS = {
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
_WITH_INDEXES = ("r", "p", "m")
_LARGE = 10 << 30
_GRANTS_SETTINGS = 150000
MOST_COLUMNS = 5
"""Columns of one table that are named for each way in which they differ."""


@dataclass(frozen=True)
class Thing:
    """An object that has a name in a schema. `owner` is the oid of the table that it belongs to, or of itself."""

    catalog: str  # relation, type or function: names are unique within a catalog and a schema
    kind: str
    schema: str
    name: str
    owner: int

    @property
    def place(self) -> tuple[str, str, str]:
        """What two objects cannot share."""
        return (self.catalog, self.schema, self.name)

    @property
    def words(self) -> Sentence:
        """The object as an operator reads it."""
        return say(
            "{kind} {schema}.{name}", kind=noun(_WORDS.get(self.kind, self.kind)), schema=self.schema, name=self.name
        )


def _things(context: Context, side: Side, database: str) -> list[Thing]:
    def read() -> list[Thing]:
        rows = context.session(side, database).execute(query("check_objects")).fetchall()
        return [Thing(str(a), str(b), str(c), str(d), int(str(e))) for a, b, c, d, e in rows]

    return context.remember(("things", side, database), read)


def _selected(context: Context, plan: DatabasePlan) -> list[Thing]:
    """Return what the migration will make, under the target's names: what belongs to selected tables, and what is
    selected by its own name. Partitions whose rows go by the name of the whole table are not made."""
    database = plan.source_name
    renaming = Renaming(schemas=renamed_schemas(context.plan.selection, database))
    tables = {table.oid for table in context.tables(database)}
    tables -= {below.oid for one in other_layouts(context, plan) for below in one.below}
    all_tables = {table.oid for table in context.all_tables(database)}
    includes = context.plan.selection.includes
    return [
        replace(thing, schema=renaming.schema(thing.schema), name=_name(thing, renaming))
        for thing in _things(context, Side.SOURCE, database)
        if (thing.owner in tables if thing.owner in all_tables else includes(database, thing.schema, thing.name))
    ]


def _name(thing: Thing, renaming: Renaming) -> str:
    return renaming.shown(thing.name) if thing.catalog == "function" else thing.name


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
    there = _things(context, Side.TARGET, database.target_name)
    wanted = {thing.place for thing in _selected(context, database)}
    taken = [thing for thing in there if thing.place in wanted]
    tables = {thing.owner for thing in taken if thing.kind in _WITH_INDEXES}
    # An index or sequence of a table that is in the way goes with it.
    hard = [t for t in taken if t.catalog != "function" and (t.kind in _WITH_INDEXES or t.owner not in tables)]
    soft = [thing for thing in taken if thing.catalog == "function"]
    if hard and context.plan.selection.existing != "refuse":
        return _what_happens(context, database, hard, soft)
    if hard:
        return _conflicts(database, there, hard)
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


def _what_happens(context: Context, database: DatabasePlan, hard: list[Thing], soft: list[Thing]) -> Finding:
    """Say what the chosen policy does to which object; what it could not do fails here already."""
    policy, name = context.plan.selection.existing, database.target_name
    if strange := _strange(context, database, hard):
        return strange
    tables = [thing for thing in hard if thing.kind in ("r", "p")]
    whole = {one.target for one in other_layouts(context, database)}
    filled = _filled(context, database, [one for one in tables if one.kind == "r" or (one.schema, one.name) in whole])
    words = listing(thing.words for thing in hard)
    number = count(len(hard), "{number} object", "{number} objects")
    if policy == "recreate":
        return warning(
            say(
                "{number} of {name} will be dropped and made anew: {names}. Tables with rows among them: {filled}.",
                number=number,
                name=name,
                names=listing(thing.words for thing in [*hard, *soft]),
                filled=listing(filled) if filled else say("none"),
            ),
            say("All or none of them are dropped when the task starts, never what depends on them: then it stops."),
            lines(f"DROP {_WORDS[thing.kind].upper()} {qualified(thing.schema, thing.name)};" for thing in hard),
        )
    if unfit := _unfit(context, database, tables, filled):
        return unfit
    kept = say("{number} of {name} will be used as they are: {names}.", number=number, name=name, names=words)
    if policy == "keep":
        return warning(
            kept,
            say("What they lack (indexes, keys, triggers) is added. What is other than on the source is noted later."),
        )
    return warning(
        say(
            "{number} with rows will be emptied: {names}. {kept}",
            number=count(len(filled), "{number} table", "{number} tables"),
            names=listing(filled) if filled else say("none"),
            kept=kept,
        ),
        say("Emptied at once when the task starts. What the tables lack is added; other differences are noted."),
        lines(f"TRUNCATE {table};" for table in filled),
    )


def _strange(context: Context, database: DatabasePlan, hard: list[Thing]) -> Finding | None:
    """Say what no choice makes room for: another kind of object, or an index of a table that is not in the way."""
    kinds = {thing.place: thing.kind for thing in _selected(context, database)}
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
                say("{thing} ({kind} on the source)", thing=thing.words, kind=noun(_WORDS[kinds[thing.place]]))
                for thing in found
            ),
        ),
        say("It can neither be used nor made anew in its place. Rename or drop it, or choose another target database."),
        lines(f"DROP {_WORDS[thing.kind].upper()} {qualified(thing.schema, thing.name)};" for thing in found),
    )


def _unfit(context: Context, database: DatabasePlan, tables: list[Thing], filled: list[str]) -> Finding | None:
    """Say why tables of the target cannot take the rows as they stand; None when they can."""
    name = database.target_name
    if shapes := _other_columns(context, database, tables):
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
                names=listing(filled),
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


def _filled(context: Context, database: DatabasePlan, tables: list[Thing]) -> list[str]:
    """Return those of these tables of the target that have rows."""
    target, found = context.target(database.target_name), []
    for thing in tables:
        table = qualified(thing.schema, thing.name)
        only = "ONLY " if thing.kind == "r" else ""
        row = target.execute(f"SELECT EXISTS (TABLE {only}{table})".encode()).fetchone()
        if row and row[0]:
            found.append(f"{thing.schema}.{thing.name}")
    return found


def _other_columns(context: Context, database: DatabasePlan, tables: list[Thing]) -> list[Sentence]:
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


def _within_others(context: Context, database: DatabasePlan) -> set[tuple[str, str]]:
    """Return the partitions of the target that rows come into by the name of the whole table."""
    tops = {one.target for one in other_layouts(context, database) if one.target_partitioned}
    return descendants(target_branches(context, database), tops) if tops else set()


def _conflicts(database: DatabasePlan, there: list[Thing], hard: list[Thing]) -> Finding:
    hint = say(
        "Remove or rename them in {target_name}, choose another target database, or choose on the objects step that"
        " they are kept, emptied or made anew.",
        target_name=database.target_name,
    )
    if any(thing.schema == TARGET_SCHEMA for thing in there):
        hint += say(
            " The schema {schema} shows that a task works or worked here: if it was "
            "cancelled, its Start again offers to clear exactly what it made.",
            schema=TARGET_SCHEMA,
        )
    drops = (
        f"DROP {_WORDS[thing.kind].upper()} {qualified(thing.schema, thing.name)};"
        for thing in hard
        if thing.kind in _WORDS
    )
    return failed(
        say(
            "{number} with the same name on the target: {names}.",
            number=count(len(hard), "{number} object", "{number} objects"),
            names=listing(thing.words for thing in hard),
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
    wanted = {thing.place for thing in _selected(context, database)}
    wanted |= {("relation", *place) for place in _within_others(context, database)}
    others = [
        thing
        for thing in _things(context, Side.TARGET, database.target_name)
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
