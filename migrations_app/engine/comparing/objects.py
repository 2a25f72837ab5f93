"""Compares what stands around the rows: tables, columns, indexes, constraints, triggers, views, functions, types.

Only what the source has and the target lacks, or has differently, counts: further objects on the target harm nobody.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Container
from dataclasses import dataclass, replace

from ..connect import Connection
from ..ports import TableDifference
from ..renaming import Renaming
from ..selection import Selection
from ..sql import query
from ..wording import NOTHING, Sentence, noun, say

_SHOWN = 200
_CACHE = " cache "
_QUERIES = ("objects_tables", "objects", "objects_sequences", "objects_security")
_NOTHING = Renaming()
_NOISE = re.compile(r'[\s()]|::(?:"[^"]*"|[a-z_ ])+(?:\.(?:"[^"]*"|[a-z_ ])+)?(?:\[\])*')
_LOWER_CASE_QUOTED = re.compile(r'"([a-z_][a-z0-9_]*)"')
_IN_ARGUMENT = re.compile(r"(\(|, )IN (?=\S)")
_VIEWS = frozenset({"view", "materialized view", "foreign table"})
ACCESS = frozenset({"row security", "policy"})
ACTIVE = frozenset({"foreign key", "trigger", "rule"})


@dataclass(frozen=True, kw_only=True)
class Thing:
    """One object of a database, with what must be the same on both sides."""

    kind: str
    schema: str
    table: str
    name: str
    definition: str
    usable: bool

    @property
    def identity(self) -> tuple[str, str, str, str]:
        """What finds the same object on the other side. From 14 on IN stands before the arguments of procedures."""
        name = _IN_ARGUMENT.sub(r"\1", self.name) if self.kind == "function" else self.name
        return (self.kind, self.schema, self.table, name)

    @property
    def title(self) -> Sentence:
        """Return the name as an operator reads it, without the schema."""
        if self.name and self.table:
            return say("{kind} {name} on {where}", kind=noun(self.kind), name=self.name, where=self.table)
        return say("{kind} {name}", kind=noun(self.kind), name=self.name or self.table)


def read_things(connection: Connection) -> list[Thing]:
    """Return every object of the connected database. Only reads catalogs."""
    names, version = list(Thing.__dataclass_fields__), connection.info.server_version
    return [
        Thing(**dict(zip(names, row, strict=True)))  # type: ignore[arg-type]
        for text in _QUERIES
        for row in connection.execute(query(text, version)).fetchall()
    ]


def compare_objects(
    source: Connection,
    target: Connection,
    *,
    tables: Container[tuple[str, str]],
    selection: Selection,
    database: str,
    waiting: Container[str] = (),
    renaming: Renaming = _NOTHING,
    without: Container[tuple[str, str, str]] = (),
) -> list[TableDifference]:
    """Return one `differs` per object that is missing or other on the target, and one `equal` per kind.

    `tables` are the (schema, name) of the selected tables. `waiting`: kinds that are made at
    Complete only, and are not asked for. `renaming`: how the target calls the schemas. `without`: foreign keys (schema,
    table, name) that are not made, told as `left_out`. Raises psycopg's errors.
    """
    there = {thing.identity: thing for thing in read_things(target)}
    same_major = source.info.server_version // 10000 == target.info.server_version // 10000
    differing: list[TableDifference] = []
    equal: Counter[str] = Counter()
    for thing in _selected(read_things(source), tables, selection, database):
        wanted = _renamed(thing, renaming) if renaming else thing
        if (thing.schema, thing.table, thing.name) in without and wanted.identity not in there:
            reason = say("a foreign key to rows that do not move")
            differing.append(TableDifference(schema=thing.schema, name=thing.title, verdict="left_out", reason=reason))
            continue
        if _kind(thing) in waiting or _of_missing(wanted, there):
            continue
        reason = _difference(wanted, there.get(wanted.identity), same_major)
        if reason:
            differing.append(TableDifference(schema=thing.schema, name=thing.title, verdict="differs", reason=reason))
        else:
            equal[thing.kind] += 1
    summary = [
        TableDifference(schema="", name=say("{number} × {what}", number=count, what=noun(kind)), verdict="equal")
        for kind, count in sorted(equal.items())
    ]
    return differing + summary


def _renamed(thing: Thing, renaming: Renaming) -> Thing:
    """Return the object as the target should have it."""
    name = renaming.shown(thing.name) if thing.kind == "function" else thing.name
    text = thing.definition if thing.kind in ("function", "enum") else renaming.shown(thing.definition)
    return replace(thing, schema=renaming.schema(thing.schema), name=name, definition=text)


def _selected(
    things: list[Thing], tables: Container[tuple[str, str]], selection: Selection, database: str
) -> list[Thing]:
    views = {
        (thing.schema, thing.table)
        for thing in things
        if thing.kind in _VIEWS and selection.includes(database, thing.schema, thing.table)
    }
    whole = {thing.schema for thing in things if selection.state(database, thing.schema) == "all"}
    return [
        thing
        for thing in things
        if (thing.schema, thing.table) in tables
        or (thing.schema, thing.table) in views
        or (not thing.table and thing.schema in whole)
    ]


def _kind(thing: Thing) -> str:
    foreign = thing.kind == "constraint" and thing.definition.startswith("FOREIGN KEY")
    return "foreign key" if foreign else thing.kind


def _of_missing(thing: Thing, there: Container[tuple[str, str, str, str]]) -> bool:
    """Say whether the whole table is missing: then that is told, and not every column and index of it."""
    relations = ("table", *_VIEWS)
    if not thing.table or thing.kind in relations:
        return False
    return not any((kind, thing.schema, thing.table, "") in there for kind in relations)


def _difference(thing: Thing, other: Thing | None, same_major: bool) -> Sentence:
    if other is None:
        return say("missing on the target")
    if thing.usable and not other.usable:
        return say("invalid on the target") if thing.kind == "index" else say("not validated on the target")
    if thing.definition == other.definition:
        return NOTHING
    if thing.kind == "sequence" and other.definition.partition(_CACHE)[0] == thing.definition:
        return NOTHING  # before 10 only the sequence itself knows its cache
    if not same_major and _plain(thing) == _plain(other):
        return NOTHING  # versions print the same expression with other brackets and casts
    return say("source: {here} | target: {there}", here=_short(thing.definition), there=_short(other.definition))


def _plain(thing: Thing) -> str:
    text = thing.definition
    if thing.kind == "trigger":  # since 11 a trigger executes a FUNCTION
        text = text.replace(" EXECUTE PROCEDURE ", " EXECUTE FUNCTION ", 1)
    elif thing.kind == "column" and text.startswith("name"):  # since 12 a name has the collation C
        text = text.removesuffix(" collate C")
    # Words that mean something to a new version only are quoted by it.
    return _NOISE.sub("", _LOWER_CASE_QUOTED.sub(r"\1", text))


def _short(text: str) -> str:
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"
