"""The page of one task and its poll."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.http import HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_GET

from migrations_app import selectors
from migrations_app.models import MigrationTask

from ..http import HtmxRequest, live, task_or_404

_NOT_BEGUN = ("draft", "checking", "check_failed", "check_passed")
_ASIDE = {"quarantined", "dropped"}
_LEVELS = ("warning", "error", "people")


def _context(request: HtmxRequest, task: MigrationTask) -> dict[str, Any]:
    tables, events = _table_filter(request), _event_filter(request)
    steps, view = selectors.steps(task), selectors.TableView(task)
    counts, comparisons, left = view.counts(), selectors.comparisons(task), selectors.left_behind(task)
    begun, late = task.status not in _NOT_BEGUN, selectors.late_writes(task)
    return {
        "task": task,
        "row": selectors.task_row(task),
        "steps": steps,
        "strip": _strip(steps),
        "databases": selectors.databases(task),
        "tables": view.page(tables, counts=counts),
        "table_filter": tables,
        "may_tune": selectors.may_tune(task),
        "wal": selectors.wal(task),
        "held": selectors.held(task),
        "may_recopy": selectors.may_recopy(task),
        "may_quarantine": selectors.may_quarantine(task),
        "may_drop": selectors.may_drop(task),
        "may_drop_any": selectors.may_drop_any(task),
        "new_tables": selectors.new_tables(task),
        "aside": selectors.aside(task) if _ASIDE & counts.states.keys() else None,
        "begun": begun,
        "counts": counts,
        "pills": view.pills(counts),
        "planned": selectors.planned(task) if begun and not counts.total else None,
        "states": selectors.table_states(),
        "charts": selectors.charts(task),
        "comparisons": comparisons,
        "since": selectors.applied_since(task, comparisons),
        "structure": selectors.structure(task),
        "left": left,
        "standing": selectors.standing(task, left),
        "late": late,
        "is_behind": any(event.level == "error" for event in late),  # the others tell that it could not be seen
        "events": selectors.event_page(task, events),
        "event_filter": events,
        "query": _query(tables, events),
        "seen": "",
    }


def _number(text: str) -> int:
    return int(text) if text.isdecimal() and len(text) < 7 else 1


def _plain(text: str) -> str:
    return text.replace("\0", "").strip()[:100]


def _table_filter(request: HtmxRequest) -> selectors.TableFilter:
    get = request.GET
    return selectors.TableFilter(
        search=_plain(get.get("q", "")),
        state=_plain(get.get("state", "")),
        sort=_plain(get.get("sort", "")),
        page=_number(get.get("page", "")),
    )


def _event_filter(request: HtmxRequest) -> selectors.EventFilter:
    get = request.GET
    level = get.get("level", "")
    return selectors.EventFilter(
        level=level if level in _LEVELS else "",
        search=_plain(get.get("events", "")),
        page=_number(get.get("epage", "")),
    )


def _query(tables: selectors.TableFilter, events: selectors.EventFilter) -> dict[str, str]:
    return {
        "q": tables.search,
        "state": tables.state,
        "sort": tables.sort,
        "page": str(tables.page) if tables.page > 1 else "",
        "level": events.level,
        "events": events.search,
        "epage": str(events.page) if events.page > 1 else "",
    }


def _strip(steps: list[selectors.StepLine]) -> list[dict[str, Any]]:
    """Step durations as parts of a strip 1000 units wide, in whole percent so that it rarely changes."""
    now = timezone.now()
    times = [(step, ((step.finished_at or now) - step.started_at).total_seconds()) for step in steps if step.started_at]
    total, at, parts = sum(seconds for _, seconds in times), 0, []
    for step, seconds in times:
        width = max(10, 10 * round(100 * seconds / total)) if total else 0
        parts.append({"x": at, "width": min(width, 1000 - at), "state": step.state})
        at = min(at + width, 1000)
    return parts


@require_GET
def task_page(request: HtmxRequest, task_id: UUID) -> HttpResponse:
    """Everything about one task."""
    return render(request, "console/detail.html", _context(request, task_or_404(request, task_id)))


@require_GET
def progress(request: HtmxRequest, task_id: UUID) -> HttpResponse:
    """What changed on the page since `seen`; 204 when nothing did."""
    context = _context(request, task_or_404(request, task_id)) | {"oob": True}
    return live(request, "console/partials/_progress.html", context, seen=request.GET.get("seen", ""))
