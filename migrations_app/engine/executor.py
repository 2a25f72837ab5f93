"""Runs steps: the only door through which the runner drives the engine's machinery."""

from __future__ import annotations

import contextlib
import errno
import types
from collections.abc import Callable, Iterator

import psycopg

from .cleaning import clean_up, everything_left, tell_left
from .cleaning.clearing import clear_target
from .connect import Sessions, translate
from .errors import WorkerFull
from .opening import require_not_opened
from .outcome import Outcome, Run
from .plan import Plan, Side
from .ports import LedgerItem, Ports
from .rotation import HeldWatch
from .states import StepName
from .steps import adding, cleanup, compare, complete, copy, index, recopy, schema, sync
from .wording import say

_STEPS: dict[StepName, tuple[str, Callable[[Run], Outcome]]] = {
    StepName.SCHEMA: (say("copying the schema"), schema.run),
    StepName.COPY: (say("copying rows"), copy.run),
    StepName.INDEX: (say("building indexes and constraints"), index.run),
    StepName.SYNC: (say("applying changes"), sync.run),
    StepName.COMPARE: ("comparing", compare.run),
    StepName.COMPLETE: ("completing", complete.run),
    StepName.CLEANUP: (say("removing what was made for the migration"), cleanup.run),
}
_CLEANING_UP = _STEPS[StepName.CLEANUP][0]
_ENDING = (StepName.COMPLETE, StepName.CLEANUP)


class Executor:
    """One worker's hold on a task: opens sessions, runs steps, closes everything at the end.

    Use as a context manager, from claim to release. Steps that follow each other in one executor share sessions and
    open snapshots. Every method raises EngineError for what was foreseen and Interrupted when the run must stop; an
    interruption always wins over the errors that it causes. Any other exception is a bug.
    """

    def __init__(self, plan: Plan, ports: Ports) -> None:
        self._plan = plan
        self._ports = ports
        self._stack = contextlib.ExitStack()
        self._run: Run | None = None
        self._watch: HeldWatch | None = None

    def __enter__(self) -> Executor:
        sessions = self._stack.enter_context(Sessions(self._plan, self._ports.control, self._ports.store.event))
        self._run = Run(plan=self._plan, ports=self._ports, sessions=sessions)
        self._watch = HeldWatch(self._run)
        self._watch.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: types.TracebackType | None
    ) -> None:
        run, self._run = self._run, None
        if self._watch:
            self._watch.stop()
        for snapshot in run.snapshots.values() if run else ():
            with contextlib.suppress(psycopg.Error, OSError):
                snapshot.close()
        self._stack.close()
        if run:
            run.holds.end_all()

    def run(self, step: StepName) -> Outcome:
        """Run one slice of a step. Raises ValueError for `check`, which is not a step of the machinery, and TargetError
        for one before Complete once that has opened a target."""
        if step not in _STEPS:
            raise ValueError(f"{step} is not run by the executor")
        doing, work = _STEPS[step]
        run = self._opened()
        run.sessions.forwarders.in_slices = step is StepName.SYNC
        run.sessions.spare.keep(step is not StepName.SYNC)  # which goes on for weeks, with sessions of its own
        with self._reporting(doing):
            self._ports.control.check()
            if step not in _ENDING:
                require_not_opened(run)
            return work(run)

    def recopy(self) -> Outcome:
        """Copy once more the tables that somebody asked for, and add new ones, while the sync of all others goes on.

        Idempotent.
        """
        run = self._opened()
        run.sessions.spare.keep(False)
        with self._reporting(say("copying tables once more")):
            require_not_opened(run)
            recopy.run(run)
        with self._reporting(say("adding new tables")):
            return adding.run(run)

    def cancelled(self) -> list[LedgerItem]:
        """Remove everything of ours from both servers after Cancel, except the target objects that we made.

        Idempotent. Returns what could not be removed, which an event lists with the SQL to remove it by hand. The
        target objects stay in the ledger for `clear_target`.
        """
        with self._reporting(_CLEANING_UP):
            return clean_up(self._opened(), keep_target_objects=True)

    def cleaned_up_again(self) -> None:
        """Remove what Complete had to leave on either server, as far as that is possible now. Idempotent.

        What is left is told in an event, as after Complete, also where a server cannot be reached.
        """
        with self._reporting(_CLEANING_UP):
            run = self._opened()
            tell_left(run, everything_left(run, keep_target_objects=False), "COMPLETE-LEFT")

    def clear_target(self) -> list[LedgerItem]:
        """Drop exactly the target objects that this task made. Idempotent. Returns what had to be left."""
        with self._reporting(say("clearing the target")):
            return clear_target(self._opened())

    def _opened(self) -> Run:
        if self._run is None:
            raise RuntimeError("the executor is a context manager and is not open")
        return self._run

    @contextlib.contextmanager
    def _reporting(self, doing: str) -> Iterator[None]:
        try:
            yield
        except psycopg.Error as error:
            self._ports.control.check()
            raise translate(error, side_of(error, self._opened()), doing) from error
        except OSError as error:
            self._ports.control.check()
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise WorkerFull(error.filename or self._plan.work_dir) from error
            raise
        except Exception:
            self._ports.control.check()
            raise


def side_of(error: psycopg.Error, run: Run) -> Side:
    """Return the server whose session raised `error`, found by the session in the frames that it passed through.

    An error that passed through no session is the source's when no better is known.
    """
    trace = error.__traceback__
    found = None
    while trace is not None:
        for value in trace.tb_frame.f_locals.values():
            connection = value.connection if isinstance(value, psycopg.Cursor) else value
            if isinstance(connection, psycopg.Connection):
                found = run.sessions.side_of(connection) or found
        trace = trace.tb_next
    return found or Side.SOURCE
