"""The page that makes the first administrator. Its address holds a one-time token that only the shell has seen."""

from __future__ import annotations

from django.contrib import messages
from django.contrib.auth import login
from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods

from migrations_app import services

from ..account_forms import FirstAdministratorForm
from ..http import UNPROCESSABLE

_MODEL_BACKEND = "django.contrib.auth.backends.ModelBackend"
GONE = 404


@login_not_required
@require_http_methods(["GET", "POST"])
def first_administrator(request: HttpRequest, token: str) -> HttpResponseBase:
    """Ask for name and password, make the administrator, sign in. 404 for any token that is not open."""
    if not services.setup_token_is_open(token):
        return _gone(request)
    form = FirstAdministratorForm(request.POST if request.method == "POST" else None)
    if request.method == "POST" and form.is_valid():
        values = form.cleaned_data
        try:
            user = services.create_first_administrator(
                token=token, account=values["account"], password=values["password"]
            )
        except services.NotFound:
            return _gone(request)
        except services.Refused as refused:
            form.add_error("account", refused.message)
        else:
            login(request, user, backend=_MODEL_BACKEND)
            messages.success(request, _("You are the administrator. Further accounts are made on the page Users."))
            return HttpResponseRedirect(reverse("tasks:list"))
    status = UNPROCESSABLE if form.errors else 200
    return _private(render(request, "console/setup.html", {"form": form}, status=status))


def _gone(request: HttpRequest) -> HttpResponse:
    return _private(render(request, "console/setup.html", {"gone": True}, status=GONE))


def _private(response: HttpResponse) -> HttpResponse:
    response["Cache-Control"] = "no-store"  # the address is a secret
    return response
