"""Gives everything that pages name a hostile name: markup, a line break, text from right to left, quotes, formats."""

from __future__ import annotations

from typing import Any

from migrations_app.draft_facts import draft_hash
from migrations_app.engine.wording import as_data
from migrations_app.models import (
    AuditEntry,
    CheckItem,
    Endpoint,
    MigrationTask,
    Resource,
    SourceObject,
    TableCopy,
    Tag,
    TaskDatabase,
    User,
)
from tests import factories
from tests.factories import HOSTILE

MARK = "<script>alert(1)</script>"
assert MARK in HOSTILE


def rename_everything() -> None:
    """Put HOSTILE before every name that somebody, a server or a cloud gave to something, wherever a row keeps it."""
    known = _known()
    for task in MigrationTask.objects.all():
        task.name, task.selection = HOSTILE + task.name, _renamed(task.selection, known)
        task.save()
    for part in SourceObject.objects.all():
        part.database, part.schema, part.name = (
            _renamed(one, known) for one in (part.database, part.schema, part.name)
        )
        part.fk_parents = _renamed(part.fk_parents, known)
        part.save()
    for copy in TableCopy.objects.all():
        copy.database, copy.schema, copy.name = (
            _renamed(one, known) for one in (copy.database, copy.schema, copy.name)
        )
        copy.save()
    for item in CheckItem.objects.all():
        item.found, item.hint, item.sql = HOSTILE + item.found, HOSTILE + item.hint, HOSTILE + item.sql
        item.database, item.fix_arguments = _renamed(item.database, known), _renamed(item.fix_arguments, known)
        item.words = as_data(found=item.found, hint=item.hint)
        item.save()
    for row in TaskDatabase.objects.all():
        row.source_name, row.target_name = _renamed(row.source_name, known), _renamed(row.target_name, known)
        row.save()
    _rename_the_rest()


def _rename_the_rest() -> None:
    for model, fields in _NAMED.items():
        for row in model.objects.all():
            values = {name: HOSTILE + getattr(row, name) for name in fields if getattr(row, name)}
            model.objects.filter(pk=row.pk).update(**values)
    Tag.objects.filter(name="shop").update(name=MARK)
    for task in MigrationTask.objects.exclude(checked_hash=""):  # the check was made under these names
        MigrationTask.objects.filter(pk=task.pk).update(checked_hash=draft_hash(task))
    # History and trail refuse changes, so they get entries of their own.
    for task in MigrationTask.objects.all():
        factories.event(task, HOSTILE, actor=HOSTILE)
    AuditEntry.objects.create(actor=HOSTILE, action="sign-in", subject=HOSTILE, message=HOSTILE, address="192.0.2.71")


_NAMED: dict[Any, tuple[str, ...]] = {
    Resource: ("name",),
    User: ("username",),
    Endpoint: ("saved_name", "account", "database"),
}


def _known() -> set[str]:
    names: set[str] = set()
    for part in SourceObject.objects.all():
        names |= {part.database, part.schema, part.name}
    for copy in TableCopy.objects.all():
        names |= {copy.database, copy.schema, copy.name}
    return names - {""}


def _renamed(value: Any, known: set[str]) -> Any:
    if isinstance(value, str):
        return HOSTILE + value if value in known else value
    if isinstance(value, list):
        return [_renamed(one, known) for one in value]
    if isinstance(value, dict):
        return {_renamed(name, known): _renamed(one, known) for name, one in value.items()}
    return value
