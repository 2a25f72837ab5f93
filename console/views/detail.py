"""The page of one task and its poll."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from migrations_app import selectors
from migrations_app.models import MigrationTask

from ..http import HtmxRequest, live, task_or_404


def _context(request: HtmxRequest, task: MigrationTask) -> dict[str, Any]:
    search = request.GET.get("q", "")[:63].strip()
    number = request.GET.get("page", "1")
    page = int(number) if number.isdecimal() and len(number) < 7 else 1
    steps = selectors.steps(task)
    return {
        "task": task,
        "row": selectors.task_row(task),
        "steps": steps,
        "strip": _strip([step.seconds or 0.0 for step in steps], [step.state for step in steps]),
        "databases": selectors.databases(task),
        "tables": selectors.tables(task, page=page, search=search),
        "counts": selectors.table_counts(task),
        "comparisons": selectors.comparisons(task),
        "left": selectors.left_behind(task),
        "events": selectors.events(task),
        "search": search,
        "seen": "",
    }


def _strip(seconds: list[float], states: list[str]) -> list[dict[str, Any]]:
    """Step durations as parts of a strip 1000 units wide."""
    total, at, parts = sum(seconds), 0.0, []
    for length, state in zip(seconds, states, strict=True):
        if total and length:
            width = 1000 * length / total
            parts.append({"x": f"{at:.1f}", "width": f"{max(width, 2):.1f}", "state": state})
            at += width
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
