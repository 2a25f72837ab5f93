"""Which of the tables that have other names on the source can get them on the target first.

A new name may be that of another table of the task, which goes on to a third one in its turn, and so forth. The last
of them is in nobody's way, so it is renamed first. Where the last one takes the name of the first, they exchanged
their names: one of them steps aside under a name of ours, which makes it the case before. So the target tells at any
moment what is done, and a worker that dies is followed by one that goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from ..drift import Place
from ..ports import TableState

_ASIDE = "towpath_"

PlaceOf = Callable[[int], Place | None]
"""What a table (oid) is called on the source now; None when it is gone."""


class Move(NamedTuple):
    """A table of the task and what it is called on the source now."""

    table: TableState
    now: Place

    @property
    def known(self) -> Place:
        """What the task calls it."""
        return self.table.schema, self.table.name

    @property
    def aside(self) -> Place:
        """What it is called while others of its ring get their names."""
        return self.table.schema, f"{_ASIDE}{self.table.oid}"


def line_of(
    table: TableState, now: Place, tables: Iterable[TableState] | Mapping[Place, TableState], place: PlaceOf
) -> list[Move]:
    """Return the table and those that stand in its way, each in that of the one before; none when one of them stays.

    `tables`: of the task, by their names where that is at hand. The last one's new name is no table's of the task,
    unless the line is a ring: then it is the first one's name.
    """
    owners = tables if isinstance(tables, Mapping) else {(one.schema, one.name): one for one in tables}
    line, met = [Move(table, now)], {table.oid}
    while (other := owners.get(line[-1].now)) is not None and other.oid != table.oid:
        after = place(other.oid)
        if other.oid in met or other.set_aside or after in (None, (other.schema, other.name)):
            return []  # met twice: `now` is older than what is known of the others
        met.add(other.oid)
        line.append(Move(other, after))
    return line


def is_ring(line: list[Move]) -> bool:
    """Say whether tables exchanged their names."""
    return bool(line) and line[-1].now == line[0].known


def turned(ring: list[Move]) -> list[Move]:
    """Return the ring from the table on that steps aside: the same one whichever of them was met first."""
    first = ring.index(min(ring, key=lambda move: move.table.oid))
    return ring[first:] + ring[:first]


def stepped_aside(tables: Iterable[TableState]) -> list[TableState]:
    """Return the tables that have made room for others of their rings: mostly none."""
    return [one for one in tables if one.name == f"{_ASIDE}{one.oid}"]


def under_way(move: Move, aside: Iterable[TableState], known: Mapping[Place, TableState], place: PlaceOf) -> bool:
    """Say whether a table of the same ring is among those that stepped `aside`: somebody has allowed the rest then."""
    for one in aside:
        now = place(one.oid)
        if now is not None and any(other.table.oid == move.table.oid for other in line_of(one, now, known, place)):
            return True
    return False
