"""The changed table that stopped a task: old and new, the statements, and the choices there are."""

from __future__ import annotations

from typing import Any

from django.utils.functional import Promise
from django.utils.translation import gettext as _

from ..engine.drift import ChangeKind, Doubt, source_has
from ..engine.states import Action, Status
from ..engine.values import frozen
from ..models import MigrationTask
from . import labels
from .conflicts import ActionButton, button

_CHOICES = [Action.RETRY, Action.APPLY, Action.RECOPY, Action.DROP]


@frozen
class ChangeLine:
    """One difference: `old` as the target has it, `new` as the source has it."""

    what: str
    name: str
    old: str
    new: str


@frozen
class DriftView:
    """A changed table as pages show it."""

    database: str
    table: str
    lines: list[ChangeLine]
    statements: list[str]
    doubt: str
    choices: list[ActionButton]


def drift(task: MigrationTask) -> DriftView | None:
    """Return the changed table that a failed task stopped at, None when there is none."""
    facts = task.drift
    if task.status != Status.FAILED or not facts:
        return None
    without = {Action.APPLY} if not facts["statements"] else set()
    without |= set() if source_has(facts) else {Action.RECOPY}
    if _is_of_top(facts):
        without.add(Action.DROP)  # it has no rows of its own: its partitions are the task's tables
    return DriftView(
        database=facts["database"],
        table=f"{facts['schema']}.{facts['name']}",
        lines=[_line(change) for change in facts["changes"]],
        statements=list(facts["statements"]),
        doubt=str(_why_not(facts)),
        choices=[button(action) for action in _CHOICES if action not in without],
    )


def _why_not(facts: dict[str, Any]) -> Promise | str:
    """Return why nothing can be applied, and what helps; empty where something can."""
    doubt = Doubt(facts["doubt"])
    if _is_made_again(facts):
        return labels.MADE_AGAIN
    return labels.TOP_IN_USE if doubt and _is_of_top(facts) else labels.DOUBTS.get(doubt, "")


def _is_of_top(facts: dict[str, Any]) -> bool:
    """Say whether a partitioned table has another name: its page offers other choices than that of one with rows."""
    return any(change["kind"] == ChangeKind.TOP_RENAMED for change in facts["changes"])


def _is_made_again(facts: dict[str, Any]) -> bool:
    """Say whether another table has the name of one that was dropped on the source."""
    return any(change["kind"] == ChangeKind.TABLE_GONE and change["new"] for change in facts["changes"])


def _line(change: dict[str, Any]) -> ChangeLine:
    absent = _("not there")
    return ChangeLine(
        what=str(labels.TABLE_AGAIN if _is_made_again({"changes": [change]}) else labels.CHANGED[change["kind"]]),
        name=change["name"],
        old=change["old"] or absent,
        new=change["new"] or absent,
    )
