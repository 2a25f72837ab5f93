"""`manage.py rotate_keys`: encrypts every stored password anew with the first key."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from ... import crypto
from ...models import Endpoint


class Command(BaseCommand):
    """Row by row, so it can be interrupted and repeated; running tasks go on."""

    help = "Encrypt every stored password with the first key of TOWPATH_ENCRYPTION_KEYS."

    def handle(self, *args: Any, **options: Any) -> None:
        """Rotate. Raises CommandError when a value cannot be opened with any key."""
        count = 0
        try:
            for endpoint in Endpoint.objects.all():
                endpoint.save(update_fields=["password"])  # read with any key, written with the first
                count += 1
        except crypto.UnreadableSecret as error:
            raise CommandError(str(error)) from error
        self.stdout.write(f"{count} passwords are encrypted with the first key now. The other keys can be removed.")
