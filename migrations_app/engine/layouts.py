"""Tables that stand on the target already and are partitioned there otherwise than on the source, or on one side only.

Their rows go by the name of the whole table: those of all partitions of the source are rows of that one table, and the
target puts each where it belongs. A table that is partitioned on the source and *gathered* so is one table of the task;
its partitions are none.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import field, replace
from enum import StrEnum
from typing import Any

import psycopg

from .catalog import Listed, Table, moving_tables, read_tables, selected_tables
from .connect import Connection, translate
from .errors import ConflictError
from .mapping import renaming_of
from .outcome import Run
from .plan import DatabasePlan, Side
from .ports import Kind, LedgerItem
from .renaming import Renaming
from .sql import query
from .values import frozen
from .wording import Sentence, listing, say

Place = tuple[str, str]
"""(schema, name)."""

PARTITIONS_SINCE = 100000
FOLLOWED_SINCE = 130000
"""Before this version a new partition is not published by itself, and nobody would tell us of its rows."""
_USED_AS_THEY_ARE = frozenset({"keep", "truncate"})
LAYOUT = "layout"
"""In the detail of an adopted table: what it is called on the source, and how it differs."""


class Layout(StrEnum):
    """How a table differs from its counterpart on the target."""

    GATHERED = "gathered"  # partitioned on the source, and on the target not at all or otherwise
    SPREAD = "spread"  # partitioned on the target only


@frozen
class Branch:
    """A table as partitioning sees it. `key`: by what it is partitioned; `parent`: what it is a partition of."""

    kind: str  # r table, p partitioned table, f foreign table
    key: str = ""
    parent: Place | None = None
    bounds: str = ""


@frozen
class Other:
    """A table of the source whose counterpart has another layout."""

    table: Table
    below: tuple[Table, ...]
    """Its partitions at any depth."""
    target: Place
    layout: Layout
    target_partitioned: bool
    foreign: bool = False
    """One of its partitions is a foreign table."""
    shared: tuple[str, ...] = ()
    """Partitions of the target's table that have the names of other tables of the source."""

    @property
    def words(self) -> Sentence:
        """What becomes of its rows."""
        label = f"{self.table.schema}.{self.table.name}"
        if self.layout is Layout.SPREAD:
            return say("{table} (the target puts each row into the partition that it belongs to)", table=label)
        if self.target_partitioned:
            return say("{table} (the rows of all its partitions go into the other partitions there)", table=label)
        return say("{table} (the rows of all its partitions go into one table)", table=label)


@frozen
class Layouts:
    """The tables of a database that have another layout on the target. Falsy when there are none."""

    gathered: frozenset[Place] = frozenset()
    """Names on the source of tables that are partitioned there."""
    kept: Mapping[Place, Place] = field(default_factory=dict)
    """All of them: the name on the source by that on the target."""

    def __bool__(self) -> bool:
        return bool(self.kept)


NONE = Layouts()


def read_branches(connection: Connection, renaming: Renaming | None = None) -> dict[Place, Branch]:
    """Return the user tables of the connected database; with `renaming` bounds and keys as the target calls what is in
    them. Raises psycopg's errors."""
    shown = renaming.shown if renaming else str
    return {
        (str(schema), str(name)): Branch(
            kind=str(kind),
            key=shown(str(key)),
            parent=(str(above), str(parent)) if parent is not None else None,
            bounds=shown(str(bounds)),
        )
        for schema, name, kind, key, above, parent, bounds in connection.execute(query("layouts")).fetchall()
    }


def differing(
    tables: Iterable[Table], source: Mapping[Place, Branch], target: Mapping[Place, Branch], renaming: Renaming
) -> list[Other]:
    """Return the tables of the source that are partitioned otherwise on the target, where they stand. Pure.

    `source` may be empty when nothing is partitioned there.
    """
    known = list(tables)
    places = {(table.schema, table.name): renaming.place((table.schema, table.name)) for table in known}
    under = _below(known)
    found = []
    for table in known:
        place = places[table.schema, table.name]
        there = target.get(place)
        if table.is_partition or there is None or there.kind not in ("r", "p"):
            continue
        below = tuple(under(table))
        partitioned = there.kind == "p"
        if table.kind == "r" and partitioned:
            layout = Layout.SPREAD
        elif table.kind == "p" and not (partitioned and _same(table, below, source, target, renaming)):
            layout = Layout.GATHERED
        else:
            continue
        inside = descendants(source, {(table.schema, table.name)}) if layout is Layout.GATHERED else ()
        own = {(one.schema, one.name) for one in (table, *below)}
        others = {to for of, to in places.items() if of not in own} & descendants(target, {place})
        found.append(
            Other(
                table=table,
                below=below,
                target=place,
                layout=layout,
                target_partitioned=partitioned,
                foreign=any(source[one].kind == "f" for one in inside),
                shared=tuple(sorted(".".join(one) for one in others)),
            )
        )
    return found


