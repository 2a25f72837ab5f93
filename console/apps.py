"""The web app: pages only, no models."""

from __future__ import annotations

import time
from typing import Any

from django.apps import AppConfig


class ConsoleConfig(AppConfig):
    """Registers the template tags and the static files."""

    name = "console"

    def ready(self) -> None:
        """Note the beginning of every session: signing in may come before the first request loads the middleware.

        Nothing of the pages is imported here: the command line passes through, and would pay for it.
        """
        from django.contrib.auth.signals import user_logged_in

        user_logged_in.connect(begin_session, dispatch_uid="session-age")


def begin_session(sender: object, request: Any, **kwargs: object) -> None:
    """Note when a session began; every way of signing in passes here."""
    if hasattr(request, "session"):
        request.session["began"] = request.session["seen"] = int(time.time())
