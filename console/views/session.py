"""Signing in and out."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_not_required
from django.contrib.auth.forms import AuthenticationForm
from django.contrib.auth.views import LoginView, LogoutView
from django.http import HttpRequest, HttpResponse
from django.utils.decorators import method_decorator

from migrations_app import services

from ..forms import SignInForm
from ..http import UNPROCESSABLE

TOO_MANY = 429


@method_decorator(login_not_required, name="dispatch")
class SignIn(LoginView):
    """The only page for everybody. Django checks `next` and gives the session a new key."""

    template_name = "console/login.html"
    form_class = SignInForm
    redirect_authenticated_user = True

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        """Refuse to look at a password when too many were wrong lately; right or wrong makes no difference then."""
        if not services.may_sign_in(address=self._address(), account=request.POST.get("username", "")):
            form = SignInForm(request)
            text = "Too many wrong passwords from here. Wait a quarter of an hour, then try again."
            messages.error(request, text)
            return self.render_to_response(self.get_context_data(form=form), status=TOO_MANY)
        return super().post(request, *args, **kwargs)

    def form_valid(self, form: AuthenticationForm) -> HttpResponse:
        """Let the counting start anew."""
        services.forget_failures(address=self._address(), account=form.cleaned_data["username"])
        return super().form_valid(form)

    def _address(self) -> str:
        return str(self.request.META.get("REMOTE_ADDR", ""))

    def form_invalid(self, form: AuthenticationForm) -> HttpResponse:
        """Show the form again, as the other forms do, and count."""
        if form.data.get("password"):
            services.record_failure(address=self._address(), account=form.data.get("username", ""))
        return self.render_to_response(self.get_context_data(form=form), status=UNPROCESSABLE)


class SignOut(LogoutView):
    """Ends the session, by POST only."""

    http_method_names = ["post", "options"]  # noqa: RUF012 - Django's own attribute
