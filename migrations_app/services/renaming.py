"""Names that databases and schemas get on the target: what is wrong with them, said for each field."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping

from django.utils.translation import gettext as _

from ..engine.names import TARGET_SCHEMA
from ..engine.selection import Path, Selection
from ..models import MigrationTask, SourceObject
from .base import Refused

LONGEST_NAME = 63
"""Bytes, in UTF-8: a server cuts longer names without a word."""

_SYSTEM_DATABASES = ("template0", "template1")
_SYSTEM_SCHEMAS = ("information_schema", TARGET_SCHEMA)


class BadTargets(Refused):
    """Names that cannot be used. `errors` holds the reason by path: (database,) or (database, schema)."""

    def __init__(self, errors: Mapping[Path, str]) -> None:
        super().__init__("; ".join(dict.fromkeys(errors.values())))
        self.errors = dict(errors)


def refuse_bad_targets(
    task: MigrationTask,
    selection: Selection,
    databases: Mapping[str, str],
    schemas: Mapping[tuple[str, str], str],
) -> None:
    """Raise BadTargets unless every given path exists, every name can be used and no two go onto one another."""
    errors: dict[Path, str] = {}
    given: dict[Path, str] = {(name,): target for name, target in databases.items()}
    given |= {tuple(path): target for path, target in schemas.items()}
    for path, target in given.items():
        wrong = name_problem(target, database=len(path) == 1) if target and target != path[-1] else ""
        if wrong:
            errors[path] = wrong
    errors |= dict.fromkeys(_unknown(task, given), _("The source does not have this any more."))
    for path, twin in _collisions(task, selection):
        errors.setdefault(path, _("%(name)s goes to the same name on the target.") % {"name": twin})
    if errors:
        raise BadTargets(errors)


def name_problem(name: str, *, database: bool) -> str:
    """Return what is wrong with a name for a database or schema on the target; empty when nothing is."""
    if "\x00" in name or any("\ud800" <= char <= "\udfff" for char in name):
        return _("The name holds a character that PostgreSQL cannot store.")
    if len(name.encode()) > LONGEST_NAME:
        said = _("The name has %(bytes)d bytes; PostgreSQL keeps %(most)d.")
        return said % {"bytes": len(name.encode()), "most": LONGEST_NAME}
    if database:
        return _("The name belongs to the server itself.") if name in _SYSTEM_DATABASES else ""
    if name.startswith("pg_"):
        return _("Names that begin with pg_ are reserved for the server.")
    return _("The name is reserved.") if name in _SYSTEM_SCHEMAS else ""


def _unknown(task: MigrationTask, paths: Iterable[Path]) -> list[Path]:
    rows = SourceObject.objects.filter(task=task, name="", database__in={path[0] for path in paths})
    known = set(rows.values_list("database", "schema"))
    return [path for path in paths if (*path, "")[:2] not in known]


def _collisions(task: MigrationTask, selection: Selection) -> list[tuple[Path, str]]:
    """Return (path, its twin) for selected databases or schemas that would meet on the target."""
    rows = SourceObject.objects.filter(task=task, name="").values_list("database", "schema")
    meeting: dict[Path, list[Path]] = defaultdict(list)
    for database, schema in rows:
        if not schema and selection.touches(database):
            meeting[(selection.target_name(database),)].append((database,))
        elif schema and selection.touches(database, schema):
            target = (selection.target_name(database), selection.target_schema(database, schema))
            meeting[(database, *target)].append((database, schema))
    return [
        (path, others[0][-1])
        for group in meeting.values()
        for path in group
        if (others := [other for other in group if other != path])
    ]
