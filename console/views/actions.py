"""What an operator asks of a task: first in words, then done."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID

from django.http import Http404, HttpResponse, HttpResponseBase, QueryDict
from django.shortcuts import render
from django.urls import reverse
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_GET, require_http_methods, require_POST
from django_htmx.http import reswap

from migrations_app import selectors, services
from migrations_app.models import MigrationTask

from .. import proof
from ..forms.speed import SpeedForm
from ..forms.task import TimeForm
from ..http import CONFLICT, UNPROCESSABLE, HtmxRequest, go, refuse, task_or_404
from ..templatetags.console_extras import clock, visible

_PERFORM: dict[str, Callable[..., Any]] = {
    "start": services.start_task,
    "start_now": services.start_now,
    "reschedule": services.reschedule_task,
    "unschedule": services.unschedule_task,
    "pause": services.pause_task,
    "resume": services.resume_task,
    "retry": services.retry_task,
    "take_source": services.take_source_row,
    "apply": services.apply_drift,
    "recopy": services.recopy_conflict,
    "quarantine": services.quarantine_conflict,
    "drop": services.drop_conflict,
    "try_now": services.try_now,
    "hand_over": services.hand_over_task,
    "compare": services.compare_task,
    "complete": services.complete_task,
    "keep_syncing": services.keep_syncing,
    "cancel": services.cancel_task,
    "start_again": services.start_again,
    "clean_up": services.clean_up_task,
    "new_copy": services.restart_with_new_copy,
    "reopen": services.reopen_task,
    "delete": services.delete_task,
}
_SAID: dict[str, Promise] = {
    "start": gettext_lazy("Start pressed. The task runs when its turn comes."),
    "start_now": gettext_lazy("The task waits for its turn now instead of its scheduled time."),
    "unschedule": gettext_lazy("The start is taken back. The task waits for Start."),
    "pause": gettext_lazy("Pause pressed. The task stands still until you press Resume."),
    "resume": gettext_lazy("Resumed. The task goes on where it was."),
    "retry": gettext_lazy("Retry pressed. The task goes on from where it stopped."),
    "take_source": gettext_lazy("The source's row will be taken once. The task goes on from where it stopped."),
    "apply": gettext_lazy("The target's table will be changed. The task goes on from where it stopped."),
    "recopy": gettext_lazy("The table will be copied again. All others go on from where the task stopped."),
    "quarantine": gettext_lazy("The table is quarantined. All others go on from where the task stopped."),
    "drop": gettext_lazy("The table is dropped from the task. All others go on from where the task stopped."),
    "try_now": gettext_lazy("Trying again now instead of later."),
    "hand_over": gettext_lazy("Handed over. The workers go on from where the task stands."),
    "compare": gettext_lazy(
        "Comparison asked for. Its result shows under Last comparison; the sync goes on meanwhile."
    ),
    "complete": gettext_lazy(
        "Complete pressed. The last changes are moved and both sides are compared before the sync is closed."
    ),
    "keep_syncing": gettext_lazy("Back to sync pressed. Complete stops as soon as it can; nothing is lost."),
    "cancel": gettext_lazy("Cancel pressed. What was made on either server is removed, or listed on the task page."),
    "start_again": gettext_lazy("The task is checked again from the start."),
    "clean_up": gettext_lazy("Try clean-up pressed. What could not be removed is listed on the task page."),
    "new_copy": gettext_lazy(
        "Restart with new copy pressed. What the task made is removed first; then the task starts again by itself."
    ),
    "reopen": gettext_lazy("The task is a draft again. Change what was wrong, then check it."),
    "delete": gettext_lazy("The task is deleted. Nothing on either server was touched."),
}
_OF_TABLES: dict[str, tuple[Callable[..., Any], Promise]] = {
    "quarantine": (services.quarantine_table, gettext_lazy("The table is quarantined. Press Retry to go on.")),
    "drop": (services.drop_table, gettext_lazy("The table is dropped from the task.")),
    "recopy": (
        services.recopy_table,
        gettext_lazy("The table will be copied once more; all others stay in sync meanwhile."),
    ),
}
_STANDS = ("paused", "failed")
_OF_NEW_TABLES: dict[str, tuple[Callable[..., Any], Promise]] = {
    "add_table": (
        services.add_new_table,
        gettext_lazy("The table will be copied and followed from then on; all others stay in sync meanwhile."),
    ),
    "ignore_table": (
        services.ignore_new_table,
        gettext_lazy("The table is ignored. It can be added later, for as long as the task syncs."),
    ),
}
_FOR_GOOD = ("delete", "drop")
"""What cannot be undone takes the task's name, typed; so does clearing the target before Start again."""
_LONGEST_SHOWN_NAME = 1200
_LEADS_TO = {"start_again": "tasks:check", "reopen": "tasks:settings"}


