"""Runs the items: each one is looked at, whatever the others found, and no surprise in one ends the run.

Items are looked at in lanes of a few threads each: those that ask only the source, those that ask only the target, and
those that ask both. A server that hangs so holds up its own lanes, and not what can be known without it. Which
databases the source has may become known while the first items are looked at.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from queue import Empty, SimpleQueue
from typing import TypeAlias

import psycopg

from ..connect import first_line
from ..errors import EngineError, Interrupted
from ..plan import DatabasePlan, Plan
from ..ports import Control
from ..values import frozen
from ..wording import say
from .context import Context, Unavailable
from .registry import ITEMS, ON_TARGET, CheckInfo, CheckResult, CheckStatus, Finding, Item, all_items, failed

LANE_THREADS = 3
_MOST_LOOKS, _LOOKS_OF_THE_SLOW = 5, 2
_WATCH_SECONDS = 0.25
_END_SECONDS = 5.0
_SELECT = say("Go back to the objects step and select at least one table.")
_NO_TEXT = frozenset({"22021", "22P05"})
"""SQLSTATEs of bytes that are no text in an encoding, or have no equivalent in another one."""
_OTHER_ENCODING = say(
    "Names, comments and function bodies are read as UTF-8. Names of roles and databases belong to the whole server:"
    " sign in to a database whose encoding is UTF8, such as postgres. In a database without an encoding (SQL_ASCII),"
    " write anew what is not UTF-8: the item Encodings fit names it."
)
logger = logging.getLogger(__name__)


def items_for(plan: Plan) -> list[CheckInfo]:
    """Return the items that a task of this kind has, in the order of the page."""
    return [info for info in all_items() if plan.incremental or not info.incremental_only]


@frozen(kw_only=False)
class _Job:
    """One look: an item, and the database that it is about if there is one. `place` is its place on the page."""

    place: tuple[int, int]
    entry: Item
    database: DatabasePlan | None = None


_Answers: TypeAlias = "SimpleQueue[tuple[_Job, CheckResult] | Known | BaseException]"


class _Lane:
    """Jobs in their order, and the threads that do them."""

    def __init__(self, context: Context, jobs: list[_Job], done: _Answers):
        self._context, self._done = context, done
        self._jobs = deque(jobs)
        number = min(LANE_THREADS, len(jobs))
        self.threads = [threading.Thread(target=self._work, name="check", daemon=True) for _ in range(number)]

    def _work(self) -> None:
        while True:
            try:
                job = self._jobs.popleft()
            except IndexError:
                return
            try:
                self._done.put((job, _result(self._context, job)))
            except BaseException as reason:  # whatever it is belongs to the one who waits for the results
                self._done.put(reason)
                return

    def drop(self) -> None:
        """Begin no other job."""
        self._jobs.clear()


@frozen
class Known:
    """A plan whose databases are known, as far as they can be. `unread`: why not, and after how many seconds."""

    plan: Plan
    unread: EngineError | None = None
    seconds: float = 0.0


def run_checks(
    plan: Plan,
    control: Control,
    *,
    only: frozenset[str] | None = None,
    report: Callable[[CheckResult], None],
    later: Callable[[], Known] | None = None,
) -> list[CheckResult]:
    """Look at every item, or at those in `only`, and return the results in the order of the page.

    `report` gets each result as soon as it is known, in this thread. `later` is called in another one and returns
    the plan with its databases: until then only items are looked at that ask the target alone and no database.
    Reads only: nothing is made or changed on either server. Raises nothing but what `Control.check` or `later` raises;
    an item that cannot look, or that takes longer than it may, is Failed with the reason.
    """
    with Context(plan, control) as context:
        return _Run(context, only, report).all(later)


class _Run:
    """One check: its jobs in their lanes, and the results that have come."""

    def __init__(self, context: Context, only: frozenset[str] | None, report: Callable[[CheckResult], None]) -> None:
        self._context, self._only, self._report = context, only, report
        self._done: _Answers = SimpleQueue()
        self._results: dict[tuple[int, int], CheckResult] = {}
        self._lanes: list[_Lane] = []
        self._threads: list[threading.Thread] = []
        self._begun: set[tuple[int, int]] = set()

    def all(self, later: Callable[[], Known] | None) -> list[CheckResult]:
        """Return all results in the order of the page."""
        complete = later is None
        try:
            self._begin(early=not complete)
            if later is not None:
                self._start([threading.Thread(target=self._ask, args=(later,), name="check", daemon=True)])
            while not complete or len(self._results) < len(self._begun):
                answer = self._next()
                if isinstance(answer, Known):
                    self._context.complete(answer.plan, answer.unread, answer.seconds)
                    self._begin()
                    complete = True
                elif answer is not None:
                    self._results[answer[0].place] = answer[1]
                    self._report(answer[1])
        finally:
            self._end(cut_short=not complete or len(self._results) < len(self._begun))
        return [self._results[place] for place in sorted(self._results)]

    def _ask(self, later: Callable[[], Known]) -> None:
        try:
            self._done.put(later())
        except BaseException as reason:  # as in the lanes
            self._done.put(reason)

    def _begin(self, *, early: bool = False) -> None:
        """Let lanes work on what is not begun yet; `early`: what can be looked at before the databases are known."""
        jobs = [job for job in _jobs(self._context.plan, self._only) if job.place not in self._begun]
        jobs = [job for job in jobs if _is_early(job.entry.info)] if early else jobs
        self._begun |= {job.place for job in jobs}
        sides = dict.fromkeys(job.entry.info.sides for job in jobs)
        lanes = [
            _Lane(self._context, [job for job in jobs if job.entry.info.sides == key], self._done) for key in sides
        ]
        self._lanes += lanes
        self._start([thread for lane in lanes for thread in lane.threads])

    def _start(self, threads: list[threading.Thread]) -> None:
        self._threads += threads
        for thread in threads:
            thread.start()

    def _next(self) -> tuple[_Job, CheckResult] | Known | None:
        """Wait a moment for a result; look after the time of those who work. Raises what ended a thread."""
        self._context.control.check()
        self._context.watch()
        try:
            answer = self._done.get(timeout=_WATCH_SECONDS)
        except Empty:
            return None
        if isinstance(answer, BaseException):
            self._context.control.check()
            raise answer
        return answer

    def _end(self, *, cut_short: bool) -> None:
        """Let the threads end; those that are cut short have a few seconds, and then nothing left to talk to."""
        if cut_short:
            for lane in self._lanes:
                lane.drop()
            self._context.interrupt()
        until = time.monotonic() + _END_SECONDS
        for thread in self._threads:
            if thread.ident is not None:
                thread.join(max(0.0, until - time.monotonic()))


def _jobs(plan: Plan, only: frozenset[str] | None) -> list[_Job]:
    """Return what has to be looked at: first the servers as a whole, then one database after the other."""
    jobs = []
    for number, info in enumerate(items_for(plan)):
        if only is not None and info.code not in only:
            continue
        if not info.per_database:
            jobs.append(_Job((number, -1), ITEMS[info.code]))
        elif not plan.databases:
            jobs.append(_Job((number, -1), replace(ITEMS[info.code], look=_nothing_selected)))
        else:
            jobs += [_Job((number, at), ITEMS[info.code], known) for at, known in enumerate(plan.databases)]
    return sorted(jobs, key=lambda job: (job.place[1], job.place[0]))


def _is_early(info: CheckInfo) -> bool:
    return info.sides == ON_TARGET and not info.per_database and not info.counts_databases


def _nothing_selected(context: Context) -> Finding:
    if context.unread is not None:
        raise Unavailable(context.unread)
    return failed(say("This could not be looked at because nothing is selected."), _SELECT)


def is_startable(results: list[CheckResult]) -> bool:
    """Say whether Start is possible: something was looked at and nothing Failed."""
    return bool(results) and all(result.status is not CheckStatus.FAILED for result in results)


def _result(context: Context, job: _Job) -> CheckResult:
    context.control.check()
    info, spent = job.entry.info, 0.0
    for looks in range(1, _MOST_LOOKS + 1):
        with context.looking(again=looks > 1, sides=info.sides) as loan:
            began = time.monotonic()
            finding = _look(context, job)
            spent += time.monotonic() - began - loan.waited
        error = finding.error
        # Whose own statement was ended disturbs others as often as it looks: it has fewer looks than they have.
        if error is None or not loan.was_disturbed(error) or (error.sqlstate and looks >= _LOOKS_OF_THE_SLOW):
            break
    return CheckResult(
        code=info.code,
        title=info.title,
        group=info.group,
        status=finding.status,
        found=finding.found,
        hint=finding.hint,
        sql=finding.sql,
        database=job.database.source_name if job.database else "",
        needs_restart=finding.needs_restart,
        fix=finding.fix,
        fix_arguments=finding.fix_arguments,
        seconds=round(spent if finding.seconds is None else finding.seconds, 3),
        because=finding.because,
    )


def _look(context: Context, job: _Job) -> Finding:
    try:
        return job.entry.look(context, *([job.database] if job.database else []))
    except Interrupted:
        raise
    except Unavailable as unavailable:
        failure = unavailable.failure
        found = say("This could not be looked at because: {message}", message=failure.message)
        return replace(failed(found, failure.hint), because=failure.message)
    except psycopg.Error as error:
        context.control.check()  # a cancelled statement is an interruption, not a finding
        return _not_answered(context, error)
    except Exception as error:
        logger.exception("check item %s ended unexpectedly", job.entry.info.code)
        return failed(
            say("This could not be looked at: an unexpected {error} occurred.", error=type(error).__name__),
            say("Run the item again. If it stays, the worker's log holds the details."),
        )


def _not_answered(context: Context, error: psycopg.Error) -> Finding:
    late = context.lateness(error)
    if late is not None:
        found = say("This could not be looked at: {message}", message=late.message)
        return replace(failed(found, late.hint), error=error)
    state = f" ({error.sqlstate})" if error.sqlstate else ""
    again = say("Run the item again. If it stays, the account may lack the right to read the server's catalogs.")
    found = say("This could not be looked at: {first_line}{state}", first_line=first_line(error), state=state)
    return replace(failed(found, _OTHER_ENCODING if error.sqlstate in _NO_TEXT else again), error=error)
