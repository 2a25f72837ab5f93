"""Tells what rows of before hold in a column that a table has got: NULL, one constant, or what nobody knows.

The stream tells nothing of them. Since 11 the source's catalog remembers the constant until the table is written anew;
before 11, and for what is computed for each row, the table is written anew at once. A default that was taken away again
leaves no other trace. So rows of before hold NULL only where the table still has the file that it had when it was last
known, and that was before it got the column.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import dropwhile
from typing import NamedTuple, cast

from .connect import Connection
from .drift import Column, Place
from .ports import NEVER, TableState
from .rows_file import RowsFile, file_of_parts, rows_file
from .sql import query
from .values import frozen

_Old = tuple[str | None, ...]  # what rows of before hold, as text or NULL; none when nobody knows
_NOBODY_KNOWS: _Old = ()


class Attribute(NamedTuple):
    """A column as the catalog has it. `filled`: as text, what it remembers for rows of before; None when nothing."""

    number: int
    generated: bool
    filled: str | None


@frozen
class Member:
    """A table whose columns change together with those of others. `kind`: r table, p partitioned table.

    `rows`: as they are now. `columns`: all that it has, in their order.
    """

    oid: int
    place: Place
    kind: str
    rows: RowsFile
    columns: Mapping[str, Attribute]


@frozen
class Family:
    """The tables whose columns a statement for one of them changes too: `top` (oid) and all that is below it."""

    top: int
    members: Sequence[Member]


class _Holder(NamedTuple):
    """A table with rows on the target. `before`: what is remembered, of the table `counted`.

    `present`: columns that it has there by itself, which no statement for another table gives it.
    """

    member: Member
    before: RowsFile | None
    counted: Member
    unwritten: bool
    present: Collection[str] = ()

    def old(self, name: str) -> _Old:
        """Return what rows of before hold in a column."""
        found, counted = self.member.columns.get(name), self.counted.columns.get(name)
        if found is None or counted is None or (self.before and counted.number <= self.before.width):
            return _NOBODY_KNOWS
        return (found.filled,) if found.filled is not None or self.unwritten else _NOBODY_KNOWS


def read_family(connection: Connection, oid: int) -> Family:
    """Return a table with those below it, or below the topmost partitioned table above it. Raises psycopg.Error."""
    rows = connection.execute(query("family", connection.info.server_version), {"oid": oid}).fetchall()
    members, top = [], oid
    for found, schema, name, kind, above, file, width, *columns in rows:
        names, numbers, generated, filled = cast("tuple[list[str], list[int], list[bool], list[str | None]]", columns)
        attributes = map(Attribute._make, zip(numbers, generated, filled, strict=True))
        top = int(str(above))
        members.append(
            Member(
                oid=int(str(found)),
                place=(str(schema), str(name)),
                kind=str(kind),
                rows=RowsFile(file=int(str(file)), width=int(str(width))),
                columns=dict(zip(names, attributes, strict=True)),
            )
        )
    return Family(top=top, members=members)


def read_rows_files(connection: Connection, oids: Collection[int]) -> dict[int, RowsFile]:
    """Return where the rows of tables are now, by oid; of partitioned ones those of their partitions.

    What has no rows is left out. Read them before the columns that they are remembered with, never after: a table that
    is written anew in between is then one that nothing is known of. Raises psycopg.Error.
    """
    rows = connection.execute(query("rows_files"), {"oids": list(oids)}).fetchall()
    parts: dict[tuple[int, int, bool, int], list[tuple[int, int]]] = {}
    for oid, width, gathered, computed, part, file in rows:
        key = int(str(oid)), int(str(width)), bool(gathered), int(str(computed))
        parts.setdefault(key, []).append((int(str(part)), int(str(file))))
    return {
        oid: RowsFile(file=file_of_parts(files) if gathered else files[0][1], width=width, computed=computed)
        for (oid, width, gathered, computed), files in parts.items()
    }


def with_old_values(
    columns: Sequence[Column],
    lacking: Collection[str],
    oid: int,
    family: Family,
    states: Iterable[TableState],
    there: Callable[[Place], Collection[str] | None],
) -> list[Column]:
    """Return columns of a table (oid) in their order, those that the target lacks with what rows of before hold.

    `columns` are in the order of the table. `states`: what the task remembers of its tables. `there` returns the
    columns that the target has of a table of the source, given by its name there, None when it has no such table.
    """
    everything = list(states)
    aside = {one.oid for one in everything if one.set_aside or one.watermark == NEVER}  # or will be copied anyway
    known = {one.oid: one for one in everything if one.oid not in aside}
    holders = list(_holders(family, oid, known, lambda one: None if one.oid in aside else there(one.place)))
    there_too = {one.name for one in columns}.difference(lacking)
    sure = _told_by_catalog([one.name for one in columns if one.name in lacking], there_too, oid, holders)
    found = []
    for column in columns:
        if column.name in lacking:
            column = _with_old_value(column, holders, sure=column.name in sure)
        found.append(column)
    return found


def _with_old_value(column: Column, holders: Sequence[_Holder], *, sure: bool) -> Column:
    found = {one.old(column.name) for one in holders if column.name not in one.present}
    if not found:
        return column  # there are no rows of before
    only = found.pop() if sure and len(found) == 1 else _NOBODY_KNOWS
    return replace(column, filled=only[0] if only else None, rewritten=not only)


def _holders(
    family: Family, oid: int, known: Mapping[int, TableState], there: Callable[[Member], Collection[str] | None]
) -> Iterator[_Holder]:
    """Yield the tables that have rows on the target; `there`: what columns a table has there, None for no table."""
    leaves = [one for one in family.members if one.kind == "r"]
    top = next((one for one in family.members if one.oid == family.top), None)
    parted = top is not None and top.kind == "p"
    if top is not None and parted and top.oid in known:  # gathered: one table of the task
        before = rows_file(known[top.oid].numbers)
        file = file_of_parts((one.oid, one.rows.file) for one in leaves)
        for one in leaves:
            yield _Holder(one, before, top, before.file == file if before else _never_written(one))
        return
    for one in leaves:
        # Partitions have the columns of their table. What inherits otherwise may have had them before, or alone.
        asked = one.oid not in known or not (parted or one.oid == oid)
        present = there(one) if asked else ()
        if present is not None:
            before = rows_file(known[one.oid].numbers) if one.oid in known else None
            unwritten = before.file == one.rows.file if before else _never_written(one)
            yield _Holder(one, before, one, unwritten, () if parted else present)


def _never_written(member: Member) -> bool:
    """Say whether a table never was emptied or written anew: its first file has its own number."""
    return member.rows.file == member.oid


def _told_by_catalog(names: Sequence[str], present: set[str], oid: int, holders: Sequence[_Holder]) -> set[str]:
    """Return which of these columns, in the order in which the stream tells them, certainly are those of the catalog.

    The catalog may be ahead. A column that came and went before, or one that gave its name away, may be what is meant:
    so none may be gone since the table was last known, and they have to be the first that it has got behind those that
    are `present` on the target.
    """
    found = next((one for one in holders if oid in (one.member.oid, one.counted.oid)), None)
    if found is None or found.before is None:
        return set(names)
    width, columns = found.before.width, found.counted.columns
    numbers = {one.number for one in columns.values()}
    came = [name for name in names if name in columns and columns[name].number > width]
    later = [name for name, one in columns.items() if one.number > width and not one.generated]
    others = list(dropwhile(present.__contains__, later))
    if came != others[: len(came)] or any(name in present for name in others):
        return set()
    return {name for name in came if numbers.issuperset(range(width + 1, columns[name].number))}
