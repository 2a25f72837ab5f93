"""Prepare the source: what its configuration and its account need for this task, to be copied."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.http import HttpResponse, HttpResponseBase
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_GET, require_POST

from migrations_app import selectors, services
from migrations_app.models import MigrationTask

from ..http import HtmxRequest, go, live, refuse, task_or_404

_RESULT = "console/partials/_prepare.html"


def _context(task: MigrationTask) -> dict[str, Any]:
    looked = selectors.preparation(task)
    running = looked is not None and looked.state in ("waiting", "running")
    return {
        "task": task,
        "row": selectors.task_row(task),
        "looked": looked,
        "running": running,
        "needs": selectors.told_preparation(looked.detail) if looked and looked.state == "passed" else None,
        "current": looked is not None and selectors.is_of_this_draft(task, looked),
        "seen": "",
    }


@require_GET
def page(request: HtmxRequest, task_id: UUID) -> HttpResponse:
    """What the last look at the source found; it polls while a worker looks."""
    return render(request, "console/prepare.html", _context(task_or_404(request, task_id)))


@require_GET
def result(request: HtmxRequest, task_id: UUID) -> HttpResponse:
    """The result alone; 204 while it is what the page shows."""
    context = _context(task_or_404(request, task_id))
    return live(request, _RESULT, context, seen=request.GET.get("seen", ""))


@require_POST
def look(request: HtmxRequest, task_id: UUID) -> HttpResponseBase:
    """Ask a worker to look at the source."""
    task = task_or_404(request, task_id)
    back = reverse("tasks:prepare", args=[task.id])
    try:
        services.request_preparation(task_id=task.id, actor=request.user)
    except services.Refused as refused:
        return refuse(request, refused.message, back)
    return go(request, back)
