"""`manage.py import_inventory FILE.yaml`: shows what a file would change in the local inventory, or changes it."""

from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from ... import services
from ...engine.wording import one_line


class Command(BaseCommand):
    """Without --apply nothing is written. A file with anything wrong in it is refused whole, line by line."""

    help = "Compare an inventory file with the local inventory; --apply: take it over, whole or not at all."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the options."""
        parser.add_argument("file", type=Path, help="YAML file with a list named resources")
        mode = parser.add_mutually_exclusive_group()
        mode.add_argument("--apply", action="store_true", help="write what is shown")
        mode.add_argument("--dry-run", action="store_true", help="only show what would change (the default)")

    def handle(self, *args: Any, **options: Any) -> None:
        """Print one line for each difference, then the counts. Exits 1 for a file that is refused."""
        try:
            text = options["file"].read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            raise CommandError(f"{options['file']} cannot be read: {error}") from error
        try:
            plan = services.import_inventory(actor=None, text=text, apply=options["apply"])
        except services.InventoryError as error:
            lines = "\n".join(f"  {problem}" for problem in error.problems)
            raise CommandError(f"{options['file']} is refused, nothing was changed:\n{lines}") from error
        for change in plan.added:
            self.stdout.write(f"+ {_title(change.entry)}")
        for change in plan.changed:
            self.stdout.write(f"~ {_title(change.entry)}")
            for name, before, after in change.fields:
                self.stdout.write(f"    {name}: {before!r} -> {after!r}")
        counts = f"{len(plan.added)} new, {len(plan.changed)} changed, {plan.same} unchanged"
        if options["apply"]:
            self.stdout.write(f"{counts}; imported.")
        else:
            self.stdout.write(f"{counts}; nothing was written, --apply does it.")


def _title(entry: Any) -> str:
    place = f" in {entry.region}" if entry.region else ""
    return one_line(f"{entry.kind} {entry.external_id}{place}")
