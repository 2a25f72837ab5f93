"""A light look at what a source keeps for a task, also while nobody works on it."""

from __future__ import annotations

import logging

from .. import services
from ..crypto import UnreadableSecret
from ..engine.errors import EngineError
from ..engine.replication import governed
from ..models import MigrationTask
from .planning import server_of

log = logging.getLogger(__name__)


def look_at_wal(task_id: str) -> None:
    """Look once at the slots of a task and record what follows. A task without one is left alone."""
    task = MigrationTask.objects.filter(pk=task_id).select_related("source").first()
    slots = services.slots_of(task_id) if task is not None else []
    if task is None or not slots:
        return
    try:
        seen = governed.look_at(server_of(task.source), slots)
    except (EngineError, UnreadableSecret) as error:
        log.info("the WAL that is kept for %s could not be read: %s", task_id, error)
        services.could_not_look(task_id)
        return
    services.record_look(task_id, slots, seen)
