"""Watches for applications that wait for a table that a lane reads: the copy never stands in their way for long.

A TRUNCATE or ALTER TABLE that waits for our lock makes everybody behind it wait too. The lane gives the table up, lets
them pass, and comes back. The same session counts the rows that are on their way, which the bytes do not tell, and sees
whether the slots still keep all that comes after the copy.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable

import psycopg

from .connect import Connection
from .copying import Lane
from .errors import EngineError, Interrupted, SlotLost
from .outcome import Run
from .plan import DatabasePlan, Side
from .replication.lag import SlotState, read_slot
from .slots import require, require_unread
from .wire import discard

_LOOK_SECONDS = 0.7
_MEASURE_SECONDS = 4.0
_IN_THE_WAY = """
SELECT DISTINCT h.pid FROM pg_catalog.pg_locks w
  JOIN pg_catalog.pg_locks h ON h.locktype = 'relation' AND h.database = w.database AND h.relation = w.relation
 WHERE w.locktype = 'relation' AND w.mode = 'AccessExclusiveLock' AND NOT w.granted
   AND h.granted AND h.pid = ANY(%s)
"""
_ROWS_SINCE = 140000
_ROWS_SENT = "SELECT pid, tuples_processed FROM pg_catalog.pg_stat_progress_copy WHERE pid = ANY(%s)"


class Lookout:
    """A thread with a session of its own on the source, between `start` and `stop`. What it cannot see it lets be.

    `guards`: no sync has begun, and `require_slots` is called now and then.
    """

    def __init__(self, run: Run, lanes: Callable[[], Iterable[Lane]], *, guards: bool = False) -> None:
        self._run, self._lanes, self._guards = run, lanes, guards
        self._in_doubt: set[DatabasePlan] = set()
        self._over = threading.Event()
        self._measured = 0.0
        self._session: Connection | None = None
        self._thread = threading.Thread(target=self._watch, name="towpath-lookout", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread and its session. A look that the source does not answer is not waited for."""
        self._over.set()
        self._thread.join(2 * _LOOK_SECONDS)

    def require_slots(self) -> None:
        """Raise SlotLost when a slot is gone, or somebody has taken out of it what the sync will need."""
        while self._in_doubt:
            database = self._in_doubt.pop()
            state = self._run.ports.store.database(database.source_name)
            try:
                with self._run.sessions.session(Side.SOURCE, database.source_name) as connection:
                    require(self._run, connection, database, state)
            except SlotLost:
                raise
            except (EngineError, psycopg.Error):
                continue  # whatever it is, it says nothing of the slot

    def _watch(self) -> None:
        while not self._over.wait(_LOOK_SECONDS):
            lanes = list(self._lanes())
            reading = {pid: (lane, lane.turn) for lane in lanes if (pid := lane.reading)}
            sending = {pid: (lane, lane.turn) for lane in lanes if (pid := lane.sending)}
            if not sending and not self._guards:
                continue
            try:
                pids = self._ask(list(reading))
            except (EngineError, Interrupted, psycopg.Error):
                self._forget()
                continue
            for pid in pids:
                lane, turn = reading[pid]
                lane.give_way(turn)
            try:
                self._count(sending)
                self._measure()
            except (EngineError, Interrupted, psycopg.Error):
                self._forget()
        self._forget()

    def _ask(self, pids: list[int]) -> list[int]:
        if self._session is None or self._session.closed:
            self._session = self._run.sessions.open(Side.SOURCE, self._run.databases()[0].source_name)
        return [int(str(row[0])) for row in self._session.execute(_IN_THE_WAY, (pids,)).fetchall()]

    def _count(self, sending: dict[int, tuple[Lane, int]]) -> None:
        """Tell the lanes how many rows the source has sent them."""
        if self._session is None or self._session.info.server_version < _ROWS_SINCE:
            return
        for pid, rows in self._session.execute(_ROWS_SENT.encode(), (list(sending),)).fetchall():
            lane, turn = sending[int(str(pid))]
            if lane.turn == turn:
                lane.rows_passing = int(str(rows))

    def _measure(self) -> None:
        """Say now and then how much WAL the source keeps for us; the session is open anyway."""
        if self._session is None or time.monotonic() - self._measured < _MEASURE_SECONDS:
            return
        self._measured = time.monotonic()
        store = self._run.ports.store
        kept = []
        for database in self._run.databases():
            if slot := store.database(database.source_name).slot:
                look = read_slot(self._session, slot)
                kept.append(look.kept_bytes)
                self._doubt(database, look)
        if known := [size for size in kept if size is not None]:
            store.source_keeps(max(known))

    def _doubt(self, database: DatabasePlan, look: SlotState) -> None:
        store = self._run.ports.store
        try:
            if self._guards:
                require_unread(store, look, store.database(database.source_name))
        except SlotLost:
            self._in_doubt.add(database)

    def _forget(self) -> None:
        if self._session is not None:
            discard(self._session)
            self._session = None
