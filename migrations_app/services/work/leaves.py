"""Leaves to change a table of the target, as a worker meets them."""

from __future__ import annotations

from uuid import UUID

from django.utils import timezone

from ...engine.drift import Leave
from ...models import ShapeLeave


def leaves(task_id: UUID, database: str) -> list[Leave]:
    """Return what is not used up, in the order in which it was given."""
    rows = ShapeLeave.objects.filter(task_id=task_id, database=database, used_at=None)
    return [Leave(number=row.pk, schema=row.schema, name=row.name, digest=row.digest, lsn=row.lsn) for row in rows]


def leave_used(task_id: UUID, leave: Leave) -> None:
    """Use a leave up; twice is once."""
    ShapeLeave.objects.filter(pk=leave.number, task_id=task_id, used_at=None).update(used_at=timezone.now())
