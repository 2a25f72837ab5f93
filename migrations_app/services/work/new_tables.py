"""New tables of the source, as a worker finds them and adds them."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from ...engine import drift
from ...engine.ports import NEVER, TableStatus
from ...engine.wording import Sentence, as_data
from ...models import MigrationTask, NewTable, Recopy, TableCopy
from ..base import touch

_UNFINISHED = (TableStatus.WAITING, TableStatus.COPYING)
_MOST = 1000
_NAMED = 20
_MOST_TEXT = 4000


@transaction.atomic
def new_tables_found(task_id: UUID, database: str, found: Sequence[drift.NewTable]) -> list[drift.NewTable]:
    """Remember what is new on the source now; return what was not known. See engine.ports.Store."""
    task = MigrationTask.objects.select_for_update().get(pk=task_id)
    known = {(row.schema, row.name): row for row in task.new_tables.filter(database=database)}
    places = {table.place for table in found}
    gone = [row.pk for place, row in known.items() if place not in places and not row.choice]
    task.new_tables.filter(pk__in=gone).delete()
    fresh = [table for table in found if table.place not in known][:_MOST]
    now = timezone.now()
    NewTable.objects.bulk_create(
        NewTable(
            task=task,
            database=database,
            schema=table.schema,
            name=table.name,
            oid=table.oid,
            tables=table.tables,
            partition=table.partition,
            choice="add" if table.wanted else "",
            decided_at=now if table.wanted else None,
        )
        for table in fresh
    )
    for table in found:
        row = known.get(table.place)
        if row is not None and (row.oid, row.tables) != (table.oid, table.tables):
            task.new_tables.filter(pk=row.pk).update(oid=table.oid, tables=table.tables)
    if gone or fresh:
        wanted = {"recopy_requested": True} if any(table.wanted for table in fresh) else {}
        touch(task, **wanted)
    return fresh


def additions(task_id: UUID, database: str) -> list[drift.NewTable]:
    """Return what is to be added, in the order of the requests."""
    rows = NewTable.objects.filter(task_id=task_id, database=database, choice="add").order_by("decided_at", "id")
    return [
        drift.NewTable(oid=row.oid, schema=row.schema, name=row.name, tables=row.tables, partition=row.partition)
        for row in rows
    ]


def added(task_id: UUID, database: str, table: drift.NewTable) -> None:
    """Forget a new table that is one of the task's now; twice is once."""
    _row(task_id, database, table).delete()
    touch(MigrationTask(pk=task_id))


def undecided(task_id: UUID) -> list[str]:
    """Return schema.name of the new tables about which nobody has decided, a few at most."""
    rows = NewTable.objects.filter(task_id=task_id, choice="")[:_NAMED]
    return [f"{row.schema}.{row.name}" for row in rows]


@transaction.atomic
def not_added(task_id: UUID, database: str, table: drift.NewTable, why: Sentence) -> None:
    """Let somebody decide anew, and forget what the task has noted of its tables."""
    text = why[:_MOST_TEXT]
    words = as_data(problem=why) if len(why) <= _MOST_TEXT else {}
    _row(task_id, database, table).update(choice="", problem=text, words=words, decided_at=None, decided_by="")
    asked = set(Recopy.objects.filter(task_id=task_id, database=database).values_list("schema", "name"))
    noted = TableCopy.objects.filter(task_id=task_id, database=database, watermark=NEVER, status__in=_UNFINISHED)
    noted.filter(pk__in=[row.pk for row in noted if (row.schema, row.name) not in asked]).delete()
    touch(MigrationTask(pk=task_id))


def _row(task_id: UUID, database: str, table: drift.NewTable) -> QuerySet[NewTable]:
    return NewTable.objects.filter(task_id=task_id, database=database, schema=table.schema, name=table.name)
