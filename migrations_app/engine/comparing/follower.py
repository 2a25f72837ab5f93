"""Keeps a database's sync going in the background while the comparison reads, so that lag does not grow."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import replace

from ..errors import Interrupted, LeaseLost
from ..outcome import Run
from ..plan import DatabasePlan
from ..replication.session import SyncSession
from ..replication.spooled import open_session

_SAVE_SECONDS = 1.0
_LOOK_SECONDS = 0.2


class Follower:
    """Runs `SyncSession.advance` in a thread of its own between `resume` and `pause`.

    While paused, the session stands at a commit boundary and belongs to the caller. An error of the sync is raised by
    the next `check` or `pause`.
    """

    def __init__(self, run: Run, database: DatabasePlan, session: SyncSession) -> None:
        self.session = session
        self._store, self._control = run.ports.store, run.ports.control
        self._name = database.source_name
        self._applied_before = self._store.database(self._name).rows_applied
        self._saved_at = time.monotonic()
        self._stop = threading.Event()
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="follow")
        self._going: Future[int] | None = None

    @property
    def rows_applied(self) -> int:
        """Changes that are on the target for good, in all sessions of the sync. Exact while paused."""
        return self._applied_before + self.session.rows_applied

    def resume(self) -> None:
        """Let the sync go on. Idempotent."""
        if self._going is None:
            self._stop.clear()
            self._going = self._pool.submit(self._advance, stop=self._tick)

    def run_to(self, lsn: int) -> None:
        """Let the sync take everything that commits before `lsn`, and nothing more. Only while paused."""
        self._going = self._pool.submit(self._advance, until=lsn)

    def _advance(self, *, until: int | None = None, stop: Callable[[], bool] | None = None) -> int:
        """Let the session advance. One that failed has to let go of the target at once: the caller may be waiting there
        for a table that its open transaction has emptied or changed, and would never hear of the error.
        """
        try:
            position = self.session.advance(until=until, stop=stop)
        except LeaseLost:  # another worker counts
            self.session.abandon()
            raise
        except BaseException:
            self.session.abandon()
            with contextlib.suppress(Exception):  # what ended the sync is what is told
                self._save()
            raise
        if self._control.pause_requested():
            self._save()  # nobody may come to fetch it
        return position

    def arrived(self) -> bool:
        """Say whether `run_to` has ended, well or not."""
        return self._going is None or self._going.done()

    def wait(self, check: Callable[[], None] | None = None) -> None:
        """Wait for the end of `run_to` or `pause`. Raises the error that ended the sync.

        `check` is asked all the while, and may raise; the sync then still has to be waited for, paused or closed.
        """
        if self._going is None:
            return
        while check and not wait([self._going], _LOOK_SECONDS).done:
            check()
        going, self._going = self._going, None
        going.result()
        self._save()

    def pause(self, check: Callable[[], None] | None = None) -> None:
        """Stop at the next source commit and return when it is durable on the target. Idempotent.

        `check`: see `wait`.
        """
        self._stop.set()
        self.wait(check)

    def check(self) -> None:
        """Raise the error that ended the sync, if any."""
        if self._going is not None and self._going.done():
            self._going.result()

    def _tick(self) -> bool:
        if time.monotonic() - self._saved_at >= _SAVE_SECONDS:
            self._save()
        return self._stop.is_set() or self._control.pause_requested()

    def _save(self) -> None:
        """Show how far the sync is."""
        self._saved_at = time.monotonic()
        session = self.session
        self._store.save_database(
            replace(
                self._store.database(self._name),
                bookmark=session.position,
                lag_bytes=session.lag_bytes,
                lag_seconds=session.lag_seconds,
                source_lsn=session.watch.insert_lsn,
                source_at=session.watch.looked_at,
                rows_applied=self.rows_applied,
            )
        )

    def close(self) -> None:
        """Stop the sync and the thread. Errors of the sync are raised, after the thread has ended."""
        try:
            with contextlib.suppress(_Halted):
                self.pause()
        finally:
            self._pool.shutdown()


class _Halted(Interrupted):
    """Nobody waits for the sync any more."""


@contextlib.contextmanager
def following(run: Run) -> Iterator[dict[str, Follower]]:
    """Open the sync of every database of the task; yield the followers, paused, by source database name.

    When the block does not end well, a sync that the target keeps waiting is not waited for: its position is the last
    durable one.
    """
    halted = threading.Event()

    def check() -> None:
        run.ports.control.check()
        if halted.is_set():
            raise _Halted

    with contextlib.ExitStack() as stack:
        followers = {}
        for database in run.databases():
            session = stack.enter_context(open_session(run, database, check))
            followers[database.source_name] = follower = Follower(run, database, session)
            stack.callback(follower.close)
        try:
            yield followers
        except BaseException:
            halted.set()
            raise
