"""Step 1 of the wizard: task, source and target. Every press saves the draft."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from django.http import Http404, HttpResponse, HttpResponseBase, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from migrations_app import selectors, services
from migrations_app.models import ConnectionTest, Endpoint, MigrationTask

from ..forms import SettingsForms
from ..http import CONFLICT, UNPROCESSABLE, HtmxRequest, go, refuse, seen, task_or_404
from .endpoints import as_public, freshen, shown_values

SIDES = ("source", "target")
# Buttons that show other fields and save nothing: what htmx does in place, for browsers without it.
SHOWING = ("fields", "public", "refresh", "use-source", "use-target")


@require_http_methods(["GET", "POST"])
def create(request: HtmxRequest) -> HttpResponseBase:
    """A new task: nothing exists until the first save."""
    return _step(request, None)


@require_http_methods(["GET", "POST"])
def edit(request: HtmxRequest, task_id: UUID) -> HttpResponseBase:
    """A draft taken up again."""
    return _step(request, task_or_404(request, task_id))


def _step(request: HtmxRequest, task: MigrationTask | None) -> HttpResponseBase:
    for side in SIDES:
        stored: Endpoint | None = getattr(task, side) if task else None
        freshen(side, shown_values(request, side, stored))
    if request.method != "POST":
        return _page(request, SettingsForms(task=task), task)
    if request.POST.get("press") in SHOWING:
        return _page(request, _shown(request, task), task)
    forms = SettingsForms(request.POST, request.FILES, task=task)
    if forms.is_valid():
        try:
            return _save(request, forms, task)
        except services.Changed:
            request.refused = True
            return _page(request, forms, task_or_404(request, task.id) if task else None, stale=True)
        except services.Refused as refused:
            if task is not None:
                return refuse(request, refused.message, reverse("tasks:detail", args=[task.id]))
            forms.source.add_error(None, refused.message)
    return _page(request, forms, task)


def _shown(request: HtmxRequest, task: MigrationTask | None) -> SettingsForms:
    values: dict[str, Any] = dict(request.POST.items())
    press = values["press"]
    if press == "public":
        values = as_public(values)
    if press.startswith("use-"):
        side = press.removeprefix("use-")
        chosen = values.get(f"{side}-use", "")
        values = {name: value for name, value in values.items() if not name.startswith(f"{side}-")}
        values[f"{side}-saved"] = chosen
    for side in SIDES:
        freshen(side, values, force=press == "refresh")  # what the press changed, too
    return SettingsForms(task=task, typed_in=values)


def _save(request: HtmxRequest, forms: SettingsForms, task: MigrationTask | None) -> HttpResponseBase:
    if task is None:
        task = services.create_draft(actor=request.user, **forms.values())
    else:
        drawn_from = request.POST.get("seen")
        task = services.save_settings(task_id=task.id, actor=request.user, seen=drawn_from, **forms.values())
    return _saved(request, task)


def _page(
    request: HtmxRequest, forms: SettingsForms, task: MigrationTask | None, *, stale: bool = False
) -> HttpResponse:
    """Draw the step. `stale`: somebody else saved it; what was typed stays, and the next press saves over theirs."""
    context: dict[str, Any] = {"forms": forms, "task": task, "tests": _shown_tests(request, task), "stale": stale}
    context["saved_source"] = selectors.saved_endpoints(side="source")
    context["saved_target"] = selectors.saved_endpoints(side="target")
    if task is not None:
        context["row"] = selectors.task_row(task)
        context["seen"] = seen(request, selectors.settings_mark(task), stale=stale)
    status = CONFLICT if stale else UNPROCESSABLE if forms.error_count else 200
    return render(request, "console/settings.html", context, status=status)


def _saved(request: HtmxRequest, task: MigrationTask) -> HttpResponseBase:
    """Go where the pressed button leads. A test keeps the operator here, with the results of both sides."""
    press = request.POST.get("press", "next")
    if press == "close":
        return go(request, reverse("tasks:list"), said=_("%(name)s is saved as a draft.") % {"name": task.name})
    if press in ("test-source", "test-target"):
        return _start_test(request, task, press.removeprefix("test-"))
    if press in ("confirm-source", "confirm-target"):
        return _confirm_host_key(request, task, press.removeprefix("confirm-"))
    summary = selectors.selection_summary(task)
    if not summary.read_at or not summary.total_tables:
        services.request_inventory(task_id=task.id, actor=request.user)
    return go(request, reverse("tasks:objects", args=[task.id]))


def _confirm_host_key(request: HtmxRequest, task: MigrationTask, side: str) -> HttpResponseBase:
    """Trust the SSH host key that the shown test found, then test again."""
    test = _find_test(request, request.POST.get(f"test_{side}", ""))
    try:
        if test is None:
            raise services.Refused(_("There is no SSH host key to confirm any more. Test the connection again."))
        services.confirm_host_key(task_id=task.id, actor=request.user, side=side, test_id=test.id)
    except services.Refused as refused:
        return refuse(request, refused.message, reverse("tasks:settings", args=[task.id]))
    return _start_test(request, task, side)


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
