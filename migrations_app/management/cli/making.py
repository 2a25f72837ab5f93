"""Makes the task that `task create` and `task run` were asked for."""

from __future__ import annotations

from datetime import datetime

from django.db import transaction

from ... import services
from ...models import MigrationTask
from .asked import RunOptions
from .wal import give_budget


@transaction.atomic
def make_task(options: RunOptions, *, at: datetime | None = None, foreground: bool = False) -> MigrationTask:
    """Create the task with all that was asked for, or nothing: without its selection everything would move.

    Raises Refused.
    """
    task = services.create_draft(
        actor=None,
        name=options.name,
        scheduled_at=at,
        incremental=options.incremental,
        source=options.source,
        target=options.target,
        foreground=foreground,
        copy_jobs=options.jobs,
        copy_mb_per_second=options.mb_per_second,
        skip_compare=not options.compare,
    )
    services.set_selection(task_id=task.pk, actor=None, selection=options.selection)
    services.set_existing(task_id=task.pk, actor=None, policy=options.existing, typed=options.name)
    give_budget(task, options.wal)
    if options.passwords:
        services.give_passwords(task_id=task.pk, actor=None, given=options.passwords)
    return task
