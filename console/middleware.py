"""What holds for every request: how long a session lasts, who may do what, what is written down, what is cached."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.contrib import messages
from django.contrib.auth import logout
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseBase, HttpResponseNotAllowed, HttpResponseRedirect
from django.urls import ResolverMatch, reverse
from django.utils import translation
from django.utils.translation import gettext as _
from django_htmx.http import HttpResponseClientRedirect

from migrations_app import selectors, services
from migrations_app.models import User

from . import access, proof
from .http import client_address

log = logging.getLogger(__name__)
Answer = Callable[[HttpRequest], HttpResponse]
_SAFE = ("GET", "HEAD", "OPTIONS", "TRACE")
_NOTED_EVERY_SECONDS = 60
# What a user with a one-time password may open: the page to change it, and the way out.
_BEFORE_CHANGE = ("profile", "profile-password", "logout", "language", "health", "ready")


class PrivatePagesMiddleware:
    """Pages of a signed-in operator are never stored by a cache."""

    def __init__(self, get_response: Answer) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        if request.user.is_authenticated and "Cache-Control" not in response:
            response["Cache-Control"] = "no-store"
        return response


class SessionAgeMiddleware:
    """Ends a session 12 hours after it began, and after 30 minutes in which nobody asked for anything."""

    def __init__(self, get_response: Answer) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_view(self, request: HttpRequest, view: object, args: object, kwargs: object) -> None:
        """Sign out whom the session no longer holds; LoginRequiredMiddleware then asks for the password."""
        if not request.user.is_authenticated:
            return
        now, session = int(time.time()), request.session
        began, seen = int(session.get("began", 0)), int(session.get("seen", 0))
        if now - began >= settings.SESSION_COOKIE_AGE or now - seen >= settings.SESSION_IDLE_SECONDS:
            logout(request)
            if request.headers.get("HX-Request") != "true":  # the page is loaded anew, and this would be lost
                messages.info(request, _("Your session has ended. Sign in again to go on."))
            return
        match = request.resolver_match
        rule = access.RULES.get(match.view_name if match else "")
        if now - seen >= _NOTED_EVERY_SECONDS and not (rule and rule.polled):
            session["seen"] = now


def speak_to(user: object) -> None:
    """Answer in the language that this user has chosen; whoever has chosen none keeps the browser's."""
    if isinstance(user, User) and user.language and user.language in dict(settings.LANGUAGES):
        translation.activate(user.language)


class AccessMiddleware:
    """Refuses what `access.RULES` does not allow: by default everything."""

    def __init__(self, get_response: Answer) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_view(self, request: HttpRequest, view: object, args: object, kwargs: object) -> HttpResponseBase | None:
        """Answer 405 for a method that is not offered, 403 for one that takes more; speak the user's language."""
        user, name = request.user, request.resolver_match.view_name if request.resolver_match else ""
        speak_to(user)
        rule = access.RULES.get(name)
        if rule is None:
            log.error("refused: the address %r has no line in console/access.py", name)
            raise PermissionDenied
        role = access.least(name, request.method or "")
        if role is None:
            return HttpResponseNotAllowed(sorted(rule.roles))
        if not access.allows(user, role):
            log.warning("refused: %s %r for %r", request.method, name, user.get_username())
            raise PermissionDenied
        if isinstance(user, User) and user.must_change_password and name not in _BEFORE_CHANGE:
            return _to(request, reverse("profile"))
        if rule.risky and request.method == "POST" and isinstance(user, User):
            problem = proof.problem(request, user)
            return proof.refused(request, problem) if problem else None
        return None


def _to(request: HttpRequest, url: str) -> HttpResponseBase:
    if request.headers.get("HX-Request") == "true":
        return HttpResponseClientRedirect(url)
    return HttpResponseRedirect(url)


class AuditMiddleware:
    """Writes one entry for each request that changed something, unless a service has written one of its own."""

    def __init__(self, get_response: Answer) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if request.method in _SAFE:
            return self.get_response(request)
        with services.answering(client_address(request)):
            request.audit = {}  # type: ignore[attr-defined]
            response = self.get_response(request)
            self._write(request, response)
            services.answered()
        return response

    def process_view(self, request: HttpRequest, view: object, args: object, kwargs: dict[str, Any]) -> None:
        """Note who asks for what while it still exists: the task may be gone afterwards, and the user signed out."""
        if request.method in _SAFE or not request.user.is_authenticated:
            return
        task_id = kwargs.get("task_id")
        subject = selectors.task_name(task_id) if task_id else ""
        request.audit = {  # type: ignore[attr-defined]
            "actor": request.user.get_username(),
            "subject": subject or " ".join(str(value) for key, value in kwargs.items() if key != "action"),
            "task_id": task_id,
        }
        rule, match = self._rule(request), request.resolver_match
        if rule is not None and match is not None and rule.audited:
            services.asked(action=self._action(match), **request.audit)  # type: ignore[attr-defined]

    @staticmethod
    def _rule(request: HttpRequest) -> access.Rule | None:
        match = request.resolver_match
        return access.RULES.get(match.view_name) if match else None

    @staticmethod
    def _action(match: ResolverMatch) -> str:
        return "-".join([match.view_name, *([match.kwargs["action"]] if "action" in match.kwargs else [])])

    def _write(self, request: HttpRequest, response: HttpResponse) -> None:
        facts, match, rule = getattr(request, "audit", {}), request.resolver_match, self._rule(request)
        if not facts or match is None or rule is None or not rule.audited:
            return
        failed = response.status_code >= 500
        denied = response.status_code == 403 and not access.may(request.user, match.view_name, request.method or "")
        if getattr(request, "refused", False) or (response.status_code >= 400 and not failed and not denied):
            return
        message = "Broke off with an error." if failed else "Refused: the role does not allow it." if denied else ""
        services.record_request(action=self._action(match), message=message, **facts)
