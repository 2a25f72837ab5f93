"""Copies the rows of all tables, several at once, and builds each table's indexes as soon as its rows are there."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace

import psycopg

from ..connect import translate
from ..copy_board import Board, Stopped, Unit
from ..copy_plan import DatabaseWork, copied_state, copy_locked, make_units, plan_database
from ..copy_waits import Waits
from ..copying import Lane
from ..errors import ConnectionLost, EngineError
from ..index_lanes import Indexer, IndexUnit
from ..lanes import Lanes
from ..large_object_units import carry_unit
from ..lookout import Lookout
from ..outcome import DONE, Outcome, Run, knobs
from ..pacing import Pacing
from ..plan import DatabasePlan, Side
from ..ports import TableState, TableStatus
from ..replication.beside import Beside
from ..replication.prepare import require_nothing_applied
from ..rotation import Rotation
from ..snapshot import Snapshot
from ..table_work import Busy, GaveWay, Moved, TableWork
from ..target_history import TookOver, require_same_history, settle
from ..wording import closed, count, listing, say

_TICK_SECONDS = 1.0
_PASSES = 3
_NAMED = 5


def run(run: Run) -> Outcome:
    """Copy what is not copied yet in every database of the task. Repeatable at any moment.

    A table counts as copied once its rows are on the target's disk; it then remembers the place of its snapshot. With
    incremental sync a snapshot is closed as soon as nothing needs it; otherwise it stays open for the comparison, and
    failures that may pass are waited for here as long as it stands: with it all that is copied would be lost.
    """
    run.ports.store.step_progress(0, 1, say("looking at what is left to copy"))
    waits = Waits(run)
    with Beside(run):
        while True:
            try:
                _copy(run)
                return DONE
            except EngineError as error:
                run.ports.control.check()
                if not waits.may_go_on(error):
                    raise
                waits.wait(error)


def _copy(run: Run) -> None:
    for database in run.databases():
        require_nothing_applied(run, database)
        settle(run, database, copying=True)
    for number in range(_PASSES):
        if not (aside := _pass(run, again=number > 0)):
            return
        _tell(run, aside)
    for database in run.databases():
        copy_locked(run, database)
    _pass(run, again=True)


def _pass(run: Run, *, again: bool) -> list[TableWork]:
    """Copy what is left; return the tables that the application would not let us copy under this snapshot."""
    copy = _Copy(run, [plan_database(run, database, again=again) for database in run.databases()])
    copy.run()
    return copy.aside


def _tell(run: Run, aside: list[TableWork]) -> None:
    names = listing(sorted(work.label for work in aside), _NAMED)
    what = say(
        "Emptied, rewritten or locked on the source before the copy came to them: {number}, {names}.",
        number=count(len(aside), "{number} table", "{number} tables"),
        names=names,
    )
    if run.plan.incremental:
        run.ports.store.event("info", "COPY-ASIDE", what + say(" That copy is made under a newer snapshot."))
    else:
        run.ports.store.event(
            "warning",
            "COPY-MOVED",
            what + say(" That copy is made now, so its rows are of a later moment than all others."),
        )


class _Copy:
    """The copy of all databases: lanes that move rows, lanes that build indexes, and a ticker for the progress."""

    def __init__(self, run: Run, works: list[DatabaseWork]) -> None:
        self.run_ = run
        self.works = works
        self.store = run.ports.store
        self.snapshots: dict[str, Snapshot] = {
            work.database.source_name: work.snapshot for work in works if work.snapshot
        }
        self.board: Board[IndexUnit] = Board(make_units(run, works), run.ports.control.check)
        self.indexer = Indexer(run, self.board, self._built)
        self.indexer.queue(*(one for work in works for one in work.to_index))
        self.rotation = Rotation(run, works)
        self._indexed: list[TableState] = []
        self._done = [state for work in works for state in work.done]
        self.aside: list[TableWork] = []
        self._lanes: set[Lane] = set()
        self._told_short = False
        self._lock = threading.Lock()
        self._over = threading.Semaphore(0)
        self._pacing = Pacing(lambda: knobs(run))
        self._copying = Lanes(
            self._copy_lane,
            wanted=lambda: knobs(run).copy_jobs,
            busy=self.board.rows_left,
            failed=self._failed,
            over=self._over,
        )
        self._building = Lanes(
            lambda: self.indexer.lane(self._building.spare, lambda: self._withdraw(self._building)),
            wanted=lambda: knobs(run).index_jobs,
            busy=self.board.indexes_left,
            failed=self._failed,
            over=self._over,
        )

    def run(self) -> None:
        """Start the lanes, show the progress until they end, and raise why if they failed."""
        lookout = Lookout(self.run_, self._open_lanes, guards=self.run_.plan.incremental)
        lookout.start()
        running = self._man()
        while running or (self.board.indexes_left() and self.board.failure is None):
            if self._over.acquire(timeout=_TICK_SECONDS):
                running -= 1
                continue
            try:
                self.run_.ports.control.check()
                lookout.require_slots()
                self._tick()
                running += self._man()
            except BaseException as error:  # whatever it is, the lanes must end before it goes on
                self.board.fail(error)
                running -= sum(self._over.acquire() for _ in range(running))
        self._copying.join()
        self._building.join()
        lookout.stop()
        self._save_indexed()
        if self.board.failure is not None:
            self._close_own()
            raise self.board.failure
        for name in list(self.snapshots):
            self._close_snapshot(name)  # that of a database without tables is closed by no unit
        self._tick()

    def _close_own(self) -> None:
        """Close the snapshots that nobody else knows: the run may go on with the others."""
        for name, snapshot in self.snapshots.items():
            if self.run_.snapshots.get(name) is not snapshot:
                snapshot.close()

    def _man(self) -> int:
        """Start the lanes that are wanted and missing; returns how many."""
        return sum(lanes.man() for lanes in (self._copying, self._building))

    def _failed(self, error: BaseException) -> None:
        if not isinstance(error, Stopped):
            self.board.fail(error)

    def _withdraw(self, lanes: Lanes) -> None:
        """End the calling lane, for which a server had no session left; others go on, and it comes back later."""
        lanes.withdraw()
        with self._lock:
            told, self._told_short = self._told_short, True
        if not told:
            self.store.event(
                "warning",
                "CONNECT-FULL",
                say("A server has no connection left for all our sessions: the copy goes on with fewer at a time."),
            )

    def _copy_lane(self) -> None:
        lane: Lane | None = None
        self._pacing.enter()
        try:
            while (unit := self.board.take(self._copying.spare)) is not None:
                if not self.rotation.may_begin(unit, self.snapshots.get(unit.database.source_name)):
                    self._done_with(unit)
                    continue
                try:
                    lane = self._lane_for(unit, lane)
                    self._work_on(unit, lane)
                except Moved as moved:
                    self._put_aside(unit, moved.works)
                except Busy as busy:
                    if isinstance(busy, GaveWay):
                        self._without(lane)
                        lane = None
                    self._come_back(unit, busy)
                except (EngineError, psycopg.Error) as error:
                    self._without(lane)
                    lane = None
                    if getattr(error, "code", "") == "CONNECT-FULL" and self.board.refused():
                        self.board.back(unit)
                        self._withdraw(self._copying)
                        return
                    self._try_again(unit, error)
                else:
                    self._finish(unit)
        finally:
            self._pacing.leave()
            self._without(lane)

    def _without(self, lane: Lane | None) -> None:
        """Close a lane; the next unit gets a new one."""
        if lane:
            with self._lock:
                self._lanes.discard(lane)
            lane.close()

    def _open_lanes(self) -> list[Lane]:
        with self._lock:
            return list(self._lanes)

    def _lane_for(self, unit: Unit, lane: Lane | None) -> Lane | None:
        """Return a lane under the snapshot of the unit's database, the same as long as that is the same."""
        snapshot = self.snapshots.get(unit.database.source_name)
        if snapshot and not unit.apart:
            snapshot.check()
        if not unit.tables or snapshot is None or (lane and lane.snapshot is snapshot):
            return lane
        self._without(lane)
        with self.board.at_work():  # a lane that is refused meanwhile has others to wait for
            lane = Lane(self.run_, unit.database, snapshot, self.board.check, pacing=self._pacing)
            try:
                self.board.watch(lane.source, lane.target)
                require_same_history(self.run_, unit.database, lane.target)
            except BaseException:  # nobody else knows the lane yet
                lane.close()
                raise
        with self._lock:
            self._lanes.add(lane)
        return lane

    def _work_on(self, unit: Unit, lane: Lane | None) -> None:
        if not unit.tables:
            work = next(one for one in self.works if one.database == unit.database)
            snapshot = None if unit.apart else self.snapshots.get(unit.database.source_name)
            with self.board.at_work():
                carry_unit(self.run_, unit, work, snapshot, self._pacing, self.board.check)
            return
        if lane is None:
            raise ConnectionLost(say("No snapshot of {source_name} is open.", source_name=unit.database.source_name))
        starting = [one for one in unit.tables if one.state.status is TableStatus.WAITING]
        for one in starting:
            one.state = replace(one.state, status=TableStatus.COPYING, bytes_done=0, rows_done=0)
        if len(unit.tables) == 1:  # small ones together are over before anybody could have read it
            self.store.save_tables(*(one.state for one in starting))
        if unit.part is None:
            lane.copy_whole(unit.tables)
        else:
            lane.clear(unit.tables[0])
            lane.copy_part(unit.tables[0], unit.part)

    def _try_again(self, unit: Unit, error: EngineError | psycopg.Error) -> None:
        self.board.check()  # an interruption breaks statements too: then that is the reason, not this
        if isinstance(error, psycopg.Error):
            error = translate(error, Side.TARGET, say("copying {label}", label=unit.label))
        # Under a snapshot that is gone every unit fails, again and again: only another run takes a new one.
        if not self.board.again(unit, error) or self._has_lost_its_snapshot(unit) or isinstance(error, TookOver):
            raise error
        if error.code == "CONNECT-FULL" and self._told_short:
            return  # that the server is short of connections has been told
        said = say("{message} Trying {label} again.", message=closed(error.message), label=unit.label)
        self.store.event("warning", "RUN-RETRY", said)

    def _has_lost_its_snapshot(self, unit: Unit) -> bool:
        snapshot = self.snapshots.get(unit.database.source_name)
        return snapshot is not None and not unit.apart and not snapshot.alive()

    def _finish(self, unit: Unit) -> None:
        snapshot = self.snapshots.get(unit.database.source_name)
        with self._lock:
            for one in unit.tables:
                one.left -= 1
            copied = [one for one in unit.tables if not one.left]
        for one in copied:
            one.state = copied_state(one, snapshot)
        self.store.save_tables(*(one.state for one in copied))
        self.indexer.queue(*copied)
        self._done_with(unit)

    def _done_with(self, unit: Unit, instead: Iterable[Unit] = ()) -> None:
        """Take a unit off the board; close a snapshot that nothing needs any more, and open the next for what waits."""
        if self.rotation.waits(unit.database):
            self.board.await_more(unit.database.source_name)
        if self.board.finished(unit, instead):
            self._close_snapshot(unit.database.source_name)
            if self.rotation.waits(unit.database):
                self._renew(unit.database)

    def _close_snapshot(self, name: str) -> None:
        snapshot = self.snapshots.get(name)
        if snapshot is None:
            return
        kept: Snapshot | None = self.run_.snapshots.get(name)
        if kept is not None and kept is snapshot:
            if not self.run_.plan.incremental:
                return
            del self.run_.snapshots[name]
        snapshot.close()

    def _renew(self, database: DatabasePlan) -> None:
        """Go on with the tables that waited under a newer snapshot, in the thread of a lane; the others may wait."""
        work = self.rotation.renew(database, self.board.check)
        if work.snapshot:
            self.snapshots[database.source_name] = work.snapshot
        new = {(one.state.schema, one.state.name) for one in work.to_copy}
        with self._lock:
            for known in self.works:
                if known.database == database:
                    known.to_copy = [one for one in known.to_copy if (one.state.schema, one.state.name) not in new]
            self.works = [*self.works, work]
        self.board.more(database.source_name, make_units(self.run_, [work]))

    def _put_aside(self, unit: Unit, works: Sequence[TableWork]) -> None:
        """Leave tables for the next snapshot; those of the unit that still fit this one go on."""
        snapshot = self.snapshots.get(unit.database.source_name)
        with self._lock:
            self.aside += [one for one in works if one not in self.aside]
        for one in works:
            if snapshot:
                snapshot.shares.pop(one.table.oid, None)
            one.bytes_done = one.rows_done = 0
            one.state = replace(one.state, status=TableStatus.WAITING, bytes_done=0, rows_done=0)
        self.store.save_tables(*(one.state for one in works))
        rest = tuple(one for one in unit.tables if one not in works)
        self._done_with(unit, [Unit(database=unit.database, tables=rest)] if rest else [])

    def _come_back(self, unit: Unit, why: Busy) -> None:
        """Try a unit again when those who wanted its tables first are through; not more than a few times."""
        if isinstance(why, GaveWay):
            self.store.event(
                "info",
                "COPY-GAVEWAY",
                say("Somebody waits for {label} on the source: it goes first.", label=unit.label),
            )
        if len(unit.tables) > 1:
            self._done_with(unit, [Unit(database=unit.database, tables=(one,)) for one in unit.tables])
        elif not self.board.later(unit):
            self._put_aside(unit, unit.tables)

    def _built(self, state: TableState) -> None:
        with self._lock:
            self._indexed.append(state)

    def _save_indexed(self) -> None:
        with self._lock:
            states, self._indexed = self._indexed, []
        if states:
            self.store.save_tables(*states)
            self._done += states

    def _tick(self) -> None:
        """Write the progress down: finished tables together, counts of the tables that are on their way."""
        self.rotation.tell()
        self._save_indexed()
        moved = total = 0.0
        building = sum(len(work.done) for work in self.works) - len(self._done)
        passing: Counter[TableWork | None] = Counter()
        for lane in self._open_lanes():
            passing.update(dict([lane.passing]))
        for work in self.works:
            total += work.held.size
            moved += min(work.carried_bytes, work.held.size * 0.99) if work.spans_left else work.held.size
            for one in (*work.to_copy, *work.to_index):
                total += one.table.bytes
                if one.state.status is TableStatus.COPYING and one.bytes_done + passing[one]:
                    rows = one.rows_done + passing[one]
                    self.store.table_progress(replace(one.state, bytes_done=one.bytes_done, rows_done=rows))
                    moved += min(one.bytes_done, one.table.bytes * 0.99)
                elif one.state.status not in (TableStatus.WAITING, TableStatus.COPYING):
                    moved += one.table.bytes
                    building += 1
        before = sum(state.bytes_total for work in self.works for state in work.done)
        tables = sum(len(work.to_copy) + len(work.to_index) + len(work.done) for work in self.works)
        note = say(
            "{number} of {tables}", number=len(self._done), tables=count(tables, "{number} table", "{number} tables")
        )
        if carried := sum(work.carried_bytes for work in self.works):
            note += say(", {number} MB of large objects", number=carried // 1_000_000)
        if building > 0:  # else nothing seems to move while the indexes of the last tables are built
            note += say(", indexes of {tables} to build", tables=count(building, "{number} table", "{number} tables"))
        self.store.step_progress(moved + before, max(total + before, 1), note)
