"""Builds indexes while rows are still being copied: the largest table first, and its indexes side by side.

The full statistics of large tables come when no index waits any more; rough ones are there from the beginning.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, replace

import psycopg

from .analyzing import BETTER, ROUGH, covers_partitions
from .connect import Connection, translate
from .copy_board import Board
from .errors import EngineError
from .indexes import (
    SMALL_TABLE_BYTES,
    analyze_table,
    build_apart,
    build_indexes,
    build_table,
    build_tables,
    to_build_apart,
)
from .outcome import Run
from .pins import user_timeout
from .plan import DatabasePlan, Side
from .ports import TableState, TableStatus
from .table_work import TableWork
from .toc import Entry
from .wording import say

_TRIES = 3
_SHOWN_BYTES = 16 << 20
_LAST = 1 << 62
_TOGETHER = 10
_TOGETHER_BYTES = 1 << 20


@dataclass(eq=False, kw_only=True)
class IndexUnit:
    """What an index lane takes at once: one index of a large table, what is left of a table, or its statistics."""

    work: TableWork
    more: tuple[TableWork, ...] = ()
    """Small tables of the same database that are built together with it."""
    entry: Entry | None = None
    statistics: bool = False

    @property
    def weight(self) -> int:
        """What the board orders it by."""
        return self.work.table.bytes - (_LAST if self.statistics else 0)


class Indexer:
    """The work of all index lanes of one copy. Each lane runs `lane` in a thread of its own."""

    def __init__(self, run: Run, board: Board[IndexUnit], done: Callable[[TableState], None]) -> None:
        self._run, self._board, self._done = run, board, done
        self._lock = threading.Lock()
        self._left: dict[TableWork, int] = {}

    def queue(self, *works: TableWork) -> None:
        """Queue tables whose rows are all there."""
        small: dict[str, list[TableWork]] = defaultdict(list)
        for work in works:
            if work.table.bytes <= _TOGETHER_BYTES:
                small[work.database.source_name].append(work)
            else:
                self._queue(IndexUnit(work=work))
        for those in small.values():
            for start in range(0, len(those), _TOGETHER):
                first, *more = those[start : start + _TOGETHER]
                self._queue(IndexUnit(work=first, more=tuple(more)))

    def _queue(self, *units: IndexUnit) -> None:
        self._board.index(*((unit.weight, unit) for unit in units))

    def lane(self, spare: Callable[[], bool], withdraw: Callable[[], None]) -> None:
        """Build until nothing more can come, or this lane is one too many. Raises EngineError, or as `Board.check`.

        Calls `withdraw` and ends when no session is to be had for it while other lanes have some.
        """
        at: DatabasePlan | None = None
        session: Connection | None = None

        def idle() -> None:
            if session and self._board.short():
                session.close()  # another lane has something to do with it

        try:
            while (taken := self._board.take_index(spare, idle)) is not None:
                unit, last = taken
                if session and at != unit.work.database:
                    session.close()
                at = unit.work.database
                session = self._persist(unit, session, last)
                if session is None:
                    self._queue(unit)
                    withdraw()
                self._board.index_finished()
                if session is None:
                    return
        finally:
            if session:
                session.close()

    def _session(self, database: DatabasePlan) -> Connection:
        with self._board.at_work():  # a lane that is refused meanwhile has others to wait for
            limit = user_timeout(self._run.sessions.version(Side.TARGET))
            session = self._run.sessions.open(Side.TARGET, database.target_name, tcp_user_timeout=limit)
            self._board.watch(session)
        try:
            self._run.sessions.end_orphans(session)  # one may be at the very index that is to be built
        except BaseException:
            session.close()
            raise
        return session

    def _persist(self, unit: IndexUnit, session: Connection | None, last: bool) -> Connection | None:
        """Do a unit, again on a new session when the connection was lost; returns the session in use.

        `last`: nothing waited behind it when it was taken. Asked later, two lanes could each take theirs for the last.
        None: the target refused a session, and other lanes have some; nothing was done.
        """
        label, attempt = unit.work.label, 1
        while True:
            try:
                if session is None or session.closed:
                    session = self._session(unit.work.database)
                self._do(unit, session, last)
                return session
            except (EngineError, psycopg.Error) as error:
                self._board.check()
                if isinstance(error, psycopg.Error):
                    error = translate(error, Side.TARGET, say("building the indexes of {label}", label=label))
                if session:
                    session.close()
                if error.code == "CONNECT-FULL" and self._board.refused():
                    return None
                if not error.retryable or attempt == _TRIES:
                    raise error from None
            self._run.ports.control.sleep(attempt)
            attempt += 1

    def _do(self, unit: IndexUnit, session: Connection, last: bool) -> None:
        work = unit.work
        if unit.entry is not None:
            build_apart(self._run, unit.work.database, unit.entry, session, last=last)
            with self._lock:
                self._left[work] -= 1
                built = not self._left[work]
            if built:
                self._queue(IndexUnit(work=work))
            return
        if unit.statistics:
            analyze_table(self._run, work.database, work.table, session)
            self._finish(work)
            return
        if unit.more:
            together = (work, *unit.more)
            build_tables(self._run, work.database, [one.table for one in together], session)
            for one in together:
                self._finish(one)
            return
        if work.table.bytes >= _SHOWN_BYTES and work.state.status is not TableStatus.INDEXING:
            work.state = replace(work.state, status=TableStatus.INDEXING)
            self._run.ports.store.save_tables(work.state)
        if work.table.bytes <= SMALL_TABLE_BYTES:
            build_table(self._run, work.database, work.table, session)
            self._finish(work)
        else:
            self._build_large(work, session)

    def _finish(self, work: TableWork) -> None:
        work.state = replace(work.state, status=TableStatus.DONE)
        self._done(work.state)

    def _build_large(self, work: TableWork, session: Connection) -> None:
        """Build the indexes of a large table, side by side if there are several, with statistics in between."""
        if work not in self._left:
            analyze_table(self._run, work.database, work.table, session, target=ROUGH)
            if self._split(work, session):
                return
        build_indexes(self._run, work.database, work.table, session)
        covered = work.table.is_partition and covers_partitions(session)
        if covered or self._board.more_to_build():
            analyze_table(self._run, work.database, work.table, session, target=BETTER)
        if covered:
            self._finish(work)  # the full ones come with those of the partitioned table
            return
        self._queue(IndexUnit(work=work, statistics=True))

    def _split(self, work: TableWork, session: Connection) -> bool:
        """Queue the indexes of a large table one by one, the largest first; what is left of the table comes last."""
        entries = to_build_apart(self._run, work.database, work.table, session)
        if len(entries) < 2:
            return False
        with self._lock:
            self._left[work] = len(entries)
        self._queue(*(IndexUnit(work=work, entry=entry) for entry in entries))
        return True
