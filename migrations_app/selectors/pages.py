"""The task page: steps, lag, history, comparison, what is left on the servers."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta

from django.conf import settings
from django.core.paginator import Page, Paginator
from django.db.models import Q
from django.db.models.functions import Now
from django.utils import timezone
from django.utils.translation import gettext as _

from .. import clock, queue
from ..crypto import UnreadableSecret
from ..engine.cleaning.side import by_hand
from ..engine.ports import Kind
from ..engine.states import STOPPED, WORKED, Status
from ..engine.values import frozen
from ..models import (
    ComparisonResult,
    ConnectionTest,
    Endpoint,
    Event,
    LedgerEntry,
    MigrationTask,
    TaskDatabase,
    WorkerBeat,
)
from ..refusals import ON_A_SERVER, cleans_up_again, leftovers, leftovers_seen
from . import labels
from .rows import NotFound, StepLine, Viewer, get_task, is_failing, step_lines

EVENTS_A_PAGE = 25


@frozen
class LedgerLine:
    """One thing of ours on a server, and the statement that removes it by hand."""

    kind: str
    name: str
    database: str
    sql: str
    is_slot: bool = False


@frozen
class LeftBehind:
    """What of ours is on either server now."""

    source: list[LedgerLine]
    target: list[LedgerLine]
    target_count: int = 0


@frozen
class Health:
    """Whether work is being done. `problem` is empty when it is."""

    workers: int
    queue: int
    problem: str
    oldest_lease: float | None = None
    """Seconds since the last sign of life of the task whose worker has been silent for longest; None without one."""


def steps(task: MigrationTask) -> list[StepLine]:
    """Return the steps with their times."""
    return step_lines(task)


@frozen
class EventFilter:
    """What the history shows. `level`: empty, warning (and worse), error, or people (what somebody pressed)."""

    level: str = ""
    search: str = ""
    page: int = 1


def events(task: MigrationTask, limit: int = 50) -> list[Event]:
    """Return the newest events."""
    return list(Event.objects.filter(task=task)[:limit])


def event_page(task: MigrationTask, wanted: EventFilter) -> Page[Event]:
    """Return one page of the history, newest first."""
    rows = Event.objects.filter(task=task)
    if wanted.level == "people":
        rows = rows.exclude(actor="")
    elif wanted.level == "error":
        rows = rows.filter(level="error")
    elif wanted.level == "warning":
        rows = rows.filter(level__in=["warning", "error"])
    if wanted.search:
        text = wanted.search[:200]
        rows = rows.filter(Q(message__icontains=text) | Q(code__icontains=text) | Q(actor__icontains=text))
    return Paginator(rows, EVENTS_A_PAGE).get_page(wanted.page)


@frozen
class DatabaseLine:
    """One database of a task. Its lag is None where nobody looks at it now; `position` where the sync has not begun."""

    key: str
    source: str
    target: str
    label: str
    tone: str
    in_sync: bool
    lag_bytes: int | None
    lag_seconds: float | None
    rows_applied: int
    position: int | None
    spool_bytes: int = 0


def databases(task: MigrationTask) -> list[DatabaseLine]:
    """Return the databases of a task with what is known of their sync now."""
    status, failing = Status(task.status), is_failing(task)
    moves = status in WORKED and status not in STOPPED and not failing
    lines = []
    for row in TaskDatabase.objects.filter(task=task):
        label, tone = labels.SYNCS[_sync_state(task, row, moves=moves)]
        lines.append(
            DatabaseLine(
                key=f"d{row.pk}",
                source=row.source_name,
                target=row.target_name,
                label=str(label),
                tone=tone,
                in_sync=row.in_sync and moves,
                lag_bytes=row.lag_bytes if moves else None,
                lag_seconds=row.lag_seconds if moves else None,
                rows_applied=row.rows_applied,
                position=row.bookmark,
                spool_bytes=row.spool_bytes,
            )
        )
    return lines


def _sync_state(task: MigrationTask, row: TaskDatabase, *, moves: bool) -> str:
    """Return where the sync of a database stands: one of labels.SYNCS."""
    if not task.incremental:
        return "none"
    if row.bookmark is None and row.lag_bytes is None:
        return "waiting"
    if task.status in (Status.COMPLETED, Status.CANCELLED) or cleans_up_again(task):
        return "closed"
    if moves:
        return "in_sync" if row.in_sync else "catching_up"
    return "stopped" if Status(task.status) in STOPPED else "failing"


def comparisons(task: MigrationTask) -> list[ComparisonResult]:
    """Return the latest comparison of each database."""
    latest: dict[str, ComparisonResult] = {}
    for row in ComparisonResult.objects.filter(task=task).order_by("-id")[:200]:
        latest.setdefault(row.database, row)
    return sorted(latest.values(), key=lambda row: row.database)


def applied_since(task: MigrationTask, found: Iterable[ComparisonResult]) -> dict[int, int]:
    """Return by the key of a comparison how many changes its database has had since; none where that is not known."""
    now = dict(TaskDatabase.objects.filter(task=task).values_list("source_name", "rows_applied"))
    return {
        row.pk: max(0, now[row.database] - row.rows_applied)
        for row in found
        if row.rows_applied is not None and row.database in now
    }


def left_behind(task: MigrationTask, limit: int = 200) -> LeftBehind:
    """Return what of ours is on either server now, by the ledger."""
    rows = LedgerEntry.objects.filter(task=task, removed_at=None, **ON_A_SERVER).exclude(kind=Kind.FILE)
    target = rows.filter(side="target").order_by("-id")
    return LeftBehind(
        source=_lines(rows.filter(side="source").order_by("-id")[:limit]),
        target=_lines(target[:limit]),
        target_count=target.count(),
    )


@frozen
class Staying:
    """What stays on the servers when a task is deleted, and what confirms that this list was read."""

    source: list[LedgerLine]
    target: list[LedgerLine]
    seen: str


def staying(task: MigrationTask) -> Staying | None:
    """Return what nobody would know of any more once the task is deleted, all of it; None when nothing is left."""
    rows = leftovers(task).order_by("-id")
    source, target = _lines(rows.filter(side="source")), _lines(rows.filter(side="target"))
    return Staying(source=source, target=target, seen=leftovers_seen(task)) if source or target else None


def _lines(rows: Iterable[LedgerEntry]) -> list[LedgerLine]:
    return [
        LedgerLine(
            kind=str(row.detail.get("type") or row.get_kind_display()).capitalize(),
            name=f"{row.schema}.{row.name}" if row.schema else row.name,
            database=row.database,
            sql=_removal(row),
            is_slot=row.kind == Kind.SLOT,
        )
        for row in rows
    ]


def _removal(row: LedgerEntry) -> str:
    """Return the statement that removes a ledger entry by hand, as the engine tells it; '' where there is none."""
    statement = by_hand(row.item())
    return f"{statement.rstrip().rstrip(';')};" if statement else ""


def connection_test(*, user: Viewer, test_id: uuid.UUID | str) -> ConnectionTest:
    """Return a connection test of a task that the user may see. Raises NotFound."""
    test = ConnectionTest.objects.filter(pk=test_id).first()
    if test is None:
        raise NotFound("There is no such connection test.")
    get_task(user=user, task_id=test.task_id)
    return test


def health() -> Health:
    """Return how many workers gave a sign of life lately, and what is wrong if none did."""
    fresh = Now() - timedelta(seconds=30)  # of the database, as the beats are
    beats = list(WorkerBeat.objects.filter(at__gt=fresh).values_list("cluster", flat=True))
    count = sum(1 for cluster in beats if cluster != "dispatcher")
    missing = [name for name in queue.CLUSTERS if name not in beats]
    problem = ""
    if missing:
        said = _("No worker answers for %(names)s: tasks that need one wait. Start all workers with manage.py up.")
        problem = said % {"names": ", ".join(missing)}
    elif "dispatcher" not in beats:
        problem = _(
            "The dispatcher does not answer: scheduled tasks are not started, and a worker that died is not replaced. "
            "Start it with manage.py up."
        )
    return Health(workers=count, queue=queue.waiting_messages(), problem=problem)


def readiness() -> Health:
    """Return `health`, and whether a stored password opens with the keys at hand."""
    found = health()
    held = MigrationTask.objects.filter(status__in=WORKED, lease_until__isnull=False).order_by("lease_until")
    until = held.values_list("lease_until", flat=True).first()
    age = max(0.0, (clock.now() - until).total_seconds() + settings.LEASE_SECONDS) if until else None
    problem = found.problem
    try:
        Endpoint.objects.exclude(password="").first()
    except UnreadableSecret as error:
        problem = str(error)
    return replace(found, problem=problem, oldest_lease=age)


def time_zone_name() -> str:
    """Return the name of the time zone in which times are entered and shown."""
    return str(timezone.get_current_timezone_name())
