"""Knows the tables of a random stream as its statements have made them, and turns operations into SQL."""

from __future__ import annotations

import copy
from collections.abc import Callable

from tests.postgres.random_streams import COLUMNS, KINDS, PARTED, TYPES, Op, Shape, Work
from tests.postgres.stream_rows import Rows, Table

WIDER = {"int": "numeric", "short": "text", "money": "numeric"}
OTHERWISE = {"int": "text", "text": "bytes", "float": "text", "money": "int"}
OWN_TYPES = (
    "CREATE TYPE mood AS ENUM ('glad', 'sad', 'so \"so\", \\')",
    "CREATE DOMAIN code AS varchar(9) CHECK (length(VALUE) > 0)",
)

IDENTITY = {"index": "USING INDEX {name}_told", "full": "FULL", "key and full": "FULL"}
_MOST_TABLES = 6


class Model(Rows):
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
        parts = " PARTITION BY LIST (n)" if table.parts else ""
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
        if table.kind == "loose":
            made += [f"ALTER TABLE {name} REPLICA IDENTITY FULL" for name in table.parts.values()]
        if table.kind in IDENTITY:
            made.append(f"ALTER TABLE {table.name} REPLICA IDENTITY {IDENTITY[table.kind].format(name=table.name)}")
        return made

    def last_rows(self) -> list[str]:
        """Return one more row for each table, by which the stream tells what every table looks like in the end."""
        made = ["INSERT INTO root VALUES (1000)"]
        for table in self.tables:
            columns, values = self._row(table, 1000, 0)
            for at in range(len(KINDS[table.kind][0]), len(columns)):  # a column may have to hold something
                tried = (table.value(columns[at], number) for number in range(20))
                values[at] = next((value for value in (values[at], *tried) if value != "NULL"), "NULL")
            if table.kind not in PARTED:
                made.append(f"INSERT INTO {table.name} ({', '.join(columns)}) VALUES ({', '.join(values)})")
            for value, name in table.parts.items():  # by itself: it may be apart
                values[1] = str(value)
                made.append(f"INSERT INTO {name} ({', '.join(columns)}) VALUES ({', '.join(values)})")
        return made

    def render(self, op: Op) -> list[str]:
        """Return the statements of an operation, and take note of what they change; none where it means nothing."""
        found: Callable[[Table, Op], list[str]] = getattr(self, "_" + op.what.replace(" ", "_"))
        table = self.tables[op.table % len(self.tables)]
        if op.what in COLUMNS and table.kind == "loose":
            return []  # Add refuses a partition as long as no row has told its table on the target of a new column
        before = self._attach(table, op) if op.what in COLUMNS else []  # a partition has the columns of its table
        return before + found(table, op)

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
        if table.kind in PARTED:
            return []  # no statement carries that over, and a partition cannot be copied again in another shape alone
        return self._retype(table, op.a, OTHERWISE, " USING NULL::{type}")

    def _identity(self, table: Table, op: Op) -> list[str]:
        names = [table.name] if table.kind not in PARTED else list(table.parts.values())
        told = "DEFAULT"
        if table.kind in IDENTITY and op.a % 2:
            told = IDENTITY[table.kind].format(name=table.name)
        elif op.a % 2 or table.kind in ("full", "index", "loose"):
            told = "FULL"
        return [f"ALTER TABLE {name} REPLICA IDENTITY {told}" for name in names]

    def _label(self, table: Table, op: Op) -> list[str]:
        self._labels += 1
        return [f"ALTER TYPE mood ADD VALUE 'more {self._labels}'"]

    # Partitions

    def _new_part(self, table: Table) -> tuple[str, int]:
        name, value = self._name(f"{table.name}_p"), 10 + self._number
        table.parts[value] = name
        return name, value

    def _partition(self, table: Table, op: Op) -> list[str]:
        if table.kind not in PARTED:
            return []
        name, value = self._new_part(table)
        return [
            f"CREATE TABLE {name} PARTITION OF {table.name} FOR VALUES IN ({value})",
            f"INSERT INTO {table.name} ({table.keys}) VALUES ({op.a}, {value})",
        ]

    def _detach(self, table: Table, op: Op) -> list[str]:
        there = [value for value in table.parts if value not in table.apart]
        if not there:
            return []
        value = there[op.a % len(there)]
        table.apart.append(value)
        name = table.parts[value]
        return [
            f"ALTER TABLE {table.name} DETACH PARTITION {name}",
            f"INSERT INTO {name} ({table.keys}) VALUES ({op.b + 30}, {value}) ON CONFLICT DO NOTHING",
            f"DELETE FROM {name} WHERE {table.key()} = {op.b}",
        ]

    def _attach(self, table: Table, op: Op) -> list[str]:
        """Attach every partition that is apart."""
        apart, table.apart = table.apart, []
        start = f"ALTER TABLE {table.name} ATTACH PARTITION "
        return [f"{start}{table.parts[value]} FOR VALUES IN ({value})" for value in apart]

    def _attach_table(self, table: Table, op: Op) -> list[str]:
        """Make a table with rows of its own, and let it be a partition: at once, or when something attaches it."""
        if table.kind not in PARTED:
            return []
        name, value = self._new_part(table)
        table.apart.append(value)
        insert = f"INSERT INTO {name} ({table.keys}) VALUES "
        made = [f"CREATE TABLE {name} (LIKE {table.name} INCLUDING DEFAULTS)", f"{insert}({op.a}, {value})"]
        return [*made, *self._attach(table, op), f"{insert}({op.a + 40}, {value})"] if op.b % 2 else made

    def _drop_partition(self, table: Table, op: Op) -> list[str]:
        if len(table.parts) < 2:
            return []
        value, name = table.part(op.a)
        del table.parts[value]
        table.apart = [one for one in table.apart if one != value]
        return [f"DROP TABLE {name}"]

    def _new_table(self, table: Table, op: Op) -> list[str]:
        if len(self.tables) >= _MOST_TABLES:
            return []
        number = op.a * 8 + op.b
        new = Table(f"t{len(self.tables)}", list(KINDS)[number % len(KINDS)])
        new.columns[self._name("c")] = list(TYPES)[number % len(TYPES)]
        self.tables.append(new)
        return [*self._make(new), *self._insert(new, op), *self._fill(new, op)]

    def _rename_table(self, table: Table, op: Op) -> list[str]:
        """Give a table another name and its own again, with a row in between."""
        if table.kind in PARTED:
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
        within = model.copy() if one.back else model
        for op in one.ops:
            render(op, within)
        found.append((number - 1, "ROLLBACK TO s" if one.back else "RELEASE s"))
    return found
