"""A checked task with a warning, a result of an item, addresses: what tests of the check share."""

from __future__ import annotations

from typing import Any

from django.urls import reverse

from migrations_app.engine.checks.registry import CheckResult, CheckStatus, Group
from migrations_app.models import CheckItem, MigrationTask
from tests import factories

KEYS: dict[str, Any] = {
    "code": "table-keys",
    "status": "warning",
    "title": "Tables have keys",
    "database": "shop",
    "found": "1 table without a key: app.log.",
    "hint": "A primary key avoids that.",
    "fix": "replica-identity",
    "fix_arguments": {"database": "shop", "tables": [["app", "log", "", "d"]]},
}


def url(name: str, task: MigrationTask, *more: Any) -> str:
    """The address of a page of a task."""
    return reverse(f"tasks:{name}", args=[task.id, *more])


def warned(**fields: Any) -> tuple[MigrationTask, CheckItem]:
    """A checked task with one warning that can be fixed."""
    task = factories.checked_task()
    return task, factories.check_item(task, **(KEYS | fields))


def result(code: str = "table-keys", status: str = "warning", **fields: Any) -> CheckResult:
    """What an item found."""
    values: dict[str, Any] = {
        "title": "Tables have keys",
        "group": Group.SYNC,
        "found": KEYS["found"],
        "database": "shop",
    }
    return CheckResult(code=code, status=CheckStatus(status), **(values | fields))
