"""Saved endpoints, and the part of a form that changes with the chosen type or a list."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.http import Http404, HttpResponse, HttpResponseBase
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from migrations_app import selectors, services
from migrations_app.models import Endpoint

from ..forms import SavedEndpointForm, SourceForm, TargetForm
from ..forms.place import stored_values, typed
from ..http import CONFLICT, UNPROCESSABLE, HtmxRequest, go, refuse, seen

FORMS = {"source": SourceForm, "target": TargetForm}


@require_GET
def endpoint_list(request: HtmxRequest) -> HttpResponse:
    """All saved endpoints."""
    return render(request, "console/endpoints.html", {"rows": selectors.saved_endpoints()})


@require_http_methods(["GET", "POST"])
def create(request: HtmxRequest) -> HttpResponseBase:
    """A new saved endpoint."""
    return _page(request, None)


@require_http_methods(["GET", "POST"])
def edit(request: HtmxRequest, saved_id: UUID) -> HttpResponseBase:
    """Change a saved endpoint; tasks that took it keep what they took."""
    return _page(request, _saved_or_404(saved_id))


def _saved_or_404(saved_id: UUID) -> Endpoint:
    try:
        return selectors.saved_endpoint(saved_id)
    except selectors.NotFound as error:
        raise Http404("no such endpoint") from error


def _page(request: HtmxRequest, stored: Endpoint | None) -> HttpResponseBase:
    posted = request.method == "POST"
    freshen("source", shown_values(request, "source", stored))
    judged = posted and request.POST.get("press", "save") == "save"
    form = SavedEndpointForm(
        request.POST if judged else None,
        request.FILES if judged else None,
        stored=stored,
        typed_in=request.POST if posted and not judged else None,
    )
    stale = False
    if judged and form.is_valid():
        try:
            saved = services.save_endpoint(
                actor=request.user,
                name=form.cleaned_data["saved_name"],
                data=form.endpoint(),
                saved_id=stored.pk if stored else None,
                seen=request.POST.get("seen"),
            )
        except services.Changed:
            request.refused = stale = True
        except services.Refused as refused:
            form.add_error(None, refused.message)
        else:
            said = _("%(name)s is saved.") % {"name": saved.saved_name}
            return go(request, reverse("endpoints:list"), said=said)
    copies = stored.copies.count() if stored else 0
    context: dict[str, Any] = {"form": form, "stored": stored, "copies": copies, "stale": stale}
    if stored is not None:
        now = selectors.endpoint_mark(_saved_or_404(stored.pk) if stale else stored)
        context["seen"] = seen(request, now, stale=stale)
    if stale or form.errors:
        form.tell_what_to_type_again()
    status = CONFLICT if stale else UNPROCESSABLE if form.errors else 200
    return render(request, "console/endpoints_edit.html", context, status=status)


@require_POST
def delete(request: HtmxRequest, saved_id: UUID) -> HttpResponseBase:
    """Delete a saved endpoint with its secrets."""
    url = reverse("endpoints:list")
    try:
        name = services.delete_endpoint(actor=request.user, saved_id=saved_id)
    except services.NotFound:
        return refuse(request, _("This endpoint was deleted meanwhile."), url)
    return go(request, url, said=_("%(name)s is deleted. Tasks that use it keep their own copy.") % {"name": name})


@require_POST
def test(request: HtmxRequest, saved_id: UUID) -> HttpResponseBase:
    """Have a worker test the connection; the answer shows in the list."""
    url = reverse("endpoints:list")
    try:
        started = services.request_endpoint_test(saved_id=saved_id, actor=request.user)
    except services.NotFound:
        return refuse(request, _("This endpoint was deleted meanwhile."), url)
    except services.Refused as refused:
        return refuse(request, refused.message, url)
    if request.htmx:
        return render(request, "console/partials/_endpoint_test.html", {"test": started})
    return go(request, url)


@require_GET
def test_result(request: HtmxRequest, test_id: UUID) -> HttpResponse:
    """How a connection test stands; polled until it has ended."""
    try:
        found = selectors.endpoint_test(test_id)
    except selectors.NotFound as error:
        raise Http404("no such test") from error
    return render(request, "console/partials/_endpoint_test.html", {"test": found})


@require_POST
def confirm_key(request: HtmxRequest, saved_id: UUID) -> HttpResponseBase:
    """Trust the SSH host key that the last test found."""
    url = reverse("endpoints:list")
    try:
        test_id = UUID(request.POST.get("test", ""))
    except ValueError:
        test_id = UUID(int=0)  # no test has it
    try:
        services.confirm_endpoint_key(saved_id=saved_id, actor=request.user, test_id=test_id)
    except services.NotFound:
        return refuse(request, _("This endpoint was deleted meanwhile."), url)
    except services.Refused as refused:
        return refuse(request, refused.message, url)
    return go(request, url, said=_("The SSH host key is confirmed. Test the connection again."))


@require_GET
def fields(request: HtmxRequest, side: str) -> HttpResponse:
    """The fields of the chosen type with their lists, for what is chosen now; or a whole side from a saved endpoint."""
    if side not in FORMS:
        raise Http404("no such side")
    other = typed(request.GET, "target") if side == "source" else None
    if "use" in request.GET:
        chosen = request.GET.get(f"{side}-use", "")
        form = FORMS[side](typed_in={f"{side}-saved": chosen}, other=other)
        context = {"form": form, "side": side, "saved": selectors.saved_endpoints(side=side), "chosen": chosen}
        return render(request, "console/partials/_side.html", context)
    values: dict[str, Any] = dict(request.GET.items())
    if "public" in request.GET and side == "source":
        values = as_public(values)
    freshen(side, values, force="refresh" in request.GET)
    if request.htmx.trigger_name == f"{side}-instance_id":
        values = _with_port(side, values)
    form = FORMS[side](typed_in=values, other=other)
    context = {"form": form, "side": side, "swapped": True}
    if side == "target":
        context["source"] = SourceForm(typed_in=values, other=form.values)
    return render(request, "console/partials/_where.html", context)


def _with_port(side: str, values: dict[str, Any]) -> dict[str, Any]:
    """Return what was chosen with the port of an instance that was just chosen, when the directory knows it."""
    port = selectors.known_port(side, typed(values, side))
    return {**values, f"{side}-port": str(port)} if port else values


def shown_values(request: HtmxRequest, side: str, stored: Endpoint | None) -> dict[str, Any]:
    """Return what decides which lists a page shows: what was sent, else what is stored."""
    if request.method == "POST":
        return dict(request.POST.items())
    return {f"{side}-{name}": value for name, value in stored_values(stored).items()} if stored else {}


def freshen(side: str, values: dict[str, Any], *, force: bool = False) -> None:
    """Ask the provider for the lists that this side shows, unless they are fresh."""
    place = typed(values, side)
    services.freshen(selectors.lists_of(side, place["kind"], place), force=force)


def as_public(values: dict[str, Any]) -> dict[str, Any]:
    """Return what was chosen as PostgreSQL with public IP: the manual's advice for another region."""
    place = typed(values, "source")
    address = selectors.public_address(place) or place["host"]
    return {**values, "source-kind": "public_ip", "source-host": address}
