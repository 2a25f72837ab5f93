"""What the frame of every page shows: workers, queue, time zone."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from django.utils.functional import SimpleLazyObject

from migrations_app import selectors


def chrome(request: HttpRequest) -> dict[str, Any]:
    """Add `health` (read only when a page shows it, so fragments cost nothing) and `time_zone_name`."""
    return {"health": SimpleLazyObject(selectors.health), "time_zone_name": selectors.time_zone_name()}
