"""Users, for administrators; and everybody's own profile."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.contrib.auth import update_session_auth_hash
from django.http import Http404, HttpResponse, HttpResponseBase
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from migrations_app import selectors, services
from migrations_app.models import User

from ..account_forms import OwnPasswordForm, ResetForm, RoleForm, UserForm
from ..http import UNPROCESSABLE, HtmxRequest, go, refuse


@require_GET
def user_list(request: HtmxRequest) -> HttpResponse:
    """Everybody who has an account."""
    return render(request, "console/users.html", {"users": selectors.users()})


@require_http_methods(["GET", "POST"])
def create(request: HtmxRequest) -> HttpResponseBase:
    """A new account; a one-time password is shown in the answer and never again."""
    form = UserForm(request.POST if request.method == "POST" else None)
    if request.method == "POST" and form.is_valid():
        values = form.cleaned_data
        try:
            made, one_time = services.create_user(actor=request.user, **values)
        except services.Refused as refused:
            form.add_error("account", refused.message)
        else:
            if one_time:
                return _show_once(request, made, one_time)
            return go(request, reverse("users:list"), said=_("%(account)s can sign in now.") % {"account": made})
    status = UNPROCESSABLE if form.errors else 200
    return render(request, "console/users_create.html", {"form": form}, status=status)


def _show_once(request: HtmxRequest, owner: User, password: str) -> HttpResponse:
    return render(request, "console/users_password.html", {"owner": owner, "password": password})


def _owner(user_id: int) -> User:
    try:
        return selectors.user(user_id)
    except selectors.NotFound as error:
        raise Http404("no such user") from error


@require_GET
def detail(request: HtmxRequest, user_id: int) -> HttpResponse:
    """One account: role, password, whether it may sign in."""
    return _detail(request, _owner(user_id))


def _detail(request: HtmxRequest, owner: User, **forms: Any) -> HttpResponse:
    context: dict[str, Any] = {
        "owner": owner,
        "role_form": RoleForm(initial={"role": owner.effective_role}),
        "reset_form": ResetForm(owner=owner),
    }
    return render(request, "console/users_detail.html", context | forms, status=UNPROCESSABLE if forms else 200)


@require_POST
def change_role(request: HtmxRequest, user_id: int) -> HttpResponseBase:
    """Change what a user may do."""
    owner, form = _owner(user_id), RoleForm(request.POST)
    if not form.is_valid():
        return _detail(request, owner, role_form=form)
    url = reverse("users:detail", args=[user_id])
    try:
        services.change_role(actor=request.user, user_id=user_id, role=form.cleaned_data["role"])
    except services.Refused as refused:
        return refuse(request, refused.message, url)
    if owner == request.user:
        url = reverse("login")  # one's own session has ended with the role
    said = _("The role of %(account)s is changed. Sessions of the former role have ended.") % {"account": owner}
    return go(request, url, said=said)


@require_POST
def set_active(request: HtmxRequest, user_id: int) -> HttpResponseBase:
    """Deactivate an account, or let it sign in again."""
    owner, active = _owner(user_id), request.POST.get("active") == "1"
    try:
        services.set_active(actor=request.user, user_id=user_id, active=active)
    except services.Refused as refused:
        return refuse(request, refused.message, reverse("users:detail", args=[user_id]))
    said = (
        _("%(account)s may sign in again.") if active else _("%(account)s is deactivated, and signed out everywhere.")
    )
    return go(request, reverse("users:list"), said=said % {"account": owner})


@require_POST
def reset_password(request: HtmxRequest, user_id: int) -> HttpResponseBase:
    """Give a user a new password."""
    owner = _owner(user_id)
    form = ResetForm(request.POST, owner=owner)
    if not form.is_valid():
        return _detail(request, owner, reset_form=form)
    owner, one_time = services.reset_password(
        actor=request.user, user_id=user_id, password=form.cleaned_data["password"]
    )
    if owner == request.user:
        update_session_auth_hash(request, owner)
    if one_time:
        return _show_once(request, owner, one_time)
    said = _("The password of %(account)s is changed. Former sessions have ended.") % {"account": owner}
    return go(request, reverse("users:detail", args=[user_id]), said=said)


@require_GET
def profile(request: HtmxRequest) -> HttpResponse:
    """One's own account: language, password, sessions."""
    return _profile(request, OwnPasswordForm(owner=request.user))


def _profile(request: HtmxRequest, form: OwnPasswordForm) -> HttpResponse:
    context = {"form": form, "languages": settings.LANGUAGES}
    return render(request, "console/profile.html", context, status=UNPROCESSABLE if form.errors else 200)


@require_POST
def change_password(request: HtmxRequest) -> HttpResponseBase:
    """Change one's own password; this session goes on, all others end."""
    form = OwnPasswordForm(request.POST, owner=request.user)
    if not form.is_valid():
        return _profile(request, form)
    services.change_own_password(user=request.user, password=form.cleaned_data["password"])
    update_session_auth_hash(request, request.user)
    said = _("Your password is changed. Your sessions in other browsers have ended.")
    return go(request, reverse("profile"), said=said)


@require_POST
def end_sessions(request: HtmxRequest) -> HttpResponseBase:
    """Sign out everywhere but here."""
    services.end_sessions(user=request.user)
    update_session_auth_hash(request, request.user)
    return go(request, reverse("profile"), said=_("Your sessions in other browsers have ended."))