def _below(tables: Sequence[Listed]) -> Callable[[Listed], list[Listed]]:
    """Return what tells the tables below one, from above."""
    children: dict[int, list[Listed]] = defaultdict(list)
    for table in tables:
        if table.is_partition and table.parent_oid is not None:
            children[table.parent_oid].append(table)

    def under(table: Listed) -> list[Listed]:
        found: list[Listed] = []
        waiting = [table]
        while waiting:
            below = children.get(waiting.pop().oid, ())
            found += below
            waiting += below
        return found

    return under


def _same(
    table: Table,
    below: Collection[Table],
    source: Mapping[Place, Branch],
    target: Mapping[Place, Branch],
    renaming: Renaming,
) -> bool:
    """Say whether rows can go partition by partition: each one stands there, or can be made beside those that do."""
    top = (table.schema, table.name)
    if source[top].key != target[renaming.place(top)].key:
        return False
    wanted = {renaming.place((one.schema, one.name)): source[one.schema, one.name] for one in below}
    alike = {place for place, one in wanted.items() if _alike(one, target.get(place), renaming)}
    if len(alike) == len(wanted):
        return True
    there = descendants(target, {renaming.place(top)})
    return there <= alike and not any(place in target for place in wanted.keys() - alike)


def _alike(one: Branch, other: Branch | None, renaming: Renaming) -> bool:
    parent = renaming.place(one.parent) if one.parent else None
    return other is not None and (one.kind, one.key, parent, one.bounds) == (
        other.kind,
        other.key,
        other.parent,
        other.bounds,
    )


def descendants(branches: Mapping[Place, Branch], tops: Collection[Place]) -> set[Place]:
    """Return what is partition of one of these tables, at any depth."""
    children: dict[Place | None, list[Place]] = defaultdict(list)
    for place, one in branches.items():
        children[one.parent].append(place)
    found: set[Place] = set()
    waiting = list(tops)
    while waiting:
        below = children.get(waiting.pop(), ())
        found.update(below)
        waiting += below
    return found


def refusal(
    other: Other, moving: Collection[int], target: Mapping[Place, Branch], since: int | None
) -> Sentence | None:
    """Say why the rows of such a table cannot go by its name; None when they can.

    `moving`: oids of the tables whose rows move. `since`: the source's version when its changes are to be followed.
    """
    label = f"{other.table.schema}.{other.table.name}"
    if target[other.target].parent is not None:
        above = ".".join(target[other.target].parent or ())
        return say("{table}: on the target it is itself a partition, of {other}", table=label, other=above)
    if other.shared:  # to empty the one would be to empty the other
        names = listing(other.shared, 3)
        return say(
            "{table}: its partitions on the target are tables of their own on the source: {names}",
            table=label,
            names=names,
        )
    if other.layout is Layout.SPREAD:
        return None
    parts = [one for one in other.below if one.kind == "r"]
    if other.foreign:
        return say("{table}: one of its partitions is a foreign table", table=label)
    if {one.oid in moving for one in (other.table, *other.below)} == {True, False}:
        return say("{table}: the rows of some of its partitions are not to move", table=label)
    if len({one.persistence for one in parts}) > 1:
        return say("{table}: only some of its partitions are logged", table=label)
    if since is None or other.table.oid not in moving:
        return None
    if since < FOLLOWED_SINCE:
        return say("{table}: its changes can be followed so from version 13 of the source on", table=label)
    if not other.table.primary_key:
        return say("{table}: without a primary key its changes cannot be followed so", table=label)
    return None


WAYS_OUT = say(
    "Drop the target's table or give it the partitions that the source's has, leave it out, or copy the rows once "
    "without sync."
)


def layouts_of(run: Run, database: DatabasePlan) -> Layouts:
    """Return the tables that have another layout on the target, as they were when the task began.

    Asks both servers once, and nobody when nothing that stands there is used. Raises ConflictError, before anything is
    changed, for a layout that rows cannot go into; EngineError of the side that failed.
    """
    if run.plan.selection.existing not in _USED_AS_THEY_ARE:
        return NONE
    known = run.layouts.get(database.source_name)
    if known is None:
        done = run.ports.store.database(database.source_name).schema_done
        known = run.layouts[database.source_name] = _stored(run, database) if done else _read(run, database)
    found: Layouts = known
    return found


