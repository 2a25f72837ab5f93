"""One task as pages show it: where it is, what comes next, and what the operator can do."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

from django.contrib.auth.models import AnonymousUser
from django.db.models import QuerySet
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from ..engine.ports import Kind
from ..engine.selection import Selection
from ..engine.states import LIVE, Action, Status, StepName, allowed_actions, may_still_copy, steps_for
from ..models import LedgerEntry, MigrationTask, Step, User
from . import labels
from .conflicts import ActionButton, ConflictView, conflict
from .drift import DriftView, drift
from .wal import wal_mark
from .wording import told

_GONE = ("SRC-SLOTLOST", "SRC-SLOTGONE", "SRC-FAILOVER", "SPOOL-GONE")
_CATCHING_UP = ("waiting for", "applying")
_OFFERED = [
    Action.START,
    Action.START_NOW,
    Action.COMPLETE,
    Action.RESUME,
    Action.NEW_COPY,
    Action.RETRY,
    Action.START_AGAIN,
    Action.COMPARE,
    Action.PAUSE,
    Action.REOPEN,
    Action.ACCESS,
    Action.CANCEL,
    Action.DELETE,
]
_PRIMARY = {Action.START, Action.COMPLETE, Action.RESUME, Action.RETRY}
_DANGER = {Action.CANCEL, Action.DELETE}


class NotFound(Exception):
    """There is no such object, or it is not this user's."""


@dataclass(frozen=True, kw_only=True)
class StepLine:
    """One step as pages show it. `state`: done, running, pending, failed, or stopped before its end."""

    name: str
    label: str
    state: str
    note: str = ""
    percent: int | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None

    @property
    def seconds(self) -> float | None:
        """How long it took, or has been running."""
        if self.started_at is None or self.finished_at is None:
            return None
        return (self.finished_at - self.started_at).total_seconds()


@dataclass(frozen=True, kw_only=True)
class TaskRow:
    """Everything that the list shows about a task."""

    id: uuid.UUID
    name: str
    version: int
    status: str
    status_label: str
    tone: str
    since: datetime
    route_names: str
    route_hosts: str
    tags: list[str] = field(default_factory=list)
    step_label: str = ""
    step_position: int | None = None
    step_count: int = 0
    percent: int | None = None
    note: str = ""
    remaining: list[StepLine] = field(default_factory=list)
    rows_per_second: float | None = None
    bytes_per_second: float | None = None
    eta_at: datetime | None = None
    lag_bytes: int | None = None
    lag_seconds: float | None = None
    queue_place: int | None = None
    scheduled_at: datetime | None = None
    error_code: str = ""
    error_message: str = ""
    error_hint: str = ""
    wal_mark: str = ""  # what the list shows when much WAL is kept for the task
    turn: str = ""  # what tells that a waiting row says something else by now, though nothing happened to its task
    waits_for_try: bool = False
    actions: list[ActionButton] = field(default_factory=list)
    conflict: ConflictView | None = None
    drift: DriftView | None = None
    live: bool = False

    @property
    def choices(self) -> list[ActionButton]:
        """Everything that can be confirmed now: the actions, and what can be chosen where the sync stopped."""
        stopped = self.conflict or self.drift
        return [*self.actions, *(stopped.choices if stopped else ())]


Viewer = User | AnonymousUser


def visible_tasks(user: Viewer) -> QuerySet[MigrationTask]:
    """Tasks that this user may see. Every signed-in user sees all tasks of the installation."""
    if not user.is_authenticated:
        return MigrationTask.objects.none()
    return MigrationTask.objects.all()


def with_rows(tasks: QuerySet[MigrationTask]) -> QuerySet[MigrationTask]:
    """Read with the tasks what `task_row` looks at: a fixed number of queries for any number of tasks."""
    return tasks.select_related("source", "target").prefetch_related("steps", "databases", "tags")


