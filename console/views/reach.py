"""How the servers of a started task are reached: the one thing that can change once something was made on them."""

from __future__ import annotations

from uuid import UUID

from django.http import HttpResponseBase
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods

from migrations_app import selectors, services
from migrations_app.models import ConnectionTest, MigrationTask

from ..access_forms import AccessForm
from ..http import UNPROCESSABLE, HtmxRequest, go, refuse, task_or_404

_OPEN = ("failed", "paused")


@sensitive_post_parameters()
@require_http_methods(["GET", "POST"])
def page(request: HtmxRequest, task_id: UUID) -> HttpResponseBase:
    """Show and save the form of one side, and test it if that was pressed; the other side stays as it is."""
    task = task_or_404(request, task_id)
    back = reverse("tasks:detail", args=[task.id])
    row = selectors.task_row(task)
    if task.status not in _OPEN:
        message = _("How the servers are reached can be changed here only while the task is failed or paused.")
        return refuse(request, message, back)
    sent = request.POST.get("side", "")
    forms = _forms(request, task, sent)
    context = {"task": task, "row": row, "forms": forms, "back": back, "test": _shown_test(request, task)}
    if request.method == "POST":
        form = next((form for form in forms if form.side == sent), None)
        if form is None or not form.is_valid():
            return render(request, "console/reach.html", context, status=UNPROCESSABLE)
        try:
            services.change_access(task_id=task.id, actor=request.user, side=sent, access=form.access())
        except services.Refused as refused:
            form.add_error(None, refused.message)
            return render(request, "console/reach.html", context, status=UNPROCESSABLE)
        return _saved(request, task, sent, back)
    return render(request, "console/reach.html", context)


def _saved(request: HtmxRequest, task: MigrationTask, side: str, back: str) -> HttpResponseBase:
    if request.POST.get("press") != "test":
        if task.status == "paused":
            return go(request, back, said=_("Saved. Press Resume: the task goes on from where it was."))
        return go(request, back, said=_("Saved. Press Retry: the task goes on from where it stopped."))
    here = reverse("tasks:access", args=[task.id])
    try:
        test = services.request_access_test(task_id=task.id, actor=request.user, side=side)
    except services.Refused as refused:
        return refuse(request, refused.message, here)
    return go(request, f"{here}?test={test.pk}", said=_("Saved. The connection is being tested."))


def _shown_test(request: HtmxRequest, task: MigrationTask) -> ConnectionTest | None:
    try:
        test = selectors.connection_test(user=request.user, test_id=UUID(request.GET.get("test", "")))
    except (ValueError, selectors.NotFound):
        return None
    return test if test.task_id == task.id and test.kind == "test" else None


def _forms(request: HtmxRequest, task: MigrationTask, sent: str) -> list[AccessForm]:
    movable = services.movable_sides(task)
    sides = [("source", task.source), ("target", task.target)]
    return [
        AccessForm(
            request.POST if sent == side else None,
            request.FILES if sent == side else None,
            endpoint=endpoint,
            movable=side in movable,
            side=side,
        )
        for side, endpoint in sides
        if endpoint is not None
    ]
