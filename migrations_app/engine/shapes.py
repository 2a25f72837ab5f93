"""Reads the columns of tables with what a statement that makes or changes one needs. Locks no table."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import cast

from .connect import Connection
from .drift import Column, Partition, Place
from .layouts import PARTITIONS_SINCE
from .made_partitions import was_made
from .newer_words import as_newest, quoted
from .renaming import Renaming
from .sql import query
from .values import frozen

_EXPRESSIONS = (
    "SELECT a.attname::text, pg_catalog.pg_get_expr(d.adbin, d.adrelid) FROM pg_catalog.pg_attrdef d"
    " JOIN pg_catalog.pg_attribute a ON (a.attrelid, a.attnum) = (d.adrelid, d.adnum) WHERE d.adrelid = %s"
)

_EXPRESSIONS_OF_MANY = (
    "SELECT d.adrelid::bigint, a.attname::text, pg_catalog.pg_get_expr(d.adbin, d.adrelid) FROM pg_catalog.pg_attrdef d"
    " JOIN pg_catalog.pg_attribute a ON (a.attrelid, a.attnum) = (d.adrelid, d.adnum) WHERE d.adrelid = ANY(%s::oid[])"
)


@frozen
class Shape:
    """One table with all its live columns, in their order."""

    oid: int
    place: Place
    columns: tuple[Column, ...]
    unlogged: bool = False
    key_name: str = ""
    key: tuple[str, ...] = ()
    """Name and columns of its primary key."""

    @property
    def stored(self) -> tuple[Column, ...]:
        """The columns that travel: all but generated ones."""
        return tuple(column for column in self.columns if not column.generated)

    @property
    def numbers(self) -> dict[str, int]:
        """The places (attnum) of the columns that travel, by their names."""
        return {column.name: column.number for column in self.stored}


def read_shapes(
    connection: Connection, *, oids: Sequence[int] | None = None, place: Place | None = None
) -> dict[int, Shape]:
    """Return the user tables of the connected database by their oid: all, those of `oids`, or the one at `place`.

    What is not there is left out. Defaults are such as servers of any version read them. Raises psycopg.Error.
    """
    schema, name = place or (None, None)
    version = connection.info.server_version
    rows = connection.execute(
        query("shape", version),
        {"oids": None if oids is None else list(oids), "schema": schema, "name": name},
    ).fetchall()
    found: dict[int, tuple[Shape, list[Column]]] = {}
    for number, where, table, unlogged, key_name, key, *rest in rows:
        oid = int(str(number))
        if oid not in found:
            names = tuple(cast("list[str]", key))
            place = (str(where), str(table))
            empty = Shape(oid=oid, place=place, columns=(), unlogged=bool(unlogged), key_name=str(key_name), key=names)
            found[oid] = empty, []
        if rest[0] is not None:
            found[oid][1].append(_column(rest, version))
    return {oid: replace(shape, columns=tuple(columns)) for oid, (shape, columns) in found.items()}


def read_described(
    connection: Connection, oid: int, types: Sequence[tuple[int, int]]
) -> tuple[list[str], dict[str, int]]:
    """Return names of (oid, typmod) types, and the places (attnum) of a table's columns by their names.

    A type that does not exist any more is '???', and a table that is gone has no columns. Raises psycopg.Error.
    """
    row = connection.execute(
        query("described"),
        {"table": oid, "types": [one for one, _ in types], "typmods": [typmod for _, typmod in types]},
    ).fetchone()
    named, columns, numbers = cast("tuple[list[str], list[str], list[int]]", row)
    return [as_newest(one) for one in named], dict(zip(columns, numbers, strict=True))


def read_lineage(connection: Connection, oid: int, renaming: Renaming) -> list[Partition]:
    """Return what the catalog knows of a partition, and of those above it that are partitions themselves.

    From below; none when it is no partition. One that was seen to be made as such stays that, whatever crashes. Bounds
    and keys are as the target calls what is in them. Raises psycopg.Error.
    """
    version = connection.info.server_version
    if version < PARTITIONS_SINCE:
        return []
    rows = connection.execute(query("partitions"), {"oid": oid}).fetchall()
    return [
        Partition(
            oid=int(str(found)),
            place=(str(schema), str(name)),
            parent=(str(parent_schema), str(parent)),
            bounds=renaming.shown(quoted(str(bounds), version)),
            born=was_made(connection, int(str(found)), str(since), born=bool(born), doubtful=bool(doubtful)),
            key=renaming.shown(quoted(str(key), version)),
        )
        for found, schema, name, parent_schema, parent, bounds, born, key, since, doubtful in rows
    ]


def read_partitions(connection: Connection, tops: Sequence[int]) -> list[tuple[int, Place, int]]:
    """Return the lowest partitions below these tables (oids) that the stream can tell of: (oid, place, top).

    Unlogged ones are none. Raises psycopg.Error.
    """
    rows = connection.execute(query("lowest_partitions"), {"tops": list(tops)}).fetchall()
    return [(int(str(oid)), (str(schema), str(name)), int(str(top))) for oid, schema, name, top in rows]


def with_expressions(connection: Connection, shape: Shape) -> Shape:
    """Return the shape with what its generated columns are computed from, which it is not read with: that is a lock.

    Raises psycopg.Error.
    """
    if all(not column.generated for column in shape.columns):
        return shape
    rows = connection.execute(_EXPRESSIONS, (shape.oid,)).fetchall()
    version = connection.info.server_version
    expressions = {str(name): quoted(str(text), version) for name, text in rows}
    columns = [replace(one, default=expressions.get(one.name, "")) if one.generated else one for one in shape.columns]
    return replace(shape, columns=tuple(columns))


def read_expressions(connection: Connection, oids: Sequence[int]) -> dict[int, dict[str, str]]:
    """Return by oid what columns of these tables are computed from, or get by default: that locks each for a moment.

    Raises psycopg.Error.
    """
    found: dict[int, dict[str, str]] = {oid: {} for oid in oids}
    for oid, name, text in connection.execute(_EXPRESSIONS_OF_MANY, (list(oids),)).fetchall():
        found[int(str(oid))][str(name)] = str(text)
    return found


def _column(row: Sequence[object], version: int) -> Column:
    name, type_name, not_null, default, collation, identity, generated, filled, *dropped, number = row
    return Column(
        name=str(name),
        type_name=as_newest(str(type_name)),
        not_null=bool(not_null),
        default=quoted(str(default or ""), version),
        collation=str(collation),
        identity=str(identity),
        generated=str(generated),
        filled=None if filled is None else str(filled),
        after_dropped=bool(dropped[0]),
        before_dropped=bool(dropped[1]),
        number=int(str(number)),
    )


def as_on_target(columns: Iterable[Column], renaming: Renaming) -> list[Column]:
    """Return columns of the source with types, defaults and collations as the target calls them."""
    shown = renaming.shown
    return [
        replace(
            column,
            type_name=shown(column.type_name),
            default=shown(column.default),
            collation=shown(column.collation),
        )
        for column in columns
    ]
