"""Step 2 of the wizard, beside the tree: what the selection needs, roles, what the target has, and a new reading."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID

from django.http import HttpResponseBase
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_GET, require_POST

from migrations_app import selectors, services

from ..http import HtmxRequest, closed, go, refuse, task_or_404
from .objects import drawn


def _ask(
    request: HtmxRequest,
    task_id: UUID,
    service: Callable[..., Any],
    told: Callable[[Any], str] = lambda result: "",
    **values: Any,
) -> HttpResponseBase:
    """Ask a service for something and lead back to the tree: with what `told` says of its result, or why not.

    Raises Untyped: that is told beside its field.
    """
    task = task_or_404(request, task_id)
    url = reverse("tasks:objects", args=[task.id])
    try:
        result = service(task_id=task.id, actor=request.user, **values)
    except services.Untyped:
        raise
    except services.Refused as refused:
        return refuse(request, refused.message, url)
    return go(request, url, said=told(result))


@require_GET
def closure(request: HtmxRequest, task_id: UUID) -> HttpResponseBase:
    """What the selection needs beyond itself, listed before it is added."""
    task = task_or_404(request, task_id)
    if shut := closed(request, task):
        return shut
    context = {"task": task, "row": selectors.task_row(task), "closure": selectors.closure(task)}
    return render(request, "console/closure.html", context)


@require_POST
def parents(request: HtmxRequest, task_id: UUID) -> HttpResponseBase:
    """Select the foreign-key parents that are left out."""

    def told(added: int) -> str:
        words = ngettext("%(number)d parent table included.", "%(number)d parent tables included.", added)
        return words % {"number": added}

    return _ask(request, task_id, services.include_parents, told)


@require_POST
def keys(request: HtmxRequest, task_id: UUID) -> HttpResponseBase:
    """Go without the foreign keys whose parent is left out, or require the parents again."""
    policy = request.POST.get("policy", "")
    said = {
        "without": _("Foreign keys to tables that are left out will not be made on the target."),
        "require": _("Foreign keys to tables that are left out are required again."),
    }
    return _ask(request, task_id, services.set_foreign_keys, lambda task: said[policy], policy=policy)


@require_POST
def roles(request: HtmxRequest, task_id: UUID) -> HttpResponseBase:
    """Say which roles are made on the target."""
    values = {"roles": request.POST.get("roles", "")[:20], "passwords": "passwords" in request.POST}
    said = _("Roles saved. The check shows what will happen to each of them.")
    return _ask(request, task_id, services.set_roles, lambda task: said, seen=request.POST.get("seen"), **values)


@require_POST
def existing(request: HtmxRequest, task_id: UUID) -> HttpResponseBase:
    """Say what happens to what the target has already; emptying and dropping take the task's name."""
    values = {"policy": request.POST.get("policy", "")[:20], "typed": request.POST.get("typed", "")[:200]}
    said = _("Saved. The check lists what will be done to what the target has.")
    try:
        return _ask(request, task_id, services.set_existing, lambda task: said, seen=request.POST.get("seen"), **values)
    except services.Untyped as untyped:
        request.refused = True
        return drawn(request, task_or_404(request, task_id), policy=values["policy"], problem=untyped.message)


@require_POST
def read(request: HtmxRequest, task_id: UUID) -> HttpResponseBase:
    """Ask a worker to read the source's objects."""
    return _ask(request, task_id, services.request_inventory)


@require_POST
def follow(request: HtmxRequest, task_id: UUID) -> HttpResponseBase:
    """Say what happens when a table changes on the source during the sync."""
    wanted = request.POST.get("follow", "")[:20]
    said = {
        "ask": _("Saved. The sync stops and asks at every change of a table."),
        "additions": _("Saved. Added columns and partitions will be applied by themselves."),
    }
    seen = request.POST.get("seen")
    return _ask(request, task_id, services.set_follow, lambda task: said[wanted], follow=wanted, seen=seen)
