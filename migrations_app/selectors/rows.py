"""One task as pages show it: where it is, what comes next, and what the operator can do."""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import field, replace
from datetime import datetime
from typing import Any

from django.contrib.auth.models import AnonymousUser
from django.db.models import F, OuterRef, QuerySet, Subquery
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from ..check_counts import count_items
from ..engine.selection import Selection
from ..engine.states import (
    LIVE,
    RULES,
    STOPPED,
    WORKED,
    Action,
    Status,
    StepName,
    steps_for,
)
from ..engine.values import frozen
from ..models import CheckItem, Event, MigrationTask, Sample, Step, User
from ..refusals import why_not
from . import labels
from .buttons import action_buttons
from .conflicts import ActionButton, ConflictView, conflict
from .drift import DriftView, drift
from .wal import wal_mark
from .wording import told

_CATCHING_UP = ("waiting for", "applying")


class NotFound(Exception):
    """There is no such object, or it is not this user's."""


@frozen
class StepLine:
    """One step as pages show it. `state`: done, running, pending, failed, or paused or stopped before its end."""

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


@frozen
class KnownLag:
    """How far the target was behind at the last look, where nobody looks now."""

    seconds: float
    bytes: int | None
    at: datetime


@frozen
class CheckCounts:
    """How many items of a check there are, and how many of them found something."""

    total: int
    failed: int
    warnings: int


@frozen
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
    wal_bytes_per_second: float | None = None  # that the source writes
    applied_bytes_per_second: float | None = None  # of it that the sync gets behind it
    catching_up: bool | None = None  # None: in sync, or not known
    lag_bytes: int | None = None
    lag_seconds: float | None = None
    known_lag: KnownLag | None = None
    queue_place: int | None = None
    scheduled_at: datetime | None = None
    error_code: str = ""
    error_message: str = ""
    error_hint: str = ""
    check: CheckCounts | None = None  # of a failed check, in the list
    wal_mark: str = ""  # what the list shows when much WAL is kept for the task
    waiting_tables: tuple[str, ...] = ()  # what the list shows of tables that Complete waits for
    turn: str = ""  # what tells that a waiting row says something else by now, though nothing happened to its task
    failing: bool = False  # tries fail at the moment: what was known of the sync may not hold any more
    waits_for_try: bool = False
    held: str = ""  # why Complete is not possible though the status allows it
    actions: list[ActionButton] = field(default_factory=list)
    conflict: ConflictView | None = None
    drift: DriftView | None = None
    live: bool = False

    @property
    def editable(self) -> bool:
        """Whether the steps of the wizard can be edited."""
        return Status(self.status) in RULES[Action.EDIT].allowed_from

    @property
    def starts_later(self) -> bool:
        """Whether Start lets the task wait for a set time, which has not passed."""
        return self.scheduled_at is not None and self.scheduled_at > timezone.now()

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
    """Read with the tasks what `task_row` looks at: a fixed number of queries for any number of tasks.

    `moved_at`: when each came to its status, None where its history does not say.
    """
    moved = _last_moves(OuterRef("pk"), OuterRef("status")).values("at")[:1]
    found = tasks.select_related("source", "target").prefetch_related("steps", "databases", "tags")
    return found.annotate(moved_at=Subquery(moved))


def _last_moves(task: Any, status: Any) -> QuerySet[Event]:
    """Return the events that led a task into a status, the newest first."""
    return Event.objects.filter(task=task, to_status=status).exclude(from_status=F("to_status")).order_by("-id")


def _since(task: MigrationTask) -> datetime:
    """Return since when the task stands where it does; of a draft and of one that has ended what the page says."""
    if task.status == Status.DRAFT:
        return task.created_at
    if task.status in (Status.COMPLETED, Status.CANCELLED) and task.finished_at:
        return task.finished_at
    if task.status in (Status.CHECK_PASSED, Status.CHECK_FAILED) and task.checked_at:
        return task.checked_at
    moved: datetime | None
    if hasattr(task, "moved_at"):
        moved = task.moved_at
    else:
        moved = _last_moves(task.pk, task.status).values_list("at", flat=True).first()
    queued = task.queued_at if task.status == Status.QUEUED else None
    return moved or queued or task.started_at or task.created_at


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


def list_rows(tasks: list[MigrationTask]) -> list[TaskRow]:
    """Return the rows of these tasks as the list shows them."""
    places, checks = queue_places(tasks), _failed_checks(tasks)
    return [replace(task_row(task, places), check=checks.get(task.pk)) for task in tasks]


def _failed_checks(tasks: list[MigrationTask]) -> dict[uuid.UUID, CheckCounts]:
    wanted = [task.pk for task in tasks if task.status == Status.CHECK_FAILED]
    if not wanted:
        return {}
    results: dict[uuid.UUID, list[tuple[str, str]]] = defaultdict(list)
    found = CheckItem.objects.filter(task__in=wanted).order_by().values_list("task", "code", "status").distinct()
    for key, code, status in found:
        results[key].append((code, status))
    return {key: _counted(count_items(items)) for key, items in results.items()}


