"""What is decided about tables that are new on the source: they come into the task, or it leaves them alone."""

from __future__ import annotations

from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from .. import queue
from ..engine.states import Action, Status, StepName
from ..engine.wording import say
from ..models import MigrationTask, NewTable
from .base import Actor, Refused, TaskId, actor_name, locked, note, require, touch


@transaction.atomic
def add_new_table(*, task_id: TaskId, actor: Actor, database: str, schema: str, name: str) -> MigrationTask:
    """Ask for a new table to be added: copied while the sync of all others goes on, and followed from then on.

    Also for one that was ignored before. Raises Refused when the task is not that far, or knows no such new table.
    Asking twice is asking once.
    """
    task, row = _found(task_id, Action.ADD_TABLE, database, schema, name)
    if row.choice != "add":
        _decide(task, actor, row, "add")
        told = say("{table} of {database} is to be added to the task.", table=f"{schema}.{name}", database=database)
        note(task, told, actor=actor, code="TABLE-ADD")
    touch(task, recopy_requested=True)
    task.refresh_from_db()
    if not task.foreground and task.status in (Status.RUNNING, Status.READY):
        queue.wake("sync", str(task.pk))
    return task


@transaction.atomic
def ignore_new_table(*, task_id: TaskId, actor: Actor, database: str, schema: str, name: str) -> MigrationTask:
    """Leave a new table out of the task; it can be added later. Asking twice is asking once.

    Raises Refused when it is being added, or is a partition of a migrated table: its rows are rows of that table.
    """
    task, row = _found(task_id, Action.IGNORE_TABLE, database, schema, name)
    if row.choice == "add":
        raise Refused(_("This table is being added. Once that is done it can be dropped from the task."))
    if row.partition:
        raise Refused(_("This is a partition of a migrated table: its rows belong to that table. Add it."))
    if row.choice != "ignored":
        _decide(task, actor, row, "ignored")
        told = say(
            "{table} of {database} is ignored: it is not migrated, and Complete does not wait for it.",
            table=f"{schema}.{name}",
            database=database,
        )
        note(task, told, actor=actor, code="TABLE-IGNORED")
    task.refresh_from_db()
    return task


def _found(task_id: TaskId, action: Action, database: str, schema: str, name: str) -> tuple[MigrationTask, NewTable]:
    task = locked(task_id)
    require(action, task)
    row = task.new_tables.filter(database=database, schema=schema, name=name).first()
    if row is None or task.current_step != StepName.SYNC:
        raise Refused(_("This task knows no such new table, or is past its sync. Look at the task page."))
    return task, row


def _decide(task: MigrationTask, actor: Actor, row: NewTable, choice: str) -> None:
    decided = {"choice": choice, "decided_at": timezone.now(), "decided_by": actor_name(actor)}
    task.new_tables.filter(pk=row.pk).update(problem="", words={}, **decided)
