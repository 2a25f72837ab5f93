"""The sync step: one slice of moving every database of the task forward, each in a thread of its own."""

from __future__ import annotations

import contextlib
import math
import threading
import time
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from dataclasses import replace
from enum import IntEnum

from ..draining import Limit
from ..errors import Interrupted, LeaseLost
from ..outcome import CONTINUE, DONE, Outcome, Run
from ..plan import DatabasePlan
from ..ports import NEVER, DatabaseState
from ..replication.names_followed import TableRenamed, follow
from ..replication.polling import Poll
from ..replication.session import SyncSession
from ..replication.spooled import Turns, open_session

_SAVE_SECONDS = 1.0
_BLOCKED_SECONDS = 2.0
_CAUGHT_UP_PART = 0.5
"""This part of a slice is enough for whoever is where the source is, when others wait."""
_WITHOUT_PROGRESS_SECONDS = 60.0
"""How long others wait for one whose source has nothing to send yet: it may read old WAL for long before it has."""


class _Halted(Interrupted):
    """Another database of the task failed."""


class Standing(IntEnum):
    """How far a database has come in a slice."""

    WAITS = 0  # behind, and nothing has come from the source
    MOVES = 1
    CAUGHT_UP = 2  # it was where the source was


class _Slice:
    """What the threads of one slice share: when it ends."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._began: float | None = None
        self._halted = threading.Event()
        self._stands: dict[str, Standing] = {}
        self._limit: Limit | None = None
        self._over = False

    def begin(self) -> None:
        """Note that a database is connected: on a busy machine that may take longer than a whole slice."""
        self._began = time.monotonic()

    def halt(self) -> None:
        """Make every thread stop as soon as it can."""
        self._halted.set()

    def check(self, session: SyncSession | None) -> None:
        """Raise when the run must stop, another database failed, or Complete waits in vain for the end of a change."""
        control = self._run.ports.control
        control.check()
        if self._halted.is_set():
            raise _Halted
        if control.complete_requested():
            self._limit = self._limit or Limit(self._run)
            self._limit.check([session] if session else [])

    def stands(self, database: str, standing: Standing) -> None:
        """Note how far a database has come; what it has reached once counts for the whole slice."""
        self._stands[database] = max(standing, self._stands.get(database, standing))

    def over(self) -> bool:
        """Say whether the slice ends at the next commit of the source; once it is over it stays so."""
        control = self._run.ports.control
        wanted = control.complete_requested() or control.compare_requested() or control.recopy_requested()
        wanted = wanted or control.pause_requested()
        if not wanted and not self._over and control.should_yield():
            self._over = time.monotonic() - (self._began or math.inf) >= self._enough_seconds()
        return wanted or self._over

    def _enough_seconds(self) -> float:
        """How long the slice lasts at least when others wait."""
        seconds = self._run.plan.slice_seconds
        standing = min(self._stands.values(), default=Standing.WAITS)
        if len(self._stands) < len(self._run.plan.databases) or standing is Standing.WAITS:
            return max(seconds, _WITHOUT_PROGRESS_SECONDS)
        return seconds * _CAUGHT_UP_PART if standing is Standing.CAUGHT_UP else seconds


class _Follower:
    """Moves one database forward and keeps its stored state up to date."""

    def __init__(self, run: Run, database: DatabasePlan, slice_: _Slice) -> None:
        self._run = run
        self._database = database
        self._slice = slice_
        self._saved_at = time.monotonic()
        self._state: DatabaseState
        self._poll: Poll
        self._applied_before = self._from = 0
        self._needed = 0
        self._turns = Turns(run, database)
        self._session: SyncSession | None = None

    def follow(self) -> None:
        """Sync until the slice is over. The position is durable and stored when this returns."""
        store = self._run.ports.store
        with open_session(self._run, self._database, self._check) as session:
            self._session = session
            self._slice.begin()
            self._from = session.reached
            self._state = store.database(self._database.source_name)
            self._applied_before = self._state.rows_applied
            marks = [table.watermark or 0 for table in session.tables() if not table.set_aside]
            self._needed = max([self._state.consistent_point or 0, *marks])
            self._poll = Poll(self._run, self._database, session.watch, lambda: session.position)
            try:
                self._follow_names(session)
                session.advance(stop=lambda: self._tick(session))
                self._look(session, now=self._run.ports.control.complete_requested())
            except LeaseLost:
                raise  # another worker counts
            except BaseException:
                with contextlib.suppress(Exception):  # what ended the sync is what is told
                    self._save(session)
                raise
            self._save(session)

    def _check(self) -> None:
        """Raise when the run must stop, another database failed, or changes have to go through the spool."""
        self._slice.check(self._session)
        self._turns.check(self._session)
        self._show_lag()

    def _show_lag(self) -> None:
        """Tell how far behind the target is also while it keeps every session waiting: then nothing else comes by."""
        if self._session is not None and time.monotonic() - self._saved_at >= _BLOCKED_SECONDS:
            self._save(self._session)

    def _follow_names(self, session: SyncSession) -> None:
        """Give tables their new names where that has been allowed: no place of the stream has to come for it."""
        store, name = self._run.ports.store, self._database.source_name
        leaves = [leave for leave in store.leaves(name) if leave.lsn == NEVER]
        if leaves:
            self._look(session, now=True)
        for leave in leaves:  # nothing is to be renamed any more
            store.leave_used(leave)

    def _look(self, session: SyncSession, *, now: bool = False) -> None:
        try:
            self._state = self._poll.look(self._state, now=now)
        except TableRenamed as found:
            session.abandon()
            follow(self._run, self._database, found)
            raise

    def _tick(self, session: SyncSession) -> bool:
        if time.monotonic() - self._saved_at >= _SAVE_SECONDS:
            self._look(session)
            self._save(session)
        self._slice.stands(self._database.source_name, self._standing(session))
        return self._slice.over() or self._turns.over(session)

    def _standing(self, session: SyncSession) -> Standing:
        if session.lag_bytes == 0:
            return Standing.CAUGHT_UP
        return Standing.MOVES if session.reached > self._from else Standing.WAITS

    def _save(self, session: SyncSession) -> None:
        self._saved_at = time.monotonic()
        plan, lag_bytes, lag_seconds = self._run.plan, session.lag_bytes, session.lag_seconds
        near = lag_bytes <= plan.ready_lag_bytes and lag_seconds <= plan.ready_lag_seconds
        self._state = replace(
            self._state,
            bookmark=session.position,
            lag_bytes=lag_bytes,
            lag_seconds=lag_seconds,
            source_lsn=session.watch.insert_lsn,
            source_at=session.watch.looked_at,
            rows_applied=self._applied_before + session.rows_applied,
            in_sync=near and session.position >= self._needed,
        )
        self._run.ports.store.save_database(self._state)


def run(run: Run) -> Outcome:
    """Run one slice. DONE when Complete was asked for, CONTINUE when the worker is wanted for something else.

    Raises what the first failing database raised, after all others have stopped. Every position is durable and stored
    when this returns; after an exception it is the last committed one, and nothing is lost or applied twice.
    """
    slice_ = _Slice(run)
    databases = run.databases()
    with ThreadPoolExecutor(max_workers=max(1, len(databases)), thread_name_prefix="sync") as pool:
        futures = [pool.submit(_Follower(run, database, slice_).follow) for database in databases]
        finished, _ = wait(futures, return_when=FIRST_EXCEPTION)
        if any(future.exception() for future in finished):
            slice_.halt()
    _raise_first(futures)
    return DONE if run.ports.control.complete_requested() else CONTINUE


def _raise_first(futures: list[Future[None]]) -> None:
    errors = [error for error in (future.exception() for future in futures) if error is not None]
    for error in errors:
        if not isinstance(error, _Halted):
            raise error
    if errors:
        raise errors[0]
