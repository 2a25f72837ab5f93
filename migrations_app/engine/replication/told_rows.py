"""Tables of the source whose rows the stream tells no more, or tells by another key than the target has."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping
from typing import NamedTuple

from ..drift import Place
from ..names import qualified, quote
from ..ports import TableState
from ..shapes import Shape
from ..wording import Sentence, say


class ToldRows(NamedTuple):
    """A table that became unlogged on the source, or has another primary key there than on the target.

    `key`, `target_key`: the columns of both; none for an unlogged one.
    """

    place: Place
    statement: str
    key: tuple[str, ...] = ()
    target_key: tuple[str, ...] = ()

    @property
    def facts(self) -> tuple[str, ...]:
        """What tells one from another."""
        return ("rows", *self.place, self.statement)

    @property
    def level(self) -> str:
        """How it is told: rows that are lost to the target are an error."""
        return "warning" if self.key else "error"

    def said(self, database: str) -> Sentence:
        """Say what happened and what to do."""
        where = {"schema": self.place[0], "name": self.place[1], "database": database, "statement": self.statement}
        if not self.key:
            return say(
                "Table {schema}.{name} of {database} was made unlogged on the source, which tells no change of its "
                "rows any more: they do not arrive on the target. Run on the source: {statement}. Then press Copy "
                "again beside the table.",
                **where,
            )
        if set(self.key) < set(self.target_key):
            return say(
                "The primary key of table {schema}.{name} of {database} is {source} on the source and {target} on the "
                "target, which takes rows that the source would refuse. Once the sync has caught up, run on the "
                "target: {statement}.",
                source=_shown(self.key),
                target=_shown(self.target_key),
                **where,
            )
        return say(
            "The primary key of table {schema}.{name} of {database} is {source} on the source and {target} on the "
            "target, which refuses rows that the source takes. Once the sync has caught up, run on the target: "
            "{statement}.",
            source=_shown(self.key),
            target=_shown(self.target_key),
            **where,
        )


def told_rows(
    tables: Iterable[TableState],
    here: Mapping[int, Shape],
    there: Mapping[Place, Shape],
    place_of: Callable[[Place], Place],
    above: Callable[[int], list[Place]],
    kept: Container[Place],
) -> list[ToldRows]:
    """Return what has to be told of these tables, once for all partitions of a table that have another key.

    `here`, `there`: tables of the source by oid, of the target by name. `place_of`: the name of one of the source on
    the target. `above`: the partitioned tables above one, topmost last. `kept`: tables of the target that may differ.
    """
    found: dict[Place, ToldRows] = {}
    for table in tables:
        place, shape = (table.schema, table.name), here.get(table.oid)
        if shape is None or shape.place != place:
            continue
        if shape.unlogged and not table.unlogged:
            found[place] = ToldRows(place, f"ALTER TABLE {qualified(*place)} SET LOGGED")
        target = there.get(place_of(place))
        if target and target.place not in kept and _other_key(shape, target):
            top = (above(table.oid) or [place])[-1]
            on_target = there.get(place_of(top), target)
            if on_target.key_name:
                found.setdefault(top, ToldRows(top, _statement(on_target, shape), shape.key, target.key))
    return list(found.values())


def _other_key(shape: Shape, target: Shape) -> bool:
    """Say whether both have a primary key, of other columns which the other side has as well.

    Changed columns are told as such, and a table without a key when nothing else tells its rows apart.
    """
    if not (shape.key and target.key) or set(shape.key) == set(target.key):
        return False
    names = {column.name for column in shape.columns} & {column.name for column in target.columns}
    return names.issuperset(shape.key) and names.issuperset(target.key)


def _statement(target: Shape, shape: Shape) -> str:
    key = ", ".join(map(quote, shape.key))
    return f"ALTER TABLE {qualified(*target.place)} DROP CONSTRAINT {quote(target.key_name)}, ADD PRIMARY KEY ({key})"


def _shown(key: tuple[str, ...]) -> str:
    return f"({', '.join(key)})"
