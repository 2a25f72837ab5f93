"""Waits inside the copy of a task without sync, whose snapshot would be lost if the run ended for a retry."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import UTC, datetime

from .errors import EngineError
from .outcome import Run
from .ports import TableState, TableStatus
from .wording import say

KEPT_SECONDS = 3600.0
"""How long the source keeps old rows for a copy that does not get on; then the run ends as any other."""
_OVER_SECONDS = 600.0
"""A copy that then fails after so long has met another outage, not the same one."""
_LONGEST_PAUSE_SECONDS = 30.0
_TOLD_EVERY = 20
_TO_COPY = frozenset({TableStatus.WAITING, TableStatus.COPYING})


class Waits:
    """How often one copy has failed without getting on, and since when. Belongs to one thread."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._tries = 0
        self._finished = 0
        self._since = self._begun = time.monotonic()
        self._failing_at = datetime.now(UTC)

    def may_go_on(self, error: EngineError) -> bool:
        """Say whether the copy can be tried again under the same snapshots, and something would be lost otherwise."""
        if self._run.plan.incremental or not error.retryable:
            return False
        states = [self._run.ports.store.tables(one.source_name) for one in self._run.databases()]
        finished = sum(state.status not in _TO_COPY for known in states for state in known) + self._finished_parts()
        if finished > self._finished or time.monotonic() - self._begun >= _OVER_SECONDS:
            self._finished, self._tries, self._since = finished, 0, time.monotonic()
        elapsed = time.monotonic() - self._since
        if self._tries:
            error.failing_for = elapsed
        longest = min(KEPT_SECONDS, self._run.plan.retry_seconds)
        return bool(finished) and elapsed < longest and all(map(self._stands, states))

    def _finished_parts(self) -> int:
        shares = [one for snapshot in self._run.snapshots.values() for one in snapshot.shares.values()]
        return sum(len(one.finished) for one in shares)

    def _stands(self, states: list[TableState]) -> bool:
        """Say whether the snapshot of a database is there, or is not needed any more."""
        if all(state.status not in _TO_COPY for state in states):
            return True
        snapshot = self._run.snapshots.get(states[0].database)
        return snapshot is not None and snapshot.alive()

    def _copied(self) -> tuple[float, float]:
        """Return the bytes of the tables that are copied, and of all: with what is kept the copy goes on."""
        known = [state for one in self._run.databases() for state in self._run.ports.store.tables(one.source_name)]
        done = sum(state.bytes_total for state in known if state.status not in _TO_COPY)
        return done, max(sum(state.bytes_total for state in known), 1)

    def wait(self, error: EngineError) -> None:
        """Tell why, wait a moment, longer each time, and have the tables copied again that a crash empties."""
        self._tries += 1
        if self._tries == 1:
            self._failing_at = datetime.now(UTC)
        if self._tries in (1, 3) or self._tries % _TOLD_EVERY == 0:
            self._run.ports.store.event(
                "warning",
                "COPY-WAITS",
                say(
                    "{message} Trying again. The snapshot of the source stands, so what is copied is kept.",
                    message=error.message,
                ),
            )
        said = say("waiting since {at}: {message}", at=f"{self._failing_at:%H:%M:%S} UTC", message=error.message)
        self._run.ports.store.step_progress(*self._copied(), said)
        self._run.ports.control.sleep(min(2.0 ** min(self._tries, 8), _LONGEST_PAUSE_SECONDS))
        for database in self._run.databases():
            self._run.ports.store.save_tables(
                *(
                    replace(state, status=TableStatus.WAITING, bytes_done=0, rows_done=0)
                    for state in self._run.ports.store.tables(database.source_name)
                    if state.unlogged and state.status not in _TO_COPY and not state.set_aside
                )
            )
        self._begun = time.monotonic()
