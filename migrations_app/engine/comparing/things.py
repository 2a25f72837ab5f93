"""Reads what stands around the rows: every object of a database, with all that must be the same on both sides."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import field, replace
from functools import cached_property
from operator import itemgetter
from typing import Any

import psycopg

from ..connect import Connection
from ..option_names import small_listed, small_options
from ..sql import query
from ..values import frozen
from ..versions import shows_sequence_values
from .counting import read_counting

_PARTS = ("object_parts", "object_policies")
_CLASS = 1259  # the oid of pg_class
RELATIONS = frozenset({"table", "view", "materialized view", "foreign table"})
_VIEWS = RELATIONS - {"table"}
_LOCKED_TEXTS = frozenset({"view", "materialized view", "rule", "policy"})
_TOGETHER_WAIT, _SINGLE_WAIT = "2s", "200ms"
_TRIES = 4
_LOCKED = (
    "SELECT DISTINCT c.oid::bigint, n.nspname, c.relname FROM pg_catalog.pg_locks l"
    " JOIN pg_catalog.pg_class c ON c.oid = l.relation JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
    " WHERE l.locktype = 'relation' AND l.mode = 'AccessExclusiveLock' AND c.relkind IN ('r', 'p', 'm', 'v', 'f')"
    " AND l.database = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database())"
)

_IN_ARGUMENT = re.compile(r"(\(|, )IN (?=\S)")
_LOWER_CASE_QUOTED = re.compile(r'"([a-z_][a-z0-9_]*)"')
_FUNCTIONS = frozenset({"function", "procedure", "aggregate"})
_NAMED_IN_SQL = _FUNCTIONS | {"cast", "operator", "statistics object", "transform"}
"""What the server writes the name of, with quotes where it wants them."""

_WITH_OPTIONS = frozenset({*RELATIONS, "column", "index"})
_OPTIONS = frozenset({"options", "toast options"})
_CAPITAL_OPTION = re.compile(r"[A-Z][A-Za-z0-9_]*(?:\\\")?=")

Identity = tuple[str, str, str, str]


def without_quotes(text: str) -> str:
    """Return SQL without the quotes of lower-case names: a server quotes the words that mean something to it."""
    return _LOWER_CASE_QUOTED.sub(r"\1", text)


@frozen
class Thing:
    """One object of a database. `parts` is JSON: what must be the same, by the name of the part."""

    kind: str
    schema: str
    table: str
    name: str
    class_oid: int
    oid: int
    sub: int
    usable: bool
    parts: str = field(repr=False)

    @property
    def identity(self) -> Identity:
        """What finds the same object on the other side. From 14 on IN stands before the arguments of procedures."""
        name = without_quotes(self.name) if self.kind in _NAMED_IN_SQL else self.name
        if self.kind in _FUNCTIONS:
            name = _IN_ARGUMENT.sub(r"\1", name)
        return (self.kind, self.schema, self.table, name)

    @property
    def title(self) -> str:
        """Return the name as an operator reads it, without the schema."""
        if not self.name:
            return f"{self.kind} {self.table or self.schema}"
        return f"{self.kind} {self.name} on {self.table}" if self.table else f"{self.kind} {self.name}"

    @cached_property
    def values(self) -> dict[str, Any]:
        """The parts as values, without those that are null."""
        return {name: value for name, value in json.loads(self.parts).items() if value is not None}

    def with_values(self, **changes: Any) -> Thing:
        """Return the thing with other values of some parts; None takes one away."""
        values = {name: value for name, value in {**self.values, **changes}.items() if value is not None}
        return replace(self, parts=json.dumps(values))


@frozen
class Things:
    """Everything that stands in one database."""

    by_identity: dict[Identity, Thing]
    locked: frozenset[tuple[str, str]]
    """(schema, name) of tables that somebody has locked for longer than we wait: nothing of them is known."""
    unread: frozenset[tuple[str, str]]
    """(schema, name) of views and tables some of whose texts could not be read, because they need such a table."""
    version: int
    first_role: str = ""
    """The superuser that the server came with."""

    @cached_property
    def relations(self) -> frozenset[tuple[str, str]]:
        """(schema, name) of the tables and views."""
        return frozenset((one.schema, one.table) for one in self.by_identity.values() if one.kind in RELATIONS)

    @cached_property
    def views(self) -> frozenset[tuple[str, str]]:
        """(schema, name) of the views and foreign tables."""
        return frozenset((one.schema, one.table) for one in self.by_identity.values() if one.kind in _VIEWS)


def read_things(connection: Connection, check: Callable[[], None] = lambda: None) -> Things:
    """Return every object of the connected database (autocommit session). Only reads catalogs.

    Waits two seconds at most for tables that somebody has locked, and then does without them. Raises psycopg's errors.
    """
    skip, locked = _Oids(), set[tuple[str, str]]()
    for _ in range(_TRIES):
        check()
        try:
            rows = _read(connection, _TOGETHER_WAIT, _PARTS, {"skip": skip.listed})
            break
        except psycopg.errors.LockNotAvailable:
            locked |= skip.add(connection)
    else:
        rows = _read(connection, "0", _PARTS, {"skip": skip.listed})
    things = [_thing(row) for row in sorted(rows, key=itemgetter(0))]
    if not shows_sequence_values(connection.info.server_version):
        things = list(_with_counting(connection, things, check))
    first = connection.execute("SELECT pg_catalog.pg_get_userbyid(10)").fetchone()
    texts, unread = _texts(connection, things, skip.listed, check)
    if texts:
        things = [_with_texts(thing, texts) for thing in things]
    return Things(
        by_identity={thing.identity: thing for thing in things},
        locked=frozenset(locked),
        unread=unread,
        version=connection.info.server_version,
        first_role=str(first[0]) if first else "",
    )


class _Oids:
    """Tables that somebody has locked against everybody."""

    def __init__(self) -> None:
        self.listed: list[int] = []

    def add(self, connection: Connection) -> set[tuple[str, str]]:
        """Add those that are locked now, and return their (schema, name)."""
        rows = connection.execute(_LOCKED.encode()).fetchall()
        self.listed += [int(str(oid)) for oid, *_ in rows]
        return {(str(schema), str(name)) for _, schema, name in rows}


def _read(
    connection: Connection, wait: str, names: Iterable[str], parameters: dict[str, Any]
) -> list[tuple[object, ...]]:
    version, rows = connection.info.server_version, list[tuple[object, ...]]()
    with connection.transaction():
        connection.execute(f"SET LOCAL lock_timeout = '{wait}'".encode())
        for name in names:
            rows += connection.execute(query(name, version), parameters).fetchall()
    return rows


def _thing(row: tuple[object, ...]) -> Thing:
    kind, schema, table, name, class_oid, oid, sub, usable, parts = row
    thing = Thing(
        kind=str(kind),
        schema=str(schema),
        table=str(table),
        name=str(name),
        class_oid=int(str(class_oid)),
        oid=int(str(oid)),
        sub=int(str(sub)),
        usable=bool(usable),
        parts=str(parts),
    )
    return _with_small_options(thing) if thing.kind in _WITH_OPTIONS and _CAPITAL_OPTION.search(thing.parts) else thing


def _with_small_options(thing: Thing) -> Thing:
    """Write the names of storage parameters as later servers want them, and as the archive is run."""
    listed = {part: small_listed(thing.values[part]) for part in _OPTIONS & thing.values.keys()}
    if thing.kind == "index":
        listed["definition"] = small_options(thing.values["definition"])
    return thing.with_values(**listed)


def _with_counting(connection: Connection, things: list[Thing], check: Callable[[], None]) -> Iterator[Thing]:
    """Yield all things, sequences with how they count, but not those that are gone by now."""
    asked = {one.oid: (one.schema, one.name) for one in things if one.kind == "sequence" and "unseen" not in one.values}
    found = read_counting(connection, asked, check)
    for one in things:
        if one.kind != "sequence" or one.oid not in asked:
            yield one
        elif one.oid in found:
            yield one.with_values(**found[one.oid])


_Texts = dict[tuple[int, int, int], dict[str, str]]


def _texts(
    connection: Connection, things: Iterable[Thing], skip: list[int], check: Callable[[], None]
) -> tuple[_Texts, frozenset[tuple[str, str]]]:
    """Return the texts that need locks of several tables, and of which relations they could not be read."""
    texts: _Texts = {}
    try:
        _read_texts(connection, None, _TOGETHER_WAIT, skip, texts)
    except psycopg.errors.LockNotAvailable:
        pass
    else:
        return texts, frozenset()
    unread = set()
    places = {(one.schema, one.table): one.oid for one in things if one.kind in RELATIONS}
    wanted = {
        (one.schema, one.table)
        for one in things
        if one.kind in _LOCKED_TEXTS or (one.kind == "column" and "generated" in one.values)
    }
    for place in sorted(wanted & places.keys()):
        check()
        try:
            _read_texts(connection, [places[place]], _SINGLE_WAIT, skip, texts)
        except psycopg.errors.LockNotAvailable:
            unread.add(place)
    return texts, frozenset(unread)


def _read_texts(connection: Connection, relations: list[int] | None, wait: str, skip: list[int], texts: _Texts) -> None:
    rows = _read(connection, wait, ("object_texts",), {"relations": relations, "skip": skip})
    for class_oid, oid, sub, part, text in rows:
        texts.setdefault((int(str(class_oid)), int(str(oid)), int(str(sub))), {})[str(part)] = str(text).strip()


def _with_texts(thing: Thing, texts: _Texts) -> Thing:
    found = texts.get((thing.class_oid, thing.oid, thing.sub))
    if found is None or (thing.class_oid == _CLASS and thing.sub == 0 and thing.kind not in RELATIONS):
        return thing
    return thing.with_values(**found)
