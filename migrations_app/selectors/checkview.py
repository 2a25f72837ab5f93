"""The check page: items in groups, worst first, and whether Start is possible."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings
from django.utils import timezone

from ..draft_facts import draft_hash
from ..engine.states import Status
from ..models import CheckItem, MigrationTask

_ORDER = {"failed": 0, "warning": 1, "waiting": 2, "passed": 3}


@dataclass(frozen=True, kw_only=True)
class CheckGroup:
    """Items that belong together, worst first."""

    name: str
    items: list[CheckItem]
    failed: int
    warnings: int
    passed: int
    waiting: int


@dataclass(frozen=True, kw_only=True)
class CheckView:
    """The whole check page."""

    groups: list[CheckGroup]
    failed: int
    warnings: int
    passed: int
    waiting: int
    running: bool
    valid: bool
    expired: bool
    valid_until: datetime | None
    can_start: bool
    why_not: str


def check_view(task: MigrationTask) -> CheckView:
    """Return the last check of a task as the page shows it."""
    items = list(CheckItem.objects.filter(task=task))
    counts = {status: sum(1 for item in items if item.status == status) for status in _ORDER}
    running = task.status == Status.CHECKING
    valid_until = task.checked_at + timedelta(hours=settings.CHECK_VALID_HOURS) if task.checked_at else None
    expired = valid_until is not None and valid_until < timezone.now()
    fresh = bool(task.checked_hash) and task.checked_hash == draft_hash(task)
    why_not = _why_not(task, counts, running=running, fresh=fresh, expired=expired)
    return CheckView(
        groups=_groups(items),
        failed=counts["failed"],
        warnings=counts["warning"],
        passed=counts["passed"],
        waiting=counts["waiting"],
        running=running,
        valid=fresh and not expired,
        expired=expired,
        valid_until=valid_until,
        can_start=not why_not,
        why_not=why_not,
    )


def _why_not(task: MigrationTask, counts: dict[str, int], *, running: bool, fresh: bool, expired: bool) -> str:
    if running:
        return "The check is running."
    if Status(task.status) not in (Status.DRAFT, Status.CHECK_FAILED, Status.CHECK_PASSED):
        return "This task has been started already."
    if not task.checked_at:
        return "The check has not run yet."
    if not fresh:
        return "The settings changed after the check; run it again."
    if expired:
        return "The check is too old; run it again."
    if counts["failed"]:
        return "Start is possible when nothing is Failed."
    if counts["waiting"] or task.status != Status.CHECK_PASSED:
        return "Some items have not run yet; check again."
    return ""


def _groups(items: list[CheckItem]) -> list[CheckGroup]:
    names = list(dict.fromkeys(item.group for item in items))
    groups = []
    for name in names:
        own = sorted(
            (item for item in items if item.group == name), key=lambda item: (_ORDER[item.status], item.position)
        )
        counts = {status: sum(1 for item in own if item.status == status) for status in _ORDER}
        groups.append(
            CheckGroup(
                name=name,
                items=own,
                failed=counts["failed"],
                warnings=counts["warning"],
                passed=counts["passed"],
                waiting=counts["waiting"],
            )
        )
    return sorted(groups, key=lambda group: (group.failed == 0, group.warnings == 0, names.index(group.name)))
