"""One action on many tasks: each is asked on its own, and each answers on its own."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable
from typing import Any

from django.utils.translation import gettext as _

from ..engine.values import frozen
from ..models import MigrationTask
from . import audit
from .base import Actor, NotFound, Refused, actor_name
from .lifecycle import cancel_task, start_task

BULK_ACTIONS: dict[str, Callable[..., Any]] = {"start": start_task, "cancel": cancel_task}
MOST_TASKS = 100


@frozen
class BulkResult:
    """What came of one task: done, or why not."""

    task_id: uuid.UUID
    done: bool
    reason: str = ""


def apply_to_many(*, action: str, task_ids: Iterable[uuid.UUID], actor: Actor) -> list[BulkResult]:
    """Do `action` to each task in its own transaction; one refusal spares the others. Raises Refused for the whole."""
    perform = BULK_ACTIONS.get(action)
    keys = list(dict.fromkeys(task_ids))
    if perform is None:
        raise Refused(_("Only Start and Cancel can be done for many tasks at once."))
    if not keys or len(keys) > MOST_TASKS:
        raise Refused(_("Tick 1 to %(most)d tasks first.") % {"most": MOST_TASKS})
    return [_one(action, perform, key, actor) for key in keys]


def _one(action: str, perform: Callable[..., Any], key: uuid.UUID, actor: Actor) -> BulkResult:
    task = MigrationTask.objects.filter(pk=key).first()
    subject = task.name if task else ""
    try:
        with audit.apart(actor=actor_name(actor), action=f"tasks:many-{action}", subject=subject, task=task):
            perform(task_id=key, actor=actor)
    except Refused as refused:
        return BulkResult(task_id=key, done=False, reason=refused.message)
    except NotFound:
        return BulkResult(task_id=key, done=False, reason=_("This task no longer exists."))
    return BulkResult(task_id=key, done=True)
