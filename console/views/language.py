"""The language of the pages: what the browser asks for, until somebody chooses in the menu."""

from __future__ import annotations

from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponseBadRequest, HttpResponseBase, HttpResponseRedirect
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_POST

from migrations_app import services
from migrations_app.models import User


@login_not_required
@require_POST
def choose(request: HttpRequest) -> HttpResponseBase:
    """Remember a language: with the user, and in a cookie for who is not signed in. Leads back to `next`."""
    language = request.POST.get("language", "")
    if language not in dict(settings.LANGUAGES):
        return HttpResponseBadRequest("no such language")
    wanted = request.POST.get("next", "")
    ours = url_has_allowed_host_and_scheme(wanted, {request.get_host()}, require_https=request.is_secure())
    response = HttpResponseRedirect(wanted if ours else reverse("tasks:list"))
    if isinstance(request.user, User):
        services.choose_language(user=request.user, language=language)
    remember(response, language)
    return response


def remember(response: HttpResponseBase, language: str) -> None:
    """Set the cookie by which the language is known before anybody signs in."""
    response.set_cookie(
        settings.LANGUAGE_COOKIE_NAME,
        language,
        max_age=settings.LANGUAGE_COOKIE_AGE,
        secure=settings.LANGUAGE_COOKIE_SECURE,
        httponly=settings.LANGUAGE_COOKIE_HTTPONLY,
        samesite="Lax",
    )
