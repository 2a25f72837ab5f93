"""`manage.py generate_key`: prints a new key for TOWPATH_ENCRYPTION_KEYS."""

from __future__ import annotations

from typing import Any

from cryptography.fernet import Fernet
from django.core.management.base import BaseCommand


class Command(BaseCommand):
    """Prints one key. Put it first into TOWPATH_ENCRYPTION_KEYS, keep the old ones behind it, then rotate."""

    help = "Print a new encryption key for TOWPATH_ENCRYPTION_KEYS."
    requires_system_checks: list[str] = []  # noqa: RUF012 - Django declares it so

    def handle(self, *args: Any, **options: Any) -> None:
        """Print the key."""
        self.stdout.write(Fernet.generate_key().decode())
