"""Copies single tables once more while the sync goes on, because somebody asked for it."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import psycopg

from ..aligning import align
from ..comparing.follower import Follower, following
from ..copy_plan import tell_locked, work_on
from ..copying import Lane
from ..encodings import stream_encoding
from ..errors import ConnectionLost, SchemaChanged
from ..lookout import Lookout
from ..names import temporary_slot_name
from ..outcome import DONE, Outcome, Run
from ..plan import DatabasePlan, Side
from ..ports import NEVER, TableStatus
from ..publishing import brought_by, brought_now
from ..replication.names_followed import following_names, require_name
from ..replication.single import TableSession
from ..rows_file import numbers_of_copy
from ..snapshot import Snapshot, beside_the_stream
from ..source_setup import database_oid
from ..table_work import Busy, GaveWay, Moved, TableWork
from ..unmoved import GONE, LOCK_NOT_AVAILABLE, TableName
from ..wording import Sentence, count, say

_TRIES = 25
_UNLOCKED = 3
_PAUSE_SECONDS = 0.1
_LONGEST_PAUSE_SECONDS = 2.0
_ROUNDS = 3
_SHOW_SECONDS = 1.0
_LOOK_SECONDS = 0.2


def run(run: Run) -> Outcome:
    """Copy the tables that are asked for, one by one; the sync of all others goes on meanwhile.

    Repeatable after a kill at any moment: the table stays out of the stream, and the request stays, until its copy is
    complete and stands at exactly the place of the main stream. Raises EngineError.
    """
    store = run.ports.store
    for database in run.databases():
        _take_up(run, database)
    if not any(store.recopies(database.source_name) for database in run.databases()):
        return DONE
    store.step_progress(0, 1, say("looking at what is to be copied again"))
    shown = Shown(run)
    with following_names(run), following(run) as followers:
        tables = [
            OneTable(run, database, followers, shown, schema, name)
            for database in run.databases()
            for schema, name in store.recopies(database.source_name)
        ]
        for table in tables:
            table.leave_out()  # before anything is applied: the next change of such a table may be the one that fails
        for follower in followers.values():
            follower.resume()
        shown.total = sum(table.bytes for table in tables)
        for table in tables:
            table.copy()
            shown.before += table.bytes
    return DONE


@dataclass
class Shown:
    """What the step shows of all tables that were asked for, in bytes."""

    run: Run
    total: int = 0
    before: int = 0
    _at: float = 0.0

    def due(self) -> bool:
        """Say, about once a second, that it is time to show how far a table is."""
        now = time.monotonic()
        if now - self._at < _SHOW_SECONDS:
            return False
        self._at = now
        return True

    def show(self, done: float, note: str) -> None:
        """Show the step with `done` bytes of the table that is copied now."""
        total = max(self.total, 1)
        self.run.ports.store.step_progress(min(self.before + done, total), total, note)


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


def let_catch_up(run: Run, main: Follower, check: Callable[[], None]) -> None:
    """Wait until a main stream that goes on has come to where the source is now. Raises what `check` raises."""
    watch = main.session.watch
    watch.look()
    goal = watch.insert_lsn
    while main.session.position < goal:
        check()
        run.ports.control.sleep(_LOOK_SECONDS)


class OneTable:
    """One table on its way beside the main stream, which takes it up where both meet."""

    def __init__(
        self,
        run: Run,
        database: DatabasePlan,
        followers: dict[str, Follower],
        shown: Shown,
        schema: str,
        name: str,
    ) -> None:
        self._run, self._database, self._followers, self._shown = run, database, followers, shown
        self._main = followers[database.source_name]
        self._lane: Lane | None = None
        self._work: TableWork | None = None
        found = [
            one for one in run.ports.store.tables(database.source_name) if (one.schema, one.name) == (schema, name)
        ]
        if not found:
            raise SchemaChanged(
                say(
                    "The table {schema}.{name} of {source_name} is not one of those that this task copies.",
                    schema=schema,
                    name=name,
                    source_name=database.source_name,
                ),
                hint=say("Its request can only have come from an older list. Retry, and it is left out."),
            )
        self._state = found[0]

    @property
    def _label(self) -> str:
        return f"{self._state.schema}.{self._state.name}"

    @property
    def bytes(self) -> int:
        """Its size on the source, as far as it is known by now."""
        return self._state.bytes_total

    def leave_out(self) -> None:
        """Take the table out of the main stream, which stands still, from its next change on."""
        self._state = replace(self._state, bytes_done=0, rows_done=0)
        self._mark(TableStatus.COPYING, NEVER)

    def copy(self) -> None:
        """Copy the table, bring it to where the main stream is, give it back to that, and take the request back."""
        event, label = self._run.ports.store.event, self._label
        event(
            "info",
            "RECOPY-BEGUN",
            say("{label} of {source_name} is copied once more.", label=label, source_name=self._database.source_name),
        )
        if self._state.unlogged:
            event(
                "info",
                "RECOPY-LATER",
                say("{label} is unlogged: Complete copies it once more in any case.", label=label),
            )
        self._copy_and_follow()
        self._run.ports.store.recopied(self._database.source_name, self._state.schema, self._state.name)
        event(
            "info",
            "RECOPY-DONE",
            say(
                "{label} has been copied once more, {rows}, and is in sync again.",
                label=label,
                rows=count(self._state.rows_done, "{number} row", "{number} rows"),
            ),
        )

    def _mark(self, status: TableStatus, watermark: int) -> None:
        """Change the table's place in the main stream, which stands at a commit boundary."""
        self._state = replace(self._state, status=status, watermark=watermark)
        self._run.ports.store.save_tables(self._state)
        self._main.session.mark(self._state.oid, watermark)

    def _copy_and_follow(self) -> None:
        self._require_name()
        align(self._run, self._database, self._state, self._let_main_catch_up)
        with self._run.sessions.session(Side.SOURCE, self._database.source_name) as source:
            encoding = stream_encoding(source)
            publication = self._run.ports.store.database(self._database.source_name).publication
            brought = brought_now(source, publication) if publication else None
            entries = brought.entries if brought else {}
            stem = temporary_slot_name(self._run.plan.key, database_oid(source), self._run.plan.epoch)
        for number in range(1, _TRIES + 1):
            # A name of its own: the server may still be at ending the session of the last one.
            slot = f"{stem}_{self._state.oid}_{number}"
            try:
                self._copy_under(slot, encoding, entries, self._to_lock(number))
            except (Moved, Busy) as error:
                self._excuse(error, last=number == _TRIES)
                self._run.ports.control.sleep(min(max(number - _UNLOCKED, 0) * _PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS))
            else:
                return

    def _to_lock(self, number: int) -> list[TableName]:
        """Return what is to be locked right after the snapshot; nothing for the first tries, which disturb nobody."""
        if number <= _UNLOCKED or self._work is None:
            return []
        if number == _UNLOCKED + 1:
            tell_locked(self._run, self._database, self._label)
        return [(part.schema, part.name) for part in self._work.table.parts]

    def _copy_under(
        self, slot: str, encoding: str, entries: Mapping[int, tuple[int, ...]], lock: list[TableName]
    ) -> None:
        """Copy the table under a new snapshot, and hand it over. Raises Moved or Busy when that snapshot does not fit.

        The lock comes after the slot, which waits for everybody who waits for a lock of ours.
        """
        with contextlib.ExitStack() as stack:
            if lock:
                self._make_alike()
            try:
                beside = beside_the_stream(self._run, self._database, slot, encoding, lock)
                snapshot, replication = stack.enter_context(beside)
            except psycopg.Error as error:
                if error.sqlstate not in GONE | {LOCK_NOT_AVAILABLE}:
                    raise
                if error.sqlstate in GONE:
                    self._work = None  # the next try looks what there is, and locks nothing
                raise Busy from error
            snapshot.entries = entries
            try:
                self._fill(snapshot, held=bool(lock))
            finally:
                snapshot.close()
            table = replace(self._state, watermark=snapshot.lsn)
            session = TableSession(
                self._run, self._database, table, slot=slot, connection=replication, check=self._check
            )
            self._shown.show(self.bytes, say("bringing {label} up to date", label=self._label))
            with session:
                self._meet(session, snapshot.lsn or 0)

    def _let_main_catch_up(self) -> None:
        """Wait until the main stream has come to where the source is now. Raises what ends it, or the run."""
        self._shown.show(0, say("bringing {label} up to date", label=self._label))
        let_catch_up(self._run, self._main, self._check)

    def _excuse(self, error: Moved | Busy, *, last: bool) -> None:
        """Tell why the copy begins anew, or raise when it has done so often enough."""
        label = self._label
        if last:
            raise ConnectionLost(
                say("{label} is emptied, rewritten or locked on the source again and again.", label=label)
            ) from error
        if isinstance(error, GaveWay):
            told = say("Somebody waits for {label} on the source: it goes first.", label=label)
            self._run.ports.store.event("info", "COPY-GAVEWAY", told)

    def _require_name(self) -> None:
        """Raise when the table has another name on the source now: the rows of a namesake are none of its."""
        require_name(self._run, self._database, self._state, self._main.session.watch.place)

    def _make_alike(self) -> None:
        """Give the target's table the columns of the source's, if that still is the table of this name."""
        self._require_name()
        align(self._run, self._database, self._state)

    def _fill(self, snapshot: Snapshot, *, held: bool) -> None:
        """Copy the table under the snapshot. `held`: its holder has locked the table and is the only one to ask for it.

        Any other session of ours would wait behind whoever waits for that lock, and they for us: no server sees that.
        """
        if not held:
            self._make_alike()
        work = self._work = work_on(self._run, self._database, self._state, snapshot)
        if work.table.oid != self._state.oid:
            self._require_name()
        if held and not snapshot.locked.issuperset(part.oid for part in work.table.parts):
            raise Moved([work])
        published_by = brought_by(work.table.members, snapshot.entries)
        self._state = replace(
            self._state,
            bytes_total=work.table.bytes or self._state.bytes_total,
            bytes_done=0,
            rows_done=0,
            published_by=published_by,
            numbers=numbers_of_copy(self._state.numbers, work.table.numbers),
        )
        lane = Lane(self._run, self._database, snapshot, self._check, held=held)
        lookout = Lookout(self._run, lambda: [lane])
        lookout.start()
        self._lane = lane
        try:
            lane.copy_over(work)
        finally:
            self._lane = None
            lookout.stop()
            lane.close()
        self._state = replace(self._state, rows_done=work.rows_done, bytes_done=work.bytes_done)

    def _meet(self, session: TableSession, since: int) -> None:
        """Bring the table to exactly the place of the main stream, which stands still only for the last bit.

        `since`: the place of the snapshot that it was copied under.
        """
        for _ in range(_ROUNDS):
            session.advance(until=self._main.session.position)
        self._main.pause()
        here = self._main.session.position
        session.advance(until=here)
        # The snapshot may be newer than the place of a main stream that is behind: that skips what the table has.
        self._mark(TableStatus.DONE, max(here, session.position))
        self._handed_over()

    def _handed_over(self) -> None:
        self._main.resume()

    def _check(self) -> None:
        self._run.ports.control.check()
        for follower in self._followers.values():
            follower.check()
        if self._lane and self._work and self._shown.due():
            self._show(self._lane, self._work)

    def _show(self, lane: Lane, work: TableWork) -> None:
        """Show how far the copy is: on the table's row, and on the step."""
        counted = replace(self._state, bytes_done=work.bytes_done, rows_done=lane.rows_passing)
        self._run.ports.store.table_progress(counted)
        self._shown.show(min(work.bytes_done, work.table.bytes * 0.99), self._doing())

    def _doing(self) -> Sentence:
        return say("copying {label} again", label=self._label)
