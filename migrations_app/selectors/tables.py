"""The tables of one task with a state each: filtered, sorted and paged by the database, whatever their number.

What a table's copy says is one half of its state; the sync of its database and the last comparison are the other.
"""

from __future__ import annotations

import functools
import operator
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.core.paginator import Page, Paginator
from django.db.models import Case, Count, Exists, F, OrderBy, OuterRef, Q, QuerySet, Sum, Value, When
from django.utils import timezone

from ..engine.ports import SET_ASIDE, TableStatus
from ..engine.states import LIVE, Status, StepName
from ..models import ComparisonResult, MigrationTask, SourceObject, TableCopy
from . import labels
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
_FINISHED = (TableStatus.DONE, TableStatus.COPIED, TableStatus.INDEXING, *SET_ASIDE)
_ASIDE = Q(status__in=[status.value for status in SET_ASIDE])
_SYNC_STEPS = {StepName.SYNC, StepName.COMPARE, StepName.COMPLETE, StepName.CLEANUP}


@dataclass(frozen=True, kw_only=True)
class TableFilter:
    """What the tables part shows. `sort`: a column, - for descending; empty = moving ones first, then by size."""

    search: str = ""
    state: str = ""
    sort: str = ""
    page: int = 1


@dataclass(frozen=True, kw_only=True)
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


def table_states() -> list[tuple[str, str]]:
    """Return the states that tables are filtered by, with their labels."""
    return [(state, str(labels.TABLES[state][0])) for state in STATES]


@dataclass(frozen=True, kw_only=True)
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
        self._stopped = Status(task.status) not in LIVE
        self._differing = _mismatches(task)
        self._mismatch = (
            _either(Q(database=database, schema=schema, name=name) for database, schema, name in self._differing)
            & ~_ASIDE
        )  # what somebody decided about a table counts more than what a comparison found before
        self._syncs = task.incremental and task.current_step in _SYNC_STEPS
        following = self._syncs and task.status != Status.COMPLETED
        databases = list(task.databases.all()) if following else []
        self._late = {row.source_name for row in databases if not row.in_sync}
        self._behind = Q(database__in=sorted(self._late))

    def _of(self, state: str) -> Q:
        """The condition of a state that copies can have."""
        if state == "mismatch":
            return self._mismatch
        fine = ~self._mismatch if self._differing else Q()
        if state == "catching_up":
            return fine & Q(status="done") & self._behind
        if state in ("synced", "done"):
            return fine & Q(status="done") & ~self._behind if (state == "synced") is self._syncs else Q(pk=None)
        return fine & Q(status=state)

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
        finished = "synced" if self._syncs else "done"
        for status, number in statuses.items():
            found[finished if status == TableStatus.DONE else status.value] += number
        if self._late:
            late = self._rows.filter(Q(status=TableStatus.DONE) & self._behind).count()
            found.update({"catching_up": late, finished: -late})
        if self._differing:
            for state, database in self._rows.filter(self._mismatch).values_list("status", "database"):
                done = "catching_up" if database in self._late else finished
                found.update({"mismatch": 1, done if state == TableStatus.DONE else state: -1})
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
            first = [When(self._mismatch, then=Value(0))] if self._differing else []
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
        if row.status in SET_ASIDE:
            return row.status
        if (row.database, row.schema, row.name) in self._differing:
            return "mismatch"
        if row.status == "done":
            finished = "synced" if self._syncs else "done"
            return "catching_up" if row.database in self._late else finished
        if self._stopped and row.status != "waiting":
            return "stopped"
        return row.status

    def _line(self, row: TableCopy) -> TableLine:
        state = self._state(row)
        label, tone = labels.TABLES[state]
        now = timezone.now()
        seconds = ((row.finished_at or now) - row.started_at).total_seconds() if row.started_at else None
        if seconds is not None and (state == "stopped" or seconds <= 0):
            seconds = None
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
            reason=str(labels.ASIDE.get(state, "")),
        )

    def _left_out(self) -> QuerySet[SourceObject]:
        """What the source holds and the task does not copy, of the databases that it moves."""
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


def _either(conditions: Iterable[Q]) -> Q:
    return functools.reduce(operator.or_, conditions, Q(pk=None))


def _mismatches(task: MigrationTask) -> set[tuple[str, str, str]]:
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
