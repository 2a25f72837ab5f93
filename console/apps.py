"""The web app: pages only, no models."""

from __future__ import annotations

from importlib import import_module

from django.apps import AppConfig


class ConsoleConfig(AppConfig):
    """Registers the template tags and the static files, and lets every session know when it began."""

    name = "console"

    def ready(self) -> None:
        """Load the middleware: it listens to sign-ins, which may come before the first request."""
        import_module("console.middleware")
