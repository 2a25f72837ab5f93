"""Reads what a database contains. Pure reading: no locks beyond those of a catalog query, no writes."""

from __future__ import annotations

from collections import defaultdict
from typing import Any, TypeVar

from .binary_forms import read_binary_forms
from .connect import Connection
from .newer_words import as_newest
from .rows_file import RowsFile, file_of_parts
from .selection import Selection
from .sql import query
from .values import frozen


@frozen
class Column:
    """A live column of a table."""

    name: str
    type_name: str  # format_type with typmod: what a cast must say
    type_oid: int
    not_null: bool
    generated: str  # '' | 's' stored | 'v' virtual
    identity: str  # '' | 'a' always | 'd' by default
    position: int
    has_equality: bool
    binary_form: str = ""  # what a value looks like in binary COPY (`binary_forms`), '' when it must travel as text


@frozen
class ListedTable:
    """A user table: ordinary (`r`) or partitioned root (`p`); partitions carry their parent's oid."""

    oid: int
    schema: str
    name: str
    kind: str
    is_partition: bool
    parent_oid: int | None
    gathered: bool = False
    """Partitioned, and one table of the task with all that is below it (see `layouts`)."""
    below: tuple[ListedTable, ...] = ()
    """Of a gathered table: its partitions at any depth."""

    @property
    def has_rows(self) -> bool:
        """True for what is copied by itself: everything but partitioned roots, unless they are gathered."""
        return self.kind == "r" or self.gathered


@frozen
class Table(ListedTable):
    """A user table with all that its copy must know of it."""

    persistence: str  # p permanent, u unlogged
    replica_identity: str  # d default, n nothing, f full, i index
    is_heap: bool
    bytes: int
    outside_bytes: int  # of `bytes`: values that are kept outside their rows, most of them compressed
    rows_estimate: int
    owner: str
    can_read: bool
    is_owner: bool
    row_security: bool
    has_rules: bool
    primary_key: tuple[str, ...]
    unique_key: tuple[str, ...]  # smallest valid, immediate, total unique index over not-null columns
    identity_index_key: tuple[str, ...]
    file: int = 0  # of its rows (relfilenode), which is another one once they were written anew
    width: int = 0  # the highest number (attnum) that a column of it ever had
    computed: int = 0  # a hash of what its generated columns are computed from
    columns: tuple[Column, ...] = ()
    below: tuple[Table, ...] = ()

    @property
    def parts(self) -> tuple[Table, ...]:
        """What holds the rows: the table itself, of a gathered one its lowest partitions."""
        return tuple(table for table in self.below if table.kind == "r") if self.gathered else (self,)

    @property
    def members(self) -> tuple[int, ...]:
        """Oids of the table and of what holds its rows."""
        return (self.oid, *(table.oid for table in self.parts)) if self.gathered else (self.oid,)

    @property
    def key(self) -> tuple[str, ...]:
        """Columns that identify a row: the primary key, else a unique key over not-null columns, else ()."""
        return self.primary_key or self.unique_key

    @property
    def has_identity(self) -> bool:
        """True when updates and deletes can be published as the table stands: generated columns are not sent."""
        if self.replica_identity == "f":
            return True
        keys = {"d": self.primary_key, "i": self.identity_index_key}
        key = keys.get(self.replica_identity, ())
        return bool(key) and {column.name for column in self.copied_columns}.issuperset(key)

    @property
    def copied_columns(self) -> tuple[Column, ...]:
        """Columns that travel: all but generated ones."""
        return tuple(column for column in self.columns if not column.generated)

    @property
    def numbers(self) -> tuple[tuple[str, int], ...]:
        """The columns that travel with their places (attnum), and where the rows were then (see `rows_file`)."""
        file = file_of_parts((one.oid, one.file) for one in self.parts) if self.gathered else self.file
        columns = ((column.name, column.position) for column in self.copied_columns)
        return (*columns, RowsFile(file=file, width=self.width, computed=self.computed).entry)


_ARRANGED = ("gathered", "below")  # not of the catalog: see `layouts`
Listed = TypeVar("Listed", bound=ListedTable)


