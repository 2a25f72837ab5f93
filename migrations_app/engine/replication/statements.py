"""Builds the row statements of one table: which SQL a change needs, and which of its values go where.

Pure text: the caller prepares and sends. A statement is identified by a key that says which columns are set and which
values are NULL, so that equal shapes share one prepared statement.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

from ..errors import SourceError
from ..names import literal, qualified, quote
from ..values import frozen
from ..wording import say
from .pgoutput import UNCHANGED, Delete, Insert, Relation, RelationColumn, Update, Values

Place = tuple[str, str]
Key = tuple[object, ...]
INSERT: Key = ("insert",)
UPDATE: Key = ("update",)
DELETE: Key = ("delete",)

_SHOWN_CHARACTERS = 60
_PADDED_OID = 1042  # character without a length keeps trailing blanks, and its cast to text drops them


@frozen
class TargetColumn:
    """A column of the target table, as far as writing and finding rows needs it."""

    name: str
    type_name: str  # format_type with typmod
    builtin: bool
    generated: bool
    comparable: bool  # a built-in scalar: `=` with a parameter of unknown type works
    exact: bool  # equal values always have the same text
    operator_schema: str  # where the type's `=` lives
    in_key: bool  # part of the key that identifies a row on the target
    element_oid: int = 0  # the type below all domains, when there are arrays of it; 0: there are none that unnest well
    element_type: str = ""  # its quoted name
    spelled: bool = False  # an explicit cast of its text is the same as its input
    uniques: tuple[str, ...] = ()  # unique, total indexes over columns alone that it is a key column of
    apart: bool = False  # rows may differ in it that its own `=` takes for equal


@frozen
class TargetTable:
    """A table of the target. `columns` are all live columns in order."""

    schema: str
    name: str
    partitioned: bool
    columns: tuple[TargetColumn, ...]
    shared: bool = False
    """The rows of several tables of the source go there: their changes must stay in order among each other."""


class RowStatements:
    """Statements for one version of one table. `columns` are the target's, in the order of the stream.

    `relation` says in which order the stream delivers values; columns are matched by name, so their order on the target
    does not matter. Every column of `relation` must exist on the target.
    """

    def __init__(self, relation: Relation, table: TargetTable) -> None:
        self.relation = relation
        by_name = {column.name: column for column in table.columns}
        self.columns = [by_name[column.name] for column in relation.columns]
        self._names = [quote(column.name) for column in relation.columns]
        only = "" if table.partitioned else "ONLY "
        self._table = qualified(table.schema, table.name)
        self._only = only + self._table
        self._row_at = ("(tableoid, ctid)", "tableoid, ctid") if table.partitioned else ("ctid", "ctid")
        self._all = table.columns
        self.identity = self._find_identity()
        """Positions of the columns that find a row; () when only the whole row can."""

    def _find_identity(self) -> tuple[int, ...]:
        if self.relation.identity == "f":
            needed = {column.name for column in self.columns if column.in_key}
            return tuple(at for at, column in enumerate(self.columns) if column.name in needed)
        return tuple(at for at, column in enumerate(self.relation.columns) if column.is_key)

    def update(self, change: Update) -> tuple[Key, Values]:
        """Return the statement's key and its parameters."""
        new, old = change.new, change.old
        if old is None and UNCHANGED not in new:
            return UPDATE, new
        unchanged = tuple(at for at, value in enumerate(new) if value is UNCHANGED)
        values = [new[at] for at in self._set_positions(unchanged, old is not None)]
        found, nulls = self._where_values(new if old is None else old)
        return ("update", unchanged, old is not None, nulls), values + found

    def delete(self, change: Delete) -> tuple[Key, Values]:
        """Return the statement's key and its parameters."""
        return self._removal_of(change.old)

    def _removal_of(self, row: Values) -> tuple[Key, Values]:
        found, nulls = self._where_values(row)
        return ("delete", nulls) if nulls is not None else DELETE, found

    def _set_positions(self, unchanged: tuple[int, ...], all_columns: bool) -> list[int]:
        skipped = set(unchanged) if all_columns else {*unchanged, *self.identity}
        return [at for at in range(len(self._names)) if at not in skipped]

    def _where_values(self, row: Values) -> tuple[Values, tuple[bool, ...] | None]:
        if self.identity:
            values = [row[at] for at in self.identity]
            if any(value is None or value is UNCHANGED for value in values):
                raise self._unusable()
            return values, None
        if self.relation.identity != "f" or UNCHANGED in row:
            raise self._unusable()
        return [value for value in row if value is not None], tuple(value is None for value in row)

    def _unusable(self) -> SourceError:
        return SourceError(
            say("A change of table {shown_name} does not say which row it belongs to.", shown_name=self.shown_name),
            hint=say("Check the table's primary key and REPLICA IDENTITY on the source."),
            code="SRC-DDL",
        )

    @property
    def key_positions(self) -> tuple[int, ...]:
        """Positions of the columns of a row's key, also where the stream does not find rows by it; () without one."""
        return self.identity or tuple(at for at, column in enumerate(self.columns) if column.in_key)

    def is_key(self, constraint: str) -> bool:
        """Say whether this unique constraint of the target is over exactly the columns of the key."""
        names = {column.name for column in self._all if constraint in column.uniques}
        return bool(names) and names == {self.columns[at].name for at in self.key_positions}

    @staticmethod
    def whole(change: Insert | Update) -> Values | None:
        """Return the new row with all its values; None when the stream does not tell all of them."""
        if isinstance(change, Insert):
            return change.new
        old = change.old if change.full and change.old is not None else change.new
        row = [before if value is UNCHANGED else value for value, before in zip(change.new, old, strict=True)]
        return None if any(value is UNCHANGED for value in row) else row

    def removals(self, change: Insert | Update | Delete) -> list[tuple[Key, Values]]:
        """Return what removes every row that has the change's old or new key; without a key, at most one old row.

        Equal changes of one transaction cannot be told apart, so that one which found its row may be replaced, too.
        """
        at = self.key_positions
        if not at:
            return [] if isinstance(change, Insert) or change.old is None else [self._removal_of(change.old)]
        rows = [getattr(change, "old", None), getattr(change, "new", None)]
        keys = [[row[position] for position in at] for row in rows if row]
        usable = [key for key in keys if key and not any(value is None or value is UNCHANGED for value in key)]
        return [(("remove", at), key) for number, key in enumerate(usable) if key not in usable[:number]]

    def sql(self, key: Key) -> str:
        """Return the text of the statement that `update`, `delete`, `removals` or INSERT names."""
        if key == INSERT:
            return self._insert_sql()
        if key == UPDATE:
            return self._plain_update_sql()
        if key[0] == "remove":
            found = (self._equals(at, number) for number, at in enumerate(self.key_positions, 1))
            return f"DELETE FROM {self._only} WHERE {' AND '.join(found)}"  # noqa: S608 - every part is quoted
        if key[0] == "update":
            _, unchanged, all_columns, nulls = key
            return self._update_sql(unchanged, bool(all_columns), nulls)  # type: ignore[arg-type]
        return f"DELETE FROM {self._only} WHERE " + self._where(1, key[1] if len(key) > 1 else None)  # type: ignore[arg-type]  # noqa: S608 - quoted

    def _insert_sql(self) -> str:
        if not self._names:
            return f"INSERT INTO {self._table} DEFAULT VALUES"
        marks = ", ".join(f"${at}" for at in range(1, len(self._names) + 1))
        # Identity columns keep the source's values. A plain INSERT: a duplicate must be seen, not hidden.
        return f"INSERT INTO {self._table} ({', '.join(self._names)}) OVERRIDING SYSTEM VALUE VALUES ({marks})"  # noqa: S608 - quoted

    def _plain_update_sql(self) -> str:
        """The most frequent update: nothing left out, same key. The new row is the parameter list as it stands."""
        where = " AND ".join(self._equals(at, at + 1) for at in self.identity)
        changed = self._set_positions((), all_columns=False) or self.identity
        pairs = ", ".join(f"{self._names[at]} = ${at + 1}" for at in changed)
        return f"UPDATE {self._only} SET {pairs} WHERE {where}"  # noqa: S608 - every part is quoted

    def _update_sql(self, unchanged: tuple[int, ...], all_columns: bool, nulls: tuple[bool, ...] | None) -> str:
        positions = self._set_positions(unchanged, all_columns)
        pairs = [f"{self._names[at]} = ${number}" for number, at in enumerate(positions, 1)]
        if not pairs:  # nothing but unchanged values: the row must exist all the same
            pairs = [f"{self._names[0]} = {self._names[0]}"]
        where = self._where(len(positions) + 1, nulls)
        return f"UPDATE {self._only} SET {', '.join(pairs)} WHERE {where}"  # noqa: S608 - every part is quoted

    def _where(self, number: int, nulls: tuple[bool, ...] | None) -> str:
        if nulls is None:
            return " AND ".join(self._equals(at, number + offset) for offset, at in enumerate(self.identity))
        parts = []
        for at, is_null in enumerate(nulls):
            if is_null:
                # IS NULL is true of a composite value with nothing but NULLs in it, too.
                null = "IS NULL" if self.columns[at].builtin else "IS NOT DISTINCT FROM NULL"
                parts.append(f"{self._names[at]} {null}")
                continue
            parts.append(self._same(at, number))
            number += 1
        # Equal rows exist: exactly one of them is meant. Another partition may have a row at the same place.
        found = f"FROM {self._only} WHERE {' AND '.join(parts) or 'true'} LIMIT 1"
        return f"{self._row_at[0]} = (SELECT {self._row_at[1]} {found})"

    def _equals(self, at: int, number: int) -> str:
        column = self.columns[at]
        taken = column.builtin and not column.type_name.startswith("reg")  # compared as oids, which are no names
        value = f"${number}" if taken else f"CAST(${number} AS {column.type_name})"
        equal = f"{self._names[at]} OPERATOR({quote(column.operator_schema)}.=) {value}"
        return f"{equal} AND {self._same_text(at, number)}" if column.apart else equal

    def _same(self, at: int, number: int) -> str:
        """Match a value by its text, since 1.0 equals 1.00 without being the same, and json has no equality at all."""
        column = self.columns[at]
        if not column.comparable:
            return self._same_text(at, number)
        equal = self._equals(at, number)
        return equal if column.exact or column.apart else f"{equal} AND {self._same_text(at, number)}"

    def _same_text(self, at: int, number: int) -> str:
        """Match every character: the column's own collation may take different texts for equal."""
        column = self.columns[at]
        texts = [self._names[at], f"CAST(${number} AS {column.type_name})"]
        padded = column.element_oid == _PADDED_OID
        here, there = (f"pg_catalog.concat({one})" if padded else f"{one}::text" for one in texts)
        return f'{here} COLLATE pg_catalog."C" = {there}'

    @property
    def shown_name(self) -> str:
        """The table's name for messages."""
        return f"{self.relation.schema}.{self.relation.name}"

    def key_of(self, change: object) -> list[tuple[RelationColumn, bytes | None]]:
        """Return the identifying columns of a change with their values. No other ones."""
        row = getattr(change, "old", None) or getattr(change, "new", None) or []
        columns = self.relation.columns
        return [(columns[at], row[at]) for at in self.key_positions if at < len(row)]

    def told_of(self, change: object) -> list[tuple[RelationColumn, bytes | None]]:
        """Return what tells the change's row from others: its key, without one all that the change says of it."""
        row = getattr(change, "old", None) or getattr(change, "new", None) or []
        return self.key_of(change) or list(zip(self.relation.columns, row, strict=False))


