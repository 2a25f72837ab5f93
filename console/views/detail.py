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

_NOT_BEGUN = ("draft", "check_failed", "check_passed")


def _context(request: HtmxRequest, task: MigrationTask) -> dict[str, Any]:
    search = request.GET.get("q", "")[:63].strip()
    number = request.GET.get("page", "1")
    page = int(number) if number.isdecimal() and len(number) < 7 else 1
    steps = selectors.steps(task)
    return {
        "task": task,
        "row": selectors.task_row(task),
        "steps": steps,
        "strip": _strip(steps),
        "databases": selectors.databases(task),
        "tables": selectors.tables(task, page=page, search=search),
        "begun": task.status not in _NOT_BEGUN,
        "counts": selectors.table_counts(task),
        "comparisons": selectors.comparisons(task),
        "left": selectors.left_behind(task),
        "events": selectors.events(task),
        "search": search,
        "seen": "",
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
