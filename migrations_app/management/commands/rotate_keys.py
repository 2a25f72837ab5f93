"""`manage.py rotate_keys`: encrypts every stored password and key anew with the first key."""

from __future__ import annotations

from typing import Any

from django.apps import apps
from django.core.management.base import BaseCommand, CommandError

from ... import crypto


class Command(BaseCommand):
    """Row by row, so it can be interrupted and repeated; running tasks go on."""

    help = "Encrypt every stored password and key with the first key of TOWPATH_ENCRYPTION_KEYS."

    def handle(self, *args: Any, **options: Any) -> None:
        """Rotate. Raises CommandError when a value cannot be opened with any key."""
        count = 0
        try:
            for model, names in crypto.secret_columns(apps.get_app_config("migrations_app").get_models()):
                for row in model._default_manager.only(*names):
                    row.save(update_fields=names)  # read with any key, written with the first
                    count += 1
        except crypto.UnreadableSecret as error:
            raise CommandError(str(error)) from error
        self.stdout.write(
            f"The secrets of {count} rows are encrypted with the first key now. The other keys can be removed."
        )
