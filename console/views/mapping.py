"""Names on the target: databases and schemas can get other names there."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

from django.http import HttpResponseBadRequest, HttpResponseBase
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods

from migrations_app import selectors, services
from migrations_app.models import MigrationTask

from ..http import CONFLICT, UNPROCESSABLE, HtmxRequest, closed, from_json, go, is_text, refuse, seen, task_or_404

_MOST_FIELDS = 500
_LONGEST = 300

Path = tuple[str, ...]


@require_http_methods(["GET", "POST"])
def page(request: HtmxRequest, task_id: UUID) -> HttpResponseBase:
    """One page of names, and the form that changes them."""
    task = task_or_404(request, task_id)
    if request.method == "GET":
        if shut := closed(request, task):
            return shut
        return _page(request, task, {}, {})
    typed = _typed(request)
    if typed is None:
        return HttpResponseBadRequest(_("The names could not be read. Load the page again."))
    url = reverse("tasks:objects", args=[task.id])
    databases = {path[0]: name for path, name in typed.items() if len(path) == 1}
    schemas = {(path[0], path[1]): name for path, name in typed.items() if len(path) == 2}
    try:
        services.set_targets(
            task_id=task.id,
            actor=request.user,
            databases=databases,
            schemas=schemas,
            seen=request.POST.get("seen"),
        )
        services.request_inventory(task_id=task.id, actor=request.user, side="target")
    except services.Changed:
        request.refused = True
        return _page(request, task_or_404(request, task_id), typed, {}, stale=True)
    except services.BadTargets as bad:
        return _page(request, task, typed, bad.errors)
    except services.Refused as refused:
        return refuse(request, refused.message, url)
    return go(request, url, said=_("Names saved. A worker looks at what the target has under them."))


def _typed(request: HtmxRequest) -> dict[Path, str] | None:
    """Return the typed names by path; None when the form is not one of ours."""
    paths, names = request.POST.getlist("path"), request.POST.getlist("target")
    if len(paths) != len(names) or len(paths) > _MOST_FIELDS:
        return None
    typed: dict[Path, str] = {}
    for text, name in zip(paths, names, strict=True):
        path = from_json(text)
        if not isinstance(path, list) or not 1 <= len(path) <= 2 or not all(is_text(part) for part in path):
            return None
        typed[tuple(path)] = name[:_LONGEST].strip()
    return typed


def _page(
    request: HtmxRequest, task: MigrationTask, typed: dict[Path, str], errors: dict[Path, str], *, stale: bool = False
) -> HttpResponseBase:
    """Draw one page of names. `stale`: somebody else saved other ones; what was typed stays, theirs stand beside it."""
    number = request.GET.get("page", "1")
    search = request.GET.get("q", "")[:63].replace("\x00", "").strip()
    mapping = selectors.mapping(task, search=search, page=int(number) if number.isdecimal() and len(number) < 7 else 1)
    rows: list[dict[str, Any]] = [
        {
            "path": row.path,
            "value": json.dumps(row.path),
            "target": typed.get(row.path, row.target),
            "at_target": row.at_target,
            "error": errors.get(row.path, ""),
            "theirs": (row.target or row.path[-1]) if stale and typed.get(row.path, row.target) != row.target else "",
        }
        for row in mapping.rows
    ]
    shown = {row.path for row in mapping.rows}
    context = {
        "task": task,
        "row": selectors.task_row(task),
        "mapping": mapping,
        "rows": rows,
        "search": search,
        "stale": stale,
        "seen": seen(request, selectors.names_mark(selectors.selection_of(task), shown), stale=stale),
        "others": [{"path": path, "text": text} for path, text in errors.items() if path not in shown],
    }
    status = CONFLICT if stale else UNPROCESSABLE if errors else 200
    return render(request, "console/mapping.html", context, status=status)
