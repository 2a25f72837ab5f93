"""The tables of a random stream, and what turns its operations on rows into SQL."""

from __future__ import annotations

from dataclasses import dataclass, field

from tests.postgres.random_streams import KINDS, PARTED, TYPES, Op

_TEXTS = ("'x'", "''", "'y'")
_NUMBERS = ("1", "1.0", "2", "'NaN'")


@dataclass
class Table:
    """A table as it is now. `columns`: those that may come and go, with the word of their type.

    `parts`: its partitions by the value that they are for. `apart`: the values of those that are not attached now.
    """

    name: str
    kind: str
    columns: dict[str, str] = field(default_factory=dict)
    called: dict[str, str] = field(default_factory=dict)  # key columns by their first name
    parts: dict[int, str] = field(default_factory=dict)
    apart: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.kind in PARTED:
            self.parts = {0: f"{self.name}_0", 1: f"{self.name}_1"}

    @property
    def keys(self) -> str:
        """The names that the columns of the kind have now, as a list in SQL."""
        return ", ".join(self.key(number) for number in range(len(KINDS[self.kind][0])))

    def part(self, number: int) -> tuple[int, str]:
        """Return one of the partitions, of which there must be some."""
        return list(self.parts.items())[number % len(self.parts)]

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


class Rows:
    """Turns operations on rows into SQL: no table is another one afterwards."""

    tables: list[Table]

    def _row(self, table: Table, a: int, b: int) -> tuple[list[str], list[str]]:
        kind, columns, values = table.kind, [], []
        for number, first in enumerate(KINDS[kind][0]):
            columns.append(table.key(number))
            if first in ("id", "n", "up"):
                n = table.part(b)[0] if table.parts else 0
                values.append({"id": str(a), "n": str(n), "up": str(b) if a < 100 and b < 3 else "NULL"}[first])
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
            values[number] = {"slug": "'s' || g", "b": "'s' || g", "up": "NULL"}.get(first, "g")
            if table.parts and first == "n":
                values[number] = str(table.part(op.b)[0])
        of = "(id) " if table.kind == "late" else ""  # what is deferred settles no conflict
        return [
            f"INSERT INTO {table.name} ({', '.join(columns)}) SELECT {', '.join(values)} FROM {numbers}"
            f" ON CONFLICT {of}DO NOTHING"
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
        if table.kind in PARTED:
            return []  # a ctid is one of each partition
        if op.b % 2:
            return [f"DELETE FROM {table.name} WHERE {where}"]
        return [f"UPDATE {table.name} SET {self._set(table, op.b)} WHERE {where}"]

    def _rekey(self, table: Table, op: Op) -> list[str]:
        first = KINDS[table.kind][0]
        number = op.b % len(first)
        value = {"a": _NUMBERS[op.b % 4], "b": _TEXTS[op.b % 3], "slug": _TEXTS[op.b % 3], "n": str(op.b % 2)}
        if table.parts:
            value["n"] = str(table.part(op.b)[0])
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

    def _leaf(self, table: Table, op: Op) -> list[str]:
        """Write to a partition itself, also while it is apart."""
        if not table.parts:
            return []
        value, name = table.part(op.a)
        where = f"WHERE {table.key()} = {op.b}"
        return [
            [f"INSERT INTO {name} ({table.keys}) VALUES ({op.b}, {value}) ON CONFLICT DO NOTHING"],
            [f"UPDATE {name} SET {self._set(table, op.b)} {where}"],
            [f"DELETE FROM {name} {where}"],
            [f"TRUNCATE {name}"],
        ][op.b % 4]

    def _upsert(self, table: Table, op: Op) -> list[str]:
        if table.kind not in ("key", "key and full", "slug", "child"):
            return []
        columns, values = self._row(table, op.a, op.b)
        same = f"{table.key()} = excluded.{table.key()}"
        return [
            f"INSERT INTO {table.name} ({', '.join(columns)}) VALUES ({', '.join(values)})"
            f" ON CONFLICT ({table.key()}) DO UPDATE SET {self._set(table, op.a) if table.columns else same}"
        ]

    def _load(self, table: Table, op: Op) -> list[str]:
        """Let the server write many rows at once, as only COPY does."""
        if table.kind == "made":
            return []
        more = {"slug": "", "up": "", "b": "l", "n": str(table.part(op.b)[0]) if table.parts else ""}
        line = ",".join(more.get(first, "%.f") for first in KINDS[table.kind][0])
        first, last = 300 + op.a * 60, 350 + op.a * 60
        return [f"COPY {table.name} ({table.keys}) FROM PROGRAM 'seq -f {line} {first} {last}' (FORMAT csv)"]
