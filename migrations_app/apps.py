"""The data-migration app: owns all tables."""

from __future__ import annotations

from django.apps import AppConfig


class MigrationsConfig(AppConfig):
    """Registers the system checks."""

    name = "migrations_app"
    verbose_name = "Data migrations"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Register the checks. The queue's guards are put in place by the command that runs the queue."""
        from . import checks  # noqa: F401 - registers system checks
