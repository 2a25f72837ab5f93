"""Asks for the password again before an act that an unattended browser must not be able to do.

Signing in counts as entering it. Forms of such acts hold a field for it once that was too long ago; without the right
password nothing is done, and the answer is 403.
"""

from __future__ import annotations

import time

from django.conf import settings
from django.contrib.auth.hashers import check_password
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import gettext as _

from migrations_app import services
from migrations_app.models import User

from .http import client_address

FIELD = "password_again"
FORBIDDEN = 403


def is_fresh(request: HttpRequest) -> bool:
    """Say whether the password was entered not long ago."""
    if not hasattr(request, "session"):
        return False
    entered = max(int(request.session.get("began", 0)), int(request.session.get("proved", 0)))
    return time.time() - entered < settings.PASSWORD_AGAIN_SECONDS


def problem(request: HttpRequest, user: User) -> str:
    """Return why the act may not be done, or '': the password is fresh, or comes with the request and is right.

    Wrong ones count like those at the sign-in page.
    """
    if is_fresh(request):
        return ""
    password = request.POST.get(FIELD, "")
    if not password:
        return _("This takes your password once more. Nothing was changed.")
    address, account = client_address(request), user.get_username()
    if not services.may_sign_in(address=address, account=account):
        return _("Too many wrong passwords from here. Wait a quarter of an hour, then try again.")
    if not check_password(password, user.password):
        services.record_failure(address=address, account=account)
        return _("This is not your password. Nothing was changed.")
    services.forget_failures(address=address, account=account)
    request.session["proved"] = int(time.time())
    return ""


def refused(request: HttpRequest, message: str) -> HttpResponse:
    """Answer that nothing was done: a page of its own, which leads back to the form."""
    came_from = request.headers.get("Referer", "")
    back = came_from if url_has_allowed_host_and_scheme(came_from, {request.get_host()}) else "/"
    return render(request, "console/proof.html", {"message": message, "back": back}, status=FORBIDDEN)
