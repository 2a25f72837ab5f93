"""What operators ask of a check: run it, or one item or group of it."""

from __future__ import annotations

from django.db import transaction

from .. import queue
from ..engine.states import Action, Status
from ..models import CheckItem
from .base import Actor, Refused, TaskId, locked, move, require


@transaction.atomic
def request_check(*, task_id: TaskId, actor: Actor, code: str = "") -> None:
    """Ask a worker to run all items, or the one named. Raises Refused when the task is past its check."""
    task = locked(task_id)
    require(Action.CHECK, task)
    if code and not CheckItem.objects.filter(task=task, code=code).exists():
        raise Refused(f"There is no check item {code}.")
    items = CheckItem.objects.filter(task=task)
    (items.filter(code=code) if code else items).update(status="waiting")
    move(
        task,
        Status.CHECKING,
        actor=actor,
        code="CHECK-STARTED",
        message="Check started." if not code else f"Check of {code} started.",
    )
    if not task.foreground:
        queue.wake("check", str(task.pk), code)