def get_task(*, user: Viewer, task_id: uuid.UUID | str) -> MigrationTask:
    """Return one task. Raises NotFound. The one door through which pages reach a task."""
    try:
        return with_rows(visible_tasks(user)).get(pk=task_id)
    except (MigrationTask.DoesNotExist, ValueError) as error:
        raise NotFound("There is no such migration task.") from error


def queue_places(tasks: Iterable[MigrationTask]) -> dict[uuid.UUID, int]:
    """Return the place in the queue of those tasks that are queued, the next one being 1."""
    wanted = {task.pk: task.queued_at for task in tasks if task.status == Status.QUEUED}
    if not wanted:
        return {}
    last = max((at for at in wanted.values() if at), default=None)
    waiting = MigrationTask.objects.filter(status=Status.QUEUED).order_by("queued_at", "pk")
    if last is not None:
        waiting = waiting.filter(queued_at__lte=last)
    order = {key: place for place, key in enumerate(waiting.values_list("pk", flat=True), start=1)}
    return {key: order[key] for key in wanted if key in order}


def turn_of(task: MigrationTask, places: dict[uuid.UUID, int]) -> str:
    """Return the place in the queue, or the minutes until a set time; '' for a task that waits for neither."""
    if task.status == Status.QUEUED:
        return str(places.get(task.pk, ""))
    if task.status == Status.SCHEDULED and task.scheduled_at is not None:
        return str(max(0, int((task.scheduled_at - timezone.now()).total_seconds() // 60)))
    return ""


def task_row(task: MigrationTask, places: dict[uuid.UUID, int] | None = None) -> TaskRow:
    """Return the row of one task. With `places` given, the ledger is not asked: the list offers less than the page."""
    status = Status(task.status)
    label, tone = labels.STATUSES[status]
    steps = step_lines(task)
    current = next((line for line in steps if line.name == task.current_step), None)
    position = next((number for number, line in enumerate(steps, start=1) if line is current), None)
    with_notes = status == Status.COMPLETED and task.notes_count > 0
    alone = places is None
    places = queue_places([task]) if places is None else places
    return TaskRow(
        id=task.pk,
        name=task.name,
        version=task.version,
        status=status.value,
        status_label=_("Completed, with notes") if with_notes else str(label),
        tone="warn" if with_notes else tone,
        since=task.finished_at or task.started_at or task.created_at,
        route_names=_route_names(task),
        route_hosts=f"{task.source or _('not filled in')} → {task.target or _('not filled in')}",
        tags=[tag.name for tag in task.tags.all()],
        step_label=current.label if current else "",
        step_position=position,
        step_count=len(steps),
        percent=100 if status == Status.COMPLETED else current.percent if current else None,
        note=current.note if current else "",
        remaining=[line for line in steps if line.state != "done"],
        rows_per_second=_rows_per_second(task),
        bytes_per_second=task.bytes_per_second,
        eta_at=task.eta_at,
        lag_bytes=task.lag_bytes,
        lag_seconds=task.lag_seconds,
        queue_place=places.get(task.pk),
        scheduled_at=task.scheduled_at,
        error_code=task.error_code,
        error_message=told(task, "error_message"),
        error_hint=told(task, "error_hint"),
        wal_mark=wal_mark(task),
        turn=turn_of(task, places),
        waits_for_try=task.failing_since is not None and task.not_before is not None,
        actions=action_buttons(task, ledger=alone),
        conflict=conflict(task),
        drift=drift(task),
        live=status in LIVE,
    )


def _rows_per_second(task: MigrationTask) -> float | None:
    """Rows are counted when a table or a part of it has arrived: until then the copy knows its bytes only."""
    return task.rows_per_second or None if task.current_step == StepName.COPY else task.rows_per_second


def _route_names(task: MigrationTask) -> str:
    databases = list(task.databases.all())
    names = [database.source_name for database in databases]
    if not names:
        selection = Selection.from_json(task.selection)
        chosen = {path[0] for path, value in selection.rules.items() if path and value}
        names = sorted(chosen | {rule.scope[0] for rule in selection.patterns if rule.mode})
        names = names or ([_("whole instance")] if selection.includes() else [_("nothing selected")])
    shown = ", ".join(names[:3])
    if len(names) > 3:
        more = len(names) - 3
        shown = ngettext("%(names)s and %(more)d more", "%(names)s and %(more)d more", more) % {
            "names": shown,
            "more": more,
        }
    same = all(database.source_name == database.target_name for database in databases)
    return shown if same else shown + " → " + ", ".join(database.target_name for database in databases[:3])


def step_lines(task: MigrationTask) -> list[StepLine]:
    """Return the steps of a task; before Start those that it will have."""
    rows: Iterable[Step] = task.steps.all()
    lines = [_step_line(task, row) for row in rows]
    return lines or [
        StepLine(name=name, label=str(labels.STEPS[name]), state="pending")
        for name in steps_for(incremental=task.incremental)
    ]


def _step_line(task: MigrationTask, row: Step) -> StepLine:
    state, note, percent = row.state, row.note, row.percent
    if state == "pending" and row.started_at:
        state = "stopped"
    if state == "done" and not note[:1].isdecimal():
        note = ""  # what it was busy with last, not what it has done
    if row.name == StepName.SYNC and not (task.compare_requested or task.recopy_requested):
        note, percent = "", None  # what a comparison or a copy left there: the sync itself has no end that it nears
    if note.startswith(_CATCHING_UP):
        percent = None
    return StepLine(
        name=row.name,
        label=str(labels.STEPS[StepName(row.name)]),
        state=state,
        note=told(row, "note") if note else "",
        percent=percent,
        started_at=row.started_at,
        finished_at=row.finished_at,
    )


def action_buttons(task: MigrationTask, *, ledger: bool = True) -> list[ActionButton]:
    """Return what the operator can do now, in the order in which it is offered.

    How a failed task can be edited depends on what it has made; with `ledger` False neither form is offered.
    """
    allowed = set(allowed_actions(Status(task.status)))
    if task.status == Status.COMPLETING and task.current_step == StepName.CLEANUP:
        allowed.discard(Action.CANCEL)
    if task.error_code not in _GONE or not task.incremental:
        allowed.discard(Action.NEW_COPY)
    if task.compare_requested:
        allowed.discard(Action.COMPARE)
    if not task.incremental:
        allowed -= {Action.COMPARE, Action.COMPLETE}
    if Action.REOPEN in allowed:
        allowed -= _edits_not_possible(task) if ledger else {Action.REOPEN, Action.ACCESS}
    # Where only a new copy helps, Retry would fail again.
    first = _PRIMARY - {Action.RETRY} | {Action.NEW_COPY} if Action.NEW_COPY in allowed else _PRIMARY
    return [
        ActionButton(
            name=action.value,
            label=str(labels.ACTIONS[action]),
            tone="pri" if action in first else "danger" if action in _DANGER else "",
            confirm=str(labels.CONFIRM.get(action, "")),
        )
        for action in _OFFERED
        if action in allowed
    ]


def may_recopy(task: MigrationTask) -> bool:
    """Say whether single tables can be copied once more now."""
    step = StepName.SYNC if task.incremental else StepName.COMPARE
    return task.current_step == step and Action.RECOPY in allowed_actions(Status(task.status))


def _edits_not_possible(task: MigrationTask) -> set[Action]:
    made = LedgerEntry.objects.filter(task=task, removed_at=None).exclude(kind=Kind.FILE).exists()
    return {Action.REOPEN} if made else {Action.ACCESS}


def may_tune(task: MigrationTask) -> bool:
    """Say whether the speed of the task's copy may be set."""
    return may_still_copy(task.status, task.current_step)
