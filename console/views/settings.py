"""Step 1 of the wizard: task, source and target. Every press saves the draft."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from django.http import Http404, HttpResponse, HttpResponseBase, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from migrations_app import selectors, services
from migrations_app.models import ConnectionTest, MigrationTask

from ..forms import SettingsForms
from ..http import UNPROCESSABLE, HtmxRequest, go, refuse, task_or_404

SIDES = ("source", "target")


@require_http_methods(["GET", "POST"])
def create(request: HtmxRequest) -> HttpResponseBase:
    """A new task: nothing exists until the first save."""
    forms = SettingsForms(request.POST if request.method == "POST" else None)
    if request.method == "POST" and forms.is_valid():
        task = services.create_draft(actor=request.user, **forms.values())
        return _saved(request, task)
    return _page(request, forms, None)


@require_http_methods(["GET", "POST"])
def edit(request: HtmxRequest, task_id: UUID) -> HttpResponseBase:
    """A draft taken up again."""
    task = task_or_404(request, task_id)
    forms = SettingsForms(request.POST if request.method == "POST" else None, task=task)
    if request.method == "POST" and forms.is_valid():
        try:
            task = services.save_settings(task_id=task.id, actor=request.user, **forms.values())
        except services.Refused as refused:
            return refuse(request, refused.message, reverse("tasks:detail", args=[task.id]))
        return _saved(request, task)
    return _page(request, forms, task)


def _page(request: HtmxRequest, forms: SettingsForms, task: MigrationTask | None) -> HttpResponse:
    context: dict[str, Any] = {"forms": forms, "task": task, "tests": _shown_tests(request, task)}
    if task is not None:
        context["row"] = selectors.task_row(task)
    return render(request, "console/settings.html", context, status=UNPROCESSABLE if forms.error_count else 200)


def _saved(request: HtmxRequest, task: MigrationTask) -> HttpResponseBase:
    """Go where the pressed button leads. A test keeps the operator here, with the results of both sides."""
    press = request.POST.get("press", "next")
    if press == "close":
        return go(request, reverse("tasks:list"), said=f"{task.name} is saved as a draft.")
    if press in ("test-source", "test-target"):
        return _start_test(request, task, press.removeprefix("test-"))
    summary = selectors.selection_summary(task)
    if not summary.read_at or not summary.total_tables:
        services.request_inventory(task_id=task.id, actor=request.user)
    return go(request, reverse("tasks:objects", args=[task.id]))


def _start_test(request: HtmxRequest, task: MigrationTask, side: str) -> HttpResponseBase:
    shown = {name: request.POST[f"test_{name}"] for name in SIDES if request.POST.get(f"test_{name}")}
    started = services.request_test(task_id=task.id, actor=request.user, side=side)
    query = urlencode(shown | {side: str(started.id)})
    # Followed by htmx too: it takes the form out of the page and shows the new address.
    return HttpResponseRedirect(f"{reverse('tasks:settings', args=[task.id])}?{query}")


def _shown_tests(request: HtmxRequest, task: MigrationTask | None) -> dict[str, ConnectionTest | None]:
    tests: dict[str, ConnectionTest | None] = dict.fromkeys(SIDES)
    for side in SIDES:
        test = _find_test(request, request.GET.get(side, ""))
        if test is not None and task is not None and (test.task_id, test.side) == (task.id, side):
            tests[side] = test
    return tests


def _find_test(request: HtmxRequest, value: str) -> ConnectionTest | None:
    try:
        return selectors.connection_test(user=request.user, test_id=UUID(value))
    except (ValueError, selectors.NotFound):
        return None


@require_POST
def test(request: HtmxRequest, task_id: UUID, side: str) -> HttpResponseBase:
    """Test a side again as it is saved."""
    task = task_or_404(request, task_id)
    if side not in SIDES:
        raise Http404("no such side")
    url = reverse("tasks:settings", args=[task.id])
    try:
        started = services.request_test(task_id=task.id, actor=request.user, side=side)
    except services.Refused as refused:
        return refuse(request, refused.message, url)
    if request.htmx:
        return render(request, "console/partials/_test.html", {"test": started})
    return HttpResponseRedirect(f"{url}?{side}={started.id}")


@require_GET
def test_result(request: HtmxRequest, test_id: UUID) -> HttpResponse:
    """How a connection test stands; polled until it has ended."""
    found = _find_test(request, str(test_id))
    if found is None:
        raise Http404("no such test")
    return render(request, "console/partials/_test.html", {"test": found})
