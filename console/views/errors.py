"""Error pages: calm, without internals. Details are in the log under the same id."""

from __future__ import annotations

import logging
import secrets
import sys

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.template.loader import render_to_string

from migrations_app import own_database

from ..middleware import speak_to

log = logging.getLogger(__name__)
_COME_BACK_SECONDS = 5


def forbidden(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    """403 without the reason that was raised."""
    return render(request, "403.html", status=403)


def missing(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    """404, the same for a missing page and for another operator's task."""
    speak_to(request.user)  # an address that leads to no view passes by the middleware that does this
    return render(request, "404.html", status=404)


def broken(request: HttpRequest) -> HttpResponse:
    """500 with an id that finds the traceback in the log, or 503 while the console's own database does not answer.

    Touches neither database nor session.
    """
    incident = secrets.token_hex(4)
    log.error("incident id=%s path=%r", incident, request.path)
    if isinstance(sys.exception(), own_database.GONE):
        headers = {"Retry-After": str(_COME_BACK_SECONDS)}
        return HttpResponse(render_to_string("503.html", {"incident": incident}), status=503, headers=headers)
    return HttpResponse(render_to_string("500.html", {"incident": incident}), status=500)
