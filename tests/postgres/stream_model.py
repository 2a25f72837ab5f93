"""Knows the tables of a random stream as its statements have made them, and turns operations into SQL."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.postgres.random_streams import KINDS, TYPES, Op, Shape, Work

WIDER = {"int": "numeric", "short": "text", "money": "numeric"}
OTHERWISE = {"int": "text", "text": "bytes", "float": "text", "money": "int"}
OWN_TYPES = (
    "CREATE TYPE mood AS ENUM ('glad', 'sad', 'so \"so\", \\')",
    "CREATE DOMAIN code AS varchar(9) CHECK (length(VALUE) > 0)",
)

IDENTITY = {"index": "USING INDEX {name}_told", "full": "FULL", "key and full": "FULL"}
_TEXTS = ("'x'", "''", "'y'")
_NUMBERS = ("1", "1.0", "2", "'NaN'")


@dataclass
class Table:
    """A table as it is now. `columns`: those that may come and go, with the word of their type."""

    name: str
    kind: str
    columns: dict[str, str] = field(default_factory=dict)
    called: dict[str, str] = field(default_factory=dict)  # key columns by their first name
    parts: list[int] = field(default_factory=lambda: [0, 1])  # values that have a partition, where there are any

    def key(self, number: int = 0) -> str:
        """Return the name that a column of the kind has now."""
        first = KINDS[self.kind][0][number]
        return self.called.get(first, first)

    def pick(self, number: int) -> str | None:
        """Return one of the columns that may come and go; None when there is none."""
        names = list(self.columns)
        return names[number % len(names)] if names else None

    def value(self, column: str, number: int) -> str:
        """Return a value of a column, as SQL."""
        values = TYPES[self.columns[column]][1]
        return values[number % len(values)]


class Model:
    """The tables as the statements so far have made them."""

    def __init__(self, shapes: tuple[Shape, ...]) -> None:
        self.tables: list[Table] = []
        self._number = 0
        self._labels = 0
        for number, shape in enumerate(shapes):
            table = Table(f"t{number}", shape.kind)
            for kind in shape.columns:
                table.columns[self._name("c")] = kind
            self.tables.append(table)

    def copy(self) -> Model:
        """Return a model of its own."""
        return copy.deepcopy(self)

    def _name(self, start: str) -> str:
        self._number += 1
        return f"{start}{self._number}"

    def setup(self) -> list[str]:
        """Return what makes types and tables."""
        statements = [*OWN_TYPES, "CREATE TABLE root (id int PRIMARY KEY, v text)"]
        for table in self.tables:
            statements += self._make(table)
        return statements

    def _make(self, table: Table) -> list[str]:
        body = KINDS[table.kind][1].format(name=table.name, first="root")
        free = [f"{name} {TYPES[kind][0]}" for name, kind in table.columns.items()]
        parts = " PARTITION BY LIST (n)" if table.kind == "parts" else ""
        made = [f"CREATE TABLE {table.name} ({', '.join([body, *free])}){parts}"]
        made += [
            f"ALTER TABLE {table.name} ALTER {name} SET STORAGE EXTERNAL"
            for name, kind in table.columns.items()
            if kind == "large"
        ]
        if parts:
            other = [*reversed(free), "n int NOT NULL", "id int NOT NULL"]
            made += [
                f"CREATE TABLE {table.name}_0 PARTITION OF {table.name} FOR VALUES IN (0)",
                f"CREATE TABLE {table.name}_1 ({', '.join(other)})",
                f"ALTER TABLE {table.name} ATTACH PARTITION {table.name}_1 FOR VALUES IN (1)",
            ]
        if table.kind in IDENTITY:
            made.append(f"ALTER TABLE {table.name} REPLICA IDENTITY {IDENTITY[table.kind].format(name=table.name)}")
        return made

    def last_rows(self) -> list[str]:
        """Return one more row for each table, by which the stream tells what every table looks like in the end."""
        made = ["INSERT INTO root VALUES (1000)"]
        for table in self.tables:
            columns, values = self._row(table, 1000, 0)
            made.append(f"INSERT INTO {table.name} ({', '.join(columns)}) VALUES ({', '.join(values)})")
            if table.kind == "parts":
                made += [
                    f"INSERT INTO {table.name} ({', '.join(columns[:2])}) VALUES (1000, {part})"
                    for part in table.parts[1:]
                ]
        return made

    def render(self, op: Op) -> list[str]:
        """Return the statements of an operation, and take note of what they change; none where it means nothing."""
        found: Callable[[Table, Op], list[str]] = getattr(self, "_" + op.what.replace(" ", "_"))
        return found(self.tables[op.table % len(self.tables)], op)

    # Rows

    def _row(self, table: Table, a: int, b: int) -> tuple[list[str], list[str]]:
        kind, columns, values = table.kind, [], []
        for number, first in enumerate(KINDS[kind][0]):
            columns.append(table.key(number))
            if first in ("id", "n", "up"):
                values.append({"id": str(a), "n": str(b % 2), "up": str(b) if a < 100 and b < 3 else "NULL"}[first])
            elif first == "a":
                values.append(_NUMBERS[a % 4] if a < 100 else str(a))
            else:
                values.append(_TEXTS[b % 3] if a < 100 else "'last'")
        if kind == "made":
            values = [str(a)]
        for number, name in enumerate(table.columns):
            columns.append(name)
            values.append(table.value(name, a + b + number))
        return columns, values

    def _insert(self, table: Table, op: Op) -> list[str]:
        columns, values = self._row(table, op.a, op.b)
        found = [f"INSERT INTO {table.name} ({', '.join(columns)}) VALUES ({', '.join(values)})"]
        if table.kind == "child" and values[1] != "NULL":
            found.insert(0, f"INSERT INTO root VALUES ({values[1]}, 'r') ON CONFLICT DO NOTHING")
        return found

    def _fill(self, table: Table, op: Op) -> list[str]:
        columns, values = self._row(table, op.a, 7)
        numbers = f"generate_series({100 + op.a * 10}, {150 + op.a * 10}) g"
        for number, first in enumerate(KINDS[table.kind][0]):
            values[number] = {"slug": "'s' || g", "b": "'s' || g", "up": "NULL", "n": "g % 2"}.get(first, "g")
        return [
            f"INSERT INTO {table.name} ({', '.join(columns)}) SELECT {', '.join(values)} FROM {numbers}"
            " ON CONFLICT DO NOTHING"
        ]

    def _where(self, table: Table, a: int) -> str:
        return f"{table.key()} = {_NUMBERS[a % 4] if table.kind == 'pair' else a}"

    def _set(self, table: Table, a: int) -> str:
        name = table.pick(a)
        return f"{name} = {table.value(name, a)}" if name else f"{table.key()} = {table.key()}"

    def _update(self, table: Table, op: Op) -> list[str]:
        return [f"UPDATE {table.name} SET {self._set(table, op.b)} WHERE {self._where(table, op.a)}"]

    def _all(self, table: Table, op: Op) -> list[str]:
        return [f"UPDATE {table.name} SET {self._set(table, op.b)}"]

    def _touch(self, table: Table, op: Op) -> list[str]:
        return [f"UPDATE {table.name} SET {table.key()} = {table.key()} WHERE {self._where(table, op.a)}"]

    def _one(self, table: Table, op: Op) -> list[str]:
        """Change or remove one of several rows that may be equal."""
        where = f"ctid = (SELECT min(ctid) FROM {table.name} WHERE {self._where(table, op.a)})"
        if table.kind == "parts":
            return []  # a ctid is one of each partition
        if op.b % 2:
            return [f"DELETE FROM {table.name} WHERE {where}"]
        return [f"UPDATE {table.name} SET {self._set(table, op.b)} WHERE {where}"]

    def _rekey(self, table: Table, op: Op) -> list[str]:
        first = KINDS[table.kind][0]
        number = op.b % len(first)
        value = {"a": _NUMBERS[op.b % 4], "b": _TEXTS[op.b % 3], "slug": _TEXTS[op.b % 3], "n": str(op.b % 2)}
        new = value.get(first[number], str(op.b))
        return [f"UPDATE {table.name} SET {table.key(number)} = {new} WHERE {self._where(table, op.a)}"]

    def _shift(self, table: Table, op: Op) -> list[str]:
        name, by = table.key(), 20 if op.b % 2 else -20
        return [f"UPDATE {table.name} SET {name} = {name} + {by} WHERE {name} {'<' if by > 0 else '>='} 20"]

    def _swap(self, table: Table, op: Op) -> list[str]:
        if table.kind in ("pair", "made") or op.a == op.b:
            return []
        key = table.key()
        pairs = ((-9, op.a), (op.a, op.b), (op.b, -9))
        return [f"UPDATE {table.name} SET {key} = {new} WHERE {key} = {old}" for new, old in pairs]

    def _delete(self, table: Table, op: Op) -> list[str]:
        return [f"DELETE FROM {table.name}" + ("" if op.b == 7 else f" WHERE {self._where(table, op.a)}")]

    def _truncate(self, table: Table, op: Op) -> list[str]:
        names = [table.name]
        if op.a > 3:
            names.append("root" if op.a > 5 else self.tables[0].name)
        listed = ", ".join(dict.fromkeys(names))
        return [
            f"TRUNCATE {listed}{' RESTART IDENTITY' if op.b > 4 else ''}{' CASCADE' if op.b % 2 or op.a > 5 else ''}"
        ]

    # Shapes

    def _add(self, table: Table, op: Op) -> list[str]:
        kind, name = list(TYPES)[(op.a * 8 + op.b) % len(TYPES)], self._name("c")
        table.columns[name] = kind
        return [f"ALTER TABLE {table.name} ADD COLUMN {name} {TYPES[kind][0]}"]

    def _add_filled(self, table: Table, op: Op) -> list[str]:
        kind, name = list(TYPES)[(op.a * 8 + op.b) % len(TYPES)], self._name("c")
        value = "'computed ' || clock_timestamp()" if kind == "text" and op.b > 5 else TYPES[kind][1][0]
        table.columns[name] = kind
        required = " NOT NULL" if op.b == 7 else ""
        return [f"ALTER TABLE {table.name} ADD COLUMN {name} {TYPES[kind][0]} DEFAULT {value}{required}"]

    def _drop(self, table: Table, op: Op) -> list[str]:
        name = table.pick(op.a)
        if name is None:
            return []
        del table.columns[name]
        return [f"ALTER TABLE {table.name} DROP COLUMN {name}"]

    def _rename(self, table: Table, op: Op) -> list[str]:
        name, new = table.pick(op.a), self._name("c")
        if name is None or op.b == 7:
            first = KINDS[table.kind][0][0]
            name, table.called[first] = table.key(), new
        else:
            table.columns = {new if one == name else one: kind for one, kind in table.columns.items()}
        return [f"ALTER TABLE {table.name} RENAME COLUMN {name} TO {new}"]

    def _retype(self, table: Table, number: int, ways: dict[str, str], using: str) -> list[str]:
        names = [name for name, kind in table.columns.items() if kind in ways]
        if not names:
            return []
        name = names[number % len(names)]
        kind = table.columns[name] = ways[table.columns[name]]
        using = using.format(name=name, type=TYPES[kind][0])
        return [f"ALTER TABLE {table.name} ALTER COLUMN {name} TYPE {TYPES[kind][0]}{using}"]

    def _widen(self, table: Table, op: Op) -> list[str]:
        return self._retype(table, op.a, WIDER, "")

    def _otherwise(self, table: Table, op: Op) -> list[str]:
        if table.kind == "parts":
            return []  # no statement carries that over, and a partition cannot be copied again in another shape alone
        return self._retype(table, op.a, OTHERWISE, " USING NULL::{type}")

    def _identity(self, table: Table, op: Op) -> list[str]:
        names = [table.name] if table.kind != "parts" else [f"{table.name}_0", f"{table.name}_1"]
        told = "DEFAULT"
        if table.kind in IDENTITY and op.a % 2:
            told = IDENTITY[table.kind].format(name=table.name)
        elif op.a % 2 or table.kind in ("full", "index"):
            told = "FULL"
        return [f"ALTER TABLE {name} REPLICA IDENTITY {told}" for name in names]

    def _label(self, table: Table, op: Op) -> list[str]:
        self._labels += 1
        return [f"ALTER TYPE mood ADD VALUE 'more {self._labels}'"]

    def _partition(self, table: Table, op: Op) -> list[str]:
        if table.kind != "parts":
            return []
        name, value = self._name(f"{table.name}_"), 10 + self._number
        table.parts.append(value)
        key = ", ".join(table.key(number) for number in range(2))
        return [
            f"CREATE TABLE {name} PARTITION OF {table.name} FOR VALUES IN ({value})",
            f"INSERT INTO {table.name} ({key}) VALUES ({op.a}, {value})",
        ]

    def _rename_table(self, table: Table, op: Op) -> list[str]:
        """Give a table another name and its own again, with a row in between."""
        if table.kind == "parts":
            return []
        columns, values = self._row(table, op.a, op.b)
        return [
            f"ALTER TABLE {table.name} RENAME TO away",
            f"INSERT INTO away ({', '.join(columns)}) VALUES ({', '.join(values)}) ON CONFLICT DO NOTHING",
            f"ALTER TABLE away RENAME TO {table.name}",
        ]


def rendered(model: Model, work: Work, left_out: set[int]) -> list[tuple[int, str]]:
    """Return the statements of a transaction with the number of the operation that each belongs to."""
    found: list[tuple[int, str]] = []
    number = 0

    def render(op: Op, at: Model) -> None:
        nonlocal number
        if number not in left_out:
            found.extend((number, statement) for statement in at.render(op))
        number += 1

    for one in work.ops:
        if isinstance(one, Op):
            render(one, model)
            continue
        found.append((number, "SAVEPOINT s"))
        within = model.copy() if one.back else model  # rows only: a model is not changed by them
        for op in one.ops:
            render(op, within)
        found.append((number - 1, "ROLLBACK TO s" if one.back else "RELEASE s"))
    return found