def read_tables(connection: Connection, *, sizes: bool = True) -> list[Table]:
    """Return every user table of the connected database with its columns, ordered by schema and name.

    Asking for a size waits for whoever has locked the table; without `sizes` they are 0, and nothing waits.
    """
    columns: dict[int, list[Column]] = defaultdict(list)
    forms = read_binary_forms(connection)
    fields = [name for name in Column.__dataclass_fields__ if name != "binary_form"]
    for row in connection.execute(query("columns", connection.info.server_version)).fetchall():
        oid, *rest = _plain(row)
        values: dict[str, Any] = dict(zip(fields, rest, strict=True))
        values["type_name"] = as_newest(values["type_name"])
        columns[oid].append(Column(**values, binary_form=forms.get(values["type_oid"], "")))
    names = [name for name in Table.__dataclass_fields__ if name not in ("columns", *_ARRANGED)]
    tables = []
    text = query("tables", connection.info.server_version)
    if not sizes:
        for size in ("pg_catalog.pg_table_size(c.oid)", "pg_catalog.pg_relation_size(c.reltoastrelid)"):
            text = text.replace(size, "0")
    for row in connection.execute(text).fetchall():
        values = dict(zip(names, _plain(row), strict=True))
        for key in ("primary_key", "unique_key", "identity_index_key"):
            values[key] = tuple(values[key] or ())
        tables.append(Table(**values, columns=tuple(columns[values["oid"]])))
    return tables


def list_tables(connection: Connection) -> list[ListedTable]:
    """Return what `read_tables` does, without columns, keys, sizes and rights: most of its work. Waits for nobody."""
    rows = connection.execute(query("listed_tables", connection.info.server_version)).fetchall()
    names = [name for name in ListedTable.__dataclass_fields__ if name not in _ARRANGED]
    return [ListedTable(**dict(zip(names, _plain(row), strict=True))) for row in rows]


def _plain(row: tuple[object, ...]) -> list[Any]:
    return list(row)


def selected_tables(tables: list[Listed], selection: Selection, database: str) -> list[Listed]:
    """Return the tables that are made on the target, with their rows or without: those that the selection names, and
    the partitioned tables above them."""
    by_oid = {table.oid: table for table in tables}
    chosen: set[int] = set()
    for table in tables:
        line = _lineage(table, by_oid)
        if selection.mode_of(database, *((one.schema, one.name) for one in line)):
            chosen.update(one.oid for one in line)  # a partition cannot stand without its root
    return [table for table in tables if table.oid in chosen]


def moving_tables(tables: list[Listed], selection: Selection, database: str) -> list[Listed]:
    """Return the tables whose rows move. A partitioned table is one of them when all that is below it moves."""
    by_oid = {table.oid: table for table in tables}
    moving: set[int] = set()
    mixed: set[int] = set()
    for table in tables:
        line = _lineage(table, by_oid)
        if selection.mode_of(database, *((one.schema, one.name) for one in line)) == "data":
            moving.add(table.oid)
        elif table.is_partition:
            mixed.update(one.oid for one in line[1:])
    whole = moving - mixed
    return [table for table in tables if table.oid in whole]


def _lineage(table: Listed, by_oid: dict[int, Listed]) -> list[Listed]:
    """Return a table and the partitioned tables above it, up to its root."""
    line = [table]
    while (parent := by_oid.get(line[-1].parent_oid or 0)) is not None:
        line.append(parent)
    return line


def keys_without_rows(
    connection: Connection, tables: list[Listed], moving: list[Listed], made: list[Listed] | None = None
) -> dict[int, tuple[str, str, str]]:
    """Return the foreign keys from rows that move to rows that do not: (schema, table, name) by oid.

    They could never be true on the target, so they are not made there. With `made`, the tables of the task, also those
    of its tables to others, and no key of any other table.
    """
    whole = {table.oid for table in moving}
    there = {table.oid for table in (tables if made is None else made)}
    by_oid = {table.oid: table for table in tables}
    with_rows = {one.oid for table in moving for one in _lineage(table, by_oid)}
    ours = None if made is None else {one.oid for table in made for one in _lineage(table, by_oid)}
    rows = connection.execute(query("foreign_keys")).fetchall()
    return {
        int(str(oid)): (str(schema), str(table), str(name))
        for oid, child, parent, schema, table, name in rows
        if (ours is None or child in ours) and (parent not in there or (child in with_rows and parent not in whole))
    }
