"""Gives changes that name their tables and columns the form of pgoutput: oids, positions, replica identities.

The stream says what a row looked like; which table it is and which columns identify a row is asked of the catalog,
which may be newer than the change. Where both cannot be brought together the sync stops.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from .. import drift
from ..errors import EngineError, SchemaChanged, SourceError
from ..ports import TableState
from ..wording import say
from . import test_decoding
from .pgoutput import Delete, Insert, Message, Relation, RelationColumn, Truncate, Update, Values, WrittenAnew
from .test_decoding import Change, Row

_LOOK_AGAIN_SECONDS = 5.0
_TRANSIENT = re.compile(r"pg_temp_([1-9][0-9]{0,9})")  # what rows are written to that a statement writes anew
_FULL = "f"

Shape = tuple[tuple[str, str], ...]
"""Columns as (name, type without modifiers)."""


class NamedColumn(NamedTuple):
    """A live column in the source's catalog: how a plugin writes its type, and its oid and modifier."""

    name: str
    type_name: str
    type_oid: int
    typmod: int


class NamedTable(NamedTuple):
    """A table as the source's catalog knows it now."""

    oid: int
    schema: str
    name: str
    identity: str
    keys: frozenset[str]
    columns: tuple[NamedColumn, ...]

    @property
    def shape(self) -> Shape:
        """Its columns as a plugin writes them."""
        return tuple((column.name, column.type_name) for column in self.columns)


class Catalog(Protocol):
    """What must be asked of the source."""

    def named_tables(self, schema: str, name: str, oid: int) -> list[NamedTable]:
        """Return the tables that have this name or this oid."""

    def type_oid(self, type_name: str) -> int:
        """Return the oid of a type, 0 when nobody knows it any more."""


@dataclass
class _Known:
    table: NamedTable | None
    looked_at: float
    shape: Shape | None = None
    """Columns of the last whole row."""
    told: Shape | None = None
    """What was last said of its columns."""


