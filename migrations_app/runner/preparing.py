"""Answers two requests of the check page: mend what an item found, and say what the source needs."""

from __future__ import annotations

from typing import Any

from .. import services
from ..draft_facts import draft_hash
from ..engine.checks.fixes import fix_of, run_fix
from ..engine.errors import EngineError
from ..engine.plan import Plan
from ..engine.prepare import prepare
from ..engine.source_facts import read_facts
from ..engine.wording import say
from ..models import ConnectionTest, MigrationTask
from ..services import Refused, planned_databases
from .planning import build_plan


def mend(test: ConnectionTest) -> tuple[str, dict[str, Any]]:
    """Run the statements of a fix and have its item checked again. Raises EngineError with the server's reason.

    A task that was edited since the press may name another server by now: nothing is run there.
    """
    if test.detail.get("draft") != draft_hash(test.task):
        raise EngineError(say("The task changed after the press on Fix, so nothing was run."), code="FIX-STALE")
    fix = fix_of(str(test.detail["fix"]), test.detail["arguments"])
    try:
        run_fix(_plan(test.task), fix)
    except EngineError as error:
        services.fix_failed(test, error.message)
        raise
    services.fix_done(test, fix)
    return say("{label}: done.", label=say(fix.label)), test.detail


def look_at_source(test: ConnectionTest) -> tuple[str, dict[str, Any]]:
    """Return what the source needs for this task, as the page shows it."""
    plan = _plan(test.task)
    prepared = prepare(plan, read_facts(plan))
    detail = {**prepared.as_json(), "draft": draft_hash(test.task)}
    return (say("Looked at the source.") if prepared.reached else prepared.failure), detail


def _plan(task: MigrationTask) -> Plan:
    try:
        databases = planned_databases(task)
    except Refused:
        databases = []
    return build_plan(task, databases)
