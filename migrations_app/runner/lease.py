"""The lease of a claim, renewed by a thread; it is also how a run learns that it must stop (engine.ports.Control)."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

from django.conf import settings
from django.db import DatabaseError, InterfaceError, connections

from .. import queue
from ..engine.errors import CancelRequested, Interrupted, LeaseLost, PauseRequested
from ..engine.plan import Knobs
from ..engine.states import Status, StepName
from ..models import MigrationTask
from ..services import work
from .planning import knobs_of

TICK_SECONDS = 1.0
_GRACE_SECONDS = 2.0
"""How long a sync may take to its next commit before its sessions are cut: what is applied then is counted."""
_STOPPING = threading.Event()


def stop_all() -> None:
    """Bring every run of this process to a safe point: positions are kept, leases given back."""
    _STOPPING.set()


def stopping() -> bool:
    """Say whether this process was asked to come to a safe point (or the supervisor's stop file exists)."""
    path = os.environ.get("TOWPATH_STOP_FILE", "")
    return _STOPPING.is_set() or (bool(path) and Path(path).exists())


class Lease:
    """Keeps the claim alive from `__enter__` to `__exit__`; implements `engine.ports.Control`."""

    def __init__(self, claim: work.Claim) -> None:
        self.claim = claim
        self._reason: Interrupted | None = None
        self._stop = threading.Event()
        self._end = threading.Event()
        self._callbacks: list[Callable[[], None]] = []
        self._yield = False
        self._pausing: float | None = None
        self._complete = False
        self._compare = False
        self._back = False
        self._recopy = False
        self._spool = False
        self._in_sync: bool | None = None
        self._knobs: Knobs | None = None
        self._thread = threading.Thread(target=self._keep, name="lease", daemon=True)

    def __enter__(self) -> Lease:
        self._look()
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._end.set()
        self._thread.join(30)

    @property
    def reason(self) -> Interrupted | None:
        """Why the run was told to stop, or None."""
        return self._reason

    def check(self) -> None:
        """Raise the reason for which the run must stop."""
        if self._reason is not None:
            raise self._reason

    def should_yield(self) -> bool:
        """See engine.ports.Control."""
        return self._yield

    def pause_requested(self) -> bool:
        """See engine.ports.Control."""
        return self._pausing is not None

    def complete_requested(self) -> bool:
        """See engine.ports.Control."""
        return self._complete

    def back_requested(self) -> bool:
        """See engine.ports.Control."""
        return self._back

    def compare_requested(self) -> bool:
        """See engine.ports.Control."""
        return self._compare

    def knobs(self) -> Knobs | None:
        """See engine.ports.Control."""
        return self._knobs

    def recopy_requested(self) -> bool:
        """See engine.ports.Control."""
        return self._recopy

    def spool_wanted(self) -> bool:
        """See engine.ports.Control. Not on the way to Complete: then the spool has to become empty."""
        return self._spool

    def recopy_done(self) -> None:
        """Forget the requests at once, before the next look at the row."""
        self._recopy = False

    def compare_done(self) -> None:
        """Forget the request of Compare now at once, before the next look at the row."""
        self._compare = False

    def sleep(self, seconds: float) -> None:
        """See engine.ports.Control."""
        self._stop.wait(seconds)
        self.check()

    def on_stop(self, callback: Callable[[], None]) -> None:
        """See engine.ports.Control."""
        self._callbacks.append(callback)
        if self._reason is not None:
            callback()

    def stop(self, reason: Interrupted) -> None:
        """Tell the run to stop; the first reason stays."""
        if self._reason is None:
            self._reason = reason
            self._stop.set()
            for callback in list(self._callbacks):
                with contextlib.suppress(Exception):  # one session that cannot be cut must not spare the others
                    callback()

    def _keep(self) -> None:
        last_seen = time.monotonic()
        while not self._end.wait(TICK_SECONDS):
            try:
                self._look()
                last_seen = time.monotonic()
            except (DatabaseError, InterfaceError):
                # Our own database is away. The work may go on while the lease is certainly still ours.
                connections["default"].close()
                if time.monotonic() - last_seen > settings.LEASE_SECONDS * 0.75:
                    self.stop(LeaseLost())
        connections["default"].close()

    def _look(self) -> None:
        task = work.renew(self.claim)
        if task is None:
            self.stop(LeaseLost())
            return
        if task.status == Status.CANCELLING:
            # The run that cleans up after Cancel is not itself cancelled by it.
            if not isinstance(self, CleanupLease):
                self.stop(CancelRequested())
        elif stopping() or task.status not in (Status.RUNNING, Status.READY, Status.COMPLETING, Status.CHECKING):
            self._pause(task)
        else:
            self._pausing = None
        self._knobs = knobs_of(task)
        self._complete = task.status == Status.COMPLETING
        self._compare = task.compare_requested
        self._back = task.back_requested and self._complete
        self._recopy = task.recopy_requested
        self._spool = task.spooling and task.status in (Status.RUNNING, Status.READY)
        self._yield = not task.foreground and work.others_wait_for_sync(self.claim)
        queue.beat()

    def _pause(self, task: MigrationTask) -> None:
        now = time.monotonic()
        self._pausing = self._pausing or now
        syncs = task.incremental and task.current_step in (StepName.SYNC, StepName.COMPARE)
        if not syncs or now - self._pausing >= _GRACE_SECONDS:
            self.stop(PauseRequested())


class CleanupLease(Lease):
    """The lease of the run that cleans up after Cancel."""
