"""The audit trail, for administrators: page and CSV."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

from django.core.paginator import Paginator
from django.http import HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_GET

from migrations_app import selectors
from migrations_app.models import AuditEntry

from ..account_forms import AuditForm
from ..http import UNPROCESSABLE, HtmxRequest

ROWS_PER_PAGE = 50
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_HEAD = ("time (UTC)", "account", "address", "action", "subject", "message", "task")


def _wanted(form: AuditForm) -> selectors.AuditFilter:
    form.is_valid()
    values = {name: value for name, value in form.cleaned_data.items() if value}
    return selectors.AuditFilter(**values)


@require_GET
def trail(request: HtmxRequest) -> HttpResponse:
    """Who did what, newest first."""
    form = AuditForm(request.GET)
    wanted = _wanted(form)
    page = Paginator(selectors.audit_entries(wanted), ROWS_PER_PAGE).get_page(request.GET.get("page"))
    asked = {name: value for name, value in form.data.items() if name in form.fields and value}
    context: dict[str, Any] = {
        "form": form,
        "page": page,
        "actions": selectors.audit_actions(wanted.action),
        "query": urlencode(asked),
        "filtered": bool(asked),
    }
    return render(request, "console/audit.html", context, status=UNPROCESSABLE if form.errors else 200)


@require_GET
def export(request: HtmxRequest) -> HttpResponseBase:
    """The same entries as CSV (RFC 4180), safe to open in a spreadsheet."""
    form = AuditForm(request.GET)
    wanted = _wanted(form)
    if form.errors:
        return HttpResponse(form.errors.as_text(), status=UNPROCESSABLE, content_type="text/plain; charset=utf-8")
    writer = csv.writer(_Echo())
    found = selectors.audit_entries(wanted).iterator(chunk_size=2000)
    response = StreamingHttpResponse(_lines(writer, found), content_type="text/csv; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="towpath-audit-{timezone.now():%Y%m%d-%H%M%S}.csv"'
    return response


class _Echo:
    """Takes what the csv module writes and hands it back."""

    def write(self, line: str) -> str:
        return line


def _lines(writer: Any, entries: Iterator[AuditEntry]) -> Iterator[str]:
    yield writer.writerow(_HEAD)
    for entry in entries:
        at = entry.at.strftime("%Y-%m-%d %H:%M:%S")
        task = str(entry.task_id or "")
        cells = (at, entry.actor, entry.address, entry.action, entry.subject, entry.message, task)
        yield writer.writerow([harmless(cell) for cell in cells])


def harmless(cell: str) -> str:
    """Return a cell that no spreadsheet takes for a formula."""
    return f"'{cell}" if cell.lstrip(" ").startswith(_FORMULA) else cell
