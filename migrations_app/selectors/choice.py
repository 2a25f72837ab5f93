"""One action on many ticked tasks, before it is done: which will do it, which will not, and why not."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from datetime import datetime

from django.utils import timezone
from django.utils.translation import gettext as _

from ..engine.states import Action, Status, StepName
from ..engine.values import frozen
from ..models import MigrationTask
from ..refusals import why_not
from . import labels
from .checkview import check_view
from .rows import Viewer, visible_tasks


@frozen
class ChoiceLine:
    """One ticked task. `why_not` is empty when the action is possible now; `later`: when it would start, if not now."""

    id: uuid.UUID
    name: str
    status_label: str
    tone: str
    why_not: str
    later: datetime | None = None


def chosen_tasks(*, user: Viewer, action: str, keys: Iterable[uuid.UUID]) -> list[ChoiceLine]:
    """Return the ticked tasks in the order of the list, each with why `action` is not possible, if it is not."""
    wanted = Action(action)
    tasks = visible_tasks(user).filter(pk__in=list(keys)).select_related("source", "target").order_by("-created_at")
    return [
        ChoiceLine(
            id=task.pk,
            name=task.name,
            status_label=str(labels.STATUSES[Status(task.status)][0]),
            tone=labels.STATUSES[Status(task.status)][1],
            why_not=_why_not(task, wanted),
            later=task.scheduled_at if wanted == Action.START and _is_later(task) else None,
        )
        for task in tasks
    ]


def _is_later(task: MigrationTask) -> bool:
    return task.scheduled_at is not None and task.scheduled_at > timezone.now()


def _why_not(task: MigrationTask, action: Action) -> str:
    status = Status(task.status)
    if action == Action.START and status in (Status.DRAFT, Status.CHECK_FAILED, Status.CHECK_PASSED):
        return check_view(task).why_not
    if why := why_not(action, task):
        return why
    if action == Action.CANCEL and status == Status.COMPLETING and task.current_step == StepName.CLEANUP:
        return _("Complete is past the point where it can be cancelled.")
    return ""
