"""Watches for applications that wait for a table that a lane reads: the copy never stands in their way for long.

A TRUNCATE or ALTER TABLE that waits for our lock makes everybody behind it wait too. The lane gives the table up, lets
them pass, and comes back. The same session counts the rows that are on their way, which the bytes do not tell.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable

import psycopg

from .connect import Connection
from .copying import Lane
from .errors import EngineError, Interrupted
from .outcome import Run
from .plan import Side
from .versions import wal_words
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
    """A thread with a session of its own on the source, between `start` and `stop`. What it cannot see it lets be."""

    def __init__(self, run: Run, lanes: Callable[[], Iterable[Lane]]) -> None:
        self._run, self._lanes = run, lanes
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

    def _watch(self) -> None:
        while not self._over.wait(_LOOK_SECONDS):
            reading = {pid: (lane, lane.turn) for lane in self._lanes() if (pid := lane.reading)}
            if not reading:
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
                self._count(reading)
                self._measure()
            except (EngineError, Interrupted, psycopg.Error):
                self._forget()
        self._forget()

    def _ask(self, pids: list[int]) -> list[int]:
        if self._session is None or self._session.closed:
            self._session = self._run.sessions.open(Side.SOURCE, self._run.databases()[0].source_name)
        return [int(str(row[0])) for row in self._session.execute(_IN_THE_WAY, (pids,)).fetchall()]

    def _count(self, reading: dict[int, tuple[Lane, int]]) -> None:
        """Tell the lanes how many rows the source has sent them."""
        if self._session is None or self._session.info.server_version < _ROWS_SINCE:
            return
        for pid, rows in self._session.execute(_ROWS_SENT.encode(), (list(reading),)).fetchall():
            lane, turn = reading[int(str(pid))]
            if lane.turn == turn:
                lane.rows_passing = int(str(rows))

    def _measure(self) -> None:
        """Say now and then how much WAL the source keeps for us; the session is open anyway."""
        if self._session is None or time.monotonic() - self._measured < _MEASURE_SECONDS:
            return
        self._measured = time.monotonic()
        store = self._run.ports.store
        names = [store.database(database.source_name).slot for database in self._run.databases()]
        if not any(names):
            return
        words = wal_words(self._session.info.server_version)
        row = self._session.execute(
            f"SELECT max({words.difference}({words.insert_position}, restart_lsn))::bigint"  # noqa: S608 - constants
            " FROM pg_catalog.pg_replication_slots WHERE slot_name = ANY(%s)".encode(),
            ([name for name in names if name],),
        ).fetchone()
        if row is not None and row[0] is not None:
            store.source_keeps(int(str(row[0])))

    def _forget(self) -> None:
        if self._session is not None:
            discard(self._session)
            self._session = None
