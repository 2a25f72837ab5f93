"""Makes the console's own tables where they are missing, and costs next to nothing where they are not."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from django.apps import apps
from django.core.management import call_command
from django.db import connection
from django.db.migrations.recorder import MigrationRecorder


def ensure_tables() -> None:
    """Run Django's migrations unless every file of every app is known to have been applied.

    Django's own look imports all of them and builds the state of every model, which takes longer than a small copy.
    """
    if not _files() <= set(MigrationRecorder(connection).applied_migrations()):
        call_command("migrate", verbosity=0, interactive=False)


def _files() -> set[tuple[str, str]]:
    found = set()
    for config in apps.get_app_configs():
        spec = find_spec(f"{config.name}.migrations")
        for folder in spec.submodule_search_locations or () if spec else ():
            found |= {(config.label, path.stem) for path in Path(folder).glob("[0-9]*.py")}
    return found
