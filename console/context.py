"""What the frame of every page shows: navigation, rights, workers, queue, time zone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.contrib.auth.models import AnonymousUser
from django.http import HttpRequest
from django.urls import NoReverseMatch, reverse
from django.utils.functional import Promise, SimpleLazyObject
from django.utils.translation import gettext_lazy as _

from migrations_app import selectors
from migrations_app.models import User

from . import access

# Label and address of every entry of the navigation; who may not open an address does not see it.
_PLACES: list[tuple[Promise, str]] = [
    (_("Migrations"), "tasks:list"),
    (_("Endpoints"), "endpoints:list"),
    (_("Resources"), "resources:list"),
    (_("Users"), "users:list"),
    (_("Audit"), "audit:list"),
]


@dataclass(frozen=True, kw_only=True)
class Place:
    """One entry of the navigation. `current` is '', 'page' at its own address, or 'true' below it."""

    label: str
    url: str
    current: str


def chrome(request: HttpRequest) -> dict[str, Any]:
    """Add `can` (what the reader may do), `places`, `health` (read only when a page shows it), `time_zone_name`."""
    user = getattr(request, "user", AnonymousUser())  # a request that was refused early has none
    return {
        "can": access.Can(user),
        "places": SimpleLazyObject(lambda: _places(request, user)),
        "languages": settings.LANGUAGES,
        "health": SimpleLazyObject(selectors.health),
        "time_zone_name": selectors.time_zone_name(),
    }


def _places(request: HttpRequest, user: User | AnonymousUser) -> list[Place]:
    match = request.resolver_match
    here = match.view_name if match else ""
    found = []
    for label, name in _PLACES:
        if not access.may(user, name):
            continue
        try:
            url = reverse(name)
        except NoReverseMatch:  # listed before its page stands
            continue
        same_section = here.partition(":")[0] == name.partition(":")[0]
        current = "page" if here == name else "true" if same_section else ""
        found.append(Place(label=str(label), url=url, current=current))
    return found