class NamedChanges:
    """Translates one stream. Not thread-safe. `final`: where the transaction commits whose messages are translated."""

    def __init__(
        self,
        tables: Iterable[TableState],
        catalog: Catalog,
        encoding: str,
        watermark: Callable[[int], int | None] = lambda _: None,
    ) -> None:
        """`watermark`: the LSN before which changes of a table (oid) are skipped at present; None: as `tables` say."""
        self.final = 0
        self._watermark = watermark
        self._anew: tuple[int, WrittenAnew | None] = 0, None  # what was told last, and in which transaction (`final`)
        self._states = {(table.schema, table.name): table for table in tables}
        self._oids = {table.oid: table for table in self._states.values()}
        self._catalog = catalog
        self._encoding = encoding
        self._known: dict[tuple[str, str], _Known] = {}

    def messages(self, message: bytes) -> list[Message]:
        """Return what a message of test_decoding means: nothing, or a table's shape where it is new and the change.

        Raises MalformedMessage, SchemaChanged, SourceError, or what the catalog raises.
        """
        change = test_decoding.read(message, 0, self._encoding)
        if isinstance(change, test_decoding.Emptied):
            return self.emptied(self._oids_of(change))
        if not isinstance(change, Change):
            return []
        known = self._find(change.schema, change.name)
        if known.table is None:
            return self._written_anew(change)
        try:
            return self._translate(known, known.table, change)
        except EngineError as error:
            if error.code != SchemaChanged.code or self.final >= self._skipped_before(known.table.oid):
                raise
            return self._unreadable(known, known.table, change)

    def _unreadable(self, known: _Known, table: NamedTable, change: Change) -> list[Message]:
        """Return a change that nobody can apply in place of one that cannot be brought together with the catalog.

        The table is copied under a later snapshot, which will hold it, so the stream is to skip it. Should the table be
        back in the stream by then, its columns are none that a table can have, and the sync stops there.
        """
        known.told = None  # the next row tells them anew
        nothing = RelationColumn("", False, 0, -1)
        relation = Relation(table.oid, change.schema, change.name, table.identity, (nothing,))
        return [relation, Insert(table.oid, [None])]

    def _skipped_before(self, oid: int) -> int:
        now, state = self._watermark(oid), self._oids.get(oid)
        return now if now is not None else (state.watermark or 0) if state else 0

    def _written_anew(self, change: Change) -> list[Message]:
        """Return that the rows of a table of the task were written anew, unless that was told just before: the rows
        themselves come under a name of the source's own, which nobody has afterwards, and only where it logs them."""
        found = _TRANSIENT.fullmatch(change.name)
        if found is None or change.new is None or int(found[1]) not in self._oids:
            return []
        anew = WrittenAnew(int(found[1]), change.new.names)
        if (self.final, anew) == self._anew:
            return []
        self._anew = self.final, anew
        return [anew]

    def emptied(self, oids: Iterable[int]) -> list[Message]:
        """Return that these tables were emptied, as far as they are ours, with the shapes that this needs."""
        found: list[Message] = []
        listed = []
        for oid in dict.fromkeys(oids):
            state = self._oids.get(oid)
            if state is None:
                continue
            known = self._find(state.schema, state.name)
            if known.table is not None:
                found += self._news(known, known.table, (state.schema, state.name), known.shape or known.table.shape)
                listed.append(oid)
        return [*found, Truncate(tuple(listed), False, False)] if listed else []

    def _oids_of(self, change: test_decoding.Emptied) -> list[int]:
        return [state.oid for place in change.places if (state := self._states.get(place)) is not None]

    def _find(self, schema: str, name: str) -> _Known:
        now = time.monotonic()
        known = self._known.get((schema, name))
        if known is None or now - known.looked_at > _LOOK_AGAIN_SECONDS:
            table = self._look(schema, name)
            if known is None or known.table != table:
                known = self._known[schema, name] = _Known(table, now)
            known.looked_at = now
        return known

    def _look(self, schema: str, name: str) -> NamedTable | None:
        """Find the table that had this name when it was changed. A name that nobody has now was dropped meanwhile."""
        state = self._states.get((schema, name))
        found = self._catalog.named_tables(schema, name, state.oid if state else 0)
        by_name = next((table for table in found if (table.schema, table.name) == (schema, name)), None)
        if state is None:
            return by_name
        same = next((table for table in found if table.oid == state.oid), None)
        if same is None or (by_name is not None and by_name.oid != state.oid):
            text = (
                say("Table {schema}.{name} is another table on the source now.", schema=schema, name=name)
                if by_name
                else say("Table {schema}.{name} is gone from the source.", schema=schema, name=name)
            )
            raise SchemaChanged(
                text + say(" The sync stopped before a change of that name."),
                hint=say("Start the migration again."),
            )
        return same

    def _translate(self, known: _Known, table: NamedTable, change: Change) -> list[Message]:
        place = (change.schema, change.name)
        if change.kind == "DELETE":
            return self._delete(known, table, change)
        new = change.new
        if new is None:
            raise _unusable(*place)
        shape = known.shape = tuple(zip(new.names, new.types, strict=True))
        news = self._news(known, table, place, shape)
        if change.kind == "INSERT":
            return [*news, Insert(table.oid, new.values)]
        if change.old is None and not table.keys and table.oid in self._oids:
            raise _unusable(*place)  # the row is told, but nothing that would find it
        self._require_key(table, place, shape)
        old = None if change.old is None else _aligned(change.old, shape)
        return [*news, Update(table.oid, old, old is not None and table.identity == _FULL, new.values)]

    def _delete(self, known: _Known, table: NamedTable, change: Change) -> list[Message]:
        """A deleted row tells its identity, with REPLICA IDENTITY FULL every value that is not NULL."""
        old, place = change.old, (change.schema, change.name)
        if old is None:
            if table.oid in self._oids:
                raise _unusable(*place)
            old = Row((), (), [])
        shape = known.shape or table.shape
        self._require_key(table, place, shape)
        if not set(old.names) <= {name for name, _ in shape}:
            if table.oid not in self._oids:
                return []
            if table.identity != _FULL:
                raise _key_renamed(place, table.keys, old.names)
            table, shape = self._as_it_is(known, place, old)
        news = self._news(known, table, place, shape)
        return [*news, Delete(table.oid, _aligned(old, shape), table.identity == _FULL)]

    def _as_it_is(self, known: _Known, place: tuple[str, str], old: Row) -> tuple[NamedTable, Shape]:
        """Return a table whose deleted row has other columns than the rows before, as the catalog has it now."""
        table = self._look(*place)
        if table is None or table.identity != _FULL or not set(old.names) <= {name for name, _ in table.shape}:
            raise _other_columns(place, old.names, table.shape if table else ())
        known.table, known.looked_at, known.shape = table, time.monotonic(), table.shape
        return table, table.shape

    def _require_key(self, table: NamedTable, place: tuple[str, str], shape: Shape) -> None:
        """Raise SchemaChanged when the columns that identify a row now had other names when this row was changed."""
        names = [name for name, _ in shape]
        if table.identity != _FULL and table.oid in self._oids and not table.keys <= set(names):
            raise _key_renamed(place, table.keys, names)

    def _news(self, known: _Known, table: NamedTable, place: tuple[str, str], shape: Shape) -> list[Message]:
        """Return the table's shape unless it was said already."""
        if known.told == shape:
            return []
        known.told = shape
        now = {(column.name, column.type_name): column for column in table.columns}
        columns = []
        for name, type_name in shape:
            column = now.get((name, type_name))
            kind = (column.type_oid, column.typmod) if column else (self._catalog.type_oid(type_name), -1)
            columns.append(RelationColumn(name, name in table.keys, *kind))
        return [Relation(table.oid, *place, table.identity, tuple(columns))]


