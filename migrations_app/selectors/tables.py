"""The tables of one task with a state each: filtered, sorted and paged by the database, whatever their number.

What a table's copy says is one half of its state; the sync of its database and the last comparison are the other.
"""

from __future__ import annotations

import functools
import operator
from collections import Counter
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from django.core.paginator import Page, Paginator
from django.db.models import Case, Count, Exists, F, OrderBy, OuterRef, Q, QuerySet, Sum, Value, When
from django.utils import timezone

from ..engine.ports import SET_ASIDE, TableStatus
from ..engine.states import LIVE, STOPPED, Status, StepName
from ..engine.values import frozen
from ..models import ComparisonResult, MigrationTask, Recopy, SourceObject, TableCopy
from ..refusals import cleans_up_again
from . import labels
from .rows import is_failing
from .table_order import with_key
from .wording import told

TABLES_A_PAGE = 25
STATES = (
    "waiting",
    "copying",
    "copied",
    "indexing",
    "catching_up",
    "synced",
    "done",
    "stopped",
    "conflict",
    "changed",
    "mismatch",
    "quarantined",
    "dropped",
    "excluded",
)
SORTS = {
    "name": ("database", "schema", "name"),
    "rows": ("rows_done", "rows_estimate"),
    "size": ("bytes_total",),
    "state": ("place",),
    **dict.fromkeys(("progress", "rate", "eta", "took"), ("key",)),
}
_MOST_MISMATCHES = 300
_LASTING = timedelta(seconds=30)
"""A connection that is back sooner stops no table."""
_FINISHED = (TableStatus.DONE, TableStatus.COPIED, TableStatus.INDEXING, *SET_ASIDE)
_ASIDE = Q(status__in=[status.value for status in SET_ASIDE])
_PLACE = ("database", "schema", "name")
_HALTS = ("conflict", "changed")
_SYNC_STEPS = {StepName.SYNC, StepName.COMPARE, StepName.COMPLETE, StepName.CLEANUP}

Place = tuple[str, str, str]
"""(database, schema, name)."""


@frozen
class TableFilter:
    """What the tables part shows. `sort`: a column, - for descending; empty = moving ones first, then by size."""

    search: str = ""
    state: str = ""
    sort: str = ""
    page: int = 1


@frozen
class TableLine:
    """One table. Rates are per second, over the whole time of its copy."""

    key: str
    database: str
    schema: str
    name: str
    state: str
    label: str
    tone: str
    bytes_total: int
    bytes_done: int
    rows_done: int
    rows_estimate: int
    rate: float | None = None
    seconds: float | None = None
    eta_at: datetime | None = None
    reason: str = ""
    copied: bool = False  # all of it, whatever the estimate of its size was
    asked: bool = False  # to be copied once more, which has not begun
    uncounted: bool = False  # some rows have passed, nobody knows how many


def one_table(task: MigrationTask, *, database: str, schema: str, name: str) -> TableCopy | None:
    """Return one table of the task as its copy is stored; None where the task copies no such table."""
    return TableCopy.objects.filter(task=task, database=database, schema=schema, name=name).first()


def table_states() -> list[tuple[str, str]]:
    """Return the states that tables are filtered by, with their labels."""
    return [(state, str(labels.TABLES[state][0])) for state in STATES]


@frozen
class TableCounts:
    """Totals over all tables, and how many are in each state."""

    total: int
    done: int
    copying: int
    bytes_done: int
    bytes_total: int
    rows_done: int
    states: dict[str, int]


