"""Makes schemas and rows at random: types × constraints × partitions × indexes, always the same for a seed.

What PostgreSQL 16 takes is made; rows that a constraint refuses are left away, as an application's would be.
"""

# ruff: noqa: E501 - one rule a line

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import psycopg

from tests.hostile_names import literal, quoted
from tests.matrix.torture import _TYPES as TYPES
from tests.servers import older

# Not in the servers that `make test` has, or with a role of the torture database in their values.
_ABSENT = ("hstore", "citext", "ltree", "cube", "seg", "isbn", "xml", "xml document", "regrole", "aclitem")
_KEYS = (
    "smallint",
    "bigint",
    "numeric",
    "text",
    "varchar(5)",
    "date",
    "timestamptz",
    "uuid",
    "inet",
    "bytea",
    "boolean",
    "oid",
)
_SIMPLE = tuple(
    (kind, short)
    for name, first, kind, values in TYPES
    if name not in _ABSENT and not older("16", first) and (short := tuple(one for one in values if len(one) < 2000))
)
_NAMES = (
    'odd "name"',
    "Mixed Case",
    "select",
    "100%",
    "it's",
    "ünïcode 🐘",
    "a.b",
    "plain",
    "x" * 60,
    "back\\slash",
    "line\nfeed",
    "%s",
)


@dataclass(frozen=True)
class Column:
    """A column, with some values that its type takes, as SQL."""

    name: str
    kind: str
    values: tuple[str, ...]
    more: str = ""
    written: bool = True
    """Whether rows name it: false for what the server makes itself."""

    @property
    def definition(self) -> str:
        return f"{quoted(self.name)} {self.kind} {self.more}".strip()


@dataclass
class Table:
    """A table of the schema; `keyed` when its rows can be told apart."""

    name: str
    columns: list[Column]
    key: tuple[Column, ...] = ()
    leaves: list[str] = field(default_factory=list)
    unlogged: bool = False

    @property
    def written(self) -> list[Column]:
        return [one for one in self.columns if one.written]


