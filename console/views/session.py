"""Signing in and out."""

from __future__ import annotations

from django.contrib.auth.decorators import login_not_required
from django.contrib.auth.forms import AuthenticationForm
from django.contrib.auth.views import LoginView, LogoutView
from django.http import HttpResponse
from django.utils.decorators import method_decorator

from ..forms import SignInForm
from ..http import UNPROCESSABLE


@method_decorator(login_not_required, name="dispatch")
class SignIn(LoginView):
    """The only page for everybody. Django checks `next` and gives the session a new key."""

    template_name = "console/login.html"
    form_class = SignInForm
    redirect_authenticated_user = True

    def form_invalid(self, form: AuthenticationForm) -> HttpResponse:
        """Show the form again, as the other forms do."""
        return self.render_to_response(self.get_context_data(form=form), status=UNPROCESSABLE)


class SignOut(LogoutView):
    """Ends the session, by POST only."""

    http_method_names = ["post", "options"]  # noqa: RUF012 - Django's own attribute
