"""Names on the target: the databases and schemas that are selected, page by page, with what the target has there."""

from __future__ import annotations

from django.db.models import Q

from ..engine.selection import Path, Selection
from ..engine.values import frozen
from ..models import Level, MigrationTask, SourceObject

ROWS_A_PAGE = 100


@frozen
class MappingRow:
    """A database or schema and its name on the target; `target` is empty while it keeps its name."""

    path: Path
    target: str
    at_target: str


@frozen
class MappingPage:
    """One page of them."""

    rows: list[MappingRow]
    page: int
    pages: int
    total: int


def mapping(task: MigrationTask, *, search: str = "", page: int = 1) -> MappingPage:
    """Return one page of the selected databases and schemas, each database before its schemas."""
    selection = Selection.from_json(task.selection)
    rows = SourceObject.objects.filter(task=task, level__in=[Level.DATABASE, Level.SCHEMA], selectable=True)
    if search:
        rows = rows.filter(Q(schema__icontains=search) | Q(schema="", database__icontains=search))
    names = rows.order_by("database", "schema").values_list("database", "schema", "at_target")
    chosen = [row for row in names if selection.touches(*(part for part in row[:2] if part))]
    pages = max(1, -(-len(chosen) // ROWS_A_PAGE))
    page = min(max(page, 1), pages)
    return MappingPage(
        rows=[_row(selection, *row) for row in chosen[(page - 1) * ROWS_A_PAGE : page * ROWS_A_PAGE]],
        page=page,
        pages=pages,
        total=len(chosen),
    )


def _row(selection: Selection, database: str, schema: str, at_target: str) -> MappingRow:
    if schema:
        target = selection.schema_targets.get((database, schema), "")
        return MappingRow(path=(database, schema), target=target, at_target=at_target)
    return MappingRow(path=(database,), target=selection.targets.get(database, ""), at_target=at_target)
