"""How many tables a selection takes, counted by the database: per schema, never table by table."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from django.db.models import Case, Count, IntegerField, Q, QuerySet, Sum, Value, When

from ..engine.selection import Path, PatternRule, Selection
from ..models import Level, MigrationTask, SourceObject

_NAMES_AT_ONCE = 500


@dataclass(kw_only=True)
class Tally:
    """Tables of one schema, one database or all: how many there are, how many move, how many of those without data."""

    total: int = 0
    chosen: int = 0
    structure: int = 0
    bytes: int = 0
    chosen_bytes: int = 0

    def add(self, mode: str, tables: int, size: int) -> None:
        """Count `tables` of together `size` bytes that move by `mode`; negative numbers take them away again."""
        if mode:
            self.chosen += tables
        if mode == "data":
            self.chosen_bytes += size
        if mode == "structure":
            self.structure += tables


def tallies(task: MigrationTask, selection: Selection) -> dict[Path, Tally]:
    """Return a tally by path: () for all, (database,) and (database, schema). Partitions count with their table."""
    found: dict[Path, Tally] = defaultdict(Tally)
    coarse = replace(selection, rules={path: value for path, value in selection.rules.items() if len(path) < 3})
    patterns = list(selection.patterns)
    for row in _groups(task, coarse, patterns):
        database, schema = row["database"], row["schema"]
        mode = patterns[row["winner"]].mode if row["winner"] >= 0 else coarse.mode(database, schema)
        _count(found, (database, schema), "total", mode, row["tables"], row["size"] or 0)
    for path, size in _named(task, [path for path in selection.rules if len(path) == 3]):
        before, after = coarse.mode(*path), selection.mode(*path)
        if before != after:
            _count(found, path[:2], "", before, -1, -size)
            _count(found, path[:2], "", after, 1, size)
    return found


def _count(found: dict[Path, Tally], at: Path, total: str, mode: str, tables: int, size: int) -> None:
    for path in ((), at[:1], at):
        if total:
            found[path].total += tables
            found[path].bytes += size
        found[path].add(mode, tables, size)


def _tables(task: MigrationTask) -> QuerySet[SourceObject]:
    return SourceObject.objects.filter(task=task, level=Level.TABLE, selectable=True).order_by()


def _groups(task: MigrationTask, selection: Selection, patterns: list[PatternRule]) -> Iterable[dict[str, Any]]:
    """Count tables by schema and by the pattern that decides about them (-1: none)."""
    rows: Any = _tables(task)
    keys = ["database", "schema"]
    if patterns:
        inner = [index for index, rule in enumerate(patterns) if len(rule.scope) == 2]
        outer = [index for index, rule in enumerate(patterns) if len(rule.scope) == 1]
        whens = [
            When(_covered(patterns[index], selection), then=Value(index)) for index in [*inner[::-1], *outer[::-1]]
        ]
        rows = rows.annotate(winner=Case(*whens, default=Value(-1), output_field=IntegerField()))
        keys.append("winner")
    for row in rows.values(*keys).annotate(tables=Count("pk"), size=Sum("bytes")):
        yield {"winner": -1, **row}


def _covered(rule: PatternRule, selection: Selection) -> Q:
    """Return the condition under which a pattern decides, exact rules for tables aside."""
    schema, dot, name = rule.text.partition(".")
    named = Q(schema__glob=schema, name__glob=name) if dot else Q(name__glob=rule.text)
    if len(rule.scope) == 2:
        return named & Q(database=rule.scope[0], schema=rule.scope[1])
    ruled = [path[1] for path in selection.rules if len(path) == 2 and path[0] == rule.scope[0]]
    inside = named & Q(database=rule.scope[0])
    return inside & ~Q(schema__in=ruled) if ruled else inside


def _named(task: MigrationTask, paths: list[Path]) -> Iterable[tuple[Path, int]]:
    """Yield the tables that have rules of their own, with their sizes."""
    by_schema: dict[tuple[str, str], list[str]] = defaultdict(list)
    for database, schema, name in paths:
        by_schema[database, schema].append(name)
    for (database, schema), names in by_schema.items():
        rows = _tables(task).filter(database=database, schema=schema)
        for at in range(0, len(names), _NAMES_AT_ONCE):
            for name, size in rows.filter(name__in=names[at : at + _NAMES_AT_ONCE]).values_list("name", "bytes"):
                yield (database, schema, name), size


def sizes_of(task: MigrationTask, paths: Iterable[Path]) -> dict[Path, dict[str, Any]]:
    """Return size, rows and whether it can move for each of some tables."""
    by_schema: dict[tuple[str, str], list[str]] = defaultdict(list)
    for database, schema, name in paths:
        by_schema[database, schema].append(name)
    found: dict[Path, dict[str, Any]] = {}
    for (database, schema), names in by_schema.items():
        for at in range(0, len(names), _NAMES_AT_ONCE):
            rows = SourceObject.objects.filter(
                task=task, level=Level.TABLE, database=database, schema=schema, name__in=names[at : at + _NAMES_AT_ONCE]
            )
            for row in rows.values("name", "bytes", "rows_estimate", "selectable", "reason", "fk_parents"):
                found[database, schema, row["name"]] = dict(row)
    return found