def sure(sql: str) -> str:
    """Make the server itself fail a statement that does not hit exactly one row."""
    return f"WITH x AS ({sql} RETURNING 1) SELECT 1 / (CASE count(*) WHEN 1 THEN 1 ELSE 0 END) FROM x"  # noqa: S608 - quoted


def shown_key(key: list[tuple[RelationColumn, bytes | None]]) -> str:
    """Return a key whose values are texts, shortened, for messages."""
    return ", ".join(f"{column.name}={_shown(value)}" for column, value in key) or "no key"


def digest_of(change: str, columns: list[tuple[RelationColumn, bytes | None]]) -> str:
    """Return what tells a change of a row, given by the texts of its values, from other changes and rows."""
    told = hashlib.sha256(change.encode())
    for column, value in columns:
        told.update(repr((column.name, value)).encode())
    return told.hexdigest()[:32]


def _shown(value: bytes | None) -> str:
    if value is None:
        return "NULL"
    text = "".join(ch if ch.isprintable() else " " for ch in value.decode("utf-8", "replace"))
    return text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "..."


def truncate_sql(tables: Sequence[TargetTable], *, above: Iterable[Place] = (), restart_identity: bool) -> str:
    """Return one TRUNCATE of all `tables`: the foreign keys between them allow it only together.

    `above`: (schema, name) of partitioned tables all of whose partitions are among them.
    """
    names = [*map(_with_all_rows, tables), *(qualified(*place) for place in above)]
    return f"TRUNCATE {', '.join(names)}{' RESTART IDENTITY' if restart_identity else ''}"


