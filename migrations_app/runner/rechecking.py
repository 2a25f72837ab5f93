"""Checks that run again by themselves: before a started task makes anything, and before Complete."""

from __future__ import annotations

from uuid import UUID

from ..engine import checks
from ..engine.checks.moments import BEFORE_COMPLETE, UNREACHABLE
from ..engine.checks.registry import CheckResult, CheckStatus
from ..engine.errors import ConnectionLost, EngineError
from ..engine.plan import Plan
from ..engine.wording import Sentence, listing, say, together
from ..models import MigrationTask
from ..services import work
from .lease import Lease
from .planning import for_check
from .recorder import Recorder
from .standing import beside

_NAMED = 10


class CompleteRefused(EngineError):
    """Something that Complete needs is Failed; the sync goes on."""

    code = "CHECK-COMPLETE"


def may_start(task: MigrationTask, claim: work.Claim, plan: Plan, lease: Lease, recorder: Recorder) -> bool:
    """Check everything again when the check is old and nothing was made yet. False: the task is back at its check.

    Raises ConnectionLost when a server cannot be reached, which is waited out, or what `Control.check` raises.
    """
    if not work.wants_check_before_start(task):
        return True
    recorder.call(lambda: work.say_checking(claim))
    with beside(task, frozenset(), lambda result: None) as places:
        results = checks.run_checks(for_check(plan, task), lease, report=lambda result: None)
    results = [*places(), *results]
    failed = [result for result in results if result.status is CheckStatus.FAILED]
    for result in failed:
        if result.code in UNREACHABLE:
            raise ConnectionLost(say("Checking again before the start: {found}", found=result.found), hint=result.hint)

    def store() -> None:
        changed = work.changes(task, results)
        work.store_again(claim, checks.items_for(plan), results)
        if failed:
            work.start_refused(claim, changed)
        else:
            work.start_goes_on(claim, changed)

    recorder.call(store)
    return not failed


def before_complete(claim: work.Claim, plan: Plan, lease: Lease, recorder: Recorder) -> None:
    """Check what Complete needs. Raises CompleteRefused, and then the sync goes on as before.

    The last slice of the sync has looked for new tables on the source.
    """
    if names := recorder.call(lambda: work.undecided(UUID(claim.task_id))):
        told = say("Nobody has decided about tables that are new on the source: {names}.", names=listing(names, _NAMED))
        where = say("Add or ignore each of them on the task page, then press Complete again.")
        raise CompleteRefused(told, hint=say("The sync goes on and nothing is lost. ") + where)
    results = checks.run_checks(plan, lease, only=BEFORE_COMPLETE, report=lambda result: None)
    recorder.call(lambda: work.store_again(claim, checks.items_for(plan), results))
    failed = [result for result in results if result.status is CheckStatus.FAILED]
    if failed:
        raise CompleteRefused(
            say("Complete was not begun, because the check before it found: ")
            + together((_words(one) for one in failed), "\n"),
            hint=say("The sync goes on and nothing is lost. ")
            + together(dict.fromkeys(one.hint for one in failed))
            + say(" Then press Complete again."),
        )


def _words(result: CheckResult) -> Sentence:
    where = f" ({result.database})" if result.database else ""
    return say("{title}{where}: {found}", title=say(result.title), where=where, found=result.found)
