"""Search over everything that a worker read: part of a name, a glob, or a regular expression between slashes."""

from __future__ import annotations

from dataclasses import field
from sys import intern

from django.db.models import Q, QuerySet
from django.utils.translation import gettext as _

from ..engine.patterns import NamePattern, PatternError, compile_pattern
from ..engine.selection import Path
from ..engine.values import frozen
from ..kept import of_reading
from ..models import Level, MigrationTask, SourceObject
from ..telling import tell

MOST_LISTED = 2000
"""Matches of a regular expression that can be selected at once: each becomes a rule of its own."""

_FIELDS = ("database", "schema", "name")


class BadSearch(ValueError):
    """The search cannot be made; the text says why."""


@frozen
class Search:
    """A search as it was typed. `kind`: none, text, glob or regex."""

    text: str = ""
    kind: str = "none"
    pattern: NamePattern | None = field(default=None, repr=False)


def read_search(text: str) -> Search:
    """Read what somebody typed. Raises BadSearch with the reason."""
    text = text.strip().replace("\x00", "")
    if not text:
        return Search()
    if not text.startswith("/") and not set(text) & set("*?"):
        return Search(text=text, kind="text")
    try:
        pattern = compile_pattern(text)
    except PatternError as error:
        raise BadSearch(tell(error.args[0])) from error
    return Search(text=text, kind="regex" if text.startswith("/") else "glob", pattern=pattern)


def found_rows(task: MigrationTask, path: Path, search: Search) -> QuerySet[SourceObject]:
    """Return the tables and partitions below `path` that match, in the order of the tree. Raises BadSearch."""
    rows = SourceObject.objects.filter(
        task=task, level__in=[Level.TABLE, Level.PARTITION], **dict(zip(_FIELDS, path, strict=False))
    ).order_by("database", "schema", "name")
    if search.kind == "text":
        wanted = Q(name__icontains=search.text) | Q(schema__icontains=search.text)
        schema, dot, name = search.text.partition(".")
        return rows.filter(wanted | Q(schema__iendswith=schema, name__istartswith=name) if dot else wanted)
    if search.kind == "glob":
        schema, dot, name = search.text.partition(".")
        return rows.filter(schema__glob=schema, name__glob=name) if dot else rows.filter(name__glob=search.text)
    return rows


def regex_matches(task: MigrationTask, path: Path, search: Search) -> list[tuple[int, bool]]:
    """Return the rows that a regular expression finds: key, and whether it is a partition.

    Raises BadSearch when it needs too much work.
    """
    if search.pattern is None:
        return []
    names = of_reading(task, "names", lambda: _names(task))
    if path:
        names = [row for row in names if row[1 : 1 + len(path)] == path]
    matches = search.pattern.matches
    try:
        return [(pk, part) for pk, _database, schema, name, part in names if matches(schema, name)]
    except PatternError as error:
        raise BadSearch(tell(error.args[0])) from error


def _names(task: MigrationTask) -> list[tuple[int, str, str, str, bool]]:
    """Return key, database, schema, name and whether it is a partition of all tables, in the order of the tree."""
    rows = found_rows(task, (), Search()).values_list("pk", *_FIELDS, "level")
    return [
        (pk, intern(database), intern(schema), name, level == Level.PARTITION)
        for pk, database, schema, name, level in rows.iterator(chunk_size=5000)
    ]


def matching_tables(task: MigrationTask, path: Path, text: str) -> list[Path]:
    """Return the tables that a regular expression finds and that can move. Raises BadSearch, also for too many."""
    search = read_search(text)
    if search.kind != "regex":
        raise BadSearch(_("This is not a regular expression between slashes."))
    keys = [pk for pk, _part in regex_matches(task, path, search)]
    if len(keys) > MOST_LISTED:
        said = _("%(found)s tables match; at most %(most)s can be selected so. Use a pattern: app_*")
        raise BadSearch(said % {"found": f"{len(keys):,}", "most": f"{MOST_LISTED:,}"})
    rows = SourceObject.objects.filter(task=task, level=Level.TABLE, selectable=True)
    found: list[Path] = []
    for at in range(0, len(keys), 500):
        found += rows.filter(pk__in=keys[at : at + 500]).values_list(*_FIELDS)
    return found
