"""Finds partitioned tables that have another name on the source: no row is theirs, so the task has no state of them.

Their partitions are known by their oids, and the target says below which table each of those stands. What that table is
on the source (oid) is remembered in the ledger, with the table of the target, at the first look that finds both alike.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import LiteralString, NamedTuple

import psycopg

from ..connect import translate
from ..drift import Place
from ..errors import SchemaChanged
from ..mapping import renaming_of
from ..outcome import Run
from ..plan import DatabasePlan, Side
from ..ports import Kind, LedgerItem, TableState
from ..renaming import Renaming
from ..sql import query
from ..wording import say
from .names_followed import Known, TableRenamed, asked_or_allowed

_OID = "top"  # in the detail of the target's table: the oid of the source's
_RELATIONS = (
    "SELECT n.nspname::text, c.relname::text FROM pg_catalog.pg_class c"
    " JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
    " JOIN unnest(%s::text[], %s::text[]) w(schema, name) ON (n.nspname, c.relname) = (w.schema, w.name)"
)

_Above = dict[Place, Place]
"""On the target: what each partition is directly below."""


class _Top(NamedTuple):
    """A partitioned table of the source as it is now."""

    oid: int
    place: Place


class _Partition(NamedTuple):
    place: Place
    above: _Top


def renamed_tops(run: Run, database: DatabasePlan) -> list[TableRenamed | SchemaChanged]:
    """Return what to raise for partitioned tables of the task whose names on the source are others than on the target.

    TableRenamed, which come first, where one is to be followed, SchemaChanged where somebody has to decide, last those
    that nothing can be applied to: they hold up none of the others. Only what the task made or took over on the target
    counts. Raises EngineError.
    """
    renaming = renaming_of(run, database)
    items = run.ports.ledger.items(Side.TARGET, database.target_name, {Kind.TABLE, Kind.ADOPTED})
    ours = {(item.schema, item.name): item for item in items}
    here = _below_tops(run, database) if ours else {}
    there = _above_on_target(run, database) if here else {}
    pairs = _pairs(run.ports.store.tables(database.source_name), here, there, renaming)
    alike = {above for above, top in pairs.items() if renaming.place(top.place) == above}
    _remember(run, {above: pairs[above].oid for above in alike & ours.keys()}, ours)
    known = Known(run, database)
    found = [_done(run, database, known, above, pairs[above], ours) for above in sorted(alike)]
    found += [
        _other(run, database, known, pairs[above], ours[above]) for above in sorted(ours.keys() & pairs.keys() - alike)
    ]
    return sorted(filter(None, found), key=lambda one: (not isinstance(one, TableRenamed), _is_doubtful(one)))


def _is_doubtful(found: TableRenamed | SchemaChanged) -> bool:
    return found.drift is not None and bool(found.drift.doubt)


def _done(
    run: Run, database: DatabasePlan, known: Known, above: Place, top: _Top, ours: Mapping[Place, LedgerItem]
) -> TableRenamed | SchemaChanged | None:
    """Return what to raise where the table has its new name on the target (`above`) and the task does not know: then
    the one that we remember is not there. None when none is remembered.

    Somebody renamed it himself, or a worker died after it had renamed it.
    """
    before = [place for place, item in ours.items() if item.detail.get(_OID) == top.oid and place != above]
    gone = sorted(_without(run, Side.TARGET, database.target_name, before)) if before else []
    if not gone:
        return None
    return asked_or_allowed(known, _state(run, database, top, gone[0]), top.place, None, done=True)


def _other(
    run: Run, database: DatabasePlan, known: Known, top: _Top, item: LedgerItem
) -> TableRenamed | SchemaChanged | None:
    """Return what to raise for a table that is called otherwise on the target (`item`); None when that may be another
    table. Where nothing is remembered it is the same when no table of the source has the former name."""
    old, new = (item.schema, item.name), renaming_of(run, database).place(top.place)
    state = _state(run, database, top, old)
    free = bool(_without(run, Side.TARGET, database.target_name, [new]))
    if _OID in item.detail:
        same = item.detail[_OID] == top.oid
    else:
        same = free and bool(_without(run, Side.SOURCE, database.source_name, [(state.schema, state.name)]))
    found = asked_or_allowed(known, state, top.place, (old, new) if free else None) if same else None
    if isinstance(found, TableRenamed):  # should a worker die on the way, the next one knows the table by this
        _remember(run, {old: top.oid}, {old: item})
    return found


def _state(run: Run, database: DatabasePlan, top: _Top, place: Place) -> TableState:
    """Return the table as one that has a state would be; `place`: what it was called on the target."""
    former = {new: old for old, new in renaming_of(run, database).schemas.items()}
    schema = former.get(place[0], place[0])
    return TableState(database=database.source_name, schema=schema, name=place[1], oid=top.oid)


def _pairs(
    tables: Iterable[TableState], here: Mapping[int, _Partition], there: _Above, renaming: Renaming
) -> dict[Place, _Top]:
    """Return the partitioned tables of the target that partitions of the task are below, each with the source's.

    One whose partitions are below several on the other side, either way, is left out, and partitions that have other
    names themselves do not count: they may have moved together with it, and are followed first.
    """
    found: dict[Place, set[_Top]] = {}
    for table in tables:
        oid, place = table.oid, renaming.place((table.schema, table.name))
        if table.set_aside or oid not in here or here[oid].place != (table.schema, table.name):
            continue
        while (one := here.get(oid)) is not None and (above := there.get(place)) is not None:
            found.setdefault(above, set()).add(one.above)
            oid, place = one.above.oid, above
    sure = {above: next(iter(tops)) for above, tops in found.items() if len(tops) == 1}
    claimed = [top for tops in found.values() for top in tops]
    return {above: top for above, top in sure.items() if claimed.count(top) == 1}


def _remember(run: Run, tops: Mapping[Place, int], ours: Mapping[Place, LedgerItem]) -> None:
    """Note in the ledger which table (oid) of the source these of the target are. Durable."""
    fresh = [(ours[place], oid) for place, oid in tops.items() if ours[place].detail.get(_OID) != oid]
    run.ports.ledger.amend(*(replace(item, detail={**item.detail, _OID: oid}) for item, oid in fresh))


def _below_tops(run: Run, database: DatabasePlan) -> dict[int, _Partition]:
    rows = _read(run, Side.SOURCE, database.source_name, query("above"))
    return {
        int(str(oid)): _Partition((str(schema), str(name)), _Top(int(str(top)), (str(top_schema), str(top_name))))
        for oid, schema, name, top, top_schema, top_name in rows
    }


def _above_on_target(run: Run, database: DatabasePlan) -> _Above:
    rows = _read(run, Side.TARGET, database.target_name, query("above"))
    return {(str(schema), str(name)): (str(top_schema), str(top)) for _, schema, name, _, top_schema, top in rows}


def _without(run: Run, side: Side, name: str, places: Iterable[Place]) -> set[Place]:
    """Return which of these names no relation of a database has."""
    wanted = set(places)
    schemas, names = zip(*wanted, strict=True) if wanted else ((), ())
    rows = _read(run, side, name, _RELATIONS, list(schemas), list(names))
    return wanted - {(str(schema), str(table)) for schema, table in rows}


def _read(run: Run, side: Side, name: str, text: LiteralString, *parameters: object) -> list[tuple[object, ...]]:
    with run.sessions.session(side, name) as connection:
        try:
            return connection.execute(text, parameters or None).fetchall()
        except psycopg.Error as error:
            run.ports.control.check()
            raise translate(error, side, say("reading partitions")) from error
