"""Step 3 of the wizard: the check, item by item."""

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

_RESULTS = "console/partials/_check.html"


def _context(task: MigrationTask) -> dict[str, Any]:
    view = selectors.check_view(task)
    items = [item for group in view.groups for item in group.items]
    return {"task": task, "view": view, "row": selectors.task_row(task), "item_count": len(items), "seen": ""}


@require_GET
def page(request: HtmxRequest, task_id: UUID) -> HttpResponse:
    """The check page; it polls while items run."""
    context = _context(task_or_404(request, task_id))
    return render(request, "console/check.html", context)


@require_GET
def items(request: HtmxRequest, task_id: UUID) -> HttpResponse:
    """The results alone; 204 while they are what the page shows."""
    context = _context(task_or_404(request, task_id))
    return live(request, _RESULTS, context, seen=request.GET.get("seen", ""))


@require_POST
def run(request: HtmxRequest, task_id: UUID) -> HttpResponseBase:
    """Check everything, or the one item named by `code`."""
    task = task_or_404(request, task_id)
    url = reverse("tasks:check", args=[task.id])
    try:
        services.request_check(task_id=task.id, actor=request.user, code=request.POST.get("code", "")[:60])
    except services.Refused as refused:
        return refuse(request, refused.message, url)
    return go(request, url)
