"""Users and the audit trail, as their pages show them."""

from __future__ import annotations

import uuid
from datetime import date, datetime, time, timedelta

from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.utils import timezone

from ..engine.values import frozen
from ..models import AuditEntry, MigrationTask, User
from .deeds import alike, deed
from .rows import NotFound


@frozen
class AuditFilter:
    """Which entries are looked for; empty means all. Days are days of the console's time zone, both included."""

    actor: str = ""
    action: str = ""
    first_day: date | None = None
    last_day: date | None = None


def users() -> QuerySet[User]:
    """Return all users by name."""
    return User.objects.order_by("-is_active", "username")


def user(user_id: int) -> User:
    """Return a user. Raises NotFound."""
    found = User.objects.filter(pk=user_id).first()
    if found is None:
        raise NotFound("there is no such user")
    return found


def somebody_exists() -> bool:
    """Say whether anybody has an account."""
    return User.objects.exists()


def audit_entries(wanted: AuditFilter) -> QuerySet[AuditEntry]:
    """Return entries, newest first."""
    found = AuditEntry.objects.select_related("task")
    if wanted.actor:
        found = found.filter(actor__icontains=wanted.actor)
    if wanted.action:
        found = found.filter(action__in=alike(wanted.action))
    if wanted.first_day and wanted.first_day > date.min:
        found = found.filter(at__gte=_midnight(wanted.first_day))
    if wanted.last_day and wanted.last_day < date.max:
        found = found.filter(at__lt=_midnight(wanted.last_day + timedelta(days=1)))
    return found


def _midnight(day: date) -> datetime:
    return timezone.make_aware(datetime.combine(day, time()))


def audit_actions(chosen: str = "") -> list[tuple[str, str]]:
    """Return every action that the trail knows, in words and sorted by them: what is called alike comes once.

    `chosen` is the code that stands for its like, if the trail knows one of them.
    """
    codes = AuditEntry.objects.order_by("action").values_list("action", flat=True).distinct()
    named = {deed(code): code for code in codes}
    if deed(chosen) in named:
        named[deed(chosen)] = chosen
    return [(code, words) for words, code in sorted(named.items())]


def task_name(task_id: uuid.UUID | str) -> str:
    """Return the name of a task, '' when there is none: for the audit trail only, it asks nobody's rights."""
    try:
        return MigrationTask.objects.filter(pk=task_id).values_list("name", flat=True).first() or ""
    except (ValueError, ValidationError):
        return ""
