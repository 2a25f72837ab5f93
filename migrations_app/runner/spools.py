"""What our rows keep of a spool on a worker's disk."""

from __future__ import annotations

from uuid import UUID

from django.db.models import F

from .. import queue
from ..engine.ports import SpoolState
from ..models import MigrationTask, TaskDatabase
from ..services import work


def read_spool(task_id: UUID, database: str) -> SpoolState | None:
    """Return what is known of the spool of a database, None when it has none."""
    row = TaskDatabase.objects.filter(task_id=task_id, source_name=database).exclude(spool_host="").first()
    return SpoolState(ends=row.spool_ends or 0, size=row.spool_bytes, host=row.spool_host) if row else None


def write_spool(claim: work.Claim, database: str, state: SpoolState | None) -> None:
    """Store it, with this machine as the host. What was received counts as progress: nothing of an outage is over, but
    the source is relieved, and giving up would end that."""
    rows = TaskDatabase.objects.filter(task_id=UUID(claim.task_id), source_name=database)
    before = rows.values_list("spool_ends", flat=True).first()
    if state is None:
        rows.update(spool_host="", spool_ends=None, spool_bytes=0)
    else:
        rows.update(spool_host=queue.host_name(), spool_ends=state.ends, spool_bytes=state.size)
        if before is not None and state.ends > before:
            work.progressed(claim)
    MigrationTask.objects.filter(pk=claim.task_id).update(version=F("version") + 1)
