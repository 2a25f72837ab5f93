"""Permissions to take the source's row, as a worker meets them."""

from __future__ import annotations

from uuid import UUID

from django.db import transaction
from django.utils import timezone

from ...engine.conflicts import Permission, Use
from ...engine.lsn import format_lsn
from ...engine.wording import say, template
from ...models import MigrationTask, RowPermission
from ..base import note

_TOLD = {
    Use.TAKEN: template(
        "The source's row took the place of what was on the target: {change} of {table} in {database}, at {lsn}."
    ),
    Use.NOT_NEEDED: template(
        "The permission to take the source's row was not needed: {change} of {table} in {database}, at {lsn}."
    ),
    Use.UNKNOWN: template(
        "The change that was to take the source's row has been applied: {change} of {table} in {database}, at {lsn}."
    ),
}


def permissions(task_id: UUID, database: str) -> list[Permission]:
    """Return what is not used up, in the order in which it was allowed."""
    rows = RowPermission.objects.filter(task_id=task_id, database=database, used_at=None)
    return [Permission(number=row.pk, schema=row.schema, name=row.name, digest=row.digest, lsn=row.lsn) for row in rows]


@transaction.atomic
def permission_used(task_id: UUID, permission: Permission, use: Use) -> None:
    """Use a permission up, and tell it once."""
    task = MigrationTask.objects.get(pk=task_id)
    row = RowPermission.objects.get(pk=permission.number, task=task)
    changed = RowPermission.objects.filter(pk=row.pk, used_at=None).update(used_at=timezone.now(), use=use)
    if not changed:
        return
    place = {"change": row.change, "table": f"{row.schema}.{row.name}", "database": row.database}
    level = "info" if use is Use.NOT_NEEDED else "warning"
    message = say(_TOLD[use], **place, lsn=format_lsn(row.lsn))
    note(task, message, code="CONFLICT-TAKEN", level=level, key=row.key, asked_by=row.asked_by)
