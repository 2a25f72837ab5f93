"""What the `task` command can decide about single tables, and where the sync of a task stopped."""

from __future__ import annotations

from collections.abc import Callable

from ... import services
from ...models import MigrationTask

CHOICES: dict[str, Callable[..., MigrationTask]] = {
    "--retry": services.retry_task,
    "--take-source": services.take_source_row,
    "--apply": services.apply_drift,
    "--recopy": services.recopy_conflict,
    "--quarantine": services.quarantine_conflict,
    "--drop": services.drop_conflict,
}
OF_TABLES: dict[str, tuple[str, Callable[..., MigrationTask]]] = {
    "recopy": ("copy one table of a started task once more, also while it syncs", services.recopy_table),
    "quarantine": (
        "have the sync of a failed task pass a table by until it is copied again or dropped",
        services.quarantine_table,
    ),
    "drop": (
        "take a table out of a failed task for good, a quarantined one also while the task syncs",
        services.drop_table,
    ),
    "add": ("add a table that is new on the source to a task that syncs", services.add_new_table),
    "ignore": (
        "leave a table that is new on the source out of the task; it can be added later",
        services.ignore_new_table,
    ),
}
