"""What has to hold before a stream is taken up again, and while it goes on: the same server, and all of its changes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import NamedTuple

from ..connect import Connection
from ..drift import Place
from ..errors import SourceError
from ..failover import go_on_at, identity_of, took_over
from ..layout_parts import Parts
from ..names import qualified, quote
from ..ports import NEVER, DatabaseState, Store, TableState, TableStatus
from ..publishing import Brought, brought_by
from ..wording import NOTHING, Sentence, listing, say
from .explained import require_tables
from .lag import SourceWatch

_STATEMENTS = 5


def require_same_server(
    store: Store,
    tables: Sequence[TableState],
    connection: Connection,
    ordinary: Connection,
    state: DatabaseState,
    position: int,
) -> None:
    """Raise SourceError unless this is the server that the task began with, or a standby that continues it for us.

    A standby that took over is told, and its timeline stored.
    """
    now = identity_of(connection)
    if took_over(ordinary, now, state, position):
        told = say(
            "A standby of the source took over (timeline {timeline}) and has the slot {slot}: the sync goes on, "
            "and nothing is missing.",
            timeline=now.timeline,
            slot=state.slot,
        )
        go_on_at(store, tables, connection, ordinary, state, now, position, told)
        return
    same = now.system_id == state.system_id and (not state.timeline or now.timeline == state.timeline)
    if state.system_id and not same:
        raise SourceError(
            say(
                "This is not the server that the migration started with: system {system}, timeline {now} "
                "instead of {system_id}, timeline {timeline}. Changes may be missing after a failover.",
                system=now.system_id,
                now=now.timeline,
                system_id=state.system_id,
                timeline=state.timeline,
            ),
            hint=say("Correct the address of the source, or start the migration again."),
            code="SRC-CHANGED",
        )


Change = tuple[TableState, TableState]
"""A table's row as it was read, and as it is to be."""

_MISSED = (0,)
"""In place of a table's entries: it was told as missing, so whoever reads that knows what to do when it is back."""


class Found(NamedTuple):
    """What a look at the publication found.

    `set_aside`: tables were quarantined without being told as an error, because their absence was. `alone`: tables
    (oids) that come only with a partitioned table above them: not any more once they are detached.
    """

    set_aside: bool
    alone: list[int]


class Streamed(NamedTuple):
    """A table whose changes the stream brings by its own name, and the table of the task that they belong to."""

    place: Place
    state: TableState


def streamed_tables(parts: Parts, watch: SourceWatch, tables: Iterable[TableState]) -> dict[int, Streamed]:
    """Return the tables whose changes the stream brings by their names, by oid: of a gathered table its partitions.

    Those are the ones that it was copied from, as far as the source has them, detached ones too: what is written to
    such a one counts when it is attached again. And those that it has now, but for unlogged ones.
    """
    found = {}
    gathered: dict[Place, TableState] = {}
    for table in tables:
        place = (table.schema, table.name)
        if parts.gathers(place):
            gathered[place] = table
        else:
            found[table.oid] = Streamed(place, table)
    if gathered:
        for oid, shape in watch.shapes(list(parts.tops)).items():
            if parts.tops[oid] in gathered:
                found[oid] = Streamed(shape.place, gathered[parts.tops[oid]])
        states = {table.oid: table for table in gathered.values()}
        for oid, place, top in watch.partitions(list(states)):
            found[oid] = Streamed(place, states[top])
    return found


def require_publication(
    store: Store | None,
    watch: SourceWatch,
    state: DatabaseState,
    known: Sequence[TableState],
    parts: Parts,
    *,
    running: bool = False,
) -> Found:
    """Raise SourceError when the publication is gone, or does not carry every change of every table any more.

    Also when a table was taken out since it was copied and put back meanwhile, whoever did not look then: it is
    quarantined, and told once. `store` None: nothing is compared with what was before. Tables that the stream leaves
    out altogether do not count, nor those dropped on the source while it is `running`, which is told by itself. Then
    nobody is waited for who keeps a table locked, see `SourceWatch.brought`.
    `parts`: the partitions of gathered tables, each of which has to come all the time.
    """
    tables = streamed_tables(parts, watch, _followed(known))
    brought = watch.brought(state.publication, waits=not running)
    if brought is None:
        raise _publication_gone(state.publication)
    missing = tables.keys() - brought.tables
    if missing and running:
        missing &= watch.shapes(list(missing)).keys()
    elif missing and not brought.kept_back:
        there = watch.shapes(list(tables))
        own = [one.state for oid, one in tables.items() if oid == one.state.oid]
        require_tables(own, there, lambda: {one.place for one in watch.unknown_tables([one.oid for one in known])})
        missing &= there.keys()
    if missing or brought.kept_back:
        away = {oid: tables[oid] for oid in missing}
        if store is not None:
            _note_missing(store, state, [one.state for one in away.values()], brought)
        raise _not_whole(state.publication, brought, away)
    watch.publication = brought
    alone = [oid for oid in tables if oid not in brought.own]
    return Found(store is not None and _judge(store, state, tables, brought), alone)


def _note_missing(store: Store, state: DatabaseState, missing: Iterable[TableState], brought: Brought) -> None:
    """Remember what is told as missing: when it is back, nobody has to be told a second time that it was away."""
    _save(store, state, [(table, replace(table, published_by=_MISSED)) for table in missing])
    if brought.kept_back:
        _save_row(store, state, "")


