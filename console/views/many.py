"""One action on all ticked tasks: one confirmation that says what each will do, then what became of each."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.http import Http404, HttpResponse, HttpResponseBase
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_POST

from migrations_app import selectors, services

from ..http import CONFLICT, HtmxRequest, refuse
from .listing import ROWS_PER_PAGE


@require_GET
def confirm(request: HtmxRequest, action: str) -> HttpResponse:
    """List what will be done and what will not, with the reasons."""
    if action not in services.BULK_ACTIONS:
        raise Http404("no such action")
    keys = _picked(request.GET.getlist("pick"))
    lines = selectors.chosen_tasks(user=request.user, action=action, keys=keys)
    context: dict[str, Any] = {
        "action": action,
        "will": [line for line in lines if not line.why_not],
        "now": [line for line in lines if not line.why_not and not line.later],
        "later": [line for line in lines if not line.why_not and line.later],
        "wont": [line for line in lines if line.why_not],
        "back": reverse("tasks:list"),
    }
    template = "console/partials/_many.html" if request.htmx else "console/many.html"
    return render(request, template, context, status=200 if context["will"] else CONFLICT)


@require_POST
def perform(request: HtmxRequest, action: str) -> HttpResponseBase:
    """Do it to each and say what became of each."""
    if action not in services.BULK_ACTIONS:
        raise Http404("no such action")
    keys = _picked(request.POST.getlist("pick"))
    try:
        results = services.apply_to_many(action=action, task_ids=keys, actor=request.user)
    except services.Refused as refused:
        return refuse(request, refused.message, reverse("tasks:list"))
    names = {line.id: line for line in selectors.chosen_tasks(user=request.user, action=action, keys=keys)}
    told = [{"line": names.get(result.task_id), "done": result.done, "reason": result.reason} for result in results]
    done = [names.get(result.task_id) for result in results if result.done]
    scheduled = sum(1 for line in done if line and line.later)
    context: dict[str, Any] = {
        "action": action,
        "told": told,
        "done": len(done) - scheduled,
        "scheduled": scheduled,
        "refused": sum(1 for result in results if not result.done),
        "back": reverse("tasks:list"),
        "lost": _("This task no longer exists."),
    }
    template = "console/partials/_many_done.html" if request.htmx else "console/many_done.html"
    return render(request, template, context)


def _picked(values: list[str]) -> list[UUID]:
    keys = []
    for value in values[:ROWS_PER_PAGE]:
        try:
            keys.append(UUID(value))
        except ValueError:
            continue
    return keys