def _stored(run: Run, database: DatabasePlan) -> Layouts:
    gathered, kept = set(), {}
    for item in noted(run, database):
        schema, name = item.detail[LAYOUT]["of"]
        kept[item.schema, item.name] = (schema, name)
        if item.detail[LAYOUT]["how"] == Layout.GATHERED:
            gathered.add((schema, name))
    return Layouts(gathered=frozenset(gathered), kept=kept) if kept else NONE


def noted(run: Run, database: DatabasePlan) -> list[LedgerItem]:
    """Return what the ledger has of tables with another layout."""
    items = run.ports.ledger.items(Side.TARGET, database.target_name, {Kind.ADOPTED})
    return [item for item in items if LAYOUT in item.detail]


def _read(run: Run, database: DatabasePlan) -> Layouts:
    renaming, name = renaming_of(run, database), database.source_name
    side = Side.TARGET
    try:
        with run.sessions.session(side, database.target_name) as connection:
            there = read_branches(connection)
        side = Side.SOURCE
        with run.sessions.session(side, name) as connection:
            version = connection.info.server_version
            here = read_branches(connection, renaming) if version >= PARTITIONS_SINCE else {}
            if not any(one.kind == "p" for one in (*here.values(), *there.values())):
                return NONE  # there may be very many tables
            everything = read_tables(connection, sizes=False)
            tables = selected_tables(everything, run.plan.selection, name)
    except psycopg.Error as error:
        run.ports.control.check()
        raise translate(error, side, say("reading how tables are partitioned")) from error
    others = differing(tables, here, there, renaming)
    moving = {table.oid for table in moving_tables(everything, run.plan.selection, name)}
    since = version if run.plan.incremental else None
    if refusals := [why for one in others if (why := refusal(one, moving, there, since))]:
        raise ConflictError(
            say("The target has other partitions, into which rows cannot go: {names}.", names=listing(refusals, 5)),
            hint=WAYS_OUT,
            code="DST-EXISTS",
        )
    return Layouts(
        gathered=frozenset((o.table.schema, o.table.name) for o in others if o.layout is Layout.GATHERED),
        kept={one.target: (one.table.schema, one.table.name) for one in others},
    )


def detail_of(layouts: Layouts, place: Place) -> dict[str, object]:
    """Return what the ledger has to remember of a table of the target that is used as it is."""
    of = layouts.kept.get(place)
    if of is None:
        return {}
    how = Layout.GATHERED if of in layouts.gathered else Layout.SPREAD
    return {LAYOUT: {"of": list(of), "how": how.value}}


def arranged(tables: Sequence[Listed], layouts: Layouts) -> list[Listed]:
    """Return the tables as the task sees them: a gathered one stands for its partitions too. Idempotent. Pure."""
    if not layouts.gathered:
        return list(tables)
    under = _below(tables)
    whole = {
        table.oid: under(table)
        for table in tables
        if (table.schema, table.name) in layouts.gathered and table.kind == "p" and not table.gathered
    }
    gone = {one.oid for below in whole.values() for one in below}
    return [
        _gathered(table, whole[table.oid]) if table.oid in whole else table for table in tables if table.oid not in gone
    ]


def _gathered(table: Listed, below: list[Listed]) -> Listed:
    found: dict[str, Any] = {"gathered": True, "below": tuple(below)}
    if isinstance(table, Table):
        found |= _together(table, [one for one in below if isinstance(one, Table) and one.kind == "r"])
    return replace(table, **found)


def _together(table: Table, parts: list[Table]) -> dict[str, Any]:
    return {
        "bytes": sum(one.bytes for one in parts),
        "outside_bytes": sum(one.outside_bytes for one in parts),
        "rows_estimate": sum(one.rows_estimate for one in parts),
        "can_read": all(one.can_read for one in (table, *parts)),
        "persistence": parts[0].persistence if parts else table.persistence,
    }


def expanded(tables: Iterable[Table]) -> list[Table]:
    """Return the tables as the source has them: the reverse of `arranged`, as far as publishing them needs it."""
    found = []
    for table in tables:
        found.append(replace(table, gathered=False, below=()) if table.gathered else table)
        found += table.below
    return found