def _judge(store: Store, state: DatabaseState, streamed: Mapping[int, Streamed], brought: Brought) -> bool:
    """Compare with what brought each table when it was copied. Raises SourceError; see `require_publication`."""
    fresh, back, told = list[Change](), list[TableState](), list[TableState]()
    for table, oids in _by_table(streamed):
        entries = brought_by(oids, brought.entries)
        if table.watermark is None or not entries:
            continue
        if not table.published_by:
            fresh.append((table, replace(table, published_by=entries)))
        elif any(set(brought.entries.get(oid, ())).isdisjoint(table.published_by) for oid in oids):
            (told if tuple(table.published_by) == _MISSED else back).append(table)
        elif not set(entries) <= set(table.published_by):
            fresh.append((table, replace(table, published_by=entries)))  # whole until now, and from now on by these
    away = [*back, *told]
    aside = [(one, replace(one, status=TableStatus.QUARANTINED, watermark=NEVER, published_by=())) for one in away]
    _save(store, state, [*fresh, *aside])
    before = store.database(state.source_name).publication_row
    if before != brought.row:
        _save_row(store, state, brought.row)
    if told:
        text = say("{words} They are quarantined until they are copied again.", words=_was_away(state, told))
        store.event("warning", "SRC-PUBLICATION", text)
    if back:
        raise _put_back(state, back)
    if before not in ("", brought.row):
        raise _altered(state.publication)
    return bool(told)


def _by_table(streamed: Mapping[int, Streamed]) -> Iterator[tuple[TableState, list[int]]]:
    """Give each table of the task with what its changes come by: itself, or its partitions."""
    states, oids = dict[int, TableState](), defaultdict[int, list[int]](list)
    for oid, one in streamed.items():
        states[one.state.oid] = one.state
        oids[one.state.oid].append(oid)
    return ((states[top], listed) for top, listed in oids.items())


def _save(store: Store, state: DatabaseState, changes: Sequence[Change]) -> None:
    """Save what became of tables, but for those that somebody has decided about since they were read."""
    if not changes:
        return
    known = {table.oid: table for table in store.tables(state.source_name)}
    saved: dict[int, TableState] = {}
    for before, after in changes:
        now = known.get(before.oid)
        if now is not None and (now.status, now.watermark) == (before.status, before.watermark):
            status, watermark, entries = after.status, after.watermark, after.published_by
            saved[now.oid] = replace(now, status=status, watermark=watermark, published_by=entries)
    store.save_tables(*saved.values())


def _save_row(store: Store, state: DatabaseState, row: str) -> None:
    store.save_database(replace(store.database(state.source_name), publication_row=row))


def _was_away(state: DatabaseState, back: Sequence[TableState]) -> Sentence:
    return say(
        "Somebody took these tables out of the publication {publication} and put them back: {names}.",
        publication=state.publication,
        names=listing(_names(back), 10),
    )


def _put_back(state: DatabaseState, back: Sequence[TableState]) -> SourceError:
    return SourceError(
        _was_away(state, back),
        hint=say(
            "What was written to them in between is lost to the sync, so they are quarantined. Press Retry: all other "
            "tables go on. Then copy these tables again, or drop them from the task; Complete waits for that."
        ),
        code="SRC-PUBLICATION",
    )


def _altered(publication: str) -> SourceError:
    return SourceError(
        say("Somebody altered the publication {publication}, and it is whole again.", publication=publication),
        hint=say(
            "If it kept back updates, deletes or others meanwhile, these are lost to the sync. Press Retry, then "
            "Compare now, and copy the tables again that differ."
        ),
        code="SRC-PUBLICATION",
    )


def _followed(known: Sequence[TableState]) -> list[TableState]:
    """Return the tables whose changes have to come: a renamed one is still published."""
    return [table for table in known if not table.unlogged and table.watermark != NEVER]


def _names(tables: Iterable[TableState]) -> list[str]:
    return sorted(f"{table.schema}.{table.name}" for table in tables)


def _publication_gone(publication: str) -> SourceError:
    return SourceError(
        say("The publication {publication} {what}.", publication=publication, what=say("is gone from the source")),
        hint=say("Somebody dropped tables or changed it, and changes may be lost. Start the migration again."),
        code="SRC-PUBLICATION",
    )


def _not_whole(publication: str, brought: Brought, missing: Mapping[int, Streamed]) -> SourceError:
    statements = []
    if brought.kept_back:
        statements.append(f"ALTER PUBLICATION {quote(publication)} SET (publish = '{', '.join(brought.kinds)}')")
    for oid, one in islice(missing.items(), _STATEMENTS):
        name = qualified(*one.place)
        if oid in brought.entries:
            statements.append(f"ALTER PUBLICATION {quote(publication)} DROP TABLE ONLY {name}")
        statements.append(f"ALTER PUBLICATION {quote(publication)} ADD TABLE ONLY {name}")
    names = sorted(".".join(one.place) for one in missing.values())
    what = say("does not publish every change any more")
    return SourceError(
        say("The publication {publication} {what}.", publication=publication, what=what)
        + (say(" Kept back: {kinds}.", kinds=", ".join(brought.kept_back)) if brought.kept_back else NOTHING)
        + (say(" Missing: {names}.", names=listing(names, 10)) if missing else NOTHING),
        hint=say(
            "Somebody changed it, and changes may be lost. Run on the source: {statements}. Then press Retry: tables "
            "that were missing are quarantined, all others go on. Copy again what the publication left out.",
            statements="; ".join(statements),
        ),
        code="SRC-PUBLICATION",
    )
