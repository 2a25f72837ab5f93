"""`manage.py verify_audit`: says whether the audit trail is as it was written, and where it is not."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from ... import audit_seal


class Command(BaseCommand):
    """Reads every entry and changes nothing. Ends with an error at the first entry that is not as it was sealed."""

    help = "Verify the chain of seals over the audit trail."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Take a seal that an earlier run printed."""
        parser.add_argument(
            "--kept", default="", metavar="SEAL", help="a seal printed earlier, which must be there yet"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Verify. Raises CommandError with the first entry that breaks the chain."""
        found = audit_seal.verify(options["kept"].strip().lower())
        if found.broken:
            raise CommandError(
                f"The audit trail was changed: {found.broken}. The {found.entries} entries before it are sound."
            )
        self.stdout.write(f"{found.entries} entries, all as they were written.")
        if found.seal:
            self.stdout.write(f"Keep this seal elsewhere, and give it with --kept the next time: {found.seal}")