def referring_sql(tables: Sequence[TargetTable]) -> str:
    """Return a query for the tables that are not among `tables`, and from which a foreign key leads to one of them.

    Columns: schema, name, and whether it is a partitioned table all of whose partitions are among `tables`.
    """
    names = ", ".join(literal(qualified(table.schema, table.name)) for table in tables)
    return (
        f"WITH RECURSIVE emptied(oid) AS (SELECT unnest(ARRAY[{names}]::pg_catalog.regclass[])::oid"  # noqa: S608 - quoted
        " UNION SELECT i.inhrelid FROM emptied e JOIN pg_catalog.pg_class c ON c.oid = e.oid AND c.relkind = 'p'"
        " JOIN pg_catalog.pg_inherits i ON i.inhparent = e.oid"
        "), down(top, oid) AS (SELECT DISTINCT k.conrelid, k.conrelid FROM pg_catalog.pg_constraint k"
        " WHERE k.contype = 'f' AND k.confrelid IN (SELECT oid FROM emptied)"
        " AND k.conrelid NOT IN (SELECT oid FROM emptied)"
        " UNION SELECT d.top, i.inhrelid FROM down d JOIN pg_catalog.pg_inherits i ON i.inhparent = d.oid)"
        " SELECT n.nspname, c.relname, NOT EXISTS (SELECT FROM down d JOIN pg_catalog.pg_class l ON l.oid = d.oid"
        " WHERE d.top = c.oid AND l.relkind <> 'p' AND l.oid NOT IN (SELECT oid FROM emptied))"
        " FROM (SELECT DISTINCT top FROM down) o JOIN pg_catalog.pg_class c ON c.oid = o.top"
        " JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
    )


def empty_sql(table: TargetTable) -> str:
    """Return a statement that empties one table without touching any other."""
    return f"DELETE FROM {_with_all_rows(table)}"  # noqa: S608 - quoted


def _with_all_rows(table: TargetTable) -> str:
    name = qualified(table.schema, table.name)
    return name if table.partitioned else "ONLY " + name
