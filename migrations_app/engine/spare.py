"""Sessions between two uses: whoever needs one next is spared a login, and the server a process and its caches.

A login with a password takes some milliseconds of both sides, and the first query on the catalog of a new process as
many again; a short full migration opened forty.
"""

from __future__ import annotations

import contextlib
import select
import threading
import time

import psycopg
from psycopg import pq

from .errors import Interrupted
from .plan import Side

SPARE_SECONDS = 5.0
"""How long a session may have been idle: no longer than any session in use may be, so that the line still stands."""
_Connection = psycopg.Connection[tuple[object, ...]]
_Place = tuple[Side, str]


class Spare:
    """Idle sessions of one run by server and database. Thread-safe. Keeps none until `keep(True)`.

    A session that comes back is as new: DISCARD ALL takes it to the settings that it logged in with, which all are
    pinned ones, and frees its locks and temporary objects. One of which that is not sure is closed.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._idle: dict[_Place, list[tuple[float, _Connection]]] = {}
        self._keeps = False

    def keep(self, wanted: bool) -> None:
        """Keep sessions from now on, or close those that are here and keep none."""
        with self._lock:
            self._keeps = wanted
        if not wanted:
            self.close()

    def put(self, side: Side, database: str, connection: _Connection) -> None:
        """Keep a session that is not used any more, or close it. Never raises."""
        if self._keeps and _is_idle(connection):
            with contextlib.suppress(psycopg.Error, OSError, Interrupted):
                connection.execute("DISCARD ALL")
                with self._lock:
                    if self._keeps:
                        self._idle.setdefault((side, database), []).append((time.monotonic(), connection))
                        return
        _close(connection)

    def take(self, side: Side, database: str) -> _Connection | None:
        """Return a session on this database that the server has not ended, None when there is none."""
        while True:
            with self._lock:
                idle = self._idle.get((side, database))
                if not idle:
                    return None
                since, connection = idle.pop()
            if time.monotonic() - since < SPARE_SECONDS and _is_idle(connection) and is_quiet(connection):
                return connection
            _close(connection)

    def close(self, side: Side | None = None) -> None:
        """Close the idle sessions of one side, or all."""
        with self._lock:
            places = [place for place in self._idle if side is None or place[0] is side]
            gone = [connection for place in places for _, connection in self._idle.pop(place)]
        for connection in gone:
            _close(connection)


def _is_idle(connection: _Connection) -> bool:
    ready = not connection.closed and connection.autocommit
    return ready and connection.info.transaction_status == pq.TransactionStatus.IDLE


def is_quiet(connection: _Connection) -> bool:
    """Say whether the server has sent nothing unasked, as it does when it ends a session."""
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN)
    return not poll.poll(0)


def _close(connection: _Connection) -> None:
    with contextlib.suppress(psycopg.Error, OSError):
        connection.close()
