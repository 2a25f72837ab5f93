"""`task run`: creates, checks, starts and drives one task in this process, without queue workers."""

from __future__ import annotations

import contextlib
import json
import logging
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType

from django.db import connection

from ... import clock, runner, selectors, services
from ...engine.selection import Selection
from ...engine.states import WORKED, Status
from ...engine.wording import one_line
from ...models import CheckItem, MigrationTask
from ...own_database import GONE
from .asked import CHECK_FAILED, DIFFERENCES, DIFFERS, FAILED, INTERRUPTED, RunOptions, exit_code
from .making import make_task
from .output import Out, print_check, print_report, progress_line, report, told_since
from .tables import ensure_tables

log = logging.getLogger(__name__)

_NOT_STARTED = (Status.DRAFT, Status.CHECKING, Status.CHECK_FAILED, Status.CHECK_PASSED)
_LATE = "COMPLETE-LATE"  # what Complete waited for did not come
_REFUSED = "CHECK-COMPLETE"  # the check before Complete found something Failed


class ForegroundRun:
    """One task driven in the foreground. Progress goes to stderr, the report to stdout."""

    def __init__(self, options: RunOptions, out: Out, err: Out) -> None:
        self.options, self.out, self.err = options, out, err
        self.task_id = ""
        self._ended = threading.Event()
        self._complete_pressed = False
        self._sync_kept = False
        self._given_up: int | None = None
        self._last_told, self._version, self._line = 0, -1, ""

    def create(self) -> str:
        """Create the task. Returns its id."""
        ensure_tables()
        self.task_id = str(make_task(self.options, foreground=True).pk)
        return self.task_id

    def run(self) -> int:
        """Check, start and drive the task. Returns the exit code."""
        self.create()
        self.err.write(f"task {self.task_id}\n")
        services.request_check(task_id=self.task_id, actor=None)
        return self._check_and_start()

    def resume(self, task: MigrationTask) -> int:
        """Go on with a task that an earlier run left at any moment, also in its check. Returns the exit code. Raises
        Refused for one that has ended, or that has not been started and is no run's."""
        self.task_id = str(task.pk)
        if not task.foreground or task.status not in _NOT_STARTED:
            services.take_to_foreground(task_id=task.pk, actor=None)
            return self.drive()
        if task.status != Status.CHECKING:
            services.request_check(task_id=self.task_id, actor=None)
        return self._check_and_start()

    def _check_and_start(self) -> int:
        with _stoppable():
            _run_check(self.task_id)
            # The claim of a run that was killed lasts a little longer than that.
            while self.task().status == Status.CHECKING and not runner.stopping():
                time.sleep(0.2)
                _run_check(self.task_id)
        task = self.task()
        if not self.options.as_json:
            print_check(task, self.err)
        if runner.stopping():
            return self._end(task)
        if task.status != Status.CHECK_PASSED:
            return self._end(task)
        if self._excludes_what_is_not_there():
            self.err.write("Not started: --exclude names what the source does not have.\n")
            self._end(task)
            return CHECK_FAILED
        services.start_task(task_id=self.task_id, actor=None)
        return self.drive()

    def _excludes_what_is_not_there(self) -> bool:
        """Say so of a misspelt --exclude, at which nobody looks here: what was meant would be migrated."""
        if False not in self.options.selection.rules.values():
            return False
        from ...engine.checks.selected import NOT_THERE  # with all items of the check, which other commands do without

        items = CheckItem.objects.filter(task__pk=self.task_id, code="selection", status="warning")
        return any(dict(one.words.get("found", {})).get("say") == NOT_THERE for one in items)

    def drive(self) -> int:
        """Drive the started task until it ends, then print the report. Returns the exit code."""
        watcher = threading.Thread(target=self._watch, name="progress", daemon=True)
        with _stoppable():
            watcher.start()
            runner.drive_foreground(self.task_id, waiting=time.sleep)
            self._ended.set()
            watcher.join()
        return self._end(self.task())

    def task(self) -> MigrationTask:
        """Return the task's row as it is now."""
        return MigrationTask.objects.select_related("source", "target").get(pk=self.task_id)

    def _watch(self) -> None:
        """Show progress; press Complete, once, when the task is ready and that was asked for."""
        live = sys.stderr.isatty()
        pause = 0.2 if live else 0.5 if self.options.complete else 1.0  # each line costs ten queries; a log needs few
        try:
            self._asked(self._pass_by)
            while not self._ended.wait(pause):
                self._asked(self._look)
        finally:
            if live:
                sys.stderr.write("\n")
            connection.close()

    def _asked(self, look: Callable[[], None]) -> None:
        """Look once. The console's own database may be away: whoever drives the task waits for it, and so do we."""
        try:
            look()
        except GONE as error:
            log.warning("the console's own database does not answer: %s", error)
            connection.close()
            self._ended.wait(1.0)

    def _pass_by(self) -> None:
        """Tell nothing of what was told before: an earlier run has."""
        self._last_told, _ = told_since(self.task_id, 0)

    def _look(self) -> None:
        if self.options.incremental and services.take_look(self.task_id, clock.now()):
            runner.look_at_wal(self.task_id)  # there may be no dispatcher that has it done
        live = sys.stderr.isatty()
        self._last_told, told = told_since(self.task_id, self._last_told)
        for line in told:
            self.err.write(f"\r\x1b[2K{line}\n" if live else f"{line}\n")
        version = MigrationTask.objects.filter(pk=self.task_id).values_list("version", flat=True).get()
        if version == self._version and not self.options.complete:
            return  # every visible change grows it, and the whole line costs ten queries
        task = self.task()
        if task.status == Status.READY and self.options.complete and task.foreground:
            self._press_complete(task)
        line = progress_line(task)
        self._version = version
        if line != self._line and live:
            sys.stderr.write(f"\r\x1b[2K{line[:200]}")
            sys.stderr.flush()
        elif line != self._line:
            self.err.write(f"{line}\n")
        self._line = line

    def _press_complete(self, task: MigrationTask) -> None:
        """Press Complete, once. Ready after that with an error means that somebody has to look: stop. Ready without one
        means that somebody pressed Back to sync: go on syncing, Complete is theirs to press.
        """
        refused = task.error_code == _REFUSED
        if self._complete_pressed and task.error_code == _LATE:
            self._given_up = FAILED
            runner.stop_all()
            return
        if self._complete_pressed and (refused or task.error_code.startswith(DIFFERENCES)):
            self._given_up = CHECK_FAILED if refused else DIFFERS
            runner.stop_all()
            return
        if self._complete_pressed and not task.error_code:
            self._tell_sync_kept()
        if self._sync_kept:
            return
        try:
            services.complete_task(task_id=self.task_id, actor=None)
            self._complete_pressed = True
        except services.Refused as refusal:
            if selectors.aside(task).quarantined_count:  # nothing here settles that: somebody has to decide
                self.err.write(f"{one_line(refusal.message)}\n")
                self._given_up = FAILED
                runner.stop_all()

    def _tell_sync_kept(self) -> None:
        if not self._sync_kept:
            self._sync_kept = True
            self.err.write(
                "Back to sync was pressed: the sync goes on, and Complete is not pressed again by itself.\n"
                f"Press it with: manage.py task complete {self.task_id}\n"
            )

    def _end(self, task: MigrationTask) -> int:
        if self.options.as_json:
            self.out.write(json.dumps(report(task), indent=1) + "\n")
        else:
            print_report(task, self.out)
        if runner.stopping() and task.status in _NOT_STARTED:
            self.err.write(
                "\nStopped before the start. Nothing was made on either server.\n"
                f"Go on with: manage.py task run --resume {task.pk}\n"
            )
            return INTERRUPTED
        if runner.stopping() and task.status not in (Status.COMPLETED, Status.CANCELLED, Status.FAILED):
            self.err.write(
                f"\nStopped. The position is kept, and so is the slot on the source, which holds back WAL there.\n"
                f"Go on with: manage.py task run --resume {task.pk}\nor end it with: manage.py task cancel {task.pk}\n"
            )
            return INTERRUPTED if self._given_up is None else self._given_up
        if not task.foreground and task.status in WORKED:
            self.err.write(
                "\nHanded over to the workers (Let workers go on): they go on with it, and nothing is pressed here any "
                f"more.\nTake it back with: manage.py task run --resume {task.pk}\n"
            )
            return INTERRUPTED
        return exit_code(task)


