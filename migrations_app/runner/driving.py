"""Drives a claimed task through its steps, and records how each ends."""

from __future__ import annotations

import logging
import secrets
import shutil
import time
from collections.abc import Callable
from typing import Any

from django.conf import settings

from .. import own_database, queue
from ..engine.errors import (
    BackToSync,
    CompareDiffers,
    CompleteStopped,
    EngineError,
    Interrupted,
    LeaseOutrun,
    WorkerFull,
    WorkerMemory,
)
from ..engine.executor import Executor
from ..engine.failpoints import durable
from ..engine.plan import Plan
from ..engine.ports import Ports
from ..engine.states import WORKED, Status, StepName
from ..engine.wording import say
from ..log_marks import at_step, marked
from ..models import MigrationTask
from ..refusals import cleans_up_again
from ..services import work
from . import rechecking
from .lease import CleanupLease, Lease, stopping
from .ledger import OrmLedger
from .planning import build_plan
from .ports import OrmStore
from .recorder import Recorder

log = logging.getLogger(__name__)


class OwnDatabaseLost(EngineError):
    """Our own database did not answer in the middle of a run."""

    code = "CONSOLE-DB"
    retryable = True

    def __init__(self) -> None:
        super().__init__(say("The console's own database did not answer."))


def run_migration() -> bool:
    """Take the full migration whose turn it is, up to its sync. Returns False when there was nothing to take."""
    claim = None if stopping() else work.claim_migration(queue.worker_name())
    if claim is None:
        return False
    _run(claim, stop_at_sync=True)
    return True


def run_sync(task_id: str) -> bool:
    """Run a slice of one task: sync, comparison, Complete, or the clean-up of Cancel. False: a duplicate delivery."""
    claim = None if stopping() else work.claim_sync(task_id, queue.worker_name())
    if claim is None:
        return False
    _run(claim)
    return True


def drive_foreground(task_id: str, *, waiting: Callable[[float], None]) -> None:
    """Drive one task in this process until it has ended, failed, or waits for the operator.

    `waiting(seconds)` is called while a retry is due later, and while the console's own database does not answer.
    Returns early when `stop_all` was called, and when the task has been handed over to the workers meanwhile, as when
    this process was suspended: what it was told to do then is not to be done any more.
    """
    seen: dict[str, Any] = {"is_ours": False}

    def turn() -> None:
        task = MigrationTask.objects.get(pk=task_id)
        seen["handed_over"] = seen["is_ours"] and not task.foreground and task.status != Status.CANCELLING
        if seen["handed_over"]:
            return
        seen["is_ours"] = task.foreground
        claim = work.claim_foreground(task_id, queue.worker_name())
        if claim is not None:
            _run(claim)
        seen.update(status=Status(MigrationTask.objects.get(pk=task_id).status), worked=claim is not None)

    def wait(seconds: float) -> bool:
        waiting(seconds)
        return stopping()

    while own_database.keep_trying(turn, wait):
        if seen["handed_over"] or seen["status"] not in WORKED or stopping():
            return
        waiting(0.0 if seen["worked"] else 0.2)


def _run(claim: work.Claim, *, stop_at_sync: bool = False) -> None:
    """Run steps until the task has ended, wants another slice, waits, or is lost. Never raises for the task's errors.

    The task is given back only after every session of ours is closed, so that the next worker meets none of them.
    """
    task = MigrationTask.objects.get(pk=claim.task_id)
    run = _TaskRun(claim, task)
    with marked(task=claim.task_id, action="clean" if task.status == Status.CANCELLING else "migrate"):
        at_step(run.step)
        try:
            run.work(stop_at_sync=stop_at_sync)
        except LeaseOutrun as reason:
            found = reason.epoch
            log.warning("the target was written under epoch %s, ours is %s", found, claim.epoch)
            _written(claim, lambda: work.outrun(claim, run.step, found))
        except Interrupted as reason:
            log.info("stopped: %s", type(reason).__name__)
            _release(claim)
        except Exception as error:
            known = _as_engine_error(error)
            _written(claim, lambda: _record_failure(claim, run.step, known))
        else:
            _release(claim)


@durable("task.release")
def _release(claim: work.Claim) -> None:
    _written(claim, lambda: work.release(claim))


def _written(claim: work.Claim, write: Callable[[], None]) -> None:
    """Write how a run ended, however long our own database is away: the claim says whether it is still of interest."""

    def wait(seconds: float) -> bool:
        time.sleep(seconds)
        return stopping()

    if not own_database.keep_trying(write, wait):
        log.warning("%s could not be given back; its lease runs out by itself", claim.task_id)


