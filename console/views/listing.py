"""The task list and its one poll."""

from __future__ import annotations

from typing import Any

from django.core.paginator import Paginator
from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from migrations_app import selectors

from ..http import HtmxRequest

# The poll names every row that it shows; so many still fit into one request line.
ROWS_PER_PAGE = 40
_ENDED = ("completed", "cancelled")
_WAITING_FOR_TIME = ("queued", "scheduled")
_WAITING_FOR_OPERATOR = ("ready", "check_failed", "check_passed", "paused", "failed", "draft")


@require_GET
def task_list(request: HtmxRequest) -> HttpResponse:
    """The list, newest first, by search text and status."""
    search, status = request.GET.get("q", "")[:200].strip(), request.GET.get("status", "")[:20]
    found = selectors.task_rows(user=request.user, search=search, status=status)
    page = Paginator(found, ROWS_PER_PAGE).get_page(request.GET.get("page"))
    context: dict[str, Any] = {"rows": page.object_list, "page": page, "search": search, "status": status}
    context |= {
        "summary": _summary(selectors.status_counts(user=request.user)),
        "live": any(row.live for row in page.object_list),
    }
    return render(request, "console/list.html", context)


def _summary(counts: dict[str, int]) -> str:
    queued = sum(counts.get(status, 0) for status in _WAITING_FOR_TIME)
    waiting = sum(counts.get(status, 0) for status in _WAITING_FOR_OPERATOR)
    ended = sum(counts.get(status, 0) for status in _ENDED)
    running = sum(counts.values()) - queued - waiting - ended
    if not counts:
        return "No tasks"
    parts = [
        f"{running} running" if running else "",
        f"{queued} queued" if queued else "",
        f"{waiting} wait{'s' if waiting == 1 else ''} for you" if waiting else "",
    ]
    return ", ".join(part for part in parts if part) or f"{ended} ended"


@require_GET
def live_rows(request: HtmxRequest) -> HttpResponse:
    """Rows that changed since the page saw them, as out-of-band cells; 204 when none did.

    `known` holds id:version:status of each row that the page shows. When nothing can change any more
    the poller comes back without its trigger, which ends the polling.
    """
    known = _known(request.GET.getlist("known")[:ROWS_PER_PAGE])
    versions = {task_id: version for task_id, (version, _) in known.items()}
    changed, can_change = selectors.changed_rows(user=request.user, known=versions)
    rows = [row for row in changed if str(row.id) in known]
    if not rows and can_change:
        return HttpResponse(status=204)
    moved = [row for row in rows if known[str(row.id)][1] != row.status]
    context: dict[str, Any] = {"rows": rows, "moved": moved, "live": can_change}
    if moved:
        context["summary"] = _summary(selectors.status_counts(user=request.user))
    return render(request, "console/partials/_live.html", context)


def _known(values: list[str]) -> dict[str, tuple[int, str]]:
    known = {}
    for value in values:
        task_id, _, rest = value.partition(":")
        version, _, status = rest.partition(":")
        if version.isdecimal():
            known[task_id] = (int(version), status)
    return known
