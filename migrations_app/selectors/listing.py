"""The task list: searched, filtered, sorted and paged by the database, so that its length does not matter."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from dataclasses import replace

from django.core.paginator import Page, Paginator
from django.db.models import Case, Count, F, FloatField, OrderBy, OuterRef, Q, QuerySet, Subquery, Value, When, Window
from django.db.models.functions import Lower
from django.utils.functional import Promise

from ..engine.states import LIVE, Status, StepName
from ..engine.values import frozen
from ..models import Level, MigrationTask, SourceObject, Step, Tag, TaskDatabase
from . import labels
from .rows import TaskRow, Viewer, list_rows, queue_places, turn_of, visible_tasks, with_rows
from .standing import waiting_tables

BEFORE_START = frozenset(
    {Status.DRAFT, Status.CHECKING, Status.CHECK_FAILED, Status.CHECK_PASSED, Status.SCHEDULED, Status.QUEUED}
)
"""Statuses in which a task need not know its databases yet."""

_TURNS = (Status.QUEUED, Status.SCHEDULED)
SORTS = ("created", "name", "status", "lag", "progress")
_STATUS_ORDER = [
    Status.FAILED,
    Status.CHECK_FAILED,
    Status.READY,
    Status.PAUSED,
    Status.CHECK_PASSED,
    Status.RUNNING,
    Status.COMPLETING,
    Status.CANCELLING,
    Status.CHECKING,
    Status.QUEUED,
    Status.SCHEDULED,
    Status.DRAFT,
    Status.COMPLETED,
    Status.CANCELLED,
]


@frozen
class ListFilter:
    """What the list shows. `status` is a group or a single status; `sort` a column, with - for descending."""

    search: str = ""
    status: str = ""
    tag: str = ""
    sort: str = "-created"

    @property
    def narrowed(self) -> bool:
        """Whether some tasks are left out."""
        return bool(self.search or self.status or self.tag)


@frozen
class GroupCount:
    """One choice of the status filter."""

    name: str
    label: str
    count: int


class _KnownCount(Paginator):  # type: ignore[type-arg]  # generic for type checkers only
    """A paginator that was told how many there are."""

    def __init__(self, tasks: QuerySet[MigrationTask], size: int, known: int | None) -> None:
        super().__init__(tasks, size)
        if known is not None:
            self.count = known


@frozen(kw_only=False)
class RowMark:
    """A row of the list without its content: what says whether something that was made of it still holds."""

    id: uuid.UUID
    version: int
    status: str

    @property
    def live(self) -> bool:
        """Whether the row can change without an operator."""
        return Status(self.status) in LIVE


def task_page(
    *, user: Viewer, wanted: ListFilter, page: str | int | None = 1, size: int = 40, known: int | None = None
) -> tuple[Page[MigrationTask], list[RowMark]]:
    """Return one page of the list as marks. `known`: the number of all tasks, where nothing is filtered."""
    tasks = _sorted(_narrowed(visible_tasks(user), wanted), wanted.sort).only("id", "version", "status")
    found = _found_at_once(tasks, page, size) if wanted.search else None
    if found is None:
        found = _KnownCount(tasks, size, None if wanted.narrowed else known).get_page(page)
    return found, [RowMark(task.pk, task.version, task.status) for task in found.object_list]


def _found_at_once(tasks: QuerySet[MigrationTask], page: str | int | None, size: int) -> Page[MigrationTask] | None:
    """Return a page and the number of all with it: a search reads every task, and should do so once.

    None for a page that does not exist: nothing on it says how many there are.
    """
    text = str(page)
    number = max(1, int(text)) if text.isdecimal() and len(text) < 7 else 1
    counted = tasks.annotate(found=Window(Count("*")))[(number - 1) * size : number * size]
    rows = list(counted)
    if not rows:
        return None
    found: Page[MigrationTask] = _KnownCount(tasks, size, rows[0].found).page(number)
    found.object_list = rows
    return found


def rows_of(*, user: Viewer, keys: Iterable[uuid.UUID]) -> dict[uuid.UUID, TaskRow]:
    """Return the rows of these tasks."""
    wanted = list(keys)
    if not wanted:  # as most often: making queries that cannot find anything costs as much as half of the others
        return {}
    return {row.id: row for row in _rows(list(with_rows(visible_tasks(user)).filter(pk__in=wanted)))}


def _narrowed(tasks: QuerySet[MigrationTask], wanted: ListFilter) -> QuerySet[MigrationTask]:
    group = labels.GROUPS.get(wanted.status)
    if group is not None:
        tasks = tasks.filter(status__in=sorted(group[1]))
    elif wanted.status:
        tasks = tasks.filter(status=wanted.status)
    if wanted.tag:
        tasks = tasks.filter(pk__in=_tagged(Q(name__iexact=wanted.tag[:40])))
    if wanted.search:
        text = wanted.search[:200]
        tasks = tasks.filter(
            Q(name__icontains=text)
            | Q(source__host__icontains=text)
            | Q(target__host__icontains=text)
            | Q(pk__in=_moving(text))
            | Q(pk__in=_tagged(Q(name__icontains=text)))
        )
    return tasks


def _moving(text: str) -> QuerySet[MigrationTask, uuid.UUID]:
    """Return the tasks with a database of this name on either server: the chosen ones once a task was started, before
    that those that were read from its source, and the one that its endpoints name."""
    started = TaskDatabase.objects.filter(Q(source_name__icontains=text) | Q(target_name__icontains=text))
    read = SourceObject.objects.filter(
        level=Level.DATABASE, selectable=True, task__status__in=sorted(BEFORE_START), database__icontains=text
    )
    return (
        MigrationTask.objects.filter(
            Q(source__database__icontains=text)
            | Q(pk__in=started.order_by().values("task"))
            | Q(pk__in=read.order_by().values("task"))
        )
        .order_by()
        .values_list("pk", flat=True)
    )


def _tagged(tags: Q) -> QuerySet[MigrationTask, uuid.UUID]:
    keys = Tag.objects.filter(tags).values("pk")
    return MigrationTask.objects.filter(tags__in=keys).order_by().values_list("pk", flat=True)


def _sorted(tasks: QuerySet[MigrationTask], sort: str) -> QuerySet[MigrationTask]:
    """Sort by one column; the newest of equal ones come first, and the key makes pages stable."""
    column, down = sort.removeprefix("-"), sort.startswith("-")
    if column == "created" or column not in SORTS:
        return tasks.order_by("created_at" if sort == "created" else "-created_at", "pk")
    key: F | Lower | Case | Subquery
    if column == "name":
        key = Lower("name")
    elif column == "lag":
        key = F("lag_seconds")
    elif column == "status":
        key = Case(*(When(status=status, then=Value(n)) for n, status in enumerate(_STATUS_ORDER)), default=Value(99))
    else:
        key = _progress()
    # Only these two can be NULL.
    last = True if column in ("lag", "progress") else None
    return tasks.order_by(OrderBy(key, descending=down, nulls_last=last), "-created_at", "pk")


def _progress() -> Case:
    """A number that grows as a task nears its end: its step, then how far that step is."""
    here = Step.objects.filter(task=OuterRef("pk"), name=OuterRef("current_step"))
    share = Case(
        When(progress_total__gt=0, then=F("progress_done") / F("progress_total")),
        default=Value(0.0),
        output_field=FloatField(),
    )
    place = Case(
        *(When(current_step=name, then=Value(float(n))) for n, name in enumerate(StepName)),
        default=Value(0.0),
        output_field=FloatField(),
    )
    return Case(
        When(status=Status.COMPLETED, then=Value(100.0)),
        When(current_step="", then=Value(None)),
        default=place + Subquery(here.annotate(share=share).values("share")[:1], output_field=FloatField()),
        output_field=FloatField(),
    )


def status_counts(*, user: Viewer) -> dict[str, int]:
    """Return how many tasks stand in each status; statuses of none are left out."""
    return dict(
        visible_tasks(user).order_by().values_list("status").annotate(number=Count("*"))
    )  # not of a column: the index of statuses is enough


def group_counts(counts: Mapping[str, int]) -> list[GroupCount]:
    """Return the choices of the status filter; groups of none are left out."""
    found = [
        GroupCount(name=name, label=_text(label), count=sum(counts.get(status.value, 0) for status in members))
        for name, (label, members) in labels.GROUPS.items()
    ]
    return [group for group in found if group.count]


def _text(label: Promise) -> str:
    return str(label)


def all_tags() -> list[str]:
    """Return every tag that some task carries, by name."""
    return list(Tag.objects.values_list("name", flat=True)[:200])


def changed_rows(
    *, user: Viewer, known: dict[str, int], turns: Mapping[str, str] | None = None
) -> tuple[list[TaskRow], bool]:
    """Return the rows whose version differs from the known one, and whether any known task can still change.

    `turns`: what the page shows of the turn of waiting tasks (`TaskRow.turn`); others in the queue change it as well.
    """
    keys = [key for key in known if _is_uuid(key)]
    states = list(visible_tasks(user).filter(pk__in=keys).values_list("pk", "version", "status"))
    live = any(Status(status) in LIVE for _, _, status in states)
    moved = [key for key, version, _ in states if known.get(str(key)) != version]
    moved += _turned([key for key, _, status in states if status in _TURNS and key not in moved], turns or {})
    if not moved:
        return [], live
    return _rows(list(with_rows(visible_tasks(user)).filter(pk__in=moved))), live


def _rows(tasks: list[MigrationTask]) -> list[TaskRow]:
    waiting = waiting_tables(tasks)
    return [replace(row, waiting_tables=tuple(waiting.get(row.id, ()))) for row in list_rows(tasks)]


def _turned(waiting: list[uuid.UUID], turns: Mapping[str, str]) -> list[uuid.UUID]:
    """Return those of some waiting tasks whose turn is another one than the page shows."""
    if not waiting:
        return []
    tasks = list(MigrationTask.objects.filter(pk__in=waiting).only("status", "queued_at", "scheduled_at"))
    places = queue_places(tasks)
    return [task.pk for task in tasks if turn_of(task, places) != turns.get(str(task.pk), "")]


def _is_uuid(text: str) -> bool:
    try:
        uuid.UUID(text)
    except ValueError:
        return False
    return True
