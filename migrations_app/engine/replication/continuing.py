"""What has to hold before a stream is taken up again, and while it goes on: the same server, and all of its changes."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import NamedTuple

from ..connect import Connection
from ..errors import SourceError
from ..failover import go_on_at, identity_of, took_over
from ..layout_parts import Parts
from ..names import qualified, quote
from ..outcome import Run
from ..plan import DatabasePlan
from ..ports import NEVER, DatabaseState, Store, TableState
from ..publishing import Brought
from ..wording import NOTHING, listing, say
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
    if took_over(ordinary, now, state):
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


class _Seen(NamedTuple):
    """What a publication brought at the last look at it, the copy that its slot was made for, and the run's epoch."""

    copy: int | None
    epoch: int
    brought: Brought


_seen: dict[str, _Seen] = {}  # by slot: what this process saw last; slices are short


def publication_seen(state: DatabaseState, epoch: int) -> Brought | None:
    """Return what a publication brought at the last look; None when another process may have looked since."""
    last = _seen.get(state.slot)
    if last is None or last.copy != state.consistent_point or epoch - last.epoch not in (0, 1):
        return None
    return last.brought


def streamed_tables(
    run: Run, database: DatabasePlan, watch: SourceWatch, tables: Sequence[TableState]
) -> Sequence[TableState]:
    """Return the tables whose changes the stream brings by their names: of a gathered table its partitions, as far as
    the source has them."""
    parts = Parts(run, database)
    if not parts:
        return tables
    there = watch.shapes(list(parts.tops))
    tops = {(table.schema, table.name): table for table in tables}
    found = [table for table in tables if not parts.gathers((table.schema, table.name))]
    for oid, top in parts.tops.items():
        if oid in there and top in tops:
            schema, name = there[oid].place
            found.append(replace(tops[top], oid=oid, schema=schema, name=name))
    return found


def require_publication(
    watch: SourceWatch,
    state: DatabaseState,
    known: Sequence[TableState],
    epoch: int | None,
    *,
    running: bool = False,
) -> None:
    """Raise SourceError when the publication is gone, or does not carry every change of every table any more.

    Also when a table was taken out since this process looked last, in this `epoch` or the one before, and was put back
    meanwhile; that is told once. `epoch` None: neither compared nor remembered. Tables that the stream leaves out
    altogether do not count, nor those dropped on the source while it is `running`, which is told by itself.
    """
    tables = _streamed(known)
    brought = watch.brought(state.publication)
    if brought is None:
        raise _publication_gone(state.publication)
    missing = tables.keys() - brought.tables
    if missing and running:
        missing &= watch.shapes(list(missing)).keys()
    elif missing and not brought.kept_back:
        require_tables(list(tables.values()), watch.shapes(list(tables)))
    before = publication_seen(state, epoch) if epoch is not None else None
    if epoch is not None:
        _seen[state.slot] = _Seen(state.consistent_point, epoch, _to_remember(before, brought, missing))
    _require_whole(state.publication, brought, [tables[oid] for oid in missing])
    entries = before.entries if before else {}
    back = [tables[oid] for oid, entry in brought.entries.items() if oid in tables and entries.get(oid, entry) != entry]
    if back:
        raise _put_back(state.publication, back)


def _to_remember(before: Brought | None, brought: Brought, missing: Collection[int]) -> Brought:
    """Return what the next look compares with. Tables that are told as missing now are not told again when they are
    back; what was put back beside them is told then."""
    if not missing and not brought.kept_back:
        return brought
    entries = (before or brought).entries
    return replace(brought, entries={oid: entry for oid, entry in entries.items() if oid not in missing})


def _put_back(publication: str, back: Sequence[TableState]) -> SourceError:
    return SourceError(
        say(
            "Somebody took these tables out of the publication {publication} and put them back: {names}.",
            publication=publication,
            names=listing(_names(back), 10),
        ),
        hint=say(
            "What was written to them in between is lost to the sync. Press Retry, then copy these tables again; "
            "or start the migration again."
        ),
        code="SRC-PUBLICATION",
    )


def _streamed(known: Sequence[TableState]) -> dict[int, TableState]:
    """Return the tables whose changes have to come, by oid: a renamed one is still published."""
    return {table.oid: table for table in known if not table.unlogged and table.watermark != NEVER}


def _names(tables: Sequence[TableState]) -> list[str]:
    return sorted(f"{table.schema}.{table.name}" for table in tables)


def _publication_gone(publication: str) -> SourceError:
    return SourceError(
        say("The publication {publication} {what}.", publication=publication, what=say("is gone from the source")),
        hint=say("Somebody dropped tables or changed it, and changes may be lost. Start the migration again."),
        code="SRC-PUBLICATION",
    )


def _require_whole(publication: str, brought: Brought, missing: Sequence[TableState]) -> None:
    if not brought.kept_back and not missing:
        return
    statements = []
    if brought.kept_back:
        statements.append(f"ALTER PUBLICATION {quote(publication)} SET (publish = '{', '.join(brought.kinds)}')")
    for table in missing[:_STATEMENTS]:
        name = qualified(table.schema, table.name)
        if table.oid in brought.entries:
            statements.append(f"ALTER PUBLICATION {quote(publication)} DROP TABLE ONLY {name}")
        statements.append(f"ALTER PUBLICATION {quote(publication)} ADD TABLE ONLY {name}")
    what = say("does not publish every change any more")
    raise SourceError(
        say("The publication {publication} {what}.", publication=publication, what=what)
        + (say(" Kept back: {kinds}.", kinds=", ".join(brought.kept_back)) if brought.kept_back else NOTHING)
        + (say(" Missing: {names}.", names=listing(_names(missing), 10)) if missing else NOTHING),
        hint=say(
            "Somebody changed it, and changes may be lost. Run on the source: {statements}. Then press Retry, and copy "
            "the tables again that it left out; or start the migration again.",
            statements="; ".join(statements),
        ),
        code="SRC-PUBLICATION",
    )
