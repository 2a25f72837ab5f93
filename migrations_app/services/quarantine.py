"""Tables that a syncing task passes by: set aside until somebody decides, or dropped from the task for good."""

from __future__ import annotations

from django.db import transaction
from django.utils.translation import gettext as _

from ..engine.ports import NEVER, TableStatus
from ..engine.states import Action, Status, StepName
from ..engine.wording import say
from ..models import MigrationTask, TableCopy
from ..refusals import past_return
from .base import Actor, Refused, TaskId, locked, note, require, require_typed, touch

_SYNCED = (StepName.SYNC, StepName.COMPARE, StepName.COMPLETE)


@transaction.atomic
def quarantine_table(*, task_id: TaskId, actor: Actor, database: str, schema: str, name: str) -> MigrationTask:
    """Have the sync of a failed task pass a table by, until it is copied again or dropped. It stays failed until Retry.

    Raises Refused. Asking twice is asking once.
    """
    task = locked(task_id)
    require(Action.QUARANTINE, task)
    row = _table(task, database, schema, name)
    if row.status != TableStatus.QUARANTINED:
        _set_aside(task, row, TableStatus.QUARANTINED)
        told = say(
            "{table} of {database} is quarantined: its changes are skipped, all other tables go on. Complete waits "
            "until it is copied again or dropped from the task.",
            table=f"{schema}.{name}",
            database=database,
        )
        note(task, told, actor=actor, code="TABLE-QUARANTINED", level="warning")
    task.refresh_from_db()
    return task


@transaction.atomic
def drop_table(
    *, task_id: TaskId, actor: Actor, database: str, schema: str, name: str, typed: str | None = None
) -> MigrationTask:
    """Take a table out of the task for good: any table of a failed one, a quarantined one also while the others sync.

    In the copy too, in a task with or without sync: what stops that is mostly one table. Its rows on the target stay as
    they are, all or some of them. It is confirmed by the task's name (`typed`; None: the caller has asked in another
    way). Raises Refused.
    """
    task = locked(task_id)
    require(Action.DROP, task)
    row = _table(task, database, schema, name, copying=task.current_step == StepName.COPY)
    waits = row.status == TableStatus.QUARANTINED and not task.recopies.filter(**_place(row)).exists()
    if task.status != Status.FAILED and not waits:
        raise Refused(_("Only a quarantined table that is not being copied again can be dropped while the task runs."))
    require_typed(task, typed)
    _set_aside(task, row, TableStatus.DROPPED)
    told = say(
        "{table} of {database} is dropped from the task: it is not synced and not compared any more. Its rows on the "
        "target stay as they are now, and may differ from the source's.",
        table=f"{schema}.{name}",
        database=database,
    )
    note(task, told, actor=actor, code="TABLE-DROPPED", level="warning")
    task.refresh_from_db()
    return task


def _table(task: MigrationTask, database: str, schema: str, name: str, *, copying: bool = False) -> TableCopy:
    if not copying and (not task.incremental or task.current_step not in _SYNCED):
        raise Refused(_("A table can be dropped in the copy or once the sync has begun, and quarantined in the sync."))
    if past_return(task):
        raise Refused(_("Complete has opened the target: no table is synced or compared there any more. Press Retry."))
    row = TableCopy.objects.filter(task=task, database=database, schema=schema, name=name).first()
    if row is None:
        raise Refused(_("This task does not copy such a table. Look at its list of tables."))
    if row.status == TableStatus.DROPPED:
        raise Refused(_("This table has been dropped from the task already."))
    return row


def _place(row: TableCopy) -> dict[str, str]:
    return {"database": row.database, "schema": row.schema, "name": row.name}


def _set_aside(task: MigrationTask, row: TableCopy, status: TableStatus) -> None:
    """Write it down; no worker changes this table meanwhile. Every session that begins from now on passes it by."""
    TableCopy.objects.filter(pk=row.pk).update(status=status, watermark=NEVER)
    task.recopies.filter(**_place(row)).delete()
    task.new_tables.filter(**_place(row), choice="add").delete()
    touch(task, recopy_requested=task.recopies.exists() or task.new_tables.filter(choice="add").exists())
