"""`manage.py compile_translations`: writes each .mo file from its .po file, without any tool of gettext."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand


class Command(BaseCommand):
    """Compiles every catalogue below LOCALE_PATHS. The compiled files are part of the repository."""

    help = "Compile the translations (locale/*/LC_MESSAGES/django.po)."
    requires_system_checks: list[str] = []  # noqa: RUF012 - Django's own attribute

    def handle(self, *args: Any, **options: Any) -> None:
        """Write the .mo files and say how much of each catalogue is translated."""
        import polib  # type: ignore[import-untyped]  # only whoever changes translations has it

        for folder in settings.LOCALE_PATHS:
            for path in sorted(Path(folder).glob("*/LC_MESSAGES/*.po")):
                catalogue = polib.pofile(str(path), wrapwidth=0)
                catalogue.save_as_mofile(str(path.with_suffix(".mo")))
                language, missing = path.parent.parent.name, len(catalogue) - len(catalogue.translated_entries())
                obsolete = len(catalogue.obsolete_entries())
                self.stdout.write(f"{language}: {len(catalogue) - obsolete} texts, {missing - obsolete} not translated")
