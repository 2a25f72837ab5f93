"""Runs the items: each one is looked at, whatever the others found, and no surprise in one ends the run."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import psycopg

from ..connect import first_line
from ..errors import Interrupted
from ..plan import DatabasePlan, Plan
from ..ports import Control
from .context import Context, Unavailable
from .registry import ITEMS, CheckInfo, CheckResult, CheckStatus, Finding, Item, all_items, failed

_SELECT = "Go back to the objects step and select at least one table."
logger = logging.getLogger(__name__)


def items_for(plan: Plan) -> list[CheckInfo]:
    """Return the items that a task of this kind has, in the order of the page."""
    return [info for info in all_items() if plan.incremental or not info.incremental_only]


def run_checks(
    plan: Plan,
    control: Control,
    *,
    only: frozenset[str] | None = None,
    report: Callable[[CheckResult], None],
) -> list[CheckResult]:
    """Look at every item, or at those in `only`, and return the results in the order of the page.

    `report` gets each result as soon as it is known. Reads only: nothing is made or changed on either server. Raises
    nothing but what `Control.check` raises; an item that cannot look is Failed with the reason.
    """
    results: list[CheckResult] = []
    with Context(plan, control) as context:
        for info in items_for(plan):
            if only is not None and info.code not in only:
                continue
            for result in _results(context, ITEMS[info.code]):
                control.check()
                results.append(result)
                report(result)
    return results


def is_startable(results: list[CheckResult]) -> bool:
    """Say whether Start is possible: something was looked at and nothing Failed."""
    return bool(results) and all(result.status is not CheckStatus.FAILED for result in results)


def _results(context: Context, entry: Item) -> Iterator[CheckResult]:
    context.control.check()
    if not entry.info.per_database:
        yield _timed(context, entry)
        return
    if not context.plan.databases:
        yield _result(entry.info, "", failed("This could not be looked at because nothing is selected.", _SELECT))
    for database in context.plan.databases:
        context.control.check()
        yield _timed(context, entry, database)


def _timed(context: Context, entry: Item, *database: DatabasePlan) -> CheckResult:
    began = time.monotonic()
    result = _result(entry.info, database[0].source_name if database else "", _look(context, entry, *database))
    return replace(result, seconds=round(time.monotonic() - began, 3))


def _look(context: Context, entry: Item, *database: DatabasePlan) -> Finding:
    try:
        with context.patience():
            return entry.look(context, *database)
    except Interrupted:
        raise
    except Unavailable as unavailable:
        failure = unavailable.failure
        return failed(f"This could not be looked at because: {failure.message}", failure.hint)
    except psycopg.Error as error:
        context.control.check()  # a cancelled statement is an interruption, not a finding
        state = f" ({error.sqlstate})" if error.sqlstate else ""
        return failed(
            f"This could not be looked at: {first_line(error)}{state}",
            "Run the item again. If it stays, the account may lack the right to read the server's catalogs.",
        )
    except Exception as error:
        logger.exception("check item %s ended unexpectedly", entry.info.code)
        return failed(
            f"This could not be looked at: an unexpected {type(error).__name__} occurred.",
            "Run the item again. If it stays, the worker's log holds the details.",
        )


def _result(info: CheckInfo, database: str, finding: Finding) -> CheckResult:
    return CheckResult(
        code=info.code,
        title=info.title,
        group=info.group,
        status=finding.status,
        found=finding.found,
        hint=finding.hint,
        sql=finding.sql,
        database=database,
        needs_restart=finding.needs_restart,
        fix=finding.fix,
        fix_arguments=finding.fix_arguments,
    )
