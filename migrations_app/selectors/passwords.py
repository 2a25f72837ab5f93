"""Passwords of the target that are asked for: by the check, and those that were given. Never what they are."""

from __future__ import annotations

from typing import Any

from ..engine.values import frozen
from ..models import CheckItem, MigrationTask, TargetPassword

_ITEMS = ("foreign-servers", "roles")


@frozen
class PasswordLine:
    """One role, or one user mapping when it has a `server`, and whether a password was given for it."""

    database: str
    server: str
    role: str
    user: str = ""
    given: bool = False

    @property
    def path(self) -> tuple[str, str, str]:
        """What finds it."""
        return (self.database, self.server, self.role)

    @property
    def everybody(self) -> bool:
        """Whether the mapping is for all who have none of their own."""
        return bool(self.server) and self.role == "public"


def passwords(task: MigrationTask) -> list[PasswordLine]:
    """Return what the last check asks for and what was given, in the order of databases, servers and roles."""
    lines = {line.path: line for line in _asked(task)}
    for row in TargetPassword.objects.filter(task=task).defer("password"):
        line = PasswordLine(database=row.database, server=row.server, role=row.role, user=row.user, given=True)
        lines[line.path] = line
    return [lines[path] for path in sorted(lines)]


def asks_passwords(task: MigrationTask) -> bool:
    """Say whether the last check asks for any password of the target."""
    return CheckItem.objects.filter(task=task, code__in=_ITEMS).exclude(fix_arguments={}).exists()


def _asked(task: MigrationTask) -> list[PasswordLine]:
    rows = CheckItem.objects.filter(task=task, code__in=_ITEMS).values_list("fix_arguments", flat=True)
    asked: list[dict[str, Any]] = [one for arguments in rows for one in arguments.get("passwords", ())]
    return [
        PasswordLine(database=str(one.get("database", "")), server=str(one.get("server", "")), role=str(one["role"]))
        for one in asked
    ]
