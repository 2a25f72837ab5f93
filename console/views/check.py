"""Step 3 of the wizard: the check, item by item."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from uuid import UUID

from django.http import Http404, HttpResponse, HttpResponseBase
from django.shortcuts import render
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils.text import slugify
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_POST

from migrations_app import selectors, services
from migrations_app.models import MigrationTask

from ..http import HtmxRequest, go, live, refuse, task_or_404

_RESULTS = "console/partials/_check.html"
_SHOWN = ("problems",)


def _context(request: HtmxRequest, task: MigrationTask) -> dict[str, Any]:
    view = selectors.check_view(task)
    show = request.GET.get("show", "")
    return {
        "task": task,
        "view": view,
        "row": selectors.task_row(task),
        "item_count": view.items,
        "asks_passwords": selectors.asks_passwords(task),
        "show": show if show in _SHOWN else "",
        "seen": "",
    }


@require_GET
def page(request: HtmxRequest, task_id: UUID) -> HttpResponse:
    """The check page; it polls while items run."""
    return render(request, "console/check.html", _context(request, task_or_404(request, task_id)))


@require_GET
def items(request: HtmxRequest, task_id: UUID) -> HttpResponse:
    """The results alone; 204 while they are what the page shows."""
    context = _context(request, task_or_404(request, task_id))
    return live(request, _RESULTS, context, seen=request.GET.get("seen", ""))


@require_POST
def run(request: HtmxRequest, task_id: UUID) -> HttpResponseBase:
    """Check everything, the one item named by `code`, or the `group`."""
    task = task_or_404(request, task_id)
    url = reverse("tasks:check", args=[task.id])
    code, group = request.POST.get("code", "")[:60], request.POST.get("group", "")[:60]
    try:
        services.request_check(task_id=task.id, actor=request.user, code=code, group=group)
    except services.Refused as refused:
        return refuse(request, refused.message, url)
    return go(request, url)


@require_POST
def leave_out_sync(request: HtmxRequest, task_id: UUID) -> HttpResponseBase:
    """Go on without incremental sync, and check again: what of it is Failed then does not matter."""
    task = task_or_404(request, task_id)
    url = reverse("tasks:check", args=[task.id])
    try:
        services.check_without_sync(task_id=task.id, actor=request.user)
    except services.Refused as refused:
        return refuse(request, refused.message, url)
    return go(request, url)


@require_POST
def acknowledge(request: HtmxRequest, task_id: UUID, item_id: int) -> HttpResponseBase:
    """Note who knows of a warning, and why it may stay."""
    task = task_or_404(request, task_id)
    url = reverse("tasks:check", args=[task.id])
    reason, everywhere = request.POST.get("reason", "")[:1000], "everywhere" in request.POST
    try:
        services.acknowledge(task_id=task.id, item_id=item_id, actor=request.user, reason=reason, everywhere=everywhere)
    except services.Refused as refused:
        return refuse(request, refused.message, url)
    return go(request, url, said=_("The warning is acknowledged."))


@require_POST
def withdraw(request: HtmxRequest, task_id: UUID, item_id: int) -> HttpResponseBase:
    """Take an acknowledgement back."""
    task = task_or_404(request, task_id)
    url = reverse("tasks:check", args=[task.id])
    try:
        services.withdraw_acknowledgement(task_id=task.id, item_id=item_id, actor=request.user)
    except services.Refused as refused:
        return refuse(request, refused.message, url)
    return go(request, url, said=_("The acknowledgement is withdrawn."))


@require_GET
def report(request: HtmxRequest, task_id: UUID, form: str) -> HttpResponse:
    """The last check as a file to keep: html, json or txt."""
    task = task_or_404(request, task_id)
    written = _FORMS.get(form)
    if written is None:
        raise Http404("no such form of report")
    content_type, write = written
    facts = selectors.check_report(task, selectors.told) if form == "html" else selectors.check_report(task)
    answer = HttpResponse(write(facts), content_type=content_type)
    name = f"check-{slugify(task.name)[:60] or task.key}.{form}"
    answer["Content-Disposition"] = f'attachment; filename="{name}"'
    return answer


def _as_html(facts: dict[str, Any]) -> str:
    return render_to_string("console/check_report.html", {"report": facts})


def _as_json(facts: dict[str, Any]) -> str:
    return json.dumps(facts, indent=2, ensure_ascii=False) + "\n"


_FORMS: dict[str, tuple[str, Callable[[dict[str, Any]], str]]] = {
    "html": ("text/html; charset=utf-8", _as_html),
    "json": ("application/json; charset=utf-8", _as_json),
    "txt": ("text/plain; charset=utf-8", selectors.as_text),
}