class TableView:
    """The tables of one task. What all of them share is read once; each question is then one query."""

    def __init__(self, task: MigrationTask) -> None:
        self._task = task
        self._rows = TableCopy.objects.filter(task=task)
        broken = is_failing(task) and timezone.now() - (task.failing_since or timezone.now()) > _LASTING
        over = task.status == Status.COMPLETED or cleans_up_again(task)
        self._stopped = broken or over or Status(task.status) not in LIVE or task.status in STOPPED
        # What somebody decided about a table counts more than where the sync stopped, and that more than what a
        # comparison found before.
        self._at, self._halt = _halted_at(task)
        self._halted = (_named([self._at]) if self._at else Q(pk=None)) & ~_ASIDE
        self._differing = _mismatches(task) - {self._at}
        self._mismatch = _named(self._differing) & ~_ASIDE
        self._syncs = task.incremental and task.current_step in _SYNC_STEPS
        self._stands = self._syncs and self._stopped and not over
        self._done = "done" if over or not self._syncs else "stopped" if self._stands else "synced"
        following = self._syncs and not self._stopped
        databases = list(task.databases.all()) if following else []
        self._late = {row.source_name for row in databases if not row.in_sync}
        self._behind = Q(database__in=sorted(self._late))
        asked = Recopy.objects.filter(task=task) if task.recopy_requested else Recopy.objects.none()
        self._asked: set[Place] = set(asked.values_list(*_PLACE))

    def _called(self, status: str) -> str:
        """Return the state of the tables of a status about which nothing else is known."""
        if status == TableStatus.DONE:
            return self._done
        stops = self._stopped and status != TableStatus.WAITING and status not in SET_ASIDE
        return "stopped" if stops else status

    def _of(self, state: str) -> Q:
        """The condition of a state that copies can have."""
        if state == "mismatch":
            return self._mismatch
        if state in _HALTS:
            return self._halted if state == self._halt else Q(pk=None)
        fine = (~self._mismatch if self._differing else Q()) & (~self._halted if self._at else Q())
        late = Q(status=TableStatus.DONE) & self._behind
        if state == "catching_up":
            return fine & late
        statuses = [status.value for status in TableStatus if self._called(status) == state]
        return fine & Q(status__in=statuses) & ~late if statuses else Q(pk=None)

    def counts(self) -> TableCounts:
        """Return totals, and the number of tables in each state that a copy can have."""
        found = self._rows.aggregate(
            total=Count("*"),
            sum_done=Sum("bytes_done"),
            sum_total=Sum("bytes_total"),
            sum_rows=Sum("rows_done"),
            **{f"in_{status}": Count("id", filter=Q(status=status)) for status in TableStatus},
        )
        numbers = {name: int(value or 0) for name, value in found.items()}
        states = self._states({status: numbers[f"in_{status}"] for status in TableStatus})
        return TableCounts(
            total=numbers["total"],
            done=sum(numbers[f"in_{status}"] for status in _FINISHED),
            copying=states.get("copying", 0),
            bytes_done=numbers["sum_done"],
            bytes_total=numbers["sum_total"],
            rows_done=numbers["sum_rows"],
            states=states,
        )

    def _states(self, statuses: dict[TableStatus, int]) -> dict[str, int]:
        """Return the number of tables in each state, out of those in each status; states of none are left out.

        Few tables differ and few databases are behind: they are looked up, so that not every table is asked.
        """
        found: Counter[str] = Counter()
        for status, number in statuses.items():
            found[self._called(status)] += number
        if self._late:
            late = self._rows.filter(Q(status=TableStatus.DONE) & self._behind).count()
            found.update({"catching_up": late, self._called(TableStatus.DONE): -late})
        apart = self._halted | self._mismatch
        if self._differing or self._at:
            for database, schema, name, status in self._rows.filter(apart).values_list(*_PLACE, "status"):
                late_too = status == TableStatus.DONE and database in self._late
                found["catching_up" if late_too else self._called(status)] -= 1
                found[self._halt if (database, schema, name) == self._at else "mismatch"] += 1
        return {state: found[state] for state in STATES if found[state]}

    def page(self, wanted: TableFilter, *, size: int = TABLES_A_PAGE, counts: TableCounts | None = None) -> Page[Any]:
        """Return one page of the tables that the filter names. `counts`: those of this view, if known."""
        if wanted.state == "excluded":
            return self._excluded_page(wanted, size)
        rows = _searched(self._rows, wanted.search)
        if wanted.state in STATES:
            rows = rows.filter(self._of(wanted.state))
        paginator = Paginator(self._sorted(rows, wanted.sort), size)
        if counts is not None and not wanted.search:
            paginator.count = counts.states.get(wanted.state, 0) if wanted.state in STATES else counts.total
        found: Page[Any] = paginator.get_page(wanted.page)
        found.object_list = [self._line(row) for row in found.object_list]
        return found

    def lines(self, limit: int) -> list[TableLine]:
        """Return up to `limit` tables, those that differ or still move first."""
        return [self._line(row) for row in self._sorted(self._rows, "")[:limit]]

    def _sorted(self, rows: QuerySet[TableCopy], sort: str) -> QuerySet[TableCopy]:
        column = sort.removeprefix("-")
        fields = SORTS.get(column, ())
        down = sort.startswith("-")
        if not fields or "place" in fields:
            place = [("copying", 1), ("indexing", 2), ("copied", 3), ("waiting", 4)]
            first = [When(self._halted | self._mismatch, then=Value(0))] if self._differing or self._at else []
            rows = rows.annotate(
                place=Case(*first, *(When(status=name, then=Value(n)) for name, n in place), default=Value(5))
            )
            return rows.order_by("-place" if down else "place", "-bytes_total", "id")
        if "key" in fields:
            rows = with_key(rows, column, stopped=self._stopped)
        # Saying where NULLs go keeps SQLite from using an index; only what is computed can be NULL.
        keys = [OrderBy(F(name), descending=down, nulls_last=name == "key" or None) for name in fields]
        return rows.order_by(*keys, "id")

    def _state(self, row: TableCopy) -> str:
        place = (row.database, row.schema, row.name)
        if row.status in SET_ASIDE:
            return row.status
        if place == self._at:
            return self._halt
        if place in self._differing:
            return "mismatch"
        if row.status == TableStatus.DONE and row.database in self._late:
            return "catching_up"
        return self._called(row.status)

    def _line(self, row: TableCopy) -> TableLine:
        state = self._state(row)
        label, tone = labels.TABLES[state]
        asked = state != "copying" and (row.database, row.schema, row.name) in self._asked
        now = timezone.now()
        seconds = ((row.finished_at or now) - row.started_at).total_seconds() if row.started_at else None
        if seconds is not None and (seconds <= 0 or (self._stopped and row.finished_at is None)):
            seconds = None  # nobody knows when it would have ended
        rate = row.bytes_done / seconds if seconds and seconds > 0.5 and row.bytes_done else None
        left = max(0, row.bytes_total - row.bytes_done)
        eta = now + timedelta(seconds=left / rate) if rate and state == "copying" and left else None
        return TableLine(
            key=f"t{row.pk}",
            database=row.database,
            schema=row.schema,
            name=row.name,
            state=state,
            label=str(label),
            tone=tone,
            bytes_total=row.bytes_total,
            bytes_done=row.bytes_done,
            rows_done=row.rows_done,
            rows_estimate=row.rows_estimate,
            rate=rate,
            seconds=seconds if row.finished_at else None,
            eta_at=eta,
            reason=str(labels.ASKED if asked else labels.ASIDE.get(state, "")),
            copied=row.status not in (TableStatus.WAITING, TableStatus.COPYING),
            asked=asked,
            uncounted=row.status == TableStatus.COPYING and row.bytes_done > 0 and not row.rows_done,
        )

    def pills(self, counts: TableCounts) -> dict[str, int]:
        """Return what the states are counted by on the page: those of copies, and what is not copied."""
        excluded = self.excluded()
        return counts.states | ({"excluded": excluded} if excluded else {})

    def _left_out(self) -> QuerySet[SourceObject]:
        """What the source holds and the task does not copy, of the databases that it moves.

        Nothing before the schema step has listed its tables: until then each would be called left out.
        """
        if self._task.current_step in ("", StepName.SCHEMA):
            return SourceObject.objects.none()
        same = self._rows.filter(database=OuterRef("database"), schema=OuterRef("schema"), name=OuterRef("name"))
        names = [row.source_name for row in self._task.databases.all()]
        objects = SourceObject.objects.filter(task=self._task, database__in=names, kind__in=["table", "partition"])
        return objects.filter(~Exists(same))

    def excluded(self) -> int:
        """Return how many tables of the task's databases are not copied."""
        return self._left_out().count()

    def _excluded_page(self, wanted: TableFilter, size: int) -> Page[Any]:
        rows = _searched(self._left_out(), wanted.search)
        down = wanted.sort.startswith("-")
        fields = {"size": ("bytes",), "rows": ("rows_estimate",)}.get(wanted.sort.removeprefix("-"))
        keys = [OrderBy(F(name), descending=down) for name in fields or ("database", "schema", "name")]
        found: Page[Any] = Paginator(rows.order_by(*keys, "id"), size).get_page(wanted.page)
        label, tone = labels.TABLES["excluded"]
        found.object_list = [
            TableLine(
                key=f"x{row.pk}",
                database=row.database,
                schema=row.schema,
                name=row.name,
                state="excluded",
                label=str(label),
                tone=tone,
                bytes_total=row.bytes,
                bytes_done=0,
                rows_done=0,
                rows_estimate=row.rows_estimate,
                reason=told(row, "reason"),
            )
            for row in found.object_list
        ]
        return found


