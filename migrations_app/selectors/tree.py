"""The object tree: databases, schemas and tables of the source as a worker read them, with the selection laid over."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import Q, QuerySet, Sum

from ..draft_facts import missing_parents
from ..engine.selection import Path, Selection
from ..models import ConnectionTest, MigrationTask, SourceObject

NODES_A_PAGE = 200
_LEVELS = ("database", "schema", "name")


@dataclass(frozen=True, kw_only=True)
class TreeNode:
    """One node. `state`: all, some or none; `share`: its size among its siblings, 0 to 100."""

    path: Path
    label: str
    kind: str
    state: str
    bytes: int
    rows: int
    selectable: bool
    reason: str
    has_children: bool
    share: int


@dataclass(frozen=True, kw_only=True)
class TreeLevel:
    """One page of the children of a node."""

    path: Path
    nodes: list[TreeNode]
    page: int
    pages: int
    total: int


@dataclass(frozen=True, kw_only=True)
class SelectionSummary:
    """The counter under the tree, and what is missing."""

    selected_tables: int
    total_tables: int
    selected_bytes: int
    missing_parents: list[tuple[str, str]]
    read_at: datetime | None
    reading: bool
    error: str
    error_hint: str


def tree(task: MigrationTask, path: Path, *, search: str = "", page: int = 1) -> TreeLevel:
    """Return one page of the children of `path`; with `search` the tables below it whose name or schema match."""
    selection = Selection.from_json(task.selection)
    rows = _below(task, path, search[:100])
    total = rows.count()
    pages = max(1, -(-total // NODES_A_PAGE))
    page = min(max(page, 1), pages)
    chosen = list(rows[(page - 1) * NODES_A_PAGE : page * NODES_A_PAGE])
    sizes = _schema_sizes(task, path) if len(path) == 1 and not search else {}
    weights = {row.pk: sizes.get(row.schema, 0) if row.kind == "schema" else row.bytes for row in chosen}
    largest = max([1, *weights.values()])
    nodes = [_node(row, selection, weights[row.pk], round(100 * weights[row.pk] / largest)) for row in chosen]
    return TreeLevel(path=path, nodes=nodes, page=page, pages=pages, total=total)


def _below(task: MigrationTask, path: Path, search: str) -> QuerySet[SourceObject]:
    rows = SourceObject.objects.filter(task=task, **dict(zip(_LEVELS, path, strict=False)))
    if search:
        return (
            rows.exclude(name="")
            .filter(Q(name__icontains=search) | Q(schema__icontains=search))
            .order_by("database", "schema", "name")
        )
    if len(path) == 0:
        return rows.filter(schema="", name="").order_by("database")
    if len(path) == 1:
        return rows.exclude(schema="").filter(name="").order_by("schema")
    return rows.exclude(name="").order_by("name")


def _schema_sizes(task: MigrationTask, path: Path) -> dict[str, int]:
    found = (
        SourceObject.objects.filter(task=task, database=path[0])
        .exclude(name="")
        .values("schema")
        .annotate(total=Sum("bytes"))
    )
    return {row["schema"]: int(row["total"] or 0) for row in found.order_by()}


def _node(row: SourceObject, selection: Selection, size: int, share: int) -> TreeNode:
    path = tuple(part for part in (row.database, row.schema, row.name) if part)
    return TreeNode(
        path=path,
        label=path[-1],
        kind=row.kind,
        state=selection.state(*path) if row.selectable else "none",
        bytes=size,
        rows=row.rows_estimate,
        selectable=row.selectable,
        reason=row.reason,
        has_children=not row.name and row.selectable,
        share=share,
    )


def selection_states(task: MigrationTask, paths: Iterable[Path]) -> dict[Path, str]:
    """Return `all`, `some` or `none` for each path: a toggled node and its ancestors."""
    selection = Selection.from_json(task.selection)
    return {path: selection.state(*path) for path in paths}


def selection_summary(task: MigrationTask) -> SelectionSummary:
    """Return how much is selected, and which foreign-key parents are left out."""
    selection = Selection.from_json(task.selection)
    tables: Any = (
        SourceObject.objects.filter(task=task, kind__in=["table", "partition"])
        .values_list("database", "schema", "name", "bytes")
        .order_by()
    )
    total = chosen = size = 0
    for database, schema, name, weight in tables.iterator(chunk_size=5000):
        total += 1
        if selection.includes(database, schema, name):
            chosen += 1
            size += weight
    pairs = [(".".join(child), ".".join(parent)) for child, parent in missing_parents(task, selection)]
    last = ConnectionTest.objects.filter(task=task, kind="inventory").first()
    return SelectionSummary(
        selected_tables=chosen,
        total_tables=total,
        selected_bytes=size,
        missing_parents=pairs,
        read_at=last.finished_at if last and last.state == "passed" else None,
        reading=bool(last and last.state in ("waiting", "running")),
        error=last.message if last and last.state == "failed" else "",
        error_hint=last.hint if last and last.state == "failed" else "",
    )
