"""`manage.py rotate_keys`: encrypts every stored password and key anew with the first key."""

from __future__ import annotations

from typing import Any

from django.apps import apps
from django.core.management.base import BaseCommand, CommandError
from django.db import models, transaction

from ... import crypto


class Command(BaseCommand):
    """Row by row, so it can be interrupted and repeated; running tasks go on."""

    help = "Encrypt every stored password and key with the first key of TOWPATH_ENCRYPTION_KEYS."

    def handle(self, *args: Any, **options: Any) -> None:
        """Rotate. Raises CommandError when a value cannot be opened with any key."""
        count = 0
        try:
            for model, names in crypto.secret_columns(apps.get_app_config("migrations_app").get_models()):
                for key in list(model._default_manager.values_list("pk", flat=True)):
                    count += _rotate(model, key, names)
        except crypto.UnreadableSecret as error:
            raise CommandError(str(error)) from error
        self.stdout.write(
            f"The secrets of {count} rows are encrypted with the first key now. The other keys can be removed."
        )


def _rotate(model: type[models.Model], key: Any, names: list[str]) -> int:
    """Encrypt the secrets of one row anew; whoever changes or deletes it in this moment comes before or after.

    Returns 1, or 0 when it is gone.
    """
    with transaction.atomic():
        row = model._default_manager.select_for_update().only(*names).filter(pk=key).first()
        if row is None:
            return 0
        row.save(update_fields=names)  # read with any key, written with the first
    return 1
