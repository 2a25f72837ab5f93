"""How many tables a selection takes, counted by the database: per schema, never table by table."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from django.db.models import Case, Count, IntegerField, Q, QuerySet, Sum, Value, When

from ..engine.selection import Mode, Path, PatternRule, Selection
from ..engine.states import TERMINAL, Status
from ..kept import of_reading
from ..models import Level, MigrationTask, SourceObject

_NAMES_AT_ONCE = 500
_PATH = ("database", "schema", "name")


@dataclass(kw_only=True, slots=True)
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

    def include(self, part: Tally) -> None:
        """Count everything that another tally counts."""
        self.total += part.total
        self.chosen += part.chosen
        self.structure += part.structure
        self.bytes += part.bytes
        self.chosen_bytes += part.chosen_bytes


def tallies(task: MigrationTask, selection: Selection) -> dict[Path, Tally]:
    """Return a tally by path: () for all, (database,) and (database, schema). Partitions count with their table."""
    found: dict[Path, Tally] = defaultdict(Tally)
    coarse = replace(selection, rules={path: value for path, value in selection.rules.items() if len(path) < 3})
    patterns = selection.patterns
    for group in of_reading(task, ("groups", patterns), lambda: _groups(task, patterns)):
        tally = found[group.path]
        tally.total += group.tables
        tally.bytes += group.bytes
        tally.add(_mode(coarse, patterns, group), group.tables, group.bytes)
    for table, size in _named(task, [path for path in selection.rules if len(path) == 3]):
        before, after = coarse.mode(*table), selection.mode(*table)
        if before != after:
            found[table[:2]].add(before, -1, -size)
            found[table[:2]].add(after, 1, size)
    for path, tally in list(found.items()):
        found[path[:1]].include(tally)
        found[()].include(tally)
    return found


def planned(task: MigrationTask) -> Tally | None:
    """Return what a task will copy, by its selection and the last reading of its source: known before its tables are
    listed. None once it has ended or there was no reading."""
    if Status(task.status) in TERMINAL:
        return None
    found = tallies(task, Selection.from_json(task.selection))[()]
    return found if found.chosen else None


@dataclass(frozen=True, kw_only=True, slots=True)
class _Group:
    """Tables of one schema that the same patterns cover. `inner`, `outer`: the pattern of the schema and the one of
    the database that wins there, by its number; -1 = none."""

    path: tuple[str, str]
    inner: int
    outer: int
    tables: int
    bytes: int


def _mode(coarse: Selection, patterns: tuple[PatternRule, ...], group: _Group) -> Mode:
    """Return how the tables of a group move, exact rules for tables aside: as `Selection.mode` decides."""
    if group.inner >= 0:
        return patterns[group.inner].mode
    if group.outer >= 0 and group.path not in coarse.rules:
        return patterns[group.outer].mode
    return coarse.mode(*group.path)


def _tables(task: MigrationTask) -> QuerySet[SourceObject]:
    return SourceObject.objects.filter(task=task, level=Level.TABLE, selectable=True).order_by()


def _groups(task: MigrationTask, patterns: tuple[PatternRule, ...]) -> list[_Group]:
    """Count the tables by schema and by the patterns that cover them."""
    rows: Any = _tables(task)
    keys = ["database", "schema"]
    for name, length in (("inner", 2), ("outer", 1)):
        whens = [
            When(_covered(rule), then=Value(index)) for index, rule in enumerate(patterns) if len(rule.scope) == length
        ]
        if whens:  # of two at the same place the later one wins
            rows = rows.annotate(**{name: Case(*whens[::-1], default=Value(-1), output_field=IntegerField())})
            keys.append(name)
    found = rows.values(*keys).annotate(tables=Count("pk"), size=Sum("bytes"))
    return [
        _Group(
            path=(row["database"], row["schema"]),
            inner=row.get("inner", -1),
            outer=row.get("outer", -1),
            tables=row["tables"],
            bytes=row["size"] or 0,
        )
        for row in found
    ]


def _covered(rule: PatternRule) -> Q:
    """Return the condition that a table matches a pattern and lies in its scope."""
    schema, dot, name = rule.text.partition(".")
    named = Q(schema__glob=schema, name__glob=name) if dot else Q(name__glob=rule.text)
    return named & Q(**dict(zip(("database", "schema"), rule.scope, strict=False)))


def _named(task: MigrationTask, paths: list[Path]) -> Iterable[tuple[Path, int]]:
    """Yield the tables that have rules of their own, with their sizes."""
    for some in _at(_tables(task), paths):
        for database, schema, name, size in some.values_list(*_PATH, "bytes"):
            yield (database, schema, name), size


def sizes_of(task: MigrationTask, paths: Iterable[Path]) -> dict[Path, dict[str, Any]]:
    """Return size, rows, what it needs and whether it can move for each of some tables."""
    facts = ("bytes", "rows_estimate", "selectable", "reason", "words", "fk_parents", "needs")
    tables = SourceObject.objects.filter(task=task, level=Level.TABLE).order_by()
    rows = (row for some in _at(tables, paths) for row in some.values(*_PATH, *facts))
    return {(row["database"], row["schema"], row["name"]): row for row in rows}


def _at(tables: QuerySet[SourceObject], paths: Iterable[Path]) -> Iterator[QuerySet[SourceObject]]:
    """Yield queries that together find exactly the tables at these paths.

    Those of one schema are asked for together, or those of one name, whichever makes fewer questions: thousands of
    schemas often hold the same tables.
    """
    by_schema: dict[Path, list[str]] = defaultdict(list)
    by_name: dict[Path, list[str]] = defaultdict(list)
    for database, schema, name in paths:
        by_schema[database, schema].append(name)
        by_name[database, name].append(schema)
    few, one, many = by_schema, "schema", "name__in"
    if len(by_name) < len(by_schema):
        few, one, many = by_name, "name", "schema__in"
    for (database, same), others in few.items():
        for at in range(0, len(others), _NAMES_AT_ONCE):
            yield tables.filter(**{"database": database, one: same, many: others[at : at + _NAMES_AT_ONCE]})