def _counted(items: dict[str, int]) -> CheckCounts:
    return CheckCounts(total=sum(items.values()), failed=items["failed"], warnings=items["warning"])


def turn_of(task: MigrationTask, places: dict[uuid.UUID, int]) -> str:
    """Return the place in the queue, or the minutes until a set time; '' for a task that waits for neither."""
    if task.status == Status.QUEUED:
        return str(places.get(task.pk, ""))
    if task.status == Status.SCHEDULED and task.scheduled_at is not None:
        return str(max(0, int((task.scheduled_at - timezone.now()).total_seconds() // 60)))
    return ""


_OF_MOTION = (
    "bytes_per_second", "eta_at", "wal_bytes_per_second", "applied_bytes_per_second", "catching_up", "lag_bytes",
    "lag_seconds",
)  # fmt: skip
"""Figures that mean nothing once a task stands still."""


def task_row(task: MigrationTask, places: dict[uuid.UUID, int] | None = None) -> TaskRow:
    """Return the row of one task. With `places` given, the ledger is not asked: the list offers less than the page."""
    status = Status(task.status)
    label, tone = labels.STATUSES[status]
    steps = step_lines(task)
    current = next((line for line in steps if line.name == task.current_step), None)
    position = next((number for number, line in enumerate(steps, start=1) if line is current), None)
    with_notes = status == Status.COMPLETED and task.notes_count > 0
    alone, moves = places is None, status not in STOPPED
    places = queue_places([task]) if places is None else places
    return TaskRow(
        id=task.pk,
        name=task.name,
        version=task.version,
        status=status.value,
        status_label=_("Completed, with notes") if with_notes else str(label),
        tone="warn" if with_notes else tone,
        since=_since(task),
        route_names=route_names(task),
        route_hosts=f"{task.source or _('not filled in')} → {task.target or _('not filled in')}",
        tags=[tag.name for tag in task.tags.all()],
        step_label=current.label if current else "",
        step_position=position,
        step_count=len(steps),
        percent=100 if status == Status.COMPLETED else current.percent if current else None,
        note=current.note if current else "",
        remaining=[line for line in steps if line.state != "done"],
        rows_per_second=_rows_per_second(task) if moves else None,
        **{name: getattr(task, name) if moves else None for name in _OF_MOTION},
        known_lag=_known_lag(task) if alone else None,
        queue_place=places.get(task.pk),
        scheduled_at=task.scheduled_at,
        error_code=task.error_code,
        error_message=told(task, "error_message"),
        error_hint=told(task, "error_hint"),
        wal_mark=wal_mark(task),
        waiting_tables=(),  # the list asks for all its tasks at once
        turn=turn_of(task, places),
        failing=is_failing(task),
        waits_for_try=is_failing(task) and task.not_before is not None,
        held=why_not(Action.COMPLETE, task) if status == Status.READY else "",
        actions=action_buttons(task, ledger=alone),
        conflict=conflict(task),
        drift=drift(task),
        live=status in LIVE,
    )


def is_failing(task: MigrationTask) -> bool:
    """Say whether a worker's tries at the task fail at the moment."""
    return task.failing_since is not None and Status(task.status) in WORKED


def _known_lag(task: MigrationTask) -> KnownLag | None:
    """Return the last lag that was seen, of a task whose sync stands still."""
    stopped = task.status in (Status.PAUSED, Status.FAILED)
    if not task.incremental or not (stopped or (is_failing(task) and task.lag_seconds is None)):
        return None
    seen = Sample.objects.filter(task=task, lag_seconds__isnull=False).order_by("-at").first()
    return KnownLag(seconds=seen.lag_seconds or 0.0, bytes=seen.lag_bytes, at=seen.at) if seen else None


def _rows_per_second(task: MigrationTask) -> float | None:
    """Rows are counted when a table or a part of it has arrived: until then the copy knows its bytes only."""
    return task.rows_per_second or None if task.current_step == StepName.COPY else task.rows_per_second


def route_names(task: MigrationTask) -> str:
    """Return which databases move, three by name; before the start what the rules of the selection name."""
    databases = list(task.databases.all())
    names = [database.source_name for database in databases]
    renamed = [database.target_name for database in databases]
    if not names:
        selection = Selection.from_json(task.selection)
        chosen = {path[0] for path, value in selection.rules.items() if path and value}
        names = sorted(chosen | {rule.scope[0] for rule in selection.patterns if rule.mode})
        renamed = [selection.targets.get(name, name) for name in names]
        names = names or ([_("whole instance")] if selection.includes() else [_("nothing selected")])
    shown = ", ".join(names[:3])
    if len(names) > 3:
        more = len(names) - 3
        shown = ngettext("%(names)s and %(more)d more", "%(names)s and %(more)d more", more) % {
            "names": shown,
            "more": more,
        }
    return shown if not renamed or renamed == names else shown + " → " + ", ".join(renamed[:3])


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
    if state == "running" and task.status in STOPPED:
        state = "paused" if task.status == Status.PAUSED else "stopped"
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