def _searched(rows: QuerySet[Any], search: str) -> QuerySet[Any]:
    """Narrow to tables whose schema.name holds the text."""
    if not search:
        return rows
    text, _, after = search[:200].partition(".")
    both = Q(schema__iendswith=text, name__istartswith=after) if after else Q()
    either = Q(name__icontains=search[:200]) | Q(schema__icontains=search[:200])
    return rows.filter(either | both if after else either)


def _named(places: Iterable[Place]) -> Q:
    """Return the condition of these tables."""
    conditions = (Q(database=database, schema=schema, name=name) for database, schema, name in places)
    return functools.reduce(operator.or_, conditions, Q(pk=None))


def _halted_at(task: MigrationTask) -> tuple[Place | None, str]:
    """Return the table at which the sync of a failed task stopped, and what it is called; None and '' without one."""
    facts = task.drift or task.conflict
    if task.status != Status.FAILED or not facts:
        return None, ""
    return (facts["database"], facts["schema"], facts["name"]), "changed" if task.drift else "conflict"


def _mismatches(task: MigrationTask) -> set[Place]:
    """Return the tables that the last comparison of each database found different."""
    latest: dict[str, ComparisonResult] = {}
    for row in ComparisonResult.objects.filter(task=task).order_by("-id")[:50]:
        latest.setdefault(row.database, row)
    found = [
        (row.database, str(item.get("schema", "")), str(item.get("name", "")))
        for row in latest.values()
        if not row.equal
        for item in row.differences
        if item.get("verdict") == "differs"
    ]
    return set(found[:_MOST_MISMATCHES])
