"""The task list: one row says where a task is, what comes next, and what the operator can do."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

from django.contrib.auth.models import AnonymousUser
from django.db.models import Count, Q, QuerySet

from ..engine.selection import Selection
from ..engine.states import LIVE, RULES, Action, Status, StepName, allowed_actions, steps_for
from ..models import MigrationTask, Step, User

STEP_LABELS = {
    StepName.CHECK: "Check",
    StepName.SCHEMA: "Schema",
    StepName.COPY: "Copy data",
    StepName.INDEX: "Indexes and keys",
    StepName.SYNC: "Incremental sync",
    StepName.COMPARE: "Comparison",
    StepName.COMPLETE: "Complete",
    StepName.CLEANUP: "Clean-up",
}
_LOOKS: dict[Status, tuple[str, str]] = {
    Status.DRAFT: ("Draft", "mute"),
    Status.CHECKING: ("Checking", "run"),
    Status.CHECK_FAILED: ("Check failed", "bad"),
    Status.CHECK_PASSED: ("Check passed", "ok"),
    Status.SCHEDULED: ("Scheduled", "mute"),
    Status.QUEUED: ("Queued", "mute"),
    Status.RUNNING: ("Running", "run"),
    Status.PAUSED: ("Paused", "warn"),
    Status.READY: ("In sync, ready to complete", "ok"),
    Status.COMPLETING: ("Completing", "run"),
    Status.COMPLETED: ("Completed", "ok"),
    Status.CANCELLING: ("Cancelling", "warn"),
    Status.CANCELLED: ("Cancelled", "mute"),
    Status.FAILED: ("Failed", "bad"),
}
_CONFIRM = {
    Action.START: "Start this migration? The target is filled with the selected objects.",
    Action.START_NOW: "Start now instead of waiting for the scheduled time?",
    Action.PAUSE: "Pause? The source keeps the changes for us meanwhile, which takes disk space there.",
    Action.RESUME: "Resume where the task was paused?",
    Action.RETRY: "Try again from where the task stopped? Everything that was done is kept.",
    Action.COMPARE: "Compare source and target now? Both servers read every selected table once; the sync goes on.",
    Action.COMPLETE: (
        "Complete this migration? Stop writing to the source first: the last changes are drained, both sides are "
        "compared, sequences are set, and the sync is closed. Changes made on the source after that do not arrive."
    ),
    Action.CANCEL: (
        "Cancel this migration? The copy or sync stops and what is ours is removed from both servers. "
        "Tables that were made on the target stay there and are listed."
    ),
    Action.START_AGAIN: "Start this task again? The check runs first.",
    Action.DELETE: "Delete this task with its history? Nothing on either server is touched.",
}
_CATCHING_UP = ("waiting for", "applying")
_OFFERED = [
    Action.START,
    Action.START_NOW,
    Action.COMPLETE,
    Action.RESUME,
    Action.RETRY,
    Action.START_AGAIN,
    Action.COMPARE,
    Action.PAUSE,
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
class ActionButton:
    """One thing that the operator can do now."""

    name: str
    label: str
    tone: str  # 'pri', 'danger' or ''
    confirm: str


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
    error_message: str = ""
    error_hint: str = ""
    actions: list[ActionButton] = field(default_factory=list)
    live: bool = False


Viewer = User | AnonymousUser


def _visible(user: Viewer) -> QuerySet[MigrationTask]:
    """Tasks that this user may see. Every signed-in operator sees all tasks of the installation."""
    if not user.is_authenticated:
        return MigrationTask.objects.none()
    return MigrationTask.objects.select_related("source", "target").prefetch_related("steps", "databases")


def get_task(*, user: Viewer, task_id: uuid.UUID | str) -> MigrationTask:
    """Return one task. Raises NotFound. The one door through which pages reach a task."""
    try:
        return _visible(user).get(pk=task_id)
    except (MigrationTask.DoesNotExist, ValueError) as error:
        raise NotFound("There is no such migration task.") from error


def task_rows(*, user: Viewer, search: str = "", status: str = "") -> list[TaskRow]:
    """Return the rows of the list, newest first."""
    tasks = _visible(user).order_by("-created_at")
    if search:
        text = search[:200]
        tasks = tasks.filter(
            Q(name__icontains=text)
            | Q(source__host__icontains=text)
            | Q(target__host__icontains=text)
            | Q(source__database__icontains=text)
        )
    if status:
        tasks = tasks.filter(status=status)
    places = _queue_places()
    return [task_row(task, places) for task in tasks]


def status_counts(*, user: Viewer) -> dict[str, int]:
    """Return how many tasks stand in each status; statuses of none are left out."""
    seen = _visible(user).select_related(None).prefetch_related(None).order_by()
    return dict(seen.values_list("status").annotate(number=Count("id")))


def changed_rows(*, user: Viewer, known: dict[str, int]) -> tuple[list[TaskRow], bool]:
    """Return the rows whose version differs from the known one, and whether any known task can still change."""
    tasks = list(_visible(user).filter(pk__in=[key for key in known if _is_uuid(key)]))
    changed = [task for task in tasks if known.get(str(task.pk)) != task.version]
    live = any(Status(task.status) in LIVE for task in tasks)
    places = _queue_places() if changed else {}
    return [task_row(task, places) for task in changed], live


def _is_uuid(text: str) -> bool:
    try:
        uuid.UUID(text)
    except ValueError:
        return False
    return True


def _queue_places() -> dict[uuid.UUID, int]:
    waiting = (
        MigrationTask.objects.filter(status=Status.QUEUED).order_by("queued_at", "pk").values_list("pk", flat=True)
    )
    return {key: place for place, key in enumerate(waiting, start=1)}


def task_row(task: MigrationTask, places: dict[uuid.UUID, int] | None = None) -> TaskRow:
    """Return the row of one task."""
    status = Status(task.status)
    label, tone = _LOOKS[status]
    steps = step_lines(task)
    current = next((line for line in steps if line.name == task.current_step), None)
    position = next((number for number, line in enumerate(steps, start=1) if line is current), None)
    if places is None:
        places = _queue_places() if status == Status.QUEUED else {}
    return TaskRow(
        id=task.pk,
        name=task.name,
        version=task.version,
        status=status.value,
        status_label=label,
        tone=tone,
        since=task.finished_at or task.started_at or task.created_at,
        route_names=_route_names(task),
        route_hosts=f"{task.source} → {task.target}",
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
        error_message=task.error_message,
        error_hint=task.error_hint,
        actions=action_buttons(task),
        live=status in LIVE,
    )


def _rows_per_second(task: MigrationTask) -> float | None:
    """Rows are counted when a table or a part of it has arrived: until then the copy knows its bytes only."""
    return task.rows_per_second or None if task.current_step == StepName.COPY else task.rows_per_second


def _route_names(task: MigrationTask) -> str:
    names = [database.source_name for database in task.databases.all()]
    if not names:
        selection = Selection.from_json(task.selection)
        names = sorted({path[0] for path, value in selection.rules.items() if path and value})
        names = names or (["whole instance"] if selection.includes() else ["nothing selected"])
    shown = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
    same = all(database.source_name == database.target_name for database in task.databases.all())
    return shown if same else shown + " → " + ", ".join(database.target_name for database in task.databases.all()[:3])


def step_lines(task: MigrationTask) -> list[StepLine]:
    """Return the steps of a task; before Start those that it will have."""
    rows: Iterable[Step] = task.steps.all()
    lines = [_step_line(task, row) for row in rows]
    return lines or [
        StepLine(name=name, label=STEP_LABELS[name], state="pending")
        for name in steps_for(incremental=task.incremental)
    ]


def _step_line(task: MigrationTask, row: Step) -> StepLine:
    state, note, percent = row.state, row.note, row.percent
    if state == "pending" and row.started_at:
        state = "stopped"
    if state == "done" and not note[:1].isdecimal():
        note = ""  # what it was busy with last, not what it has done
    if row.name == StepName.SYNC and not task.compare_requested:
        note, percent = "", None  # what a comparison left there: the sync itself has no end that it nears
    if note.startswith(_CATCHING_UP):
        percent = None
    return StepLine(
        name=row.name,
        label=STEP_LABELS[StepName(row.name)],
        state=state,
        note=note,
        percent=percent,
        started_at=row.started_at,
        finished_at=row.finished_at,
    )


def action_buttons(task: MigrationTask) -> list[ActionButton]:
    """Return what the operator can do now, in the order in which it is offered."""
    allowed = set(allowed_actions(Status(task.status)))
    if task.status == Status.COMPLETING and task.current_step == StepName.CLEANUP:
        allowed.discard(Action.CANCEL)
    if task.compare_requested:
        allowed.discard(Action.COMPARE)
    if not task.incremental:
        allowed -= {Action.COMPARE, Action.COMPLETE}
    return [
        ActionButton(
            name=action.value,
            label=RULES[action].label,
            tone="pri" if action in _PRIMARY else "danger" if action in _DANGER else "",
            confirm=_CONFIRM[action],
        )
        for action in _OFFERED
        if action in allowed
    ]
