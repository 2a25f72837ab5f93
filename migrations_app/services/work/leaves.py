"""Leaves to change a table of the target, as a worker meets them."""

from __future__ import annotations

from uuid import UUID

from django.db import transaction
from django.utils import timezone

from ...engine.drift import Leave
from ...engine.ports import TableState
from ...engine.selection import Selection
from ...models import MigrationTask, Recopy, RowPermission, ShapeLeave, TableCopy


def leaves(task_id: UUID, database: str) -> list[Leave]:
    """Return what is not used up, in the order in which it was given."""
    rows = ShapeLeave.objects.filter(task_id=task_id, database=database, used_at=None)
    return [Leave(number=row.pk, schema=row.schema, name=row.name, digest=row.digest, lsn=row.lsn) for row in rows]


def renamed(task_id: UUID, table: TableState, schema: str, name: str) -> None:
    """Give a table of the task another name, with what was asked about it, and in what is selected; twice is once."""
    old = {"database": table.database, "schema": table.schema, "name": table.name}
    new = {"schema": schema, "name": name}
    with transaction.atomic():
        task = MigrationTask.objects.select_for_update().get(pk=task_id)
        for model in (TableCopy, Recopy):
            model.objects.filter(task=task, **old).update(**new)
        RowPermission.objects.filter(task=task, used_at=None, **old).update(**new)
        selection = Selection.from_json(task.selection).renamed(
            (table.database, table.schema, table.name), (table.database, schema, name)
        )
        task.selection = selection.to_json()
        task.version += 1
        task.save(update_fields=["selection", "version"])


def leave_used(task_id: UUID, leave: Leave) -> None:
    """Use a leave up; twice is once."""
    ShapeLeave.objects.filter(pk=leave.number, task_id=task_id, used_at=None).update(used_at=timezone.now())