@require_GET
def confirm(request: HtmxRequest, task_id: UUID, action: str) -> HttpResponse:
    """Say in words what the action does: a page of its own, or the dialog's content for htmx."""
    if action not in _PERFORM:
        raise Http404("no such action")
    return _ask(request, task_or_404(request, task_id), action)


def _ask(
    request: HtmxRequest,
    task: MigrationTask,
    action: str,
    *,
    proof_problem: str = "",
    typed_problem: str = "",
    time_form: TimeForm | None = None,
) -> HttpResponse:
    row = selectors.task_row(task)
    why_not = selectors.refused(task, action)
    button = None if why_not else next((item for item in row.choices if item.name == action), None)
    context: dict[str, Any] = {
        "task": task,
        "row": row,
        "button": button,
        "action": action,
        "why_not": why_not,
        "back": _back(request, task),
        "proof_problem": proof_problem,
        "for_good": action in _FOR_GOOD,
        "typed_problem": typed_problem,
        "at_conflict": row.conflict if row.conflict and button in row.conflict.choices else None,
        "at_drift": row.drift if row.drift and button in row.drift.choices else None,
        "over_warnings": action == "complete" and selectors.unacknowledged_warnings(task) > 0,
    }
    if action == "reschedule":
        context["time_form"] = time_form or TimeForm(initial={"scheduled_at": task.scheduled_at})
    if button is not None and action in ("cancel", "start_again", "clean_up", "new_copy", "delete"):
        context["left"] = selectors.left_behind(task)
    if button is not None and action == "delete":
        context["staying"] = selectors.staying(task)
    if button is not None and action == "cancel":
        context["lost"] = selectors.lost_by_cancel(task)
    if button is not None and action == "start_again":
        context["lost"] = selectors.lost_by_start_again(task)
    template = "console/partials/_confirm.html" if request.htmx else "console/confirm.html"
    if proof_problem or typed_problem or time_form:
        status = proof.FORBIDDEN if proof_problem else UNPROCESSABLE
        return reswap(render(request, template, context, status=status), "innerHTML")
    return render(request, template, context, status=200 if button else CONFLICT)


def _is_risky(request: HtmxRequest, task: MigrationTask, action: str) -> bool:
    """Say whether this takes the password again: what cannot be taken back, in spite of a warning or with a loss."""
    if action == "start_again":
        return "clear_target" in request.POST or bool(selectors.lost_by_start_again(task))
    if action == "new_copy":
        return True
    return action == "complete" and selectors.unacknowledged_warnings(task) > 0


@require_POST
def perform(request: HtmxRequest, task_id: UUID, action: str) -> HttpResponseBase:
    """Do it, or say why it is not possible now."""
    if action not in _PERFORM:
        raise Http404("no such action")
    task = task_or_404(request, task_id)
    back = _back(request, task)
    if _is_risky(request, task, action) and (problem := proof.problem(request, request.user)):
        return _ask(request, task, action, proof_problem=problem)
    extra: dict[str, Any] = {"clear_target": "clear_target" in request.POST} if action == "start_again" else {}
    if action == "reschedule":
        form = TimeForm(request.POST)
        if not form.is_valid():
            request.refused = True
            return _ask(request, task, action, time_form=form)
        extra = form.cleaned_data
    extra |= _confirmed(request, task, action)
    try:
        done = _PERFORM[action](task_id=task.id, actor=request.user, **extra)
    except services.Untyped as untyped:
        request.refused = True
        return _ask(request, task, action, typed_problem=untyped.message)
    except services.Refused as refused:
        return refuse(request, refused.message, back)
    if action == "delete":
        back = reverse("tasks:list")
    if action in _LEADS_TO:
        back = reverse(_LEADS_TO[action], args=[task.id])
    return go(request, back, said=_said(action, done))


def _confirmed(request: HtmxRequest, task: MigrationTask, action: str) -> dict[str, Any]:
    """Return what was typed and ticked to confirm what cannot be undone; nothing where nothing has to be."""
    if action == "delete":
        return {"typed": _typed(request, task), "leaving": request.POST.get("leaving")}
    for_good = action in _FOR_GOOD or (action == "start_again" and _is_risky(request, task, action))
    return {"typed": _typed(request, task)} if for_good else {}


def _said(action: str, task: MigrationTask) -> str:
    """Return what is said of an action that was done. `task`: as it stands after it."""
    if action in ("start", "reschedule") and task.status == "scheduled":
        return _("Scheduled for %(time)s UTC.") % {"time": clock(task.scheduled_at)}
    if action in ("resume", "retry") and selectors.copies_anew(task):
        return _("The task goes on: every table is copied from the beginning.")
    return str(_SAID[action])


