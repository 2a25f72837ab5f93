"""The object tree: databases, schemas and tables of the source as a worker read them, with the selection laid over.

Each answer is one page of one level, found by an index; counts come from the database, never from a list of tables.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import field
from datetime import datetime

from django.db.models import Count, Q, QuerySet

from ..engine.selection import Path, Selection
from ..engine.values import frozen
from ..models import ConnectionTest, Level, MigrationTask, SourceObject
from .searching import Search, found_rows, read_search, regex_matches
from .tallies import Tally, tallies
from .wording import told

NODES_A_PAGE = 200
ALONG_KINDS = ("view", "matview", "function", "sequence", "type")
_FIELDS = ("database", "schema", "name")
_Row = SourceObject


@frozen
class TreeNode:
    """One node. `state`: all, some or none; `mode`: data, structure or nothing; `share`: size among siblings, 0 to 100.

    `fixed`: it has no box of its own (a partition, something that comes along). `tally` counts the tables below.
    """

    path: Path
    label: str
    kind: str
    state: str
    mode: str
    bytes: int
    rows: int
    selectable: bool
    reason: str
    has_children: bool
    share: int
    fixed: bool = False
    unlogged: bool = False
    partitions: int = 0
    at_target: str = ""
    at_target_rows: int | None = None
    target: Path = ()
    tally: Tally | None = None


@frozen
class TreeLevel:
    """One page of the children of a node. `along` counts by kind what comes along with a schema.

    `partitions`: how many of `total` are partitions; counted for a search alone.
    """

    path: Path
    nodes: list[TreeNode]
    page: int
    pages: int
    total: int
    search: Search = field(default_factory=Search)
    along: dict[str, int] = field(default_factory=dict)
    partitions: int = 0

    @property
    def tables(self) -> int:
        """How many of them are tables."""
        return self.total - self.partitions

    @property
    def along_total(self) -> int:
        """How many objects come along."""
        return sum(self.along.values())


def tree(
    task: MigrationTask,
    path: Path,
    *,
    search: str = "",
    page: int = 1,
    along: bool = False,
    counts: dict[Path, Tally] | None = None,
) -> TreeLevel:
    """Return one page of the children of `path`; with `search` the tables below it that match; with `along` what
    comes along with a schema. `counts`: the tallies, if known. Raises BadSearch."""
    wanted, selection, partitions = read_search(search), Selection.from_json(task.selection), 0
    if wanted.kind == "regex":
        found = regex_matches(task, path, wanted)
        partitions = sum(part for _pk, part in found)
        total, page, pages = _pages(len(found), page)
        shown = [pk for pk, _part in found[(page - 1) * NODES_A_PAGE : page * NODES_A_PAGE]]
        chosen = list(_Row.objects.filter(pk__in=shown).order_by(*_FIELDS))
    else:
        rows = found_rows(task, path, wanted) if wanted.text else _children(task, path, along)
        number, partitions = _counts(rows) if wanted.text else (rows.count(), 0)
        total, page, pages = _pages(number, page)
        chosen = list(rows[(page - 1) * NODES_A_PAGE : page * NODES_A_PAGE])
    nodes = _nodes(task, selection, chosen, counts)
    kinds = _along_counts(task, path) if len(path) == 2 and page == 1 and not wanted.text and not along else {}
    counted = {"page": page, "pages": pages, "total": total, "partitions": partitions}
    return TreeLevel(path=path, nodes=nodes, **counted, search=wanted, along=kinds)


def _counts(rows: QuerySet[SourceObject]) -> tuple[int, int]:
    """Return how many rows there are, and how many of them are partitions."""
    parts = Count("pk", filter=Q(level=Level.PARTITION))
    found = rows.order_by().aggregate(all=Count("pk"), parts=parts)
    return found["all"], found["parts"]


def _pages(total: int, page: int) -> tuple[int, int, int]:
    pages = max(1, -(-total // NODES_A_PAGE))
    return total, min(max(page, 1), pages), pages


def _children(task: MigrationTask, path: Path, along: bool) -> QuerySet[SourceObject]:
    """Return the rows below a path, in the order of an index."""
    rows = _Row.objects.filter(task=task)
    if len(path) == 3:
        database, schema, name = path
        rows = rows.filter(level=Level.PARTITION, database=database, parent_schema=schema, parent=name)
        return rows.order_by("schema", "name")
    level = Level.ALONG if along else [Level.DATABASE, Level.SCHEMA, Level.TABLE][len(path)]
    rows = rows.filter(level=level, **dict(zip(_FIELDS, path, strict=False)))
    return rows.order_by("kind", "name") if along else rows.order_by(_FIELDS[len(path)])


def _along_counts(task: MigrationTask, path: Path) -> dict[str, int]:
    rows = _Row.objects.filter(task=task, level=Level.ALONG, database=path[0], schema=path[1])
    found = dict(rows.order_by().values_list("kind").annotate(Count("pk")))
    return {kind: found[kind] for kind in ALONG_KINDS if kind in found}


def _nodes(
    task: MigrationTask, selection: Selection, rows: list[SourceObject], known: dict[Path, Tally] | None
) -> list[TreeNode]:
    counted = any(row.level in (Level.DATABASE, Level.SCHEMA) for row in rows)
    counts = (tallies(task, selection) if known is None else known) if counted else {}
    weights = {row.pk: _weight(row, counts) for row in rows}
    largest = max([1, *weights.values()])
    branches = _partition_counts(task, rows)
    return [
        _node(row, selection, weights[row.pk], round(100 * weights[row.pk] / largest), branches, counts) for row in rows
    ]


def _weight(row: SourceObject, counts: dict[Path, Tally]) -> int:
    if row.level == Level.SCHEMA:
        tally = counts.get((row.database, row.schema))
        return tally.bytes if tally else 0
    return row.bytes


def _partition_counts(task: MigrationTask, rows: list[SourceObject]) -> dict[Path, int]:
    names = [row.name for row in rows if row.kind == "partitioned"]
    if not names:
        return {}
    databases = {row.database for row in rows}
    found = _Row.objects.filter(task=task, level=Level.PARTITION, database__in=databases, parent__in=names).order_by()
    counted = found.values_list("database", "parent_schema", "parent").annotate(Count("pk"))
    return {(database, schema, name): count for database, schema, name, count in counted}


def _node(
    row: SourceObject,
    selection: Selection,
    size: int,
    share: int,
    branches: dict[Path, int],
    counts: dict[Path, Tally],
) -> TreeNode:
    path = tuple(part for part in (row.database, row.schema, row.name) if part)
    fixed = row.level in (Level.PARTITION, Level.ALONG)
    partitions = branches.get(path, 0)
    return TreeNode(
        path=path,
        label=path[-1],
        kind=row.kind,
        state=_state(row, selection, path, counts),
        mode=_mode(row, selection, path),
        bytes=size,
        rows=row.rows_estimate,
        selectable=row.selectable,
        reason=told(row, "reason"),
        has_children=row.selectable and (not row.name or partitions > 0),
        share=share,
        fixed=fixed,
        unlogged=row.unlogged,
        partitions=partitions,
        at_target=row.at_target,
        at_target_rows=row.at_target_rows,
        target=_target(row, selection),
        tally=counts.get(path, Tally()) if row.level in (Level.DATABASE, Level.SCHEMA) else None,
    )


def _state(row: SourceObject, selection: Selection, path: Path, counts: dict[Path, Tally]) -> str:
    if not row.selectable:
        return "none"
    if row.level == Level.PARTITION:
        return "all" if _mode(row, selection, path) else "none"
    return _counted(selection, path, counts)


def _counted(selection: Selection, path: Path, counts: dict[Path, Tally]) -> str:
    """Return the state of a node; where a pattern may reach into it, the tables that it catches decide."""
    state = selection.state(*path)
    caught = counts[path].chosen if path in counts else 0
    if state == "some" and selection.patterns and len(path) < 3 and not caught and not selection.includes(*path):
        return "none"
    return state


def _mode(row: SourceObject, selection: Selection, path: Path) -> str:
    if not row.selectable:
        return ""
    if row.level == Level.PARTITION:
        return selection.mode_of(row.database, (row.schema, row.name), (row.root_schema or row.schema, row.root))
    return selection.mode(*path)


def _target(row: SourceObject, selection: Selection) -> Path:
    """Return the path on the target where it is another one than on the source, else (); () for what cannot move."""
    if not row.selectable:
        return ()
    names = [selection.target_name(row.database)]
    if row.schema:
        names.append(selection.target_schema(row.database, row.schema))
    if row.name:
        names.append(row.name)
    own = tuple(part for part in (row.database, row.schema, row.name) if part)
    return tuple(names) if tuple(names) != own and not row.name else ()


@frozen
class BoxState:
    """How the box of a node stands after a change: the toggled node and its ancestors."""

    path: Path
    state: str
    mode: str


def selection_states(task: MigrationTask, paths: Iterable[Path]) -> dict[Path, str]:
    """Return `all`, `some` or `none` for each path: a toggled node and its ancestors."""
    selection = Selection.from_json(task.selection)
    return {path: selection.state(*path) for path in paths}


def boxes(task: MigrationTask, path: Path, counts: dict[Path, Tally] | None = None) -> list[BoxState]:
    """Return how a node and everything above it stand, the instance first. `counts`: the tallies, if known."""
    selection = Selection.from_json(task.selection)
    if counts is None:
        counts = tallies(task, selection) if selection.patterns else {}
    paths = [path[:length] for length in range(len(path) + 1)]
    return [BoxState(path=at, state=_counted(selection, at, counts), mode=selection.mode(*at)) for at in paths]


@frozen
class Reading:
    """How the readings stand. `target_problem`: why the target could not be looked at; `looking`: it is just done."""

    read_at: datetime | None = None
    reading: bool = False
    error: str = ""
    error_hint: str = ""
    target_problem: str = ""
    looking: bool = False


def reading_of(task: MigrationTask) -> Reading:
    """Return how the last readings of source and target stand."""
    tests = ConnectionTest.objects.filter(task=task, kind="inventory")
    last, look = tests.filter(side="source").first(), tests.filter(side="target").first()
    if last is None:
        return Reading()
    if look is not None and look.created_at < last.created_at:
        look = None
    waits = ("waiting", "running")
    problem = told(look, "message") if look is not None and look.state == "failed" else ""
    return Reading(
        read_at=last.finished_at if last.state == "passed" else None,
        reading=last.state in waits,
        error=told(last, "message") if last.state == "failed" else "",
        error_hint=told(last, "hint") if last.state == "failed" else "",
        target_problem=problem or (str(last.detail.get("target", "")) if look is None else ""),
        looking=look is not None and look.state in waits,
    )


def exists(task: MigrationTask, path: Path) -> bool:
    """Say whether the source has a database, schema or table at `path`, as it was read."""
    names = dict(zip(_FIELDS, (*path, "", "", ""), strict=False))
    return not path or _Row.objects.filter(task=task, **names).exists()
