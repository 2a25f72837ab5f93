"""Brings the target to an exact position of the source: nothing that committed before the marker is missing."""

from __future__ import annotations

import time
from collections.abc import Iterable

import psycopg

from .checks.registry import size
from .comparing.follower import Follower
from .connect import Connection
from .errors import CompleteStopped, DrainLate, EngineError
from .failpoints import durable
from .late_writes import open_writers, tables_written
from .outcome import Run
from .plan import Side
from .replication.session import SyncSession
from .sql import query
from .versions import marker_statement, wal_words
from .wording import NOTHING, Sentence, listing, say, together, verbatim

_LOOK_SECONDS = 0.2
_WRITERS_SECONDS = 0.5  # each look goes through all locks of the source
_WHY_SECONDS = 2.0
_STILL_WRITES = 200_000
"""Bytes of WAL behind the marker that are more than what a server writes by itself."""


class Limit:
    """How long the last changes may take to arrive on the way to Complete, and what they wait for. Thread-safe enough:
    a look more than one wanted harms nobody.
    """

    def __init__(self, run: Run) -> None:
        self._run = run
        self._seconds = run.plan.drain_seconds
        self._began = self._looked = time.monotonic()
        self._why = say("they are not on the target yet")

    @property
    def why(self) -> Sentence:
        """What it waits for, as it was at the last look."""
        return self._why

    def check(self, sessions: Iterable[SyncSession], marker: int | None = None, why: Sentence = NOTHING) -> None:
        """Raise DrainLate when it takes too long, CompleteStopped when somebody wants the sync to go on instead.

        `why`: what is waited for, where that is known.
        """
        stop_if_wanted(self._run)
        now = time.monotonic()
        late = now - self._began >= self._seconds
        if late or now - self._looked >= _WHY_SECONDS:
            self._looked = now
            self._why = why or _waits_for(self._run, sessions, marker)
        if late:
            raise DrainLate(now - self._began, self._why)


def stop_if_wanted(run: Run) -> None:
    """Raise CompleteStopped when somebody wants the sync to go on instead of Complete."""
    if run.ports.control.back_requested():
        raise CompleteStopped


def _waits_for(run: Run, sessions: Iterable[SyncSession], marker: int | None) -> Sentence:
    known = list(sessions)
    left = sum(max(0, (marker or one.watch.insert_lsn) - one.position) for one in known)
    parts = [say("{size} of changes are not on the target yet", size=size(left))]
    holders = _holders(run)
    if holders:
        parts.append(say("the target makes us wait for a lock that others hold: {holders}", holders=holders))
    written = max((one.watch.insert_lsn - marker for one in known), default=0) if marker else 0
    if written > _STILL_WRITES:
        parts.append(say("the source is still written to: {size} since Complete was pressed", size=size(written)))
    return together(parts, "; ")


def _holders(run: Run) -> Sentence:
    """Return who holds the locks that our sessions on the target wait for; empty when nobody is known to."""
    found = []
    for database in run.databases():
        try:
            with run.sessions.session(Side.TARGET, database.target_name) as connection:
                row = connection.execute(query("drain_blockers")).fetchone()
        except (EngineError, psycopg.Error):
            continue  # whoever needs the target finds out why it does not answer
        found += [str(row[0])] if row and row[0] else []
    return verbatim("; ".join(found))


def drain(run: Run, followers: dict[str, Follower], note: str) -> int:
    """Set a marker on the source, let every database take what committed before it, and return the marker.

    Transactions that have written to tables of the task by then are waited for first: they commit before it.
    The followers must be paused, and are when it returns; what they took is durable. Raises EngineError when a sync
    fails, DrainLate when it takes longer than the plan allows, CompleteStopped, or what `Control.check` raises.
    """
    limit = Limit(run)
    _await_writers(run, limit, followers, note)
    first = run.databases()[0].source_name
    with run.sessions.session(Side.SOURCE, first) as connection:
        marker = set_marker(connection)
    began = {name: follower.session.position for name, follower in followers.items()}
    total = max(1, sum(max(0, marker - position) for position in began.values()))
    for follower in followers.values():
        follower.run_to(marker)
    while not all(follower.arrived() for follower in followers.values()):
        run.ports.control.sleep(_LOOK_SECONDS)
        limit.check((follower.session for follower in followers.values()), marker)
        left = sum(max(0, marker - follower.session.position) for follower in followers.values())
        shown = say("{note}: {why}", note=note, why=limit.why)
        run.ports.store.step_progress(max(0, total - left), total, shown)
    for follower in followers.values():
        follower.wait()
    run.ports.store.step_progress(total, total, note)
    return marker


def _await_writers(run: Run, limit: Limit, followers: dict[str, Follower], note: str) -> None:
    """Wait until each transaction has ended that has written by now; those that begin later are not waited for.

    The sync goes on meanwhile, and is paused again when this returns.
    """
    waited: dict[str, set[int]] = {}
    oids = {database.source_name: tables_written(run, database) for database in run.databases()}
    while True:
        open_now = {one.source_name: open_writers(run, one, oids[one.source_name]) for one in run.databases()}
        waited = {name: waited.get(name, set(found)) & set(found) for name, found in open_now.items()}
        names = [open_now[name][one] for name, left in waited.items() for one in sorted(left)]
        if not names:
            break
        for follower in followers.values():
            follower.resume()
            follower.check()
        why = say("transactions that have written on the source are still open: {names}", names=listing(names, 10))
        limit.check((follower.session for follower in followers.values()), why=why)
        run.ports.store.step_progress(0, 1, say("{note}: {why}", note=note, why=why))
        run.ports.control.sleep(_WRITERS_SECONDS)
    for follower in followers.values():
        follower.pause(lambda: limit.check(follower.session for follower in followers.values()))


@durable("source.marker")
def set_marker(connection: Connection) -> int:
    """Return the source's insert position, and write a small transaction behind it.

    That one needs no privilege and changes no table. Its commit makes the server flush, and so report, everything up to
    the marker, also when nobody else writes.
    """
    version = connection.info.server_version
    row = connection.execute("SELECT (" + wal_words(version).insert_position + " - '0/0')::bigint").fetchone()
    marker = int(str(row[0] if row else 0))
    connection.execute(marker_statement(version))
    return marker
