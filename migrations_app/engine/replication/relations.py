"""Knows the tables of the stream: which of them belong to the task, and whether their shape still fits the target."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from .. import drifting
from ..drift import ChangeKind, Drift, Partition, Place
from ..errors import ConnectionLost, SchemaChanged, TargetError
from ..layout_parts import Parts
from ..names import is_in
from ..ports import NEVER, TableState
from ..renaming import Renaming
from ..rows_file import passed_over, with_columns, without_file
from ..shapes import as_on_target
from ..wording import say
from .deciding import Shapes
from .explained import not_copied, parts_changed, rewritten_rows, under_other_name
from .pgoutput import Relation, WrittenAnew
from .statements import RowStatements, TargetTable
from .told_columns import Source, ToldColumns

_NOTHING = Renaming()
_GONE = "???"  # format_type of a type that does not exist any more


class NotBinary(ConnectionLost):
    """The stream, opened with values in binary form, has to be opened anew with values as text."""


class Member(NamedTuple):
    """A table of the task, as the stream knows it."""

    state: TableState
    statements: RowStatements
    names: dict[object, bytes]  # prepared statements by key
    watermark: int
    place: tuple[str, str]
    """(schema, name) on the target."""
    table: TargetTable


class Relations:
    """Tables of the stream by their oid on the source.

    `moves` says of a table, given as itself and the partitioned tables above it, whether its rows belong to the task.
    A table is looked at when its first change is applied, not when it is announced: what is skipped may have any shape.
    `shapes` decides about one that has another shape than on the target.
    """

    def __init__(
        self,
        tables: Iterable[TableState],
        moves: Callable[[list[tuple[str, str]]], bool],
        source: Source,
        read_target: Callable[[str, str], TargetTable | None],
        shapes: Shapes,
        renaming: Renaming = _NOTHING,
        *,
        binary: bool = False,
        parts: Parts | None = None,
    ) -> None:
        self._tables = {table.oid: table for table in tables}
        self._oids = {(table.schema, table.name): oid for oid, table in self._tables.items()}
        self._moves = moves
        self._source = source
        self._read_target = read_target
        self._shapes = shapes
        self._renaming = renaming
        self._binary = binary
        self._announced: dict[int, Relation] = {}
        self._members: dict[int, Member | None] = {}
        self._adopted: set[int] = set()
        self._written: dict[int, set[str]] = {}  # by table, columns that rows were written anew for
        self._emptied: Sequence[int] = ()  # right after the look under way, see `member`
        self._parts = parts
        self._tops: dict[int, int] = {}  # partitions of gathered tables (see `layouts`), and those that they belong to
        self._take_parts()

    def _take_parts(self) -> None:
        if self._parts is not None:
            tops = self._parts.tops.items()
            self._tops = {oid: self._oids[top] for oid, top in tops if top in self._oids}

    def announce(self, relation: Relation, *, anew: bool = False) -> None:
        """Take note of a table's shape: the latest counts. An equal one changes nothing, unless `anew`."""
        if anew or self._announced.get(relation.oid) != relation:
            self._announced[relation.oid] = relation
            self._members.pop(relation.oid, None)

    def differs(self, relation: Relation) -> bool:
        """Say whether a table is known in another shape, in which changes may still wait to be applied.

        So is one that was none of the task's: something happened to it, or the source would not describe it again. One
        that looks the same may have got another column in place of one, which only the catalog tells.
        """
        oid = relation.oid
        known = self._announced.get(oid, relation)
        if known != relation or self._members.get(oid, relation) is None:
            return True
        return oid in self._members and any(self._remade(oid, relation, {}))

    def is_known(self, oid: int) -> bool:
        """Say whether `member` answers without a look at the target."""
        return oid in self._members

    @property
    def last_watermark(self) -> int:
        """The position from which on no change is skipped, but those of tables that are left out altogether."""
        marks = (table.watermark or 0 for table in self._tables.values())
        return max((mark for mark in marks if mark < NEVER), default=0)

    def watermark(self, oid: int) -> int:
        """Return the LSN before which changes of the table are skipped; 0 for a table that is not known."""
        table = self._tables.get(self._tops.get(oid, oid))
        return (table.watermark or 0) if table else 0

    def mark(self, oid: int, watermark: int) -> None:
        """Skip changes of a table before another LSN from now on."""
        table = self._tables.get(oid)
        if table is not None:
            self._tables[oid] = replace(table, watermark=watermark, numbers=())  # copied once more, or left out
            self._members.pop(oid, None)
            if self._parts:
                self._parts.reload()  # its copy may have been made from other ones
                self._take_parts()
                known = self._members.items()
                self._members = {one: found for one, found in known if found is not None and found.state.oid != oid}

    def require_kept_rows(self, anew: WrittenAnew, lsn: int) -> None:
        """Raise SchemaChanged for a table whose rows the source wrote anew in the columns that the target has, where
        the stream skips nothing at `lsn`. The next row tells of others. Asks the target: nothing may be under way."""
        table = self._tables.get(anew.oid)
        if table is None or table.unlogged or lsn < (table.watermark or 0):
            return
        known = without_file(table.numbers).keys() | self._written.get(anew.oid, set())
        if known and not known >= set(anew.names):
            self._written[anew.oid] = known | set(anew.names)
            return  # for a column that came after the copy: somebody may have added it to the target already
        target = self._read_target(*self._renaming.place((table.schema, table.name)))
        there = {one.name: one.type_name for one in target.columns if not one.generated} if target else {}
        now = as_on_target(self._source.columns(anew.oid), self._renaming)  # may be ahead
        retyped = any(there.get(one.name, one.type_name) != one.type_name for one in now)
        if there.keys() == set(anew.names) and not retyped:
            raise rewritten_rows(table)

    def shown_name(self, oid: int) -> str:
        """Return the table's name for messages."""
        relation = self._announced.get(oid)
        return f"{relation.schema}.{relation.name}" if relation else say("with oid {oid}", oid=oid)

    def member(self, oid: int, *, emptied: Sequence[int] = ()) -> Member | None:
        """Return the table, or None when it is no part of the task. `emptied`: tables (oids) that lose all rows next.

        Raises SchemaChanged when the table is new, or its columns are not those of the target; ShapeAllowed when those
        of the target may be changed now; TargetError when the target has no such table.
        """
        try:
            return self._members[oid]
        except KeyError:
            self._emptied = emptied
            found = self._members[oid] = self._look(oid)
            return found

    def forget_statements(self) -> None:
        """Forget the names of all prepared statements."""
        for member in self._members.values():
            if member is not None:
                member.names.clear()

    def _look(self, oid: int) -> Member | None:
        relation = self._announced.get(oid)
        if relation is None:
            raise SchemaChanged(
                say("The source sent a change of an unknown table (oid {oid}).", oid=oid), code="SRC-PROTOCOL"
            )
        is_part = oid in self._tops
        table = self._tables.get(self._tops.get(oid, oid))
        if table is None:
            return self._new(relation)
        name = (table.schema, table.name)
        if not is_part and name != (relation.schema, relation.name):
            self._require_name(table)
        place = self._renaming.place(name)
        target = self._read_target(*place)
        if target is None:
            self._require_name(table)
            raise TargetError(
                say("Table {schema}.{name} is missing on the target.", schema=place[0], name=place[1]),
                hint=say(
                    "Somebody dropped or renamed it there. Rename it back and press Retry; or make it there as on the "
                    "source, press Copy again beside it and Retry; or press Drop from task beside it and Retry."
                ),
            )
        self._compare(table, relation, target)
        if self._binary and not self._source.travels_binary([], [column.type_oid for column in relation.columns]):
            raise NotBinary(
                say(
                    "Table {schema}.{name} has got a column that does not travel in binary form.",
                    schema=relation.schema,
                    name=relation.name,
                ),
                hint=say("The sync goes on by itself with all values as text."),
            )
        target = replace(target, shared=is_part)
        return Member(table, RowStatements(relation, target), {}, table.watermark or 0, place, target)

    def _require_name(self, table: TableState) -> None:
        """Raise for a table that has another name on the source by now. It is the same table all the time: the stream
        goes on telling what it was called when its rows were written."""
        now = self._source.place(table.oid)
        if now not in (None, (table.schema, table.name)):
            raise self._shapes.renamed(table, now, lambda place: self._read_target(*place) is not None)

    def _require_schemas(self, types: list[tuple[str, str]]) -> None:
        """Raise for a schema of types of the target that has another name on the source: they are the same types."""
        schemas = {self._renaming.schema(one.schema) for one in self._tables.values() if not one.set_aside}
        meant = {schema for schema in schemas if any(is_in(schema, name) for name, _ in types)}
        for table in self._tables.values() if meant else ():
            schema = self._renaming.schema(table.schema)
            if schema in meant and not table.set_aside and self._source.place(table.oid) is not None:
                self._require_name(table)
                meant.remove(schema)  # one that is there is enough
        if types and (found := self._shapes.of_types(types)):
            raise found

    def adopt(self, state: TableState) -> None:
        """Let a table be one of the task from now on."""
        self._tables[state.oid] = state
        self._members.pop(state.oid, None)
        self._adopted.add(state.oid)

    def _new(self, relation: Relation) -> Member | None:
        """Raise for a table that the task does not know, unless it is none of its business, or made already. A new one,
        or a partition of one, waits until somebody decides: if it is added, its copy holds this change."""
        self._source.await_catalog(relation.oid)
        place = (relation.schema, relation.name)
        above = self._source.ancestors(relation.oid)
        self._require_tops(above, place)
        if not self._moves([place, *above]):
            return None
        if above and self._parts and self._parts.gathers(above[-1]):
            return self._new_part(relation, above[-1])
        namesake = next((table for table in self._tables.values() if (table.schema, table.name) == place), None)
        if (namesake is None or namesake.set_aside) and not (above and self._on_target(above[-1])):
            return None
        lineage = self._source.lineage(relation.oid, self._renaming)
        if namesake is not None:
            if not namesake.set_aside:
                self._require_name(namesake)
            self._replaces(namesake, lineage)
            lineage = []
        found = drifting.missing_partition(lineage, self._renaming.place, lambda one: bool(self._read_target(*one)))
        if found is not None:
            if self._read_target(*self._renaming.place(place)) is None:
                raise self._shapes.verdict(found)
            state = self._shapes.made(found)
            if state is not None:
                self.adopt(state)
                return self._look(relation.oid)
        former = namesake and not namesake.set_aside and self._source.place(namesake.oid) is None
        raise not_copied(place, namesake if former else None, part=bool(above))

    def _require_tops(self, above: Sequence[Place], part: Place | None = None) -> None:
        """Raise for partitioned tables that have other names on the source where that matters: the target lacks one of
        these, or somebody renamed it there and what is selected does not follow yet. `part`: a new one below them; one
        of tables that the task has nothing of does not matter."""
        if not above or (all(map(self._on_target, above)) and self._moves(list(above))):
            return
        ours = part is not None and self._is_ours(above[-1])
        if part and not ours and not self._moves([part, *above]):
            return
        if found := self._shapes.of_tops():
            raise found
        if part and ours and not self._on_target(above[-1]):
            raise under_other_name(part, above[-1])

    def _is_ours(self, top: tuple[str, str]) -> bool:
        """Say whether a table of the task is a partition below the one that is called so on the source now."""
        return any(self._source.ancestors(oid)[-1:] == [top] for oid in (*self._tops, *self._tables))

    def _on_target(self, place: tuple[str, str]) -> bool:
        return self._read_target(*self._renaming.place(place)) is not None

    def _replaces(self, namesake: TableState, lineage: list[Partition]) -> None:
        """Raise for a new partition that has the name of a table which is gone from the source."""
        if lineage and (namesake.set_aside or self._source.place(namesake.oid) is None):
            one, place = lineage[0], self._renaming.place
            raise self._shapes.verdict(drifting.replaced_partition(one, place(one.place), place(one.parent)))

    def _new_part(self, relation: Relation, top: Place) -> Member | None:
        """Take a new partition of a gathered table for its own. Raises SchemaChanged for one that was attached."""
        oid = self._oids.get(top)
        if self._parts is None or oid is None or (self._tables[oid].watermark or 0) >= NEVER:
            return None  # its copy, if there is one, will know the partition
        place = (relation.schema, relation.name)
        if not all(one.born for one in self._source.lineage(relation.oid, self._renaming)):
            raise parts_changed(top, place, ChangeKind.PARTITION)
        self._parts.add(top, relation.oid, place)
        self._take_parts()
        return self._look(relation.oid)

    def emptied(self, members: dict[int, Member]) -> list[TargetTable]:
        """Return the tables of the target that are to be emptied when the source has emptied these, given by oid.

        Raises SchemaChanged when only some partitions of a gathered table are: nobody knows which rows were theirs.
        """
        tops = {self._tops[oid] for oid in members if oid in self._tops}
        for top in tops:
            if self._parts is not None:
                state = self._tables[top]
                listed = [oid for oid in members if self._tops.get(oid) == top]
                if self._parts.of((state.schema, state.name)) - set(listed):
                    name = self._announced[listed[0]]
                    raise parts_changed((state.schema, state.name), (name.schema, name.name), ChangeKind.EMPTIED)
        return list({member.place: member.table for member in members.values()}.values())

    def _compare(self, table: TableState, relation: Relation, target: TargetTable) -> None:
        types, numbers = self._source.described(relation.oid, [(one.type_oid, one.typmod) for one in relation.columns])
        there = {column.name: column.type_name for column in target.columns if not column.generated}
        here = {
            column.name: there.get(column.name, type_name) if type_name == _GONE else self._renaming.shown(type_name)
            for column, type_name in zip(relation.columns, types, strict=True)
        }
        other, unsure = self._remade(relation.oid, relation, numbers)
        if other := other or (unsure if here == there else None):
            raise self._shapes.verdict(other)
        if here == there:
            self._know(table, relation.oid, here, numbers)
            return
        self._source.await_catalog(relation.oid)
        if relation.oid in self._tables:
            self._require_name(table)  # types of its schema are called otherwise with it, in rows of before as well
            self._require_tops(self._source.ancestors(relation.oid))
        self._require_schemas([(there[name], kind) for name, kind in here.items() if there.get(name, kind) != kind])
        told = ToldColumns((table.schema, table.name), relation.oid, self._source, self._read_target, self._renaming)
        found = told.drift(here, target, self._states())
        if found is not None:
            if unsure and not found.doubt:
                raise self._shapes.verdict(unsure)
            self._settle(table, drifting.left_names(found))
            fresh = table.oid in self._adopted and found.doubt  # nobody has written down yet that it is of the task
            raise self._shapes.verdict(replace(found, oid=table.oid) if fresh else found)

    def _know(self, table: TableState, oid: int, here: Iterable[str], numbers: Mapping[str, int]) -> None:
        """Remember columns that the target has got since the table was last known, before another one takes the name of
        one. Not where others change together with it: all of them are known alike, at the next look."""
        known = without_file(table.numbers)
        came = [(name, numbers[name]) for name in here if name not in known and name in numbers]
        if known and came and table.oid == oid and self._is_alone(oid):
            self._tables[oid] = replace(table, numbers=with_columns(table.numbers, came))
            self._shapes.came(oid, came)

    def _is_alone(self, oid: int) -> bool:
        return len(self._source.family(oid).members) == 1 and not self._source.ancestors(oid, plain=True)

    def _states(self) -> Iterable[TableState]:
        """Return the tables of the task with what is remembered of them: the store's may be newer than ours.

        One that is emptied next is as good as one that was never copied.
        """
        found = {one.oid: one for one in self._shapes.states()}
        for oid, ours in self._tables.items():
            stored = found.get(oid)
            if stored is None or (stored.watermark == NEVER and ours.watermark != NEVER):
                found[oid] = ours  # made just now, or being copied through this stream alone
        return [replace(one, watermark=NEVER) if oid in self._emptied else one for oid, one in found.items()]

    def _remade(
        self, oid: int, relation: Relation, numbers: dict[str, int]
    ) -> tuple[Drift, None] | tuple[None, Drift | None]:
        """Return the drift of a table that has another column than was copied by a name, and that of one that perhaps
        got another one since; `numbers`: of its catalog now.

        The catalog may be ahead of the stream; but what it does not tell yet has not come through the stream either.
        So a new column may be one that is gone from the catalog, and was there by the name of a later one.
        """
        table = self._tables.get(oid)
        if table is None or not without_file(table.numbers):  # partitions of a gathered one have their own
            return None, None
        numbers = numbers or self._source.described(oid, [])[1]
        now = {column.name: numbers.get(column.name, 0) for column in relation.columns}
        place = table.schema, table.name
        if found := drifting.remade(place, without_file(table.numbers), now):
            return found, None
        if before := passed_over(table.numbers, now, numbers):
            newer = next((one for one in self._shapes.states() if one.oid == oid), table)
            before = passed_over(newer.numbers or table.numbers, now, numbers)
        return None, drifting.remade(place, before, now)

    def _settle(self, table: TableState, names: set[str]) -> None:
        """The stream tells what became of these columns, and with them of those of the other partitions."""
        alike = without_file(table.numbers).keys()
        if not names.isdisjoint(alike):
            found = [one for one in self._tables.values() if alike == without_file(one.numbers).keys()]
            for one in found:
                self._tables[one.oid] = replace(one, numbers=[pair for pair in one.numbers if pair[0] not in names])
            self._shapes.settled([one.oid for one in found], names)
