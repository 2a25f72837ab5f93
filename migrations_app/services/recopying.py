"""A request to copy one table of a started task once more."""

from __future__ import annotations

from django.db import transaction
from django.utils.translation import gettext as _

from .. import queue
from ..engine.ports import TableStatus
from ..engine.states import Action, Status, StepName
from ..engine.wording import say
from ..models import MigrationTask, Recopy, TableCopy
from .base import Actor, Refused, TaskId, actor_name, locked, note, require, touch

_SYNCING = (StepName.SYNC,)
_STANDING = (StepName.COMPARE,)


@transaction.atomic
def recopy_table(*, task_id: TaskId, actor: Actor, database: str, schema: str, name: str) -> MigrationTask:
    """Ask for a table to be copied once more: while the sync of all others goes on, or before the next comparison.

    Raises Refused when the task is not that far, or does not copy this table. Asking twice is asking once.
    """
    task = locked(task_id)
    require(Action.RECOPY, task)
    if task.current_step not in (_SYNCING if task.incremental else _STANDING):
        raise Refused(_("A table can be copied once more when the copy of all tables is complete."))
    place = {"database": database, "schema": schema, "name": name}
    table = TableCopy.objects.filter(task=task, **place).first()
    if table is None:
        raise Refused(_("This task does not copy such a table. Look at its list of tables."))
    if table.status == TableStatus.DROPPED:
        raise Refused(_("This table has been dropped from the task already."))
    if table.status == TableStatus.WAITING:
        raise Refused(_("This table is being added, which copies it. Wait until it is in sync."))
    _request, new = Recopy.objects.get_or_create(task=task, **place, defaults={"asked_by": actor_name(actor)})
    if new:
        label = f"{schema}.{name}"
        said = say("{label} of {source_name} is to be copied once more.", label=label, source_name=database)
        note(task, said, actor=actor, code="RECOPY-REQUESTED")
    touch(task, recopy_requested=True)
    task.refresh_from_db()
    if not task.foreground and task.status in (Status.RUNNING, Status.READY):
        queue.wake("sync", str(task.pk))
    return task
