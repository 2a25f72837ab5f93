"""What has to hold before a stream is taken up again: the same server, and all of its changes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ..connect import Connection
from ..errors import SourceError
from ..failover import identity_of, require_continuation, took_over
from ..ports import NEVER, DatabaseState, Store, TableState
from ..wording import NOTHING, listing, say
from .explained import require_tables
from .lag import SourceWatch


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
        marks = [mark for table in tables if (mark := table.watermark or 0) < NEVER]
        require_continuation(connection, ordinary, state, now, position, max([position, *marks]))
        store.save_database(replace(state, timeline=now.timeline))
        said = say(
            "A standby of the source took over (timeline {timeline}) and has the slot {slot}: the sync goes on, "
            "and nothing is missing.",
            timeline=now.timeline,
            slot=state.slot,
        )
        store.event("warning", "SRC-FAILEDOVER", said)
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


def require_publication(
    ordinary: Connection, state: DatabaseState, known: Sequence[TableState], watch: SourceWatch
) -> None:
    """Raise SourceError when the publication is gone, or does not carry every change of every table any more.

    Tables that the stream leaves out altogether do not count.
    """
    row = ordinary.execute(
        "SELECT pubinsert AND pubupdate AND pubdelete AND coalesce((row_to_json(p) ->> 'pubtruncate')::bool, true)"
        " FROM pg_catalog.pg_publication p WHERE pubname = %s",
        (state.publication,),
    ).fetchone()
    listed = ordinary.execute(
        "SELECT t.relid::bigint FROM pg_catalog.pg_publication p,"
        " LATERAL pg_catalog.pg_get_publication_tables(p.pubname::text) t WHERE p.pubname = %s",
        (state.publication,),
    ).fetchall()
    # By oid: a renamed table is still published, and its first change says what happened.
    tables = {
        table.oid: f"{table.schema}.{table.name}" for table in known if not table.unlogged and table.watermark != NEVER
    }
    missing = sorted(tables[oid] for oid in tables.keys() - {int(str(found[0])) for found in listed})
    if row == (True,) and missing:
        require_tables([one for one in known if one.oid in tables], watch.shapes(list(tables)))
    if row != (True,) or missing:
        what = say("is gone from the source") if row is None else say("does not publish every change any more")
        raise SourceError(
            say(
                "The publication {publication} {what}.",
                publication=state.publication,
                what=what,
            )
            + (say(" Missing: {names}.", names=listing(missing, 10)) if missing else NOTHING),
            hint=say("Somebody dropped tables or changed it, and changes may be lost. Start the migration again."),
            code="SRC-PUBLICATION",
        )
