"""The data-migration app: owns all tables; its start-up mends what the queue library leaves open."""

from __future__ import annotations

from django.apps import AppConfig


class MigrationsConfig(AppConfig):
    """Registers the system checks and the queue's guards."""

    name = "migrations_app"
    verbose_name = "Data migrations"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Install the guards of the queue (its signals can only be imported once apps are loaded) and the checks."""
        from . import checks, queue  # noqa: F401 - registers system checks

        queue.install_guards()
