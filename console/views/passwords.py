"""Passwords of the target that the source does not show: of user mappings, and of roles that are made."""

from __future__ import annotations

import json
import re
from typing import Any
from uuid import UUID

from django.core.paginator import Paginator
from django.http import HttpResponseBadRequest, HttpResponseBase
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods

from migrations_app import selectors, services
from migrations_app.models import MigrationTask

from ..http import HtmxRequest, from_json, go, is_text, refuse, task_or_404

_A_PAGE = 200  # three fields and a tick each: Django takes 1000 fields of a form
_NUMBER = re.compile("[0-9]{1,6}")
_BEGINS = ("draft", "checking", "check_failed", "check_passed")


@sensitive_post_parameters()
@require_http_methods(["GET", "POST"])
def page(request: HtmxRequest, task_id: UUID) -> HttpResponseBase:
    """Show whose passwords are asked for and which were given, and store what is typed. None is ever shown."""
    task = task_or_404(request, task_id)
    if request.method == "GET":
        return render(request, "console/passwords.html", _context(task, request.GET.get("page")))
    given = _typed(request, {line.path: line for line in selectors.passwords(task)})
    if given is None:
        return HttpResponseBadRequest(_("The passwords could not be read. Load the page again."))
    number = request.GET.get("page", "")
    here = reverse("tasks:passwords", args=[task.id]) + (f"?page={int(number)}" if _NUMBER.fullmatch(number) else "")
    if not given:
        return refuse(request, _("No password was entered."), here)
    try:
        services.give_passwords(task_id=task.id, actor=request.user, given=given)
    except services.Refused as refused:
        return refuse(request, refused.message, here)
    return go(request, here, said=_("Passwords saved. Nobody can read them here."))


def _context(task: MigrationTask, number: str | None) -> dict[str, Any]:
    page = Paginator(selectors.passwords(task), _A_PAGE).get_page(number)
    lines = [
        {"line": line, "value": json.dumps(line.path), "open": services.takes_passwords(task, server=line.server)}
        for line in page.object_list
    ]
    begun = task.status not in _BEGINS
    return {
        "task": task,
        "row": selectors.task_row(task),
        "lines": lines,
        "page": page,
        "any_open": any(one["open"] for one in lines) or any(line.given for line in page.object_list),
        "back": reverse("tasks:detail" if begun else "tasks:check", args=[task.id]),
    }


def _typed(
    request: HtmxRequest, known: dict[tuple[str, str, str], selectors.PasswordLine]
) -> list[services.PasswordData] | None:
    """Return what was entered or is to be taken back; None when the form is not one of ours."""
    columns = [request.POST.getlist(name) for name in ("place", "user", "password")]
    places, users, typed = columns
    if len({len(column) for column in columns}) != 1 or len(places) > _A_PAGE:
        return None
    forgotten = set(request.POST.getlist("forget"))
    given = []
    for place, user, password in zip(places, users, typed, strict=True):
        path = from_json(place)
        if not isinstance(path, list) or len(path) != 3 or not all(is_text(part) for part in path):
            return None
        line = known.get((path[0], path[1], path[2]))
        if line is None or not is_text(user) or not is_text(password):
            return None
        if password or (line.given and place in forgotten):
            given.append(
                services.PasswordData(
                    database=line.database, server=line.server, role=line.role, user=user, password=password
                )
            )
    return given
