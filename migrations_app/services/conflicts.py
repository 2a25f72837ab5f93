"""The choices where the sync stopped, at a conflict or at a table that changed on the source; it goes on with each.

Each decision is a row before anything acts on it, in the transaction in which the task goes on.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from typing import Any

from django.db import transaction
from django.utils.translation import gettext as _

from ..engine.conflicts import Conflict, ConflictKind, Obstacle
from ..engine.drift import source_has
from ..engine.lsn import format_lsn
from ..engine.ports import NEVER, TableStatus
from ..engine.states import Action, Status
from ..engine.wording import listing, say
from ..models import MigrationTask, RowPermission, ShapeLeave, TableCopy
from .base import Actor, Refused, TaskId, actor_name, locked, note, require
from .quarantine import drop_table, quarantine_table
from .recopying import recopy_table
from .resuming import go_on

_SAID = say("The conflict is decided; trying again from where it stopped.")
_SAID_DRIFT = say("It is decided what becomes of the changed table; trying again from where it stopped.")


def conflict_of(task: MigrationTask) -> Conflict | None:
    """Return the conflict that a failed task stopped at, None when it failed for another reason."""
    facts = task.conflict
    if task.status != Status.FAILED or not facts:
        return None
    known = {field.name: facts[field.name] for field in fields(Conflict)}
    return Conflict(**known | {"kind": ConflictKind(known["kind"]), "obstacle": Obstacle(known["obstacle"])})


@transaction.atomic
def take_source_row(*, task_id: TaskId, actor: Actor) -> MigrationTask:
    """Let the source's row take the place of what is on the target: this row, in this transaction, once.

    Raises Refused when the task stopped at no conflict, or the source's row cannot be taken.
    """
    task = locked(task_id)
    require(Action.TAKE_SOURCE, task)
    conflict = _conflict(task)
    _refuse_obstacle(conflict)
    RowPermission.objects.get_or_create(
        task=task,
        database=conflict.database,
        schema=conflict.schema,
        name=conflict.name,
        lsn=conflict.lsn,
        digest=conflict.digest,
        used_at=None,
        defaults={"change": conflict.change, "key": conflict.key, "asked_by": actor_name(actor)},
    )
    told = say(
        "The source's row is to be taken once: {change} of {table} in {database}, at {lsn}.",
        change=conflict.change,
        table=f"{conflict.schema}.{conflict.name}",
        database=conflict.database,
        lsn=format_lsn(conflict.lsn),
    )
    note(task, told, actor=actor, code="CONFLICT-TAKE", key=conflict.key)
    return _decided(task, actor)


@transaction.atomic
def apply_drift(*, task_id: TaskId, actor: Actor) -> MigrationTask:
    """Let the sync run the statements that give the changed table of the target its new shape: once, at its place.

    Raises Refused when the task stopped at no changed table, or there is no statement that is certain.
    """
    task = locked(task_id)
    require(Action.APPLY, task)
    facts = task.drift
    if not facts:
        raise Refused(_("The task did not stop at a table that changed. Read its message, mend the cause and retry."))
    if not facts["statements"]:
        raise Refused(_("There is nothing to apply at this change. Copy the table again, or drop it from the task."))
    place = {name: facts[name] for name in ("database", "schema", "name")}
    same = ShapeLeave.objects.filter(task=task, digest=facts["digest"], lsn=facts["lsn"], used_at=None, **place)
    if not same.exists():
        ShapeLeave.objects.create(
            task=task,
            digest=facts["digest"],
            lsn=facts["lsn"],
            statements=facts["statements"],
            asked_by=actor_name(actor),
            **place,
        )
    told = say(
        "{table} of {database} is to be changed on the target as on the source: {statements}.",
        table=f"{facts['schema']}.{facts['name']}",
        database=facts["database"],
        statements=listing(facts["statements"], 5),
    )
    note(task, told, actor=actor, code="DDL-APPLY")
    return _decided(task, actor)


@transaction.atomic
def recopy_conflict(*, task_id: TaskId, actor: Actor) -> MigrationTask:
    """Copy the table where the sync stopped again, while all others go on. Raises Refused."""
    task = locked(task_id)
    require(Action.RECOPY, task)
    if task.drift and not source_has(task.drift):
        raise Refused(_("The source has no table of this name now, so it cannot be copied again."))
    place = _place(task)
    _know(task)
    _decided(task, actor)
    return recopy_table(task_id=task_id, actor=actor, **place)


@transaction.atomic
def quarantine_conflict(*, task_id: TaskId, actor: Actor) -> MigrationTask:
    """Pass the table where the sync stopped by until it is settled, while all others go on. Raises Refused."""
    return _aside(quarantine_table, task_id, actor)


@transaction.atomic
def drop_conflict(*, task_id: TaskId, actor: Actor, typed: str | None = None) -> MigrationTask:
    """Take the table where the sync stopped out of the task for good, and go on.

    `typed`: as in drop_table. Raises Refused.
    """
    return _aside(drop_table, task_id, actor, typed=typed)


def _aside(decide: Callable[..., Any], task_id: TaskId, actor: Actor, **more: Any) -> MigrationTask:
    task = locked(task_id)
    place = _place(task)
    _know(task)
    decide(task_id=task_id, actor=actor, **place, **more)
    return _decided(locked(task_id), actor)


def _decided(task: MigrationTask, actor: Actor) -> MigrationTask:
    go_on(task, actor, "TASK-RETRIED", _SAID_DRIFT if task.drift else _SAID)
    task.refresh_from_db()
    return task


def _conflict(task: MigrationTask) -> Conflict:
    conflict = conflict_of(task)
    if conflict is None:
        raise Refused(_("The task did not stop at a conflict of one row. Read its message, mend the cause and retry."))
    return conflict


def _know(task: MigrationTask) -> None:
    """Make the new partition at which the sync stopped a table of the task, which it passes by for the time being."""
    if task.drift.get("oid"):
        place = _place(task)
        TableCopy.objects.update_or_create(
            task=task,
            database=place["database"],
            schema=place["schema"],
            name=place["name"],
            defaults={"oid": task.drift["oid"], "status": TableStatus.QUARANTINED, "watermark": NEVER},
        )
        task.new_tables.filter(**place).delete()  # this decides, also where the look beside the stream asked


def _place(task: MigrationTask) -> dict[str, str]:
    if task.drift:
        return {name: task.drift[name] for name in ("database", "schema", "name")}
    conflict = _conflict(task)
    return {"database": conflict.database, "schema": conflict.schema, "name": conflict.name}


def _refuse_obstacle(conflict: Conflict) -> None:
    said = {
        Obstacle.OTHER_KEY: _(
            "A row with another key is in the way on the target, so the source's row cannot take its place. Copy the "
            "table again."
        ),
        Obstacle.NOT_WHOLE: _(
            "The change leaves out a large value that stays as it was, so the source's row cannot be made of it. Copy "
            "the table again."
        ),
        Obstacle.AT_THE_END: _(
            "The target checks this key only at the end of a transaction, and does not tell which change it refuses. "
            "Copy the table again."
        ),
        Obstacle.REFUSED: _("The target does not take such a row. Remove there what refuses it, then retry."),
    }
    if conflict.obstacle is not Obstacle.NONE:
        raise Refused(said[conflict.obstacle])
