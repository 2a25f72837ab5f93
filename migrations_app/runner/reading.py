"""Reads what the source holds, and what the target has under the same names, into the rows of the object tree."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterable
from typing import Any

from django.db import connection, transaction
from django.db.models import F

from ..draft_facts import way_to
from ..engine import inventory
from ..engine.errors import EngineError
from ..engine.plan import Side
from ..engine.selection import Selection
from ..engine.wording import Sentence, as_data, say
from ..models import MigrationTask, SourceObject
from .planning import server_of

log = logging.getLogger(__name__)

_LONGEST_NAME = 200
_BATCH = 1000


class SourceMoved(EngineError):
    """The task got another source while the former one was read."""

    code = "READ-MOVED"


def read_side(task: MigrationTask, side: Side) -> tuple[str, dict[str, Any]]:
    """Do one reading. Returns what it says, and its details: `target` holds why the target could not be looked at.

    Raises EngineError when the asked side cannot be read.
    """
    if side is Side.TARGET:
        return say("{number} of these objects exist on the target.", number=f"{mark_target(task):,}"), {}
    detail: dict[str, Any] = {}
    tables = read_objects(task, detail)
    return say("{number} tables read.", number=f"{tables:,}"), detail


def read_objects(task: MigrationTask, detail: dict[str, Any] | None = None) -> int:
    """Read the source's databases, schemas and objects into our rows, replacing the old ones. Returns the tables.

    With `detail` the target is looked at as well; why it could not be is written there, and stops nobody. Raises
    EngineError; also when the task got another source meanwhile, and then nothing is stored.
    """
    rows, tables = [], 0
    for item in inventory.read_inventory(server_of(task.source)):
        rows.append(SourceObject(task=task, **_columns(item)))
        tables += isinstance(item, inventory.InventoryTable) and item.kind in ("table", "partition")
    if detail is not None and task.target is not None:
        try:
            _mark(task, rows)
        except EngineError as error:
            log.info("the target of %s could not be looked at: %s", task.pk, error)
            detail["target"] = error.message
    with transaction.atomic():
        _refuse_moved(task)
        SourceObject.objects.filter(task=task).delete()
        SourceObject.objects.bulk_create(rows, batch_size=_BATCH)
        _touch(task, objects_read=uuid.uuid4())
    return tables


def _refuse_moved(task: MigrationTask) -> None:
    """Raise SourceMoved unless the task still has the source that was read; it keeps it until the transaction ends."""
    now = MigrationTask.objects.select_for_update().filter(pk=task.pk).first()
    if now is None or way_to(now.source) != way_to(task.source):
        raise SourceMoved(
            say("The task got another source while this one was read."), hint=say("Read the objects again.")
        )


def mark_target(task: MigrationTask) -> int:
    """Write into our rows what the target has under their names there. Returns how many it has. Raises EngineError."""
    rows = list(SourceObject.objects.filter(task=task).only("id", "database", "schema", "name").order_by())
    changed = _mark(task, rows)
    with transaction.atomic():
        SourceObject.objects.filter(task=task).exclude(at_target="").update(at_target="", at_target_rows=None)
        _store_marks(changed)
        _touch(task)
    return len(changed)


def _store_marks(rows: list[SourceObject]) -> None:
    """Update row by row with one prepared statement: a hundred thousand rows take a second, not minutes."""
    table, quote = SourceObject._meta.db_table, connection.ops.quote_name
    statement = f"UPDATE {quote(table)} SET at_target = %s, at_target_rows = %s WHERE id = %s"  # noqa: S608 - our own table
    with connection.cursor() as cursor:
        cursor.executemany(statement, [(row.at_target, row.at_target_rows, row.pk) for row in rows])


def _mark(task: MigrationTask, rows: list[SourceObject]) -> list[SourceObject]:
    """Set in memory what the target has under the rows' names there. Returns the rows that it has."""
    selection = Selection.from_json(task.selection)
    names = {selection.target_name(row.database) for row in rows if not row.schema}
    there = {
        (item.database, item.schema, item.name): item for item in inventory.read_target(server_of(task.target), names)
    }
    marked = []
    for row in rows if there else ():
        schema = selection.target_schema(row.database, row.schema) if row.schema else ""
        found = there.get((selection.target_name(row.database), schema, row.name))
        if found is not None:
            row.at_target, row.at_target_rows = found.kind, found.rows_estimate
            marked.append(row)
    return marked


def _touch(task: MigrationTask, **fields: Any) -> None:
    MigrationTask.objects.filter(pk=task.pk).update(version=F("version") + 1, **fields)


def _columns(item: inventory.InventoryRow) -> dict[str, Any]:
    """Return the columns of one row of the object tree; a database or a schema has an empty name below it."""
    if isinstance(item, inventory.InventoryDatabase):
        return {
            "database": item.name,
            "kind": "database",
            "bytes": item.bytes,
            "selectable": item.can_connect,
            **_reason(item.reason),
        }
    if isinstance(item, inventory.InventorySchema):
        return {
            "database": item.database,
            "schema": item.name,
            "kind": "schema",
            "selectable": item.selectable,
            **_reason(item.reason),
        }
    names = {"database": item.database, "schema": item.schema, "name": item.name[:_LONGEST_NAME], "kind": item.kind}
    return names if isinstance(item, inventory.InventoryAlong) else names | _table_columns(item)


def _table_columns(item: inventory.InventoryTable) -> dict[str, Any]:
    parent, root = item.parent or ("", ""), item.root or ("", "")
    return {
        "parent_schema": parent[0],
        "parent": parent[1],
        "root_schema": root[0],
        "root": root[1],
        "bytes": item.bytes,
        "rows_estimate": item.rows_estimate,
        "unlogged": item.unlogged,
        "selectable": item.selectable,
        **_reason(item.reason),
        "fk_parents": _lists(item.fk_parents),
        "needs": _lists(item.needs),
    }


def _reason(reason: Sentence) -> dict[str, Any]:
    return {"reason": reason[:300], "words": as_data(reason=reason)}


def _lists(tuples: Iterable[tuple[str, ...]]) -> list[list[str]]:
    return [list(each) for each in tuples]
