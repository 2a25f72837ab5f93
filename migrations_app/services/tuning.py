"""How fast a task copies: tables at the same time, and a cap for the line. Changed while the copy runs."""

from __future__ import annotations

from django.db import transaction
from django.utils.translation import gettext as _

from ..engine.states import may_still_copy
from ..engine.wording import count, say
from ..models import MigrationTask
from . import audit
from .base import Actor, Refused, TaskId, locked, note, touch

MOST_JOBS = 64
MOST_MB_PER_SECOND = 100_000


@transaction.atomic
def tune_task(*, task_id: TaskId, actor: Actor, jobs: int | None, mb_per_second: int | None) -> MigrationTask:
    """Set how many tables are copied and indexed at the same time, and the most MB (10^6 bytes) that are read a second.

    None: as the installation has it, and without a cap. A worker obeys within seconds: lanes that are too many stop
    reading at once. Raises Refused when a number is out of range, or nothing of the task is copied any more.
    """
    task = locked(task_id)
    if not may_still_copy(task.status, task.current_step):
        raise Refused(_("Nothing of this task is copied any more, so its speed cannot be set."))
    if jobs is not None and not 1 <= jobs <= MOST_JOBS:
        raise Refused(_("Tables at the same time: a number from 1 to %(most)d.") % {"most": MOST_JOBS})
    if mb_per_second is not None and not 1 <= mb_per_second <= MOST_MB_PER_SECOND:
        raise Refused(_("The most MB a second: a number from 1 to %(most)d.") % {"most": MOST_MB_PER_SECOND})
    said = say(
        "Speed of the copy set: {tables} at the same time, {cap}.",
        tables=count(jobs, "{number} table", "{number} tables") if jobs else say("usual number of tables"),
        cap=say("at most {number} MB/s", number=mb_per_second) if mb_per_second else say("no cap"),
    )
    note(task, said, actor=actor, code="TASK-TUNED")
    if actor is None:
        audit.from_command_line(action="tasks:tune", message=said, task=task)
    touch(task, copy_jobs=jobs, copy_mb_per_second=mb_per_second)
    task.refresh_from_db()
    return task
