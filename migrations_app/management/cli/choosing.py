"""What is to be migrated, from the options of the command line."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from django.core.management.base import CommandError

from ...engine.errors import PlanError
from ...engine.mapping import refuse_name
from ...engine.selection import Selection
from ...services import name_problem
from .address import new_name, object_path


def selection_of(options: dict[str, Any], names: list[str], targets: dict[str, str]) -> Selection:
    """Return the selection that the options describe for the databases `names`. Raises CommandError."""
    if options["role_passwords"] and options["roles"] == "none":
        raise CommandError("--role-passwords needs --roles needed or --roles all: without, no roles are made.")
    selection = Selection(
        foreign_keys="without" if options["without_foreign_keys"] else "require",
        roles=options["roles"],
        role_passwords=options["role_passwords"],
        follow="additions" if options["follow_additions"] else "ask",
    )
    for name in names:
        for path in [object_path(text) for text in options["include"]] or [()]:
            selection = selection.choose((name, *path), "data")
        for text in options["structure_only"]:
            selection = selection.choose((name, *object_path(text)), "structure")
        selection = _leave_out(selection, name, options)
    targets = targets | {_known(old, names): new for _, old, new in _names(options["map_database"])}
    for new in targets.values():
        if wrong := name_problem(new, database=True):
            raise CommandError(f"No database of the target can be called {new!r}. {wrong}")
    return replace(selection, targets=targets, schema_targets=_schemas(options["map_schema"], names))


def _leave_out(selection: Selection, database: str, options: dict[str, Any]) -> Selection:
    """Return the selection without what --exclude names.

    Raises CommandError when another option wants a part of it, and when nothing of it was wanted: a name misspelt.
    """
    left = selection
    for text in options["exclude"]:
        path = object_path(text)
        for option in ("include", "structure_only"):
            for other in options[option]:
                if object_path(other)[: len(path)] == path:
                    raise CommandError(f"--exclude {text} contradicts --{option.replace('_', '-')} {other}.")
        if not selection.mode(database, *path):
            raise CommandError(f"--exclude {text} leaves nothing out: it is in nothing that --include names.")
        left = left.choose((database, *path), "")
    return left


def _names(texts: list[str]) -> list[tuple[str, str, str]]:
    return [new_name(text, qualified=False) for text in texts]


def _known(name: str, names: list[str]) -> str:
    if name not in names:
        raise CommandError(f"The database {name} is not one of those to migrate: {', '.join(names)}.")
    return name


def _schemas(texts: list[str], names: list[str]) -> dict[tuple[str, str], str]:
    """Return the new names of schemas; one without a database is meant in every database."""
    found = {}
    for text in texts:
        database, old, new = new_name(text, qualified=True)
        try:
            refuse_name(new)
        except PlanError as error:
            raise CommandError(f"{error.message} {error.hint}") from error
        for name in [_known(database, names)] if database else names:
            found[name, old] = new
    return {path: new for path, new in found.items() if new != path[1]}
