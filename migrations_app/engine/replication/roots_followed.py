"""Partitioned tables that have another name on the source: no row tells it, and the task knows only their partitions.

Those know: what stands above one on the target is what stands above it on the source, by another name. Where
that is so of all of them, the table is followed as one of the task's is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

import psycopg

from ..connect import translate
from ..drift import Change, ChangeKind, Doubt, Drift, Place
from ..errors import SchemaChanged
from ..exchanging import renaming_statements
from ..mapping import renaming_of
from ..occupied import adopted
from ..outcome import Run
from ..plan import DatabasePlan, Side
from ..ports import NEVER, TableState
from ..sql import query
from ..wording import say
from .explained import renamed
from .moves import Move
from .names_followed import Known, TableRenamed, is_known_by_name, making_schema

_TAKEN = (
    "SELECT EXISTS (SELECT FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
    " WHERE n.nspname = %s AND c.relname = %s)"
)

_Chains = dict[tuple[int, Place], list[tuple[int, Place]]]
"""Above each partition (oid, name) what it is a partition of, from below."""


def renamed_roots(run: Run, database: DatabasePlan, tables: Iterable[TableState]) -> list[Move]:
    """Return the partitioned tables above tables of the task whose names on the source are others than on the target.

    Each stands for itself: a table of the task that it is not, by the name that it had. Only those are told of which
    nothing says that their partitions were attached to another table. Raises EngineError.
    """
    here = {oid: above for (oid, _), above in _chains(run, Side.SOURCE, database.source_name).items()}
    if not here:
        return []
    there = {place: above for (_, place), above in _chains(run, Side.TARGET, database.target_name).items()}
    place, kept = renaming_of(run, database).place, adopted(run, database)
    known = [(here.get(one.oid, []), place((one.schema, one.name))) for one in tables if not one.set_aside]
    pairs = {
        (ours[1], theirs[1], ours[0])
        for above, on_target in known
        if on_target not in kept  # what was there before may stand below another table
        for ours, theirs in _levels(above, there.get(on_target, []))
    }
    schemas = {new: old for old, new in renaming_of(run, database).schemas.items()}
    names = {now for above in here.values() for _, now in above}
    seen = Counter(one for now, target, _ in pairs for one in (("source", now), ("target", target)))
    found = []
    for now, target, oid in sorted(pairs):
        old = (schemas.get(target[0], target[0]), target[1])
        alone = seen["source", now] == seen["target", target] == 1
        if place(now) != target and alone and old not in names:
            found.append(Move(TableState(database=database.source_name, schema=old[0], name=old[1], oid=oid), now))
    return found


def _levels(
    ours: list[tuple[int, Place]], theirs: list[tuple[int, Place]]
) -> Iterator[tuple[tuple[int, Place], tuple[int, Place]]]:
    """Pair what stands above a partition on both sides; nothing where one has more levels than the other."""
    return zip(ours, theirs, strict=True) if len(ours) == len(theirs) else iter(())


def _chains(run: Run, side: Side, name: str) -> _Chains:
    found: _Chains = {}
    with run.sessions.session(side, name) as connection:
        try:
            rows = connection.execute(query("partition_chains")).fetchall()
        except psycopg.Error as error:
            run.ports.control.check()
            raise translate(error, side, say("reading partitions")) from error
    for oid, schema, leaf, above, above_schema, above_name in rows:
        chain = found.setdefault((int(str(oid)), (str(schema), str(leaf))), [])
        chain.append((int(str(above)), (str(above_schema), str(above_name))))
    return found


def root_verdict(run: Run, database: DatabasePlan, move: Move, known: Known) -> TableRenamed | SchemaChanged | None:
    """Return what to raise for a partitioned table that has another name on the source; None where its schema has moved
    as a whole, which is told of its partitions."""
    if move.now[0] != move.known[0] and known.schema_move(move.known[0], move.now[0]):
        return None
    place = renaming_of(run, database).place
    old, new = place(move.known), place(move.now)
    offered = is_known_by_name(run, database, move) and not _is_taken(run, database, new)
    names = [".".join(one) for one in (move.known, move.now)]
    drift = Drift(
        schema=move.known[0],
        name=move.known[1],
        changes=(Change(kind=ChangeKind.ROOT_RENAMED, name=names[0], old=names[0], new=names[1]),),
        statements=renaming_statements(old, new) if offered else (),
        doubt=Doubt.NONE if offered else Doubt.OTHER_NAME,
        database=database.source_name,
        lsn=NEVER,
    )
    drift = making_schema(drift, new[0], known)
    return TableRenamed(move.table, move.now, drift) if known.allows(drift) else renamed(drift)


def _is_taken(run: Run, database: DatabasePlan, place: Place) -> bool:
    with run.sessions.session(Side.TARGET, database.target_name) as connection:
        try:
            row = connection.execute(_TAKEN, place).fetchone()
        except psycopg.Error as error:
            run.ports.control.check()
            raise translate(error, Side.TARGET, say("reading partitions")) from error
    return row == (True,)
