"""Step 2 of the wizard: which objects move. The tree is loaded level by level from our own rows."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

from django.http import Http404, HttpResponse, HttpResponseBadRequest, HttpResponseBase
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_GET, require_POST

from migrations_app import selectors, services
from migrations_app.models import MigrationTask

from ..http import HtmxRequest, go, refuse, task_or_404

_LONGEST_SEARCH = 63


def _search(request: HtmxRequest) -> str:
    return request.GET.get("q", "")[:_LONGEST_SEARCH].strip()


def _page_number(request: HtmxRequest) -> int:
    value = request.GET.get("page", "1")
    return max(1, int(value)) if value.isdecimal() and len(value) < 7 else 1


def _path(request: HtmxRequest) -> tuple[str, ...]:
    path = tuple(request.GET.getlist("path"))
    if len(path) > 2:
        raise Http404("no such level")
    return path


@require_GET
def page(request: HtmxRequest, task_id: UUID) -> HttpResponse:
    """The tree, or how the reading of it stands. Without scripts a level opens as a page of its own (`path`)."""
    task = task_or_404(request, task_id)
    summary, path = selectors.selection_summary(task), _path(request)
    context: dict[str, Any] = {
        "task": task,
        "row": selectors.task_row(task),
        "summary": summary,
        "search": _search(request),
        "path": path,
    }
    if summary.read_at:
        context["root"] = {"path": (), "state": selectors.selection_states(task, [()])[()]}
        context["tree"] = selectors.tree(task, path, search=_search(request), page=_page_number(request))
    return render(request, "console/objects.html", context)


@require_GET
def level(request: HtmxRequest, task_id: UUID) -> HttpResponse:
    """One level of the tree, or a further page of it."""
    task = task_or_404(request, task_id)
    tree = selectors.tree(task, _path(request), search=_search(request), page=_page_number(request))
    context = {"task": task, "tree": tree, "path": _path(request), "search": _search(request)}
    return render(request, "console/partials/_level.html", context)


@require_POST
def toggle(request: HtmxRequest, task_id: UUID) -> HttpResponseBase:
    """Select or leave out what lies at a path; answers with the node, its ancestors and the counter."""
    task = task_or_404(request, task_id)
    wanted = _wanted(request.POST.get("pick", ""))
    if wanted is None:
        return HttpResponseBadRequest("The selection could not be read. Load the page again.")
    path, selected = wanted
    url = reverse("tasks:objects", args=[task.id])
    try:
        task = services.set_selected(task_id=task.id, actor=request.user, path=path, selected=selected)
    except services.Refused as refused:
        return refuse(request, refused.message, url)
    if not request.htmx:
        return go(request, url)
    context = {"task": task, "summary": selectors.selection_summary(task), "boxes": _boxes(task, path)}
    return render(request, "console/partials/_toggled.html", context)


def _wanted(text: str) -> tuple[tuple[str, ...], bool] | None:
    try:
        value = json.loads(text)
        path, selected = value["path"], value["selected"]
    except (ValueError, KeyError, TypeError):
        return None
    shape = isinstance(path, list) and len(path) <= 3 and all(isinstance(part, str) for part in path)
    return (tuple(path), selected) if shape and isinstance(selected, bool) else None


def _boxes(task: MigrationTask, path: tuple[str, ...]) -> list[dict[str, Any]]:
    """The toggled node and everything above it, with their states."""
    paths = [path[:length] for length in range(len(path) + 1)]
    states = selectors.selection_states(task, paths)
    return [{"path": each, "state": states[each]} for each in paths]


@require_POST
def parents(request: HtmxRequest, task_id: UUID) -> HttpResponseBase:
    """Select the foreign-key parents that are left out."""
    task = task_or_404(request, task_id)
    url = reverse("tasks:objects", args=[task.id])
    try:
        added = services.include_parents(task_id=task.id, actor=request.user)
    except services.Refused as refused:
        return refuse(request, refused.message, url)
    return go(request, url, said=f"{added} parent table{'' if added == 1 else 's'} included.")


@require_POST
def read(request: HtmxRequest, task_id: UUID) -> HttpResponseBase:
    """Ask a worker to read the source's objects."""
    task = task_or_404(request, task_id)
    url = reverse("tasks:objects", args=[task.id])
    try:
        services.request_inventory(task_id=task.id, actor=request.user)
    except services.Refused as refused:
        return refuse(request, refused.message, url)
    return go(request, url)