class Schema:
    """One random schema. `statements()` makes it, `rows()` fills it, `changes()` are an application's transactions."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)  # noqa: S311 - sample data
        self._types = list(_SIMPLE)
        self.tables: list[Table] = []
        self._number = 0

    def statements(self) -> Iterator[str]:
        """Yield what makes types, tables, constraints, indexes and views."""
        yield 'CREATE SCHEMA s; CREATE SCHEMA "s 2"'
        yield from self._own_types()
        for _ in range(self._random.randint(3, 8)):
            yield from self._partitioned() if self._chance(0.35) else self._plain()
        yield from self._views()

    def rows(self) -> Iterator[str]:
        """Yield single INSERTs, some of which a constraint may refuse."""
        for table in self.tables:
            number = self._random.choice((0, 1, 30, 30, 100, 200))
            for _ in range(max(number, 30) if table is self.tables[0] else number):  # others may refer to the first
                yield self._insert(table)

    def changes(self, count: int) -> Iterator[str]:
        """Yield single INSERTs, UPDATEs and DELETEs, some of which a constraint may refuse."""
        for _ in range(count):
            table = self._random.choice(self.tables)
            yield self._random.choice((self._insert, self._insert, self._update, self._delete))(table)

    def _chance(self, share: float) -> bool:
        return self._random.random() < share

    def _next(self, prefix: str) -> str:
        self._number += 1
        return f"{prefix}{self._number}" if self._chance(0.7) else f"{self._random.choice(_NAMES)[:50]}{self._number}"

    def _place(self, prefix: str) -> str:
        return f"{self._random.choice(('s', quoted('s 2'), 'public'))}.{quoted(self._next(prefix))}"

    def _own_types(self) -> Iterator[str]:
        labels = self._random.sample(_NAMES, self._random.randint(1, 6))
        enum, domain, pair, span = (self._place(kind) for kind in ("enum", "domain", "pair", "span"))
        yield f"CREATE TYPE {enum} AS ENUM ({', '.join(map(literal, labels))})"
        new = "added 'later'"
        yield f"ALTER TYPE {enum} ADD VALUE {literal(new)} BEFORE {literal(labels[0])}"
        base, values = self._random.choice([one for one in _SIMPLE if one[0] in _KEYS])
        yield f"CREATE DOMAIN {domain} AS {base} CONSTRAINT {quoted(self._next('check'))} CHECK (VALUE IS NOT NULL OR VALUE IS NULL)"
        yield f"CREATE TYPE {pair} AS (a {domain}, {quoted('b c')} {enum}[])"
        yield f"CREATE TYPE {span} AS RANGE (SUBTYPE = {self._random.choice(('float8', 'text', 'int8', 'date', 'numeric'))})"
        made = tuple(
            f"ROW({literal(value)}, ARRAY[{literal(labels[0])}, NULL]::{enum}[])::{pair}"
            for value in values[:3]
            if len(value) < 99
        )
        self._made = [
            (enum, tuple(map(literal, (*labels, new)))),
            (f"{enum}[]", ("'{}'", f"ARRAY[{literal(labels[0])}, NULL]::{enum}[]")),
            (domain, tuple(map(literal, values))),
            (pair, (*made, f"ROW(NULL, NULL)::{pair}")),
            (f"{pair}[]", ("'{}'", f"ARRAY[ROW(NULL, NULL)::{pair}, NULL]")),
            (span, ("'empty'", "'(,)'")),
        ]

    def _column(self, kinds: tuple[str, ...] = ()) -> Column:
        if not kinds and self._chance(0.25):
            kind, values = self._random.choice(self._made)
        else:
            kind, texts = self._random.choice([one for one in self._types if not kinds or one[0] in kinds])
            values = tuple(map(literal, texts))
        more = ""
        if self._chance(0.2):
            more += f" DEFAULT {self._random.choice(values)}"
        if self._chance(0.2):
            more += " NOT NULL"
        if kind == "text" and self._chance(0.5):
            more = self._random.choice((' COLLATE "C"', " STORAGE EXTERNAL", " COMPRESSION pglz", "")) + more
        return Column(self._next("c"), kind, values, more)

    def _columns(self) -> list[Column]:
        columns = [self._column() for _ in range(self._random.randint(0, 8))]
        if self._chance(0.8):
            numbers = tuple(str(self._random.randint(-1000, 1000)) for _ in range(400))
            columns.insert(
                self._random.randint(0, len(columns)), Column(self._next("n"), "bigint", numbers, "NOT NULL")
            )
        return columns

    def _plain(self) -> Iterator[str]:
        table = Table(self._place("t"), self._columns())
        odd = self._odd_columns(table)
        dropped = [f"{quoted(f'gone {number}')} int" for number in range(self._random.choice((0, 0, 1, 3)))]
        listed = [*dropped, *(one.definition for one in (*table.columns, *odd))]
        self._random.shuffle(listed)
        options = self._random.choice(("", "", " WITH (fillfactor = 70)", " WITH (autovacuum_enabled = false)"))
        table.unlogged = self._chance(0.15)
        yield f"CREATE{' UNLOGGED' if table.unlogged else ''} TABLE {table.name} ({', '.join(listed)}){options}"
        for number in range(len(dropped)):
            yield f'ALTER TABLE {table.name} DROP COLUMN "gone {number}"'
        table.columns += odd
        yield from self._constraints(table)
        yield from self._indexes(table)
        yield from self._finish(table)

    def _odd_columns(self, table: Table) -> list[Column]:
        odd = []
        if self._chance(0.3):
            always = self._random.choice(("ALWAYS", "BY DEFAULT"))
            odd.append(
                Column(
                    self._next("i"),
                    "bigint",
                    (),
                    f"GENERATED {always} AS IDENTITY (INCREMENT {self._random.choice((1, 7, -2))})",
                    written=False,
                )
            )
        elif self._chance(0.3):
            odd.append(Column(self._next("serial"), "bigserial", (), "", written=False))
        numbers = [one for one in table.columns if one.kind == "bigint" and len(one.values) > 100]
        if numbers and self._chance(0.4):
            odd.append(
                Column(
                    self._next("g"),
                    "bigint",
                    (),
                    f"GENERATED ALWAYS AS ({quoted(numbers[0].name)} * 2) STORED",
                    written=False,
                )
            )
        return odd

    def _constraints(self, table: Table) -> Iterator[str]:
        fit = [one for one in table.written if one.kind in _KEYS]
        if fit and self._chance(0.8):
            many = [one for one in fit if len(one.values) > 100]
            table.key = tuple(
                dict.fromkeys((*many[:1], *self._random.sample(fit, self._random.randint(1, min(2, len(fit))))))
            )
            listed = ", ".join(quoted(one.name) for one in table.key)
            late = self._random.choice(("", "", "", " DEFERRABLE INITIALLY DEFERRED"))
            yield f"ALTER TABLE {table.name} ADD CONSTRAINT {quoted(self._next('key'))} PRIMARY KEY ({listed}){late}"
            if late:
                table.key = ()
        for one in table.columns:
            if self._chance(0.15):
                valid = self._random.choice(("", " NOT VALID"))
                name = quoted(one.name)
                yield f"ALTER TABLE {table.name} ADD CONSTRAINT {quoted(self._next('check'))} CHECK ({name} IS NULL OR {name}::text <> 'never') {self._random.choice(('', ' NO INHERIT')) if table.leaves == [] else ''}{valid}"
            if one in fit and self._chance(0.1):
                yield f"ALTER TABLE {table.name} ADD UNIQUE {self._random.choice(('', 'NULLS NOT DISTINCT '))}({quoted(one.name)})"
        ranges = [one for one in table.written if one.kind == "int4range"]
        if ranges and self._chance(0.5):
            yield f"ALTER TABLE {table.name} ADD CONSTRAINT {quoted(self._next('apart'))} EXCLUDE USING gist ({quoted(ranges[0].name)} WITH &&)"
        yield from self._foreign_key(table)

    def _foreign_key(self, table: Table) -> Iterator[str]:
        for other in self.tables:
            if len(other.key) != 1 or (other.unlogged and not table.unlogged):
                continue
            mine = [one for one in table.written if one.kind == other.key[0].kind]
            if mine and self._chance(0.5):
                one = _pointing(table, self._random.choice(mine), other.key[0])
                action = self._random.choice(
                    (
                        "",
                        " ON DELETE CASCADE",
                        " ON UPDATE CASCADE ON DELETE SET NULL",
                        " DEFERRABLE INITIALLY DEFERRED",
                    )
                )
                yield (
                    f"ALTER TABLE {table.name} ADD CONSTRAINT {quoted(self._next('fk'))} FOREIGN KEY ({quoted(one.name)})"
                    f" REFERENCES {other.name} ({quoted(other.key[0].name)}){action}{'' if table.leaves else self._random.choice(('', ' NOT VALID'))}"
                )

    def _indexes(self, table: Table) -> Iterator[str]:
        ways: dict[str, Callable[[str], str]] = {
            "text": lambda name: f"btree (lower({name}), {name} text_pattern_ops DESC NULLS LAST) WHERE {name} <> ''",
            "bigint": lambda name: f"btree ({name}, ({name} % 7)) WITH (fillfactor = 80)",
            "jsonb": lambda name: f"gin ({name} jsonb_path_ops)",
            "int[]": lambda name: f"gin ({name})",
            "tsvector": lambda name: f"gist ({name})",
            "inet": lambda name: f"spgist ({name})",
            "date": lambda name: f"brin ({name}) WITH (pages_per_range = 4)",
            "uuid": lambda name: f"hash ({name})",
            "point": lambda name: f"gist ({name})",
            "numrange": lambda name: f"gist ({name})",
        }
        for one in table.columns:
            if one.kind in ways and self._chance(0.5):
                yield f"CREATE INDEX {quoted(self._next('index'))} ON {table.name} USING {ways[one.kind](quoted(one.name))}"
        if len(table.columns) > 1 and self._chance(0.3):
            names = [quoted(one.name) for one in self._random.sample(table.columns, 2) if one.kind in _KEYS]
            if len(names) == 2:
                yield f"CREATE STATISTICS s.{quoted(self._next('stat'))} ON {', '.join(names)} FROM {table.name}"

    def _partitioned(self) -> Iterator[str]:
        columns = self._columns()
        place = Column(self._next("place"), "bigint", tuple(map(str, range(90))), "NOT NULL")
        columns.insert(self._random.randint(0, len(columns)), place)
        table = Table(self._place("p"), columns)
        yield f"CREATE TABLE {table.name} ({', '.join(one.definition for one in columns)}) {self._by(place)}"
        yield from self._parts(table, table.name, place, self._random.randint(1, 3), (0, 90))
        numbers = [one for one in table.written if one.kind == "bigint"]
        if self._chance(0.7):
            table.key = (place, *(one for one in numbers if one is not place))
            yield f"ALTER TABLE {table.name} ADD PRIMARY KEY ({', '.join(quoted(one.name) for one in table.key)})"
        yield from self._foreign_key(table)
        yield from self._indexes(table)
        yield from self._finish(table)

    def _by(self, place: Column) -> str:
        self._way = self._random.choice(("LIST", "RANGE", "HASH"))
        return f"PARTITION BY {self._way} ({quoted(place.name)})"

    def _parts(self, table: Table, parent: str, place: Column, depth: int, span: tuple[int, int]) -> Iterator[str]:
        """Cut `span` of the places into parts of `parent`, each perhaps cut again."""
        way, count = self._way, self._random.randint(2, 3)
        cuts = [span[0] + (span[1] - span[0]) * number // count for number in range(count + 1)]
        for number in range(count):
            low, high = cuts[number], cuts[number + 1]
            bound = {
                "LIST": f"IN ({', '.join(map(str, range(low, high))) or 'NULL'})",
                "RANGE": f"FROM ({low}) TO ({high})",
                "HASH": f"WITH (MODULUS {count}, REMAINDER {number})",
            }[way]
            if low == high:
                continue
            child, deeper = self._place("part"), depth > 1 and self._chance(0.6)
            below = f" {self._by(place)}" if deeper else ""
            if self._chance(0.5):
                mixed = [one.definition for one in table.columns]
                self._random.shuffle(mixed)
                yield f"CREATE TABLE {child} (gone int, {', '.join(mixed)}){below}"
                yield f"ALTER TABLE {child} DROP COLUMN gone"
                yield f"ALTER TABLE {parent} ATTACH PARTITION {child} FOR VALUES {bound}"
            else:
                yield f"CREATE TABLE {child} PARTITION OF {parent} FOR VALUES {bound}{below}"
            if deeper:
                yield from self._parts(table, child, place, depth - 1, (low, high) if way != "HASH" else span)
            else:
                table.leaves.append(child)

    def _finish(self, table: Table) -> Iterator[str]:
        self.tables.append(table)
        if not table.key:
            for one in table.leaves or [table.name]:
                yield f"ALTER TABLE {one} REPLICA IDENTITY FULL"
        if table.columns and self._chance(0.3):
            column = self._random.choice(table.columns)
            yield f"COMMENT ON COLUMN {table.name}.{quoted(column.name)} IS {literal(self._random.choice(_NAMES))}"
        if self._chance(0.2):
            yield f"ALTER TABLE {table.name} ENABLE ROW LEVEL SECURITY"
            yield f"CREATE POLICY {quoted(self._next('policy'))} ON {table.name} USING (false)"

    def _views(self) -> Iterator[str]:
        for table in self.tables:
            if table.columns and self._chance(0.3):
                kind = self._random.choice(("VIEW", "MATERIALIZED VIEW"))
                listed = ", ".join(
                    quoted(one.name) for one in self._random.sample(table.columns, min(2, len(table.columns)))
                )
                yield f"CREATE {kind} {self._place('view')} AS SELECT {listed} FROM {table.name}"

    def _value(self, column: Column) -> str:
        if "NOT NULL" not in column.more and self._chance(0.15):
            return "NULL"
        return self._random.choice(column.values)

    def _insert(self, table: Table) -> str:
        if not table.written:
            return f"INSERT INTO {table.name} DEFAULT VALUES"
        names = ", ".join(quoted(one.name) for one in table.written)
        return f"INSERT INTO {table.name} ({names}) VALUES ({', '.join(map(self._value, table.written))})"

    def _update(self, table: Table) -> str:
        if not table.written:
            return self._insert(table)
        one = self._random.choice(table.written)
        return f"UPDATE {table.name} SET {quoted(one.name)} = {self._value(one)} WHERE {self._one_row(table)}"

    def _delete(self, table: Table) -> str:
        return f"DELETE FROM {table.name} WHERE {self._one_row(table)}"

    def _one_row(self, table: Table) -> str:
        chosen = f"SELECT tableoid, ctid FROM {table.name} OFFSET {self._random.randint(0, 40)} LIMIT 1"
        return f"(tableoid, ctid) IN ({chosen})"


def _pointing(table: Table, column: Column, to: Column) -> Column:
    """Let rows of the table hold what the other one's key holds, so that its foreign key refuses few of them."""
    pointing = replace(column, values=to.values)
    table.columns = [pointing if one is column else one for one in table.columns]
    table.key = tuple(pointing if one is column else one for one in table.key)
    return pointing


def run_all(connection: psycopg.Connection[Any], statements: Iterator[str]) -> int:
    """Run statements of which constraints may refuse some. Returns how many went through."""
    done = 0
    for statement in statements:
        with contextlib.suppress(psycopg.errors.IntegrityError, psycopg.errors.ProgramLimitExceeded):
            connection.execute(statement.encode())
            done += 1
    return done
