"""The resource directory: the local inventory row by row or as a file, and the provider's account."""

from __future__ import annotations

from typing import Any

from django.http import Http404, HttpResponse, HttpResponseBase
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from migrations_app import selectors, services
from migrations_app.models import Resource

from ..forms import AccountForm, InventoryForm, ResourceForm
from ..http import UNPROCESSABLE, HtmxRequest, go, refuse


@require_GET
def resource_list(request: HtmxRequest) -> HttpResponse:
    """Everything that the directory knows, by region and kind."""
    asked = {name: request.GET.get(name, "").replace("\0", "")[:200] for name in ("kind", "region", "search")}
    number = request.GET.get("page", "")
    context = {
        "asked": asked,
        "page": selectors.resources(**asked, page=int(number) if number.isdecimal() and len(number) < 9 else 1),
        "counts": selectors.resource_counts(),
        "regions": selectors.resource_regions(),
        "account": selectors.provider_account(),
        "problems": selectors.listing_problems(),
        "last_answer": selectors.last_answer(),
    }
    return render(request, "console/resources.html", context)


@require_http_methods(["GET", "POST"])
def create(request: HtmxRequest) -> HttpResponseBase:
    """A new row of the local inventory."""
    return _edit(request, None)


@require_http_methods(["GET", "POST"])
def edit(request: HtmxRequest, resource_id: int) -> HttpResponseBase:
    """Change a row of the local inventory."""
    row = selectors.resource(resource_id)
    if row is None:
        raise Http404("no such resource")
    return _edit(request, row)


def _edit(request: HtmxRequest, stored: Resource | None) -> HttpResponseBase:
    form = ResourceForm(request.POST if request.method == "POST" else None, stored=stored)
    if request.method == "POST" and form.is_valid():
        try:
            row = services.save_resource(
                actor=request.user, data=form.resource(), resource_id=stored.pk if stored else None
            )
        except services.Refused as refused:
            form.add_error(None, refused.message)
        else:
            said = _("%(id)s is saved.") % {"id": row.external_id}
            return go(request, reverse("resources:list"), said=said)
    context = {"form": form, "stored": stored}
    return render(request, "console/resources_edit.html", context, status=UNPROCESSABLE if form.errors else 200)


@require_POST
def delete(request: HtmxRequest, resource_id: int) -> HttpResponseBase:
    """Remove a row of the local inventory."""
    url = reverse("resources:list")
    try:
        removed = services.delete_resource(actor=request.user, resource_id=resource_id)
    except services.Refused as refused:
        return refuse(request, refused.message, url)
    except services.NotFound:
        return refuse(request, _("This resource was removed meanwhile."), url)
    return go(request, url, said=_("%(id)s is removed.") % {"id": removed})


@require_http_methods(["GET", "POST"])
def inventory(request: HtmxRequest) -> HttpResponseBase:
    """Import a file: first what it would change, then, with the same text, the change."""
    context: dict[str, Any] = {"form": InventoryForm()}
    if request.method != "POST":
        return render(request, "console/resources_import.html", context)
    confirmed = "text" in request.POST
    if confirmed:
        text = request.POST["text"]
    else:
        form = InventoryForm(request.POST, request.FILES)
        if not form.is_valid():
            return render(request, "console/resources_import.html", {"form": form}, status=UNPROCESSABLE)
        text = form.cleaned_data["file"]
    try:
        plan = services.import_inventory(actor=request.user, text=text, apply=confirmed)
    except services.InventoryError as error:
        context["problems"] = error.problems
        return render(request, "console/resources_import.html", context, status=UNPROCESSABLE)
    if confirmed:
        said = _("Imported: %(added)d added, %(changed)d changed, %(same)d unchanged.")
        numbers = {"added": len(plan.added), "changed": len(plan.changed), "same": plan.same}
        return go(request, reverse("resources:list"), said=said % numbers)
    return render(request, "console/resources_import.html", context | {"plan": plan, "text": text})


@require_http_methods(["GET", "POST"])
def account(request: HtmxRequest) -> HttpResponseBase:
    """The account that the cloud is asked with; its first question is asked at once."""
    stored = selectors.provider_account()
    form = AccountForm(request.POST if request.method == "POST" else None, stored=stored)
    if request.method == "POST" and form.is_valid():
        try:
            services.set_account(actor=request.user, **form.values())
        except services.Refused as refused:
            form.add_error("secret_key", refused.message)
        else:
            services.freshen([("region", "")], force=True)
            return go(request, reverse("resources:list"), said=_("The provider account is saved."))
    context = {"form": form, "stored": stored}
    return render(request, "console/resources_account.html", context, status=UNPROCESSABLE if form.errors else 200)


@require_POST
def remove_account(request: HtmxRequest) -> HttpResponseBase:
    """Forget the provider's account and everything that it listed."""
    services.remove_account(actor=request.user)
    return go(request, reverse("resources:list"), said=_("The provider account is removed."))


@require_POST
def refresh(request: HtmxRequest) -> HttpResponseBase:
    """Ask the provider for everything again."""
    services.freshen([("region", ""), *((kind, "") for kind, _label in Resource.KINDS if kind != "region")], force=True)
    return go(request, reverse("resources:list"), said=_("The provider was asked again."))
