"""Receives changes into the spool while rows are still copied, so that the source need not keep them until the sync."""

from __future__ import annotations

import contextlib
import errno
import threading
import time
from collections.abc import Iterator
from types import TracebackType

from ..connect import Connection
from ..errors import EngineError, Interrupted, WorkerFull
from ..outcome import Run
from ..plan import DatabasePlan
from ..ports import DatabaseState
from ..wording import say, verbatim
from .spooled import SpooledSession, may_begin
from .stream import Stream
from .translated import Translated

_LOOK_SECONDS = 1.0
_AGAIN_SECONDS = 10.0


class _Receiving(SpooledSession):
    """Receives and applies nothing: what it takes stays in the spool until the sync applies it."""

    _compares_publication = False  # what it finds is told as a warning: the sync has to find it itself

    def __init__(self, run: Run, database: DatabasePlan) -> None:
        super().__init__(run, database, receive=True)

    def __enter__(self) -> _Receiving:
        super().__enter__()
        return self

    def _connect(self, stack: contextlib.ExitStack) -> None:
        self._begin_receiving(stack, self._run.ports.store.database(self._database.source_name))

    def _open_stream(
        self, stack: contextlib.ExitStack, state: DatabaseState, ordinary: Connection, begins: int
    ) -> Stream | Translated:
        self._require(state.consistent_point or 0)  # the copy has everything before it, and nothing after it
        return super()._open_stream(stack, state, ordinary, begins)

    def _show_lag(self) -> None:
        """Nothing is applied yet, so there is no lag."""

    @property
    def full(self) -> bool:
        """Whether it ended because the spool has no more room."""
        return self._receiver is not None and self._receiver.full

    def check(self) -> None:
        """Raise what ended the receiving, if it has."""
        if self._receiver is not None:
            self._receiver.check()


class Beside:
    """Receives, in a thread of its own, as long as that is wanted. Use as a context manager around the copy.

    What goes wrong with it is told in the task's history and leaves the copy alone: the source keeps what comes then.
    """

    def __init__(self, run: Run) -> None:
        self._run = run
        self._over = threading.Event()
        self._open: dict[str, _Receiving] = {}
        self._not_before: dict[str, float] = {}
        self._thread = threading.Thread(target=self._work, name="spool beside", daemon=True)

    def __enter__(self) -> Beside:
        if self._run.plan.incremental:
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        if self._thread.ident is not None:
            self._thread.join()

    def _work(self) -> None:
        with contextlib.suppress(Interrupted), contextlib.ExitStack() as stack:  # whoever copies has heard it, too
            stack.callback(self._end_all)
            while not self._over.wait(_LOOK_SECONDS):
                for database in self._run.databases():
                    with self._telling(database.source_name):
                        self._see_to(database)

    def _see_to(self, database: DatabasePlan) -> None:
        name = database.source_name
        self._end_if_over(name)
        wanted = name not in self._open and self._run.ports.control.spool_wanted()
        if wanted and time.monotonic() >= self._not_before.get(name, 0.0) and may_begin(self._run, database):
            self._open[name] = _Receiving(self._run, database).__enter__()

    @contextlib.contextmanager
    def _telling(self, name: str) -> Iterator[None]:
        """Tell of what goes wrong with one database: the others go on."""
        try:
            yield
        except EngineError as error:
            self._run.ports.control.check()
            self._tell(name, error)
        except OSError as error:
            self._run.ports.control.check()
            self._tell(name, _on_disk(error))

    def _end_all(self) -> None:
        with contextlib.ExitStack() as stack:
            for name in [*self._open]:
                stack.callback(self._end, name)

    def _end(self, name: str) -> None:
        with self._telling(name):
            self._open.pop(name).__exit__(None, None, None)

    def _end_if_over(self, name: str) -> None:
        session = self._open.get(name)
        if session is not None and not session.receiving:
            del self._open[name]
            session.__exit__(None, None, None)
            if session.full:
                self._not_before[name] = float("inf")  # nothing is applied during the copy, so no room comes back
            session.check()

    def _tell(self, name: str, error: EngineError) -> None:
        """Tell it once, and try again later unless somebody has to do something first."""
        if name not in self._not_before:
            text = say("Changes of {database} do not go into the spool: {why}", database=name, why=error.message)
            self._run.ports.store.event("warning", error.code, text)
        self._not_before[name] = time.monotonic() + _AGAIN_SECONDS if error.retryable else float("inf")


def _on_disk(error: OSError) -> EngineError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return WorkerFull(error.filename or "")
    return EngineError(verbatim(str(error)), code="SPOOL-FILES", retryable=True)
