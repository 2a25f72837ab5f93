"""What an operator sets on a task that is started already."""

from __future__ import annotations

from uuid import UUID

from django.http import HttpResponseBase
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST

from migrations_app import services

from .. import proof
from ..forms.wal import WalForm
from ..http import HtmxRequest, go, refuse, task_or_404

_LOSING = ("drop", "new_copy")


@require_POST
def wal(request: HtmxRequest, task_id: UUID) -> HttpResponseBase:
    """Set the WAL budget of a task. A policy that gives the slot up by itself takes the password once more."""
    task = task_or_404(request, task_id)
    back = reverse("tasks:detail", args=[task.id])
    form = WalForm(request.POST)
    if not form.is_valid():
        return refuse(request, _("Give the WAL budget as a size such as 20 GB, and choose what happens then."), back)
    sent = form.cleaned_data
    if sent["policy"] in _LOSING and (problem := proof.problem(request, request.user)):
        return proof.refused(request, problem)
    try:
        services.set_wal_budget(
            task_id=task.id,
            actor=request.user,
            budget_bytes=services.parse_bytes(sent["budget"]),
            policy=sent["policy"],
            disk_bytes=services.parse_bytes(sent["disk"]),
        )
    except services.Refused as refused:
        return refuse(request, refused.message, back)
    return go(request, back, said=_("WAL budget set. It holds from the next look at the source, within a minute."))
