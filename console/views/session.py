"""Signing in and out."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_not_required
from django.contrib.auth.forms import AuthenticationForm
from django.contrib.auth.views import LoginView, LogoutView
from django.http import HttpRequest, HttpResponse
from django.utils.decorators import method_decorator
from django.utils.translation import gettext as _

from migrations_app import selectors, services
from migrations_app.models import User

from ..account_forms import SignInForm
from ..http import UNPROCESSABLE, client_address
from .language import remember

TOO_MANY = 429


@method_decorator(login_not_required, name="dispatch")
class SignIn(LoginView):
    """The page for everybody. Django checks `next` and gives the session a new key."""

    template_name = "console/login.html"
    form_class = SignInForm
    redirect_authenticated_user = True

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        """Add whether anybody has an account yet."""
        return super().get_context_data(**kwargs) | {"nobody": not selectors.somebody_exists()}

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        """Refuse to look at a password when too many were wrong lately; right or wrong makes no difference then."""
        account, password = request.POST.get("username", ""), request.POST.get("password", "")
        if account and password and not services.may_sign_in(address=self._address(), account=account):
            form = SignInForm(request)
            text = _("Too many wrong passwords from here. Wait a quarter of an hour, then try again.")
            messages.error(request, text)
            return self.render_to_response(self.get_context_data(form=form), status=TOO_MANY)
        return super().post(request, *args, **kwargs)

    def form_valid(self, form: AuthenticationForm) -> HttpResponse:
        """Let the counting start anew, write down who came, and speak the user's language from the next page on."""
        user = form.get_user()
        services.forget_failures(address=self._address(), account=self.request.POST["username"])
        response = super().form_valid(form)
        services.record_sign_in(user=user)
        if user.language in dict(settings.LANGUAGES):
            remember(response, user.language)
        return response

    def _address(self) -> str:
        return client_address(self.request)

    def form_invalid(self, form: AuthenticationForm) -> HttpResponse:
        """Show the form again, as the other forms do, and write down the failure."""
        if form.data.get("password") and form.data.get("username"):
            services.record_failure(address=self._address(), account=form.data["username"])
        return self.render_to_response(self.get_context_data(form=form), status=UNPROCESSABLE)


class SignOut(LogoutView):
    """Ends the session, by POST only."""

    http_method_names = ["post"]  # noqa: RUF012 - Django's own attribute

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        """Write down who left."""
        if isinstance(request.user, User):
            services.record_sign_out(user=request.user)
        return super().post(request, *args, **kwargs)
