"""The report of a task as a file: one HTML page that needs nothing else, or JSON."""

from __future__ import annotations

import json
import re
from typing import Any
from uuid import UUID

from django.http import HttpResponse
from django.template.loader import render_to_string
from django.utils import timezone
from django.views.decorators.http import require_GET

from migrations_app import selectors
from migrations_app.models import MigrationTask

from ..http import HtmxRequest, task_or_404

TABLES_IN_HTML = 2000


@require_GET
def as_html(request: HtmxRequest, task_id: UUID) -> HttpResponse:
    """The report to read, print and send on. Long lists are cut; the JSON holds them whole."""
    task = task_or_404(request, task_id)
    report = _for_reader(request, selectors.task_report(task, tables=TABLES_IN_HTML, tell=selectors.told))
    body = render_to_string("console/report.html", {"report": report, "made_at": timezone.now()})
    return _file(task, body, "text/html; charset=utf-8", "html")


@require_GET
def as_json(request: HtmxRequest, task_id: UUID) -> HttpResponse:
    """The report to work on: everything."""
    task = task_or_404(request, task_id)
    body = json.dumps(_for_reader(request, selectors.task_report(task)), indent=1, ensure_ascii=False, default=str)
    return _file(task, body, "application/json", "json")


def _for_reader(request: HtmxRequest, report: dict[str, Any]) -> dict[str, Any]:
    """Leave out the keys of differing rows for who only looks: they are values of the user's data."""
    if not request.user.has_role("operator"):
        for result in report["comparisons"]:
            result["differences"] = [item | {"sample_keys": []} for item in result["differences"]]
    return report


def _file(task: MigrationTask, body: str, kind: str, ending: str) -> HttpResponse:
    words = re.sub(r"[^A-Za-z0-9]+", "-", task.name).strip("-").lower()[:60] or "task"
    response = HttpResponse(body, content_type=kind)
    response["Content-Disposition"] = f'attachment; filename="towpath-{words}-{task.key}.{ending}"'
    response["X-Content-Type-Options"] = "nosniff"
    return response
