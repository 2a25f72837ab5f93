"""The web app: pages only, no models."""

from __future__ import annotations

from django.apps import AppConfig


class ConsoleConfig(AppConfig):
    """Registers the template tags and the static files."""

    name = "console"
