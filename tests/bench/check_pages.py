"""The check page of one database and of fifty: their rows, and what `bench-console` asks for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from django.utils import timezone

from tests.bench.console_data import draft
from tests.bench.load import Page

if TYPE_CHECKING:
    from migrations_app.models import CheckItem, MigrationTask

_FOUND = "Everything was looked at, and this is a finding as long as they usually are: app.orders, app.customers."
_STATUSES = ["passed"] * 7 + ["warning", "warning", "failed"]


def fill_checks() -> dict[str, str]:
    """Make drafts that were checked: every item that there is, for one database and for fifty. Returns their ids."""
    from migrations_app.models import User
    from tests.bench.rows import store

    actor = User.objects.get(username="bench")
    found = {}
    for databases in (1, 50):
        task = draft(actor, f"checked, {databases} databases")
        store(_items(task, [f"db_{number:02}" for number in range(databases)]))
        task.status, task.checked_at = "check_failed", timezone.now()
        task.save()
        found[f"checked-{databases}"] = str(task.pk)
    return found


def _items(task: MigrationTask, databases: list[str]) -> Iterator[CheckItem]:
    from migrations_app.engine.checks import all_items
    from migrations_app.models import CheckItem

    for position, info in enumerate(all_items()):
        for number, database in enumerate(databases if info.per_database else [""]):
            status = _STATUSES[(position + number) % len(_STATUSES)]
            problem = status != "passed"
            yield CheckItem(
                task=task,
                code=info.code,
                title=info.title,
                group=info.group,
                position=position,
                status=status,
                database=database,
                found=_FOUND,
                hint="Change it, then check again." if problem else "",
                sql="ALTER TABLE app.orders REPLICA IDENTITY FULL;" if problem else "",
                seconds=0.1,
                checked_at=timezone.now(),
            )


def pages_of_checks(ids: dict[str, str]) -> Iterator[Page]:
    """The check page, its poll and its reports."""
    for databases in (1, 50):
        base, name = f"/tasks/{ids[f'checked-{databases}']}/check/", f"check, databases: {databases}"
        yield Page(name, base)
        yield Page(f"{name}: problems only", f"{base}?show=problems")
        yield Page(f"{name}: poll", f"{base}items/?seen=x")
        yield Page(f"{name}: report, HTML", f"{base}report.html", file=True)
        yield Page(f"{name}: report, JSON", f"{base}report.json", file=True)
