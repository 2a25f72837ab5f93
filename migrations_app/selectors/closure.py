"""What a selection takes, what it leaves out that it needs, and what comes along with it: listed before it is added."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Callable
from dataclasses import field
from datetime import datetime
from heapq import nsmallest
from typing import Any

from django.db.models import TextField
from django.db.models.functions import Cast
from django.utils.translation import gettext as _

from ..draft_facts import Edge, missing_parents, of_roots
from ..engine.selection import Path, PatternRule, Selection
from ..engine.values import frozen
from ..kept import of_reading
from ..models import Level, MigrationTask, SourceObject
from .tallies import Tally, sizes_of, tallies
from .tree import BoxState, boxes, reading_of
from .wording import told_in

MOST_SHOWN = 200


@frozen
class SelectionSummary:
    """The counter under the tree, and what is missing. `foreign_keys`: require or without.

    `anything`: whether anything is selected at all; it may hold no table and still move functions and types.
    """

    anything: bool
    selected_tables: int
    structure_tables: int
    total_tables: int
    selected_bytes: int
    missing_parents: list[tuple[str, str]]
    foreign_keys: str
    patterns: tuple[PatternRule, ...]
    renamed: int
    read_at: datetime | None
    reading: bool
    error: str
    error_hint: str
    target_problem: str
    looking: bool


def selection_counts(task: MigrationTask) -> dict[Path, Tally]:
    """Return the tallies of a task's selection; several things of one page need the same."""
    return tallies(task, Selection.from_json(task.selection))


def after_change(task: MigrationTask, path: Path) -> tuple[SelectionSummary, list[BoxState]]:
    """Return the counter, and how a changed node and everything above it stand."""
    counts = selection_counts(task)
    return selection_summary(task, counts), boxes(task, path, counts)


def selection_summary(task: MigrationTask, counts: dict[Path, Tally] | None = None) -> SelectionSummary:
    """Return how much is selected, and which foreign-key parents are left out. `counts`: the tallies, if known."""
    selection, reading = Selection.from_json(task.selection), reading_of(task)
    tally = (tallies(task, selection) if counts is None else counts).get((), Tally())
    return SelectionSummary(
        anything=selection.touches(),
        selected_tables=tally.chosen,
        structure_tables=tally.structure,
        total_tables=tally.total,
        selected_bytes=tally.chosen_bytes,
        missing_parents=[(".".join(child), ".".join(parent)) for child, parent in missing_parents(task, selection)],
        foreign_keys=selection.foreign_keys,
        patterns=selection.patterns,
        renamed=len(selection.targets) + len(selection.schema_targets),
        read_at=reading.read_at,
        reading=reading.reading,
        error=reading.error,
        error_hint=reading.error_hint,
        target_problem=reading.target_problem,
        looking=reading.looking,
    )


@frozen
class ClosureTable:
    """A table that selected ones refer to and that is left out. `reason`: why it cannot be added, or nothing."""

    path: Path
    bytes: int
    rows: int
    children: list[Path]
    reason: str = ""


@frozen
class Closure:
    """What *Include parents* would add, the keys that would be left out instead, and what comes along in any case."""

    tables: list[ClosureTable]
    keys: list[Edge]
    along: dict[str, list[str]] = field(default_factory=dict)
    along_counts: dict[str, int] = field(default_factory=dict)
    with_parents: dict[str, list[str]] = field(default_factory=dict)  # comes along only once the parents are added
    with_parents_counts: dict[str, int] = field(default_factory=dict)
    bytes: int = 0
    foreign_keys: str = "require"

    @property
    def blocked(self) -> bool:
        """Whether one of the tables cannot be added."""
        return any(table.reason for table in self.tables)


def closure(task: MigrationTask) -> Closure:
    """Return everything that the selection needs beyond itself, parents of parents included."""
    selection = Selection.from_json(task.selection)
    keys = missing_parents(task, selection)
    children, facts = _transitive(task, selection, keys)
    tables = [
        ClosureTable(
            path=path,
            bytes=facts[path]["bytes"] if path in facts else 0,
            rows=facts[path]["rows_estimate"] if path in facts else 0,
            children=sorted(children[path]),
            reason=_reason(facts.get(path)),
        )
        for path in sorted(children)
    ]
    along = _along(task, selection)
    more = _along_with(task, selection, facts) if facts else _Along({}, {})
    return Closure(
        tables=tables,
        keys=keys,
        along=along.names,
        along_counts=along.counts,
        with_parents=more.names,
        with_parents_counts=more.counts,
        bytes=sum(table.bytes for table in tables),
        foreign_keys=selection.foreign_keys,
    )


