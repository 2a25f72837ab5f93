"""The conflict that stopped a task, the choices there are, and the tables that its sync passes by."""

from __future__ import annotations

from ..engine.conflicts import ConflictKind, Obstacle
from ..engine.ports import TableStatus
from ..engine.states import Action, Status, StepName, allowed_actions
from ..engine.values import frozen
from ..models import MigrationTask, RowPermission, TableCopy
from . import labels

_CHOICES = [Action.RETRY, Action.TAKE_SOURCE, Action.RECOPY, Action.QUARANTINE, Action.DROP]
_SYNCED = (StepName.SYNC, StepName.COMPARE, StepName.COMPLETE)
_NAMED = 10


@frozen
class ActionButton:
    """One thing that the operator can do now. `confirm` is empty for a page of its own."""

    name: str
    label: str
    tone: str  # 'pri', 'danger' or ''
    confirm: str


@frozen
class ConflictView:
    """A conflict as pages show it. `key` is user data: for those who may see values of rows."""

    database: str
    table: str
    kind: str
    change: str
    key: str
    obstacle: str
    choices: list[ActionButton]


@frozen
class Aside:
    """The first names of the tables that are quarantined and of those that were dropped, and how many there are."""

    quarantined: str
    dropped: str
    quarantined_count: int
    dropped_count: int


def button(action: str, task: MigrationTask | None = None) -> ActionButton:
    """Return the button of an action that the operator confirms, asked as it is of `task`."""
    wanted = Action(action)
    tone = "danger" if wanted is Action.DROP else "pri" if wanted is Action.RETRY else ""
    step, incremental = (task.current_step, task.incremental) if task else ("", True)
    asked = labels.confirmation(wanted, step, incremental=incremental)
    return ActionButton(name=wanted.value, label=str(labels.ACTIONS[wanted]), tone=tone, confirm=asked)


def conflict(task: MigrationTask) -> ConflictView | None:
    """Return the conflict of one row that a failed task stopped at, None when there is none."""
    facts = task.conflict
    if task.status != Status.FAILED or not facts:
        return None
    obstacle = Obstacle(facts["obstacle"])
    possible = [action for action in _CHOICES if not (obstacle and action is Action.TAKE_SOURCE)]
    return ConflictView(
        database=facts["database"],
        table=f"{facts['schema']}.{facts['name']}",
        kind=str(labels.CONFLICTS[ConflictKind(facts["kind"])]),
        change=str(labels.CHANGES[facts["change"]]),
        key=facts["key"],
        obstacle=str(labels.OBSTACLES.get(obstacle, "")),
        choices=[button(action) for action in possible],
    )


def aside(task: MigrationTask) -> Aside:
    """Return the tables that the sync of a task passes by."""
    rows = TableCopy.objects.filter(task=task, status__in=[TableStatus.QUARANTINED, TableStatus.DROPPED])
    names: dict[str, list[str]] = {TableStatus.QUARANTINED: [], TableStatus.DROPPED: []}
    for status, schema, name in rows.values_list("status", "schema", "name"):
        names[status].append(f"{schema}.{name}")
    quarantined, dropped = names[TableStatus.QUARANTINED], names[TableStatus.DROPPED]
    return Aside(
        quarantined=_named(quarantined),
        dropped=_named(dropped),
        quarantined_count=len(quarantined),
        dropped_count=len(dropped),
    )


def _named(names: list[str]) -> str:
    return ", ".join(names[:_NAMED]) + (", …" if len(names) > _NAMED else "")


def may_quarantine(task: MigrationTask) -> bool:
    """Say whether tables of the task can be quarantined now."""
    return _syncs(task) and Action.QUARANTINE in allowed_actions(Status(task.status))


def may_drop(task: MigrationTask) -> bool:
    """Say whether a quarantined table of the task can be dropped now."""
    return _syncs(task) and Action.DROP in allowed_actions(Status(task.status))


def may_drop_any(task: MigrationTask) -> bool:
    """Say whether any table of the task can be dropped now: it has failed in its sync or in the copy."""
    return task.status == Status.FAILED and (_syncs(task) or task.current_step == StepName.COPY)


def _syncs(task: MigrationTask) -> bool:
    return task.incremental and task.current_step in _SYNCED


def rows_taken(task: MigrationTask) -> list[RowPermission]:
    """Return the permissions to take the source's row that somebody gave, oldest first."""
    return list(RowPermission.objects.filter(task=task)[:1000])
