"""What has to hold before a stream is taken up again, and while it goes on: the same server, and all of its changes."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

from ..connect import Connection
from ..errors import SourceError
from ..failover import identity_of, require_continuation, took_over
from ..outcome import Run
from ..plan import DatabasePlan, Side
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


_LOOK_SECONDS = 30.0


class StillPublished:
    """Looks about twice a minute whether the publication is what it was when the session began. One thread only.

    Somebody may change it at any time, and the stream then leaves changes out without a word.
    """

    def __init__(self, run: Run, database: DatabasePlan, watch: SourceWatch) -> None:
        """Take note of it as it is. Raises EngineError."""
        self._run, self._database, self._watch = run, database, watch
        self._name = run.ports.store.database(database.source_name).publication
        self._seen = watch.entries(self._name) if self._name else None
        self._looked_at = time.monotonic()

    def look(self, *, now: bool = False) -> None:
        """Raise SourceError when changes may be lost. Nothing happens before the time has come, unless `now`."""
        if self._seen is None or (not now and time.monotonic() - self._looked_at < _LOOK_SECONDS):
            return
        found, before = self._watch.entries(self._name), self._seen
        self._looked_at, self._seen = time.monotonic(), found
        if found == before:
            return
        store, source = self._run.ports.store, self._database.source_name
        tables = [table for table in store.tables(source) if not table.set_aside]
        there = self._watch.shapes([table.oid for table in tables])  # one that is gone is told elsewhere
        with self._run.sessions.session(Side.SOURCE, source) as session:
            known = [table for table in tables if table.oid in there]
            require_publication(session, store.database(source), known, self._watch)
        back = [oid for oid, entry in found[1].items() if before[1].get(oid, entry) != entry]
        if found[0] != before[0] or back:
            raise SourceError(
                say("The publication {publication} was changed, and changed back.", publication=self._name),
                hint=say("Somebody dropped tables or changed it, and changes may be lost. Start the migration again."),
                code="SRC-PUBLICATION",
            )
