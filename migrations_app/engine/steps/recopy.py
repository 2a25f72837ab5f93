"""Copies single tables once more while the sync goes on, because somebody asked for it."""

from __future__ import annotations

from dataclasses import replace

from ..comparing.follower import Follower, following
from ..copy_plan import work_on
from ..copying import Busy, Lane, Moved
from ..errors import ConnectionLost, SchemaChanged
from ..names import temporary_slot_name
from ..outcome import DONE, Outcome, Run
from ..plan import DatabasePlan, Side
from ..ports import NEVER, TableStatus
from ..replication.single import TableSession
from ..snapshot import Snapshot, beside_the_stream
from ..source_setup import database_oid

_TRIES = 5
_ROUNDS = 3


def run(run: Run) -> Outcome:
    """Copy the tables that are asked for, one by one; the sync of all others goes on meanwhile.

    Repeatable after a kill at any moment: the table stays out of the stream, and the request stays, until its copy is
    complete and stands at exactly the place of the main stream. Raises EngineError.
    """
    store = run.ports.store
    for database in run.databases():
        _take_up(run, database)
    with following(run) as followers:
        tables = [
            _Table(run, database, followers, schema, name)
            for database in run.databases()
            for schema, name in store.recopies(database.source_name)
        ]
        for table in tables:
            table.leave_out()  # before anything is applied: the next change of such a table may be the one that fails
        for follower in followers.values():
            follower.resume()
        for table in tables:
            table.copy()
    return DONE


def _take_up(run: Run, database: DatabasePlan) -> None:
    """Make quarantined tables tables of the task again; requests for tables that it has dropped are void."""
    store = run.ports.store
    states = {(state.schema, state.name): state for state in store.tables(database.source_name) if state.set_aside}
    for place in store.recopies(database.source_name):
        state = states.get(place)
        if state is not None and state.status is TableStatus.DROPPED:
            store.recopied(database.source_name, *place)
        elif state is not None:
            store.save_tables(replace(state, status=TableStatus.COPYING, watermark=NEVER))


class _Table:
    """One table on its second way."""

    def __init__(
        self, run: Run, database: DatabasePlan, followers: dict[str, Follower], schema: str, name: str
    ) -> None:
        self._run, self._database, self._followers = run, database, followers
        self._main = followers[database.source_name]
        found = [
            one for one in run.ports.store.tables(database.source_name) if (one.schema, one.name) == (schema, name)
        ]
        if not found:
            raise SchemaChanged(
                f"The table {schema}.{name} of {database.source_name} is not one of those that this task copies.",
                hint="Its request can only have come from an older list. Retry, and it is left out.",
            )
        self._state = found[0]

    @property
    def _label(self) -> str:
        return f"{self._state.schema}.{self._state.name}"

    def leave_out(self) -> None:
        """Take the table out of the main stream, which stands still, from its next change on."""
        self._mark(TableStatus.COPYING, NEVER)

    def copy(self) -> None:
        """Copy the table, bring it to where the main stream is, give it back to that, and take the request back."""
        event = self._run.ports.store.event
        event("info", "RECOPY-BEGUN", f"{self._label} of {self._database.source_name} is copied once more.")
        if self._state.unlogged:
            event("info", "RECOPY-LATER", f"{self._label} is unlogged: Complete copies it once more in any case.")
        self._copy_and_follow()
        self._run.ports.store.recopied(self._database.source_name, self._state.schema, self._state.name)
        rows = self._state.rows_done
        event("info", "RECOPY-DONE", f"{self._label} has been copied once more, {rows} rows, and is in sync again.")

    def _mark(self, status: TableStatus, watermark: int) -> None:
        """Change the table's place in the main stream, which stands at a commit boundary."""
        self._state = replace(self._state, status=status, watermark=watermark)
        self._run.ports.store.save_tables(self._state)
        self._main.session.mark(self._state.oid, watermark)

    def _copy_and_follow(self) -> None:
        with self._run.sessions.session(Side.SOURCE, self._database.source_name) as source:
            row = source.execute("SHOW server_encoding").fetchone()
            slot = temporary_slot_name(self._run.plan.key, database_oid(source), self._run.plan.epoch)
        encoding = str(row[0]) if row else "UTF8"
        for last in [False] * (_TRIES - 1) + [True]:
            with beside_the_stream(self._run, self._database, slot, encoding) as (snapshot, replication):
                try:
                    self._fill(snapshot)
                except (Moved, Busy) as error:
                    if last:
                        raise ConnectionLost(
                            f"{self._label} is emptied, rewritten or locked on the source again and again."
                        ) from error
                    continue
                finally:
                    snapshot.close()
                table = replace(self._state, watermark=snapshot.lsn)
                session = TableSession(
                    self._run, self._database, table, slot=slot, connection=replication, check=self._check
                )
                with session:
                    self._meet(session)
            return

    def _fill(self, snapshot: Snapshot) -> None:
        work = work_on(self._run, self._database, self._state, snapshot)
        lane = Lane(self._run, self._database, snapshot, self._check)
        try:
            lane.copy_over(work)
        finally:
            lane.close()
        self._state = replace(self._state, rows_done=work.rows_done, bytes_done=work.bytes_done)

    def _meet(self, session: TableSession) -> None:
        """Bring the table to exactly the place of the main stream, which stands still only for the last bit."""
        for _ in range(_ROUNDS):
            session.advance(until=self._main.session.position)
        self._main.pause()
        here = self._main.session.position
        session.advance(until=here)
        self._mark(TableStatus.DONE, here)
        self._main.resume()

    def _check(self) -> None:
        self._run.ports.control.check()
        for follower in self._followers.values():
            follower.check()