class _TaskRun:
    """One claim being worked off."""

    def __init__(self, claim: work.Claim, task: MigrationTask) -> None:
        self.claim, self.task = claim, task
        self.step = StepName(task.current_step or StepName.SCHEMA)
        self.before_complete: Callable[[], None] = lambda: None
        self.remove_folder: Callable[[], None] = lambda: None

    def work(self, *, stop_at_sync: bool) -> None:
        """Run steps until this worker is done with the task."""
        if cleans_up_again(self.task):
            self._clean_up_again()
            return
        cleaning = self.task.status == Status.CANCELLING
        lease: Lease = CleanupLease(self.claim) if cleaning else Lease(self.claim)
        plan = build_plan(self.task)
        targets = {database.source_name: database.target_name for database in plan.databases}
        left: int | None = None
        with Recorder(lease.check) as recorder, lease:
            if not cleaning and not rechecking.may_start(self.task, self.claim, plan, lease, recorder):
                return
            self.before_complete = lambda: rechecking.before_complete(self.claim, plan, lease, recorder)
            self.remove_folder = lambda: _remove_folder(plan)
            store = OrmStore(self.claim, recorder, targets)
            ports = Ports(control=lease, ledger=OrmLedger(self.claim, recorder), store=store)
            with Executor(plan, ports) as executor:
                if cleaning:
                    left = len(executor.cancelled())
                while not cleaning and self._go_on(executor, lease, store):
                    if stop_at_sync and self.step == StepName.SYNC:
                        break
            store.flush()
        if left is not None:
            _remove_folder(plan)
            with durable("task.cancelled"):
                work.cancelled(self.claim, left)

    def _clean_up_again(self) -> None:
        """Remove what a task that has completed had to leave on its servers."""
        plan, lease = build_plan(self.task), Lease(self.claim)
        targets = {database.source_name: database.target_name for database in plan.databases}
        with Recorder(lease.check) as recorder, lease:
            store = OrmStore(self.claim, recorder, targets)
            ports = Ports(control=lease, ledger=OrmLedger(self.claim, recorder), store=store)
            with Executor(plan, ports) as executor:
                executor.cleaned_up_again()
            store.flush()
        _remove_folder(plan)
        with durable("task.cancelled"):
            work.cleaned_up_again(self.claim)

    def _go_on(self, executor: Executor, lease: Lease, store: OrmStore) -> bool:
        """Run one slice of the current step. False: this worker is done with the task."""
        store.current = self.step
        at_step(self.step)
        if lease.back_requested() and self.step in (StepName.SYNC, StepName.COMPARE):
            raise CompleteStopped
        if self.step == StepName.SYNC and lease.recopy_requested():
            executor.recopy()
            with durable("task.asked", "recopy"):
                work.recopies_done(self.claim)
            lease.recopy_done()
        if self.step == StepName.SYNC and lease.compare_requested() and not lease.complete_requested():
            executor.run(StepName.COMPARE)
            with durable("task.asked", "compare"):
                work.comparison_done(self.claim)
            lease.compare_done()
        outcome = executor.run(self.step)
        store.flush()
        work.progressed(self.claim)
        if not outcome.done:
            return self.step == StepName.SYNC and (lease.compare_requested() or lease.recopy_requested())
        if self.step == StepName.SYNC:
            self.before_complete()
        if self.step == StepName.CLEANUP:
            self.remove_folder()
        with durable("task.step", self.step):
            following = work.finish_step(self.claim, self.step)
        self.step = following or self.step
        return following is not None


def _remove_folder(plan: Plan) -> None:
    """Remove the task's files from this worker: before the task has ended, since nobody comes back to it then."""
    with durable("local.remove", "folder"):
        shutil.rmtree(plan.work_dir, ignore_errors=True)


@durable("task.failed")
def _record_failure(claim: work.Claim, step: StepName, error: EngineError) -> None:
    if (
        isinstance(error, BackToSync | CompareDiffers | rechecking.CompleteRefused)
        and MigrationTask.objects.filter(pk=claim.task_id, incremental=True).exists()
    ):
        work.back_to_sync(claim, error)
        work.release(claim)
        return
    work.fail(claim, step, error)


def _as_engine_error(error: Exception) -> EngineError:
    if isinstance(error, EngineError):
        return error
    if own_database.full(error):
        log.warning("the disk of the console's own database is full", exc_info=error)
        full = WorkerFull(settings.DATABASES["default"]["NAME"])
        full.retryable = True
        return full
    if isinstance(error, MemoryError):
        log.warning("no memory left", exc_info=error)
        return WorkerMemory()
    if isinstance(error, own_database.GONE):
        log.warning("the console's own database did not answer", exc_info=error)
        return OwnDatabaseLost()
    incident = secrets.token_hex(4)
    log.error("incident %s", incident, exc_info=error)
    return EngineError(
        say("Unexpected error, id {incident}. Nothing was skipped.", incident=incident),
        hint=say(
            "Everything that was done is kept. The log holds the details under {incident}. Retry, or cancel.",
            incident=incident,
        ),
    )
