"""What an operator asks of a task: first in words, then done."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID

from django.http import Http404, HttpResponse, HttpResponseBase
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_GET, require_POST

from migrations_app import selectors, services
from migrations_app.models import MigrationTask

from ..http import CONFLICT, HtmxRequest, go, refuse, task_or_404

_PERFORM: dict[str, Callable[..., Any]] = {
    "start": services.start_task,
    "start_now": services.start_now,
    "pause": services.pause_task,
    "resume": services.resume_task,
    "retry": services.retry_task,
    "compare": services.compare_task,
    "complete": services.complete_task,
    "cancel": services.cancel_task,
    "start_again": services.start_again,
    "delete": services.delete_task,
}
_SAID = {
    "start": "Start pressed. The task runs when its turn comes.",
    "start_now": "The task waits for its turn now instead of its scheduled time.",
    "pause": "Pause pressed. The position is kept.",
    "resume": "Resumed. The task goes on where it was.",
    "retry": "Retry pressed. The task goes on from where it stopped.",
    "compare": "Comparison asked for. Its result shows under Last comparison; the sync goes on meanwhile.",
    "complete": "Complete pressed. The last changes are moved and both sides are compared before the sync is closed.",
    "cancel": "Cancel pressed. What was made on either server is removed, or listed on the task page.",
    "start_again": "The task is checked again from the start.",
    "delete": "The task is deleted. Nothing on either server was touched.",
}


@require_GET
def confirm(request: HtmxRequest, task_id: UUID, action: str) -> HttpResponse:
    """Say in words what the action does: a page of its own, or the dialog's content for htmx."""
    if action not in _PERFORM:
        raise Http404("no such action")
    task = task_or_404(request, task_id)
    row = selectors.task_row(task)
    button = next((item for item in row.actions if item.name == action), None)
    context: dict[str, Any] = {
        "task": task,
        "row": row,
        "button": button,
        "action": action,
        "back": _back(request, task),
    }
    if button is not None and action in ("cancel", "start_again", "delete"):
        context["left"] = selectors.left_behind(task)
    template = "console/partials/_confirm.html" if request.htmx else "console/confirm.html"
    return render(request, template, context, status=200 if button else CONFLICT)


@require_POST
def perform(request: HtmxRequest, task_id: UUID, action: str) -> HttpResponseBase:
    """Do it, or say why it is not possible now."""
    if action not in _PERFORM:
        raise Http404("no such action")
    task = task_or_404(request, task_id)
    back = _back(request, task)
    extra = {"clear_target": "clear_target" in request.POST} if action == "start_again" else {}
    try:
        _PERFORM[action](task_id=task.id, actor=request.user, **extra)
    except services.Refused as refused:
        return refuse(request, refused.message, back)
    if action == "delete":
        back = reverse("tasks:list")
    if action == "start_again":
        back = reverse("tasks:check", args=[task.id])
    return go(request, back, said=_SAID[action])


def _back(request: HtmxRequest, task: MigrationTask) -> str:
    # Only our own pages can be named, so a forged link cannot lead anywhere else.
    wanted = request.POST.get("from") or request.GET.get("from")
    return reverse("tasks:list") if wanted == "list" else reverse("tasks:detail", args=[task.id])
