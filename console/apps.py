"""The web app: pages only, no models."""

from __future__ import annotations

from django.apps import AppConfig


class ConsoleConfig(AppConfig):
    """Registers the template tags and the static files."""

    name = "console"

    def ready(self) -> None:
        """Note the beginning of every session: signing in may come before the first request loads the middleware."""
        from django.contrib.auth.signals import user_logged_in

        from .middleware import begin_session

        user_logged_in.connect(begin_session, dispatch_uid="session-age")