@contextlib.contextmanager
def _stoppable() -> Iterator[None]:
    """Let SIGINT and SIGTERM bring what runs meanwhile to a safe point."""

    def stop(_number: int, _frame: FrameType | None) -> None:
        runner.stop_all()

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _run_check(task_id: str) -> None:
    """Run a check; one that was stopped is closed, because nobody else goes on with it."""
    runner.run_check(task_id)
    if runner.stopping():
        services.work.give_up_check(task_id)


def run(options: RunOptions, out: Out, err: Out) -> int:
    """Do all of `task run`. Returns the exit code."""
    runner.trust_command_line()
    return ForegroundRun(options, out, err).run()


def resume(task: MigrationTask, out: Out, err: Out, *, complete: bool, as_json: bool) -> int:
    """Go on with a task that an earlier run left. Returns the exit code."""
    runner.trust_command_line()
    nowhere = services.EndpointData(host="", port=0, account="")
    options = RunOptions(
        source=nowhere,
        target=nowhere,
        name=task.name,
        selection=Selection.from_json(task.selection),
        incremental=task.incremental,
        complete=complete,
        jobs=None,
        as_json=as_json,
    )
    return ForegroundRun(options, out, err).resume(task)


def check(task: MigrationTask) -> None:
    """Run the check of a task in this process; its row is read again."""
    runner.trust_command_line()
    services.request_check(task_id=task.pk, actor=None)
    with _stoppable():
        _run_check(str(task.pk))
    task.refresh_from_db()


def clean_up(task: MigrationTask) -> None:
    """Remove what is ours from both servers of a cancelled task in this process; its row is read again."""
    runner.trust_command_line()
    runner.drive_foreground(str(task.pk), waiting=time.sleep)
    task.refresh_from_db()
