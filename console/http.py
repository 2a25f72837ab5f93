"""What every view needs: the request's real type, the one door to a task, and answers that suit page or fragment."""

from __future__ import annotations

import hashlib
import ipaddress
import json
import secrets
from typing import Any, TypeGuard
from uuid import UUID

from django.conf import settings
from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect
from django.shortcuts import render
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils.translation import gettext as _
from django_htmx.http import HttpResponseClientRedirect, reselect, reswap, retarget
from django_htmx.middleware import HtmxDetails

from migrations_app import selectors, services
from migrations_app.models import MigrationTask, User

UNPROCESSABLE = 422
CONFLICT = 409
# Stands for the fingerprint of a fragment while that is drawn. No name of a server can hold what nobody can guess.
_PLACE_OF_MARK = secrets.token_hex(16)


class HtmxRequest(HttpRequest):
    """A request of a signed-in operator, with what django-htmx knows about it."""

    htmx: HtmxDetails
    refused: bool
    user: User  # LoginRequiredMiddleware lets nobody else in


def task_or_404(request: HtmxRequest, task_id: UUID) -> MigrationTask:
    """Return the task if this operator may see it. Raises Http404 for a missing and for a foreign one alike."""
    try:
        return selectors.get_task(user=request.user, task_id=task_id)
    except selectors.NotFound as error:
        raise Http404("no such task") from error


def from_json(text: str) -> Any:
    """Return what a field of a form says in JSON; None for what is none, however deep it is nested."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def is_text(value: object) -> TypeGuard[str]:
    """Say whether this is a text that databases can store: without NUL, and without halves of characters."""
    return isinstance(value, str) and "\x00" not in value and not any("\ud800" <= char <= "\udfff" for char in value)


def client_address(request: HttpRequest) -> str:
    """Return whom we talk to. Behind our proxy that is the last name in X-Forwarded-For, the one that it wrote."""
    direct = str(request.META.get("REMOTE_ADDR", ""))
    if not settings.BEHIND_PROXY:
        return direct
    named = request.headers.get("X-Forwarded-For", "").rpartition(",")[2].strip()
    try:
        return str(ipaddress.ip_address(named))
    except ValueError:
        return direct


def seen(request: HttpRequest, now: str, *, stale: bool = False) -> str:
    """Return the fingerprint that a form carries: of what it was drawn from, until that was told as `stale`."""
    return now if stale else str(request.POST.get("seen", now))


def go(request: HtmxRequest, url: str, *, said: str = "") -> HttpResponseBase:
    """Lead the browser to `url` after a POST, with a message there; htmx requests load the whole page too."""
    if said:
        messages.success(request, said)
    return HttpResponseClientRedirect(url) if request.htmx else HttpResponseRedirect(url)


def refuse(request: HtmxRequest, message: str, url: str) -> HttpResponseBase:
    """Answer a refused action: 409 with the reason for htmx, else back to `url` with the reason as a message."""
    request.refused = True  # nothing was changed, so nothing is written into the audit trail
    if request.htmx:
        context = {"title": _("Not possible now"), "message": message, "back": url}
        answer = render(request, "console/partials/_refused.html", context, status=CONFLICT)
        # Whatever part of the page asked: the reason belongs into the dialog, and the page stays as it is.
        return reselect(retarget(reswap(answer, "innerHTML"), "#dialog-body"), ".ask")
    messages.error(request, message)
    return HttpResponseRedirect(url)


def closed(request: HtmxRequest, task: MigrationTask) -> HttpResponseBase | None:
    """Lead away from a step of the wizard that can no longer be edited, and say why. None while it can be."""
    reason = services.why_closed(task)
    if not reason:
        return None
    if not len(messages.get_messages(request)):  # a refused form has led here, and its reason is told already
        messages.error(request, reason)
    url = reverse("tasks:check" if task.status == "checking" else "tasks:detail", args=[task.id])
    return HttpResponseClientRedirect(url) if request.htmx else HttpResponseRedirect(url)


def live(request: HtmxRequest, template: str, context: dict[str, Any], *, seen: str) -> HttpResponse:
    """Render a polled fragment, or answer 204 when it equals what the page shows (`seen` is its fingerprint)."""
    body = render_to_string(template, {**context, "seen": _PLACE_OF_MARK}, request)
    mark = fingerprint(body.replace(_PLACE_OF_MARK, ""))
    if mark == seen:
        return HttpResponse(status=204)
    return HttpResponse(body.replace(_PLACE_OF_MARK, mark))


def fingerprint(text: str) -> str:
    """Return a short hash of rendered text; equal text, equal hash."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]
