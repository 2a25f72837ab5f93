"""Reads what stands around the rows: every object of a database, with all that must be the same on both sides."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import psycopg

from ..connect import Connection
from ..sql import query

_CLASS = 1259  # the oid of pg_class
RELATIONS = frozenset({"table", "view", "materialized view", "foreign table"})
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
_FUNCTIONS = frozenset({"function", "procedure", "aggregate"})

Identity = tuple[str, str, str, str]


@dataclass(frozen=True, kw_only=True)
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
        name = _IN_ARGUMENT.sub(r"\1", self.name) if self.kind in _FUNCTIONS else self.name
        return (self.kind, self.schema, self.table, name)

    @property
    def title(self) -> str:
        """Return the name as an operator reads it, without the schema."""
        if not self.name:
            return f"{self.kind} {self.table or self.schema}"
        return f"{self.kind} {self.name} on {self.table}" if self.table else f"{self.kind} {self.name}"

    @cached_property
    def values(self) -> dict[str, Any]:
        """The parts as values."""
        found: dict[str, Any] = json.loads(self.parts)
        return found

    def with_values(self, **changes: Any) -> Thing:
        """Return the thing with other values of some parts; None takes one away."""
        values = {name: value for name, value in {**self.values, **changes}.items() if value is not None}
        return replace(self, parts=json.dumps(values))


@dataclass(frozen=True, kw_only=True)
class Things:
    """Everything that stands in one database."""

    by_identity: dict[Identity, Thing]
    locked: frozenset[tuple[str, str]]
    """(schema, name) of tables that somebody has locked for longer than we wait: nothing of them is known."""
    unread: frozenset[tuple[str, str]]
    """(schema, name) of views and tables some of whose texts could not be read, because they need such a table."""
    version: int

    @cached_property
    def relations(self) -> frozenset[tuple[str, str]]:
        """(schema, name) of the tables and views."""
        return frozenset((one.schema, one.table) for one in self.by_identity.values() if one.kind in RELATIONS)


def read_things(connection: Connection, check: Callable[[], None] = lambda: None) -> Things:
    """Return every object of the connected database (autocommit session). Only reads catalogs.

    Waits two seconds at most for tables that somebody has locked, and then does without them. Raises psycopg's errors.
    """
    skip, locked = _Oids(), set[tuple[str, str]]()
    for _ in range(_TRIES):
        check()
        try:
            rows = _read(connection, _TOGETHER_WAIT, "object_parts", {"skip": skip.listed})
            break
        except psycopg.errors.LockNotAvailable:
            locked |= skip.add(connection)
    else:
        rows = _read(connection, "0", "object_parts", {"skip": skip.listed})
    things = [_thing(row) for row in rows]
    texts, unread = _texts(connection, things, skip.listed, check)
    if texts:
        things = [_with_texts(thing, texts) for thing in things]
    return Things(
        by_identity={thing.identity: thing for thing in things},
        locked=frozenset(locked),
        unread=unread,
        version=connection.info.server_version,
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


def _read(connection: Connection, wait: str, name: str, parameters: dict[str, Any]) -> list[tuple[object, ...]]:
    with connection.transaction():
        connection.execute(f"SET LOCAL lock_timeout = '{wait}'".encode())
        return connection.execute(query(name), parameters).fetchall()


def _thing(row: tuple[object, ...]) -> Thing:
    kind, schema, table, name, class_oid, oid, sub, usable, parts = row
    return Thing(
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
    rows = _read(connection, wait, "object_texts", {"relations": relations, "skip": skip})
    for class_oid, oid, sub, part, text in rows:
        texts.setdefault((int(str(class_oid)), int(str(oid)), int(str(sub))), {})[str(part)] = str(text).strip()


def _with_texts(thing: Thing, texts: _Texts) -> Thing:
    found = texts.get((thing.class_oid, thing.oid, thing.sub))
    if found is None or (thing.class_oid == _CLASS and thing.sub == 0 and thing.kind not in RELATIONS):
        return thing
    return thing.with_values(**found)
