"""Runs checks: short jobs that a page waits for."""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future

from django.db import connections
from django.db.models import F
from django.utils import timezone

from .. import queue
from ..draft_facts import draft_hash
from ..engine import checks
from ..engine.errors import EngineError, Interrupted
from ..engine.executor import Executor
from ..engine.plan import Plan
from ..engine.ports import Ports
from ..engine.states import StepName
from ..engine.wording import as_data, say, template
from ..log_marks import marked
from ..models import CheckItem, MigrationTask, SourceObject
from ..services import Refused, planned_databases, work
from .lease import Lease
from .ledger import OrmLedger
from .planning import build_plan, for_check
from .ports import OrmStore
from .reading import read_objects
from .recorder import Recorder
from .standing import beside

log = logging.getLogger(__name__)

_GATHER_SECONDS = 0.3
"""How long results gather: to write a lot down costs much more than what is in it, and nobody looks more often."""


def run_check(task_id: str, codes: str = "") -> None:
    """Run all items, or those of `codes` (joined by commas), and close the check. A duplicate delivery walks away."""
    claim = work.claim_check(task_id, queue.worker_name())
    if claim is None:
        return
    task = MigrationTask.objects.get(pk=task_id)
    checked = draft_hash(task)
    with marked(task=task_id, action="check"), Recorder() as recorder, Lease(claim) as lease:
        try:
            if task.clear_target:
                _clear_target(task, claim, recorder, lease)
            _run_items(task, frozenset(filter(None, codes.split(","))), lease, recorder)
        except Exception as error:
            if isinstance(error, Interrupted) or lease.reason is not None:  # or what came of its sessions being cut
                log.info("stopped")
                work.release_check(claim)
                return
            _broken_check(task, error)
        work.finish_check(task_id, hash_checked=checked, partial=bool(codes))
    work.release_check(claim)


def _clear_target(task: MigrationTask, claim: work.Claim, recorder: Recorder, lease: Lease) -> None:
    """Drop exactly what an earlier run of this task made on the target."""
    plan = build_plan(task, planned_databases(task))
    store = OrmStore(claim, recorder, {database.source_name: database.target_name for database in plan.databases})
    store.current = StepName.CHECK
    with Executor(plan, Ports(control=lease, ledger=OrmLedger(claim, recorder), store=store)) as executor:
        left = executor.clear_target()
    MigrationTask.objects.filter(pk=task.pk).update(clear_target=False)
    text = say("The objects made before were cleared from the target.")
    if left:
        text += say(" {number} could not be dropped because something else depends on them.", number=len(left))
    store.event("warning" if left else "info", "TARGET-CLEARED", text)


def _wants_objects(task: MigrationTask) -> bool:
    """Say whether the object tree has to be read first: a task that names its databases on the command line has none.

    Reading it opens every database of the source, and stores a row for each table.
    """
    if SourceObject.objects.filter(task=task).exists():
        return False
    if not task.foreground:
        return True
    try:
        return not planned_databases(task)
    except Refused:
        return True


def _run_items(task: MigrationTask, only: frozenset[str], lease: Lease, recorder: Recorder) -> None:
    plan = _plan(task)
    infos = checks.items_for(plan)
    position = {info.code: number for number, info in enumerate(infos)}
    recorder.call(lambda: work.begin_items(task, infos, only))
    notes = _Notes(recorder, lambda known: work.store_results(task, [(position.get(r.code, 0), r) for r in known]))
    later = (lambda: _read_first(task)) if _wants_objects(task) else None
    with beside(task, only, notes.add) as places:
        results = checks.run_checks(plan, lease, only=only or None, report=notes.add, later=later)
    results = places() + results
    notes.write_all()
    recorder.call(lambda: work.forget_others(task, results))


def _plan(task: MigrationTask) -> Plan:
    try:
        databases = planned_databases(task)
    except Refused:
        databases = []
    return for_check(build_plan(task, databases), task)


def _read_first(task: MigrationTask) -> checks.Known:
    """Read the object tree, in a thread of its own: what asks the target alone does not wait for it."""
    began, unread = time.monotonic(), None
    try:
        read_objects(task)
    except EngineError as error:
        log.info("objects of %s could not be read: %s", task.pk, error)
        unread = error
    try:
        return checks.Known(plan=_plan(task), unread=unread, seconds=time.monotonic() - began)
    finally:
        connections.close_all()


class _Notes:
    """Results on their way to our rows: they gather for a moment, and while an earlier lot is being written."""

    def __init__(self, recorder: Recorder, write: Callable[[list[checks.CheckResult]], None]) -> None:
        self._recorder, self._write = recorder, write
        self._lock = threading.Lock()
        self._waiting: list[checks.CheckResult] = []
        self._busy = False
        self._complete = threading.Event()
        self._writing: Future[None] | None = None

    def add(self, result: checks.CheckResult) -> None:
        """Write a result down soon. Raises what an earlier writing raised."""
        with self._lock:
            self._waiting.append(result)
            busy, self._busy = self._busy, True
        if not busy:
            if self._writing:
                self._writing.result()
            self._writing = self._recorder.start(self._work)

    def write_all(self) -> None:
        """Return when everything is written. Nothing is added any more."""
        self._complete.set()
        if self._writing:
            self._writing.result()

    def _work(self) -> None:
        while True:
            self._complete.wait(_GATHER_SECONDS)
            with self._lock:
                results, self._waiting = self._waiting, []
                self._busy = bool(results)
            if not results:
                return
            self._write(results)


def _touch(task: MigrationTask) -> None:
    MigrationTask.objects.filter(pk=task.pk).update(version=F("version") + 1)


def _broken_check(task: MigrationTask, error: Exception) -> None:
    """Show an error of the check run itself as a failed item: never a check that silently did not run."""
    incident = secrets.token_hex(4)
    log.error("incident %s: check of %s", incident, task.pk, exc_info=error)
    found = say("Unexpected error, id {incident}.", incident=incident)
    hint = say("See the log under {incident}, then check again.", incident=incident)
    if isinstance(error, EngineError):
        found, hint = error.message, error.hint or hint
    CheckItem.objects.update_or_create(
        task=task,
        code=work.CHECK_RUN,
        database="",
        defaults={
            "title": template("The check could be run"),
            "group": "Connection",
            "status": "failed",
            "found": found,
            "hint": hint,
            "words": as_data(found=found, hint=hint),
            "checked_at": timezone.now(),
        },
    )
    CheckItem.objects.filter(task=task, status="waiting").delete()
