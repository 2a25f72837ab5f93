"""The Fix button of a check item: first what will be run, word for word, then the request to a worker."""

from __future__ import annotations

from uuid import UUID

from django.http import HttpResponseBase
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_http_methods

from migrations_app import selectors, services

from ..http import CONFLICT, HtmxRequest, go, refuse, task_or_404


@require_http_methods(["GET", "POST"])
def page(request: HtmxRequest, task_id: UUID, item_id: int) -> HttpResponseBase:
    """Show the statements of a fix, as a page or in the dialog; run them when they are sent back unchanged."""
    task = task_or_404(request, task_id)
    back = reverse("tasks:check", args=[task.id])
    if request.method == "POST":
        mark = request.POST.get("mark", "")[:64]
        try:
            services.request_fix(task_id=task.id, item_id=item_id, actor=request.user, mark=mark)
        except services.Refused as refused:
            return refuse(request, refused.message, back)
        return go(request, back)
    shown = selectors.fix_view(task, item_id)
    template = "console/partials/_fix.html" if request.htmx else "console/fix.html"
    context = {"task": task, "shown": shown, "back": back, "server": _server(task, shown)}
    return render(request, template, context, status=200 if shown else CONFLICT)


def _server(task: object, shown: selectors.FixView | None) -> object:
    return getattr(task, shown.fix.side.value, None) if shown else None