@require_POST
def new_table(request: HtmxRequest, task_id: UUID, action: str) -> HttpResponseBase:
    """Add a table that is new on the source to the task, or ignore it."""
    if action not in _OF_NEW_TABLES:
        raise Http404("no such action")
    task = task_or_404(request, task_id)
    back = reverse("tasks:detail", args=[task.id])
    perform, said = _OF_NEW_TABLES[action]
    try:
        perform(task_id=task.id, actor=request.user, **_table_of(request.POST))
    except services.Refused as refused:
        return refuse(request, refused.message, back)
    return go(request, back, said=str(said))


@require_http_methods(["GET", "POST"])
def table(request: HtmxRequest, task_id: UUID, action: str) -> HttpResponseBase:
    """Ask in words whether a table is to be copied again, set aside or dropped; then do it."""
    if action not in _OF_TABLES:
        raise Http404("no such action")
    task = task_or_404(request, task_id)
    back = reverse("tasks:detail", args=[task.id])
    if request.method == "GET":
        return _ask_of_table(request, task, action)
    perform, said = _OF_TABLES[action]
    if action == "recopy" and task.status in _STANDS:
        said = gettext_lazy("The table will be copied once more as soon as the task goes on.")
    extra = {"typed": _typed(request, task)} if action in _FOR_GOOD else {}
    try:
        perform(task_id=task.id, actor=request.user, **_table_of(request.POST), **extra)
    except services.Untyped as untyped:
        request.refused = True
        return _ask_of_table(request, task, action, typed_problem=untyped.message)
    except services.Refused as refused:
        return refuse(request, refused.message, back)
    return go(request, back, said=str(said))


def _ask_of_table(request: HtmxRequest, task: MigrationTask, action: str, *, typed_problem: str = "") -> HttpResponse:
    place = _table_of(request.POST or request.GET)
    context: dict[str, Any] = {
        "task": task,
        "button": selectors.button(action, task),
        "back": reverse("tasks:detail", args=[task.id]),
        "place": place,
        "table": selectors.one_table(task, **place),
        "for_good": action in _FOR_GOOD,
        "typed_problem": typed_problem,
    }
    template = "console/partials/_table.html" if request.htmx else "console/table.html"
    answer = render(request, template, context, status=UNPROCESSABLE if typed_problem else 200)
    return reswap(answer, "innerHTML") if typed_problem else answer


def _typed(request: HtmxRequest, task: MigrationTask) -> str:
    """Return what was typed as the task's name. Signs that nobody can type may be typed as pages show them."""
    typed = request.POST.get("typed", "")[:_LONGEST_SHOWN_NAME]
    return task.name if typed.strip() == visible(task.name).strip() else typed


def _table_of(sent: QueryDict) -> dict[str, str]:
    return {name: sent.get(name, "").replace("\0", "")[:63] for name in ("database", "schema", "name")}


@require_POST
def clone(request: HtmxRequest, task_id: UUID) -> HttpResponseBase:
    """Make a draft like this task and open its settings."""
    task = task_or_404(request, task_id)
    copy = services.clone_task(task_id=task.id, actor=request.user)
    said = _("This is a copy with the same servers, passwords, selection and options. Objects are read anew.")
    return go(request, reverse("tasks:settings", args=[copy.id]), said=said)


@require_POST
def tag(request: HtmxRequest, task_id: UUID) -> HttpResponseBase:
    """Add a tag, or take one away."""
    task = task_or_404(request, task_id)
    back = reverse("tasks:detail", args=[task.id])
    try:
        if "remove" in request.POST:
            services.remove_tag(task_id=task.id, actor=request.user, name=request.POST["remove"])
        else:
            services.add_tag(task_id=task.id, actor=request.user, name=request.POST.get("name", ""))
    except services.Refused as refused:
        return refuse(request, refused.message, back)
    return go(request, back)


@require_POST
def tune(request: HtmxRequest, task_id: UUID) -> HttpResponseBase:
    """Set how fast the task copies; a worker that is at it obeys within seconds."""
    task = task_or_404(request, task_id)
    back = reverse("tasks:detail", args=[task.id])
    form = SpeedForm(request.POST)
    if not form.is_valid():
        return refuse(request, form.complaint(), back)
    jobs, rate = form.cleaned_data["jobs"], form.cleaned_data["rate"]
    try:
        services.tune_task(task_id=task.id, actor=request.user, jobs=jobs, mb_per_second=rate)
    except services.Refused as refused:
        return refuse(request, refused.message, back)
    return go(request, back, said=_("Speed set. A copy that is under way obeys within seconds."))


def _back(request: HtmxRequest, task: MigrationTask) -> str:
    # Only our own pages can be named, so a forged link cannot lead anywhere else.
    wanted = request.POST.get("from") or request.GET.get("from")
    return reverse("tasks:list") if wanted == "list" else reverse("tasks:detail", args=[task.id])