def _reason(facts: dict[str, object] | None) -> str:
    if facts is None:
        return _("The source does not have this table any more.")
    return "" if facts["selectable"] else told_in(facts, "reason")


def _transitive(
    task: MigrationTask, selection: Selection, keys: list[Edge]
) -> tuple[dict[Path, set[Path]], dict[Path, dict[str, Any]]]:
    """Return each table to add with those that refer to it, and what is known of it; adding one may ask for its own
    parents."""
    children: dict[Path, set[Path]] = defaultdict(set)
    for child, parent in keys:
        children[parent].add(child)
    todo: list[Path] = list(children)
    known: dict[Path, dict[str, Any]] = {}
    while todo:
        found = sizes_of(task, todo)
        known |= found
        todo = []
        pairs: list[Edge] = [
            ((path[0], path[1], path[2]), (path[0], str(schema), str(name)))
            for path, facts in found.items()
            for schema, name in facts["fk_parents"]
            if not selection.includes(path[0], str(schema), str(name))
        ]
        for child, parent in of_roots(task, selection, pairs):
            if parent not in children:
                todo.append(parent)
            children[parent].add(child)
    return children, known


@frozen(kw_only=False)
class _Along:
    """What comes along, by kind: how many, and the first names."""

    names: dict[str, list[str]]
    counts: dict[str, int]

    def __len__(self) -> int:
        return sum(len(names) for names in self.names.values())


def _along(task: MigrationTask, selection: Selection) -> _Along:
    """Return names and counts by kind of what selected tables need: types, sequences, functions, extensions."""
    return of_reading(task, ("along", _rules_of(selection)), lambda: _shown(_by_kind(_needs(task, selection))))


def _along_with(task: MigrationTask, selection: Selection, parents: dict[Path, dict[str, Any]]) -> _Along:
    """Return what these parents need and no selected table does. They follow from reading and rules too."""

    def read() -> _Along:
        needed = _by_kind(_needs(task, selection))
        listed = _by_kind({json.dumps(facts["needs"]) for facts in parents.values()})
        more = {kind: names - needed.get(kind, set()) for kind, names in listed.items()}
        return _shown({kind: names for kind, names in more.items() if names})

    return of_reading(task, ("along with parents", _rules_of(selection)), read)


def _rules_of(selection: Selection) -> str:
    rules = json.dumps([*selection.to_json()["rules"], *selection.to_json().get("patterns", [])])
    return hashlib.sha256(rules.encode()).hexdigest()


def _by_kind(lists: set[str]) -> dict[str, set[str]]:
    names: dict[str, set[str]] = defaultdict(set)
    # One document is read much quicker than tens of thousands; equal lists are read once.
    for listed in json.loads(f"[{','.join(lists)}]"):
        for kind, schema, name in listed:
            names[kind].add(f"{schema}.{name}" if schema else name)
    return names


def _shown(names: dict[str, set[str]]) -> _Along:
    return _Along(
        {kind: nsmallest(MOST_SHOWN, found) for kind, found in sorted(names.items())},
        {kind: len(found) for kind, found in sorted(names.items())},
    )


def _needs(task: MigrationTask, selection: Selection) -> set[str]:
    """Return what selected tables need, each distinct list as the JSON that it is stored as."""
    rows = (
        SourceObject.objects.filter(task=task, level=Level.TABLE)
        .annotate(listed=Cast("needs", TextField()))
        .exclude(listed="[]")
        .values_list("database", "schema", "name", "listed")
        .order_by()
    )
    found: set[str] = set()
    choosers: dict[tuple[str, str], Callable[[str], bool]] = {}
    for database, schema, name, listed in rows.iterator(chunk_size=5000):
        at = database, schema
        chosen = choosers.get(at)
        if chosen is None:
            chosen = choosers[at] = selection.chooser(database, schema)
        if chosen(name):
            found.add(listed)
    return found
