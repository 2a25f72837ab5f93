"""A new draft like another task: same endpoints with their secrets, same selection, same options."""

from __future__ import annotations

import re

from django.db import transaction

from ..engine.wording import say
from ..models import Endpoint, MigrationTask, User
from .base import Actor, TaskId, locked, note
from .tagging import copy_tags

_NAME_LENGTH = 120
_OWN = {"id", "saved_name", "saved_from"}


@transaction.atomic
def clone_task(*, task_id: TaskId, actor: Actor) -> MigrationTask:
    """Return a draft that is like the task before it was ever checked. Raises NotFound.

    The scheduled time is not taken over, nor anything that was found, made or measured; objects are read anew.
    """
    task = locked(task_id)
    copy = MigrationTask.objects.create(
        name=copy_name(task.name),
        owner=actor if isinstance(actor, User) else None,
        incremental=task.incremental,
        source=_copy_endpoint(task.source),
        target=_copy_endpoint(task.target),
        selection={**task.selection, "existing": "refuse"},  # what was confirmed, was confirmed for the other task
        copy_jobs=task.copy_jobs,
        copy_mb_per_second=task.copy_mb_per_second,
        wal_budget_bytes=task.wal_budget_bytes,
        wal_disk_bytes=task.wal_disk_bytes,
        wal_policy=task.wal_policy,
        skip_compare=task.skip_compare,
        cloned_from=task,
    )
    copy_tags(task, copy)
    note(task, say("Cloned as {name}.", name=copy.name), actor=actor, code="TASK-CLONED")
    note(
        copy,
        say("Task {name} created as a clone of {original}.", name=copy.name, original=task.name),
        actor=actor,
        code="TASK-CREATED",
    )
    copy.refresh_from_db()
    return copy


def _copy_endpoint(endpoint: Endpoint | None) -> Endpoint | None:
    if endpoint is None:
        return None
    names = [field.attname for field in Endpoint._meta.concrete_fields if field.name not in _OWN]
    return Endpoint.objects.create(
        saved_from_id=endpoint.saved_from_id, **{name: getattr(endpoint, name) for name in names}
    )


def copy_name(name: str) -> str:
    """Return a name for a copy that is not taken: shop (copy), shop (copy 2)."""
    base = re.sub(r" \(copy(?: \d+)?\)$", "", name)
    number = 1
    while True:
        suffix = " (copy)" if number == 1 else f" (copy {number})"
        candidate = base[: _NAME_LENGTH - len(suffix)] + suffix
        if not MigrationTask.objects.filter(name=candidate).exists():
            return candidate
        number += 1
