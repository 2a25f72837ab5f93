"""Step 1 of the wizard: task, source and target. Every press saves the draft.

A test saves everything, or its side alone while anything else is empty or wrong: nobody fills in a target to learn
whether the source answers. The other fields then stay as they were typed, and the page says in which draft it is.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from django.http import Http404, HttpResponse, HttpResponseBase, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_http_methods, require_POST
from django_htmx.http import push_url

from migrations_app import selectors, services
from migrations_app.models import ConnectionTest, Endpoint, MigrationTask

from ..forms import SettingsForms
from ..http import CONFLICT, UNPROCESSABLE, HtmxRequest, closed, go, refuse, seen, task_or_404
from .endpoints import as_public, freshen, shown_values

SIDES = ("source", "target")
# Buttons that show other fields and save nothing: what htmx does in place, for browsers without it.
SHOWING = ("fields", "public", "refresh", "use-source", "use-target", "see")
_OF_ONE_SIDE = {f"{press}-{side}": side for press in ("test", "confirm") for side in SIDES}


@require_http_methods(["GET", "POST"])
def create(request: HtmxRequest) -> HttpResponseBase:
    """A new task: nothing exists until the first save. A page whose test made a draft names that draft."""
    if draft := request.POST.get("draft"):
        return _step(request, task_or_404(request, _uuid_or_404(draft)))
    return _step(request, None)


@require_http_methods(["GET", "POST"])
def edit(request: HtmxRequest, task_id: UUID) -> HttpResponseBase:
    """A draft taken up again."""
    task = task_or_404(request, task_id)
    shut = closed(request, task) if request.method == "GET" else None
    return shut or _step(request, task)


def _uuid_or_404(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError as error:
        raise Http404("no such task") from error


def _step(request: HtmxRequest, task: MigrationTask | None) -> HttpResponseBase:
    for side in SIDES:
        stored: Endpoint | None = getattr(task, side) if task else None
        freshen(side, shown_values(request, side, stored))
    if request.method != "POST":
        return _page(request, SettingsForms(task=task), task)
    if request.POST.get("press") in SHOWING:
        return _page(request, _shown(request, task), task)
    forms = SettingsForms(request.POST, request.FILES, task=task)
    side = _OF_ONE_SIDE.get(request.POST.get("press", ""), "")
    if side and not forms.is_valid():
        forms = _alone(request, side, task)
    if forms.is_valid():
        try:
            return _save(request, forms, task)
        except services.Changed:
            request.refused = True
            return _page(request, forms, task_or_404(request, task.id) if task else None, stale=True)
        except services.Refused as refused:
            if task is not None:
                return refuse(request, refused.message, reverse("tasks:detail", args=[task.id]))
            blamed = forms.target if forms.only == "target" else forms.source
            blamed.add_error(None, refused.message)
    return _page(request, forms, task)


def _alone(request: HtmxRequest, side: str, task: MigrationTask | None) -> SettingsForms:
    for name in request.FILES:
        for upload in request.FILES.getlist(name):
            upload.seek(0)  # judged once already
    return SettingsForms(request.POST, request.FILES, task=task, only=side)


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
    if forms.only:
        return _try_alone(request, forms, task)
    if task is None:
        task = services.create_draft(actor=request.user, **forms.values())
    else:
        drawn_from = request.POST.get("seen")
        task = services.save_settings(task_id=task.id, actor=request.user, seen=drawn_from, **forms.values())
    return _saved(request, task)


def _try_alone(request: HtmxRequest, forms: SettingsForms, task: MigrationTask | None) -> HttpResponseBase:
    """Save and test one side; answer with the page as it is, so that nothing that was typed elsewhere is lost."""
    side, confirm = forms.only, None
    if request.POST["press"].startswith("confirm-"):
        confirm = _shown_key(request, side).id
    started = services.try_side(
        task_id=task.id if task else None,
        actor=request.user,
        side=side,
        endpoint=forms.side(),
        name=forms.name(),
        incremental="incremental" in request.POST,
        confirm=confirm,
        seen=request.POST.get("seen") if task else None,
    )
    task = task_or_404(request, started.task_id)
    typed = {name: value for name, value in request.POST.items() if not name.startswith(f"{side}-")}
    answer = _page(request, SettingsForms(task=task, typed_in=typed), task, tests={side: started}, saved=True)
    return push_url(answer, _address(request, task, started))


def _page(
    request: HtmxRequest,
    forms: SettingsForms,
    task: MigrationTask | None,
    *,
    tests: dict[str, ConnectionTest] | None = None,
    stale: bool = False,
    saved: bool = False,
) -> HttpResponse:
    """Draw the step. `stale`: somebody else saved it; what was typed stays, and the next press saves over theirs.

    `saved`: what the page was drawn from has just been saved by itself.
    """
    shown = {**_shown_tests(request, task), **(tests or {})}
    if forms.error_count:  # what was tested is not what stands in these fields
        shown |= dict.fromkeys([forms.only] if forms.only else SIDES)
    if forms.error_count or stale:
        forms.tell_what_to_type_again()
    context: dict[str, Any] = {"forms": forms, "task": task, "tests": shown, "stale": stale}
    context["saved_source"] = selectors.saved_endpoints(side="source")
    context["saved_target"] = selectors.saved_endpoints(side="target")
    if task is not None:
        context["row"] = selectors.task_row(task)
        context["seen"] = seen(request, selectors.settings_mark(task), stale=stale or saved)
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
    try:
        services.confirm_host_key(task_id=task.id, actor=request.user, side=side, test_id=_shown_key(request, side).id)
    except services.Refused as refused:
        return refuse(request, refused.message, reverse("tasks:settings", args=[task.id]))
    return _start_test(request, task, side)


def _shown_key(request: HtmxRequest, side: str) -> ConnectionTest:
    """Return the test of this side that the page shows. Raises Refused when there is none any more."""
    test = _find_test(request, request.POST.get(f"test_{side}", ""))
    if test is None:
        raise services.Refused(_("There is no SSH host key to confirm any more. Test the connection again."))
    return test


def _start_test(request: HtmxRequest, task: MigrationTask, side: str) -> HttpResponseBase:
    started = services.request_test(task_id=task.id, actor=request.user, side=side)
    # Followed by htmx too: it takes its parts out of the page and shows the new address.
    return HttpResponseRedirect(_address(request, task, started))


def _address(request: HtmxRequest, task: MigrationTask, started: ConnectionTest) -> str:
    """Return the address of the step with a new test, and with the one of the other side that the page shows."""
    shown = {name: request.POST[f"test_{name}"] for name in SIDES if request.POST.get(f"test_{name}")}
    query = urlencode(shown | {started.side: str(started.id)})
    return f"{reverse('tasks:settings', args=[task.id])}?{query}"


def _shown_tests(request: HtmxRequest, task: MigrationTask | None) -> dict[str, ConnectionTest | None]:
    tests: dict[str, ConnectionTest | None] = dict.fromkeys(SIDES)
    for side in SIDES:
        test = _find_test(request, request.GET.get(side) or request.POST.get(f"test_{side}", ""))
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
