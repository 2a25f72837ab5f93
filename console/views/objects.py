"""Step 2 of the wizard: which objects move. The tree is loaded level by level from our own rows.

What stands beside the tree (foreign keys, roles, what the target has) is in `options`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID

from django.http import Http404, HttpResponse, HttpResponseBadRequest, HttpResponseBase
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_POST

from migrations_app import selectors, services
from migrations_app.models import MigrationTask

from ..http import UNPROCESSABLE, HtmxRequest, closed, from_json, go, is_text, refuse, task_or_404

_LONGEST_SEARCH = 130
_MODES = ("data", "structure", "")
_ADDRESSES = ("objects", "tree", "toggle", "mode", "matching")


def _urls(task: MigrationTask) -> dict[str, str]:
    """The addresses that each of hundreds of nodes needs, made once."""
    return {name: reverse(f"tasks:{name}", args=[task.id]) for name in _ADDRESSES}


def _search(request: HtmxRequest) -> str:
    return request.GET.get("q", "")[:_LONGEST_SEARCH].replace("\x00", "").strip()


def _page_number(request: HtmxRequest) -> int:
    value = request.GET.get("page", "1")
    return max(1, int(value)) if value.isdecimal() and len(value) < 7 else 1


def _path(request: HtmxRequest) -> tuple[str, ...]:
    path = tuple(part.replace("\x00", "") for part in request.GET.getlist("path"))
    if len(path) > 3:
        raise Http404("no such level")
    return path


def _level(
    request: HtmxRequest, task: MigrationTask, path: tuple[str, ...], counts: dict[Any, Any] | None = None
) -> dict[str, Any]:
    """The context of one level; a search that cannot be made becomes `problem`. `counts`: the tallies, if known."""
    context: dict[str, Any] = {
        "task": task,
        "urls": _urls(task),
        "path": path,
        "search": _search(request),
        "along": "along" in request.GET,
    }
    try:
        context["tree"] = selectors.tree(
            task,
            path,
            search=context["search"],
            page=_page_number(request),
            along=context["along"] and len(path) == 2,
            counts=counts,
        )
    except selectors.BadSearch as bad:
        context["problem"] = str(bad)
        return context
    if not context["tree"].nodes and not selectors.exists(task, path):
        raise Http404("no such level")
    return context


@require_GET
def page(request: HtmxRequest, task_id: UUID) -> HttpResponseBase:
    """The tree, or how the reading of it stands. Without scripts a level opens as a page of its own (`path`)."""
    task = task_or_404(request, task_id)
    return closed(request, task) or drawn(request, task)


def drawn(request: HtmxRequest, task: MigrationTask, **refused: str) -> HttpResponse:
    """Draw the step. `refused`: `policy` and `problem` of a choice for what the target has that was not taken."""
    path = _path(request)
    counts = selectors.selection_counts(task)
    summary = selectors.selection_summary(task, counts)
    options = selectors.selection_of(task)
    context: dict[str, Any] = {
        "options": options,
        "existing": {"policy": options.existing, **refused},
        "seen": {
            "roles": selectors.roles_mark(options),
            "existing": selectors.existing_mark(options),
            "follow": selectors.follow_mark(options),
        },
        "task": task,
        "row": selectors.task_row(task),
        "summary": summary,
        "search": _search(request),
        "path": path,
    }
    if summary.read_at:
        context |= {"root": selectors.boxes(task, (), counts)[0], **_level(request, task, path, counts)}
    status = UNPROCESSABLE if refused or "problem" in context else 200
    return render(request, "console/objects.html", context, status=status)


@require_GET
def level(request: HtmxRequest, task_id: UUID) -> HttpResponse:
    """One level of the tree, or a further page of it."""
    task = task_or_404(request, task_id)
    context = _level(request, task, _path(request))
    status = UNPROCESSABLE if "problem" in context else 200
    return render(request, "console/partials/_level.html", context, status=status)


def _toggled(request: HtmxRequest, task: MigrationTask, path: tuple[str, ...]) -> HttpResponseBase:
    """The toggled node, everything above it, and the counter; the whole page without scripts."""
    if not request.htmx:
        return go(request, reverse("tasks:objects", args=[task.id]))
    summary, boxes = selectors.after_change(task, path)
    names = selectors.route_names(task)
    context = {"task": task, "urls": _urls(task), "summary": summary, "boxes": boxes, "names": names}
    return render(request, "console/partials/_toggled.html", context)


def _unreadable() -> HttpResponseBase:
    return HttpResponseBadRequest(_("The selection could not be read. Load the page again."))


def _selected(
    request: HtmxRequest, task: MigrationTask, at: tuple[str, ...], change: Callable[..., MigrationTask], **values: Any
) -> HttpResponseBase:
    """Change the selection and answer with what changed from `at` upwards, or say why nothing did."""
    try:
        task = change(task_id=task.id, actor=request.user, **values)
    except (services.Refused, selectors.BadSearch) as refused:
        return refuse(request, str(refused), reverse("tasks:objects", args=[task.id]))
    return _toggled(request, task, at)


@require_POST
def toggle(request: HtmxRequest, task_id: UUID) -> HttpResponseBase:
    """Select or leave out what lies at a path; answers with the node, its ancestors and the counter."""
    task = task_or_404(request, task_id)
    value = _posted(request, "pick")
    path, selected = _posted_path(value), value.get("selected")
    if path is None or not isinstance(selected, bool):
        return _unreadable()
    return _selected(request, task, path, services.set_selected, path=path, selected=selected)


@require_POST
def mode(request: HtmxRequest, task_id: UUID) -> HttpResponseBase:
    """Let what lies at a path move with its data or without."""
    task = task_or_404(request, task_id)
    value = _posted(request, "mode")
    path, wanted = _posted_path(value), value.get("mode")
    if path is None or wanted not in _MODES:
        return _unreadable()
    return _selected(request, task, path, services.set_mode, path=path, mode=str(wanted))


@require_POST
def matching(request: HtmxRequest, task_id: UUID) -> HttpResponseBase:
    """Select or leave out everything that a search finds: a glob as one rule, a regular expression table by table."""
    task = task_or_404(request, task_id)
    value = _posted(request, "matching")
    path, wanted, text = _posted_path(value), value.get("mode"), value.get("q")
    if path is None or wanted not in _MODES or not is_text(text) or len(text) > _LONGEST_SEARCH:
        return _unreadable()

    def change(**who: Any) -> MigrationTask:
        if text.startswith("/"):
            return services.set_listed(paths=selectors.matching_tables(task, path, text), **who)
        return services.set_matching(scope=path, pattern=text, **who)

    return _selected(request, task, (), change, mode=str(wanted))


@require_POST
def forget(request: HtmxRequest, task_id: UUID) -> HttpResponseBase:
    """Forget a pattern of the selection."""
    task = task_or_404(request, task_id)
    value = _posted(request, "pattern")
    path, text = _posted_path(value), value.get("q")
    if path is None or not is_text(text):
        return _unreadable()
    url = reverse("tasks:objects", args=[task.id])
    try:
        services.drop_pattern(task_id=task.id, actor=request.user, scope=path, text=text)
    except services.Refused as refused:
        return refuse(request, refused.message, url)
    return go(request, url)


def _posted(request: HtmxRequest, name: str) -> dict[str, Any]:
    value = from_json(request.POST.get(name, ""))
    return value if isinstance(value, dict) else {}


def _posted_path(value: dict[str, Any]) -> tuple[str, ...] | None:
    path = value.get("path")
    if not isinstance(path, list) or len(path) > 3 or not all(is_text(part) for part in path):
        return None
    return tuple(path)