def _unusable(schema: str, name: str) -> SourceError:
    return SourceError(
        say("A change of table {schema}.{name} does not say which row it belongs to.", schema=schema, name=name),
        hint=say("Check the table's primary key and REPLICA IDENTITY on the source."),
        code="SRC-DDL",
    )


def _key_renamed(place: tuple[str, str], keys: Iterable[str], names: Iterable[str]) -> SchemaChanged:
    missing = sorted(set(keys) - set(names))
    error = SchemaChanged(
        say(
            "A row of table {schema}.{name} was changed when its key had other columns: {missing} is of the key now, "
            "but not of this row. The sync stopped just before.",
            schema=place[0],
            name=place[1],
            missing=", ".join(missing),
        ),
        hint=say(
            "A source before 10 does not tell what the key was then. If a column was renamed, give it its former name "
            "on the source and press Retry; once the sync stops at rows of the new name, rename it again and press "
            "Retry. Else press Copy again or Drop from task."
        ),
    )
    changes = tuple(drift.Change(kind=drift.ChangeKind.ADDED, name=name, new=name) for name in missing)
    error.drift = drift.Drift(schema=place[0], name=place[1], changes=changes, doubt=drift.Doubt.UNCLEAR)
    return error


def _other_columns(place: tuple[str, str], names: Iterable[str], shape: Shape) -> SchemaChanged:
    error = SchemaChanged(
        say(
            "A row of table {schema}.{name} was deleted when the table had other columns.",
            schema=place[0],
            name=place[1],
        ),
        hint=say("Press Drop from task, or start the migration again."),
    )
    missing = sorted(set(names) - {name for name, _ in shape})
    changes = tuple(drift.Change(kind=drift.ChangeKind.DROPPED, name=name, old=name) for name in missing)
    error.drift = drift.Drift(schema=place[0], name=place[1], changes=changes, doubt=drift.Doubt.UNCLEAR)
    return error


def _aligned(row: Row, shape: Shape) -> Values:
    """Return the values in the order of `shape`; what the plugin left out is NULL."""
    values = dict(zip(row.names, row.values, strict=True))
    return [values.get(name) for name, _ in shape]
