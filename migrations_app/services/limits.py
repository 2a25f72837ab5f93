"""Keeps the console from being used as a port scanner: connection tests are counted per user."""

from __future__ import annotations

from datetime import timedelta

from django.utils import timezone
from django.utils.translation import gettext as _

from ..models import AuditEntry, MigrationTask
from . import audit
from .base import Actor, Refused, actor_name

TESTS_PER_MINUTE = 10
_ACTION = "connection-test"


def count_test(actor: Actor, subject: str, message: str, task: MigrationTask | None = None) -> None:
    """Write a connection test into the audit trail. Raises Refused when the user has asked for too many of late.

    The command line is not counted: who uses it can dial what they like anyway.
    """
    name = actor_name(actor)
    if not name:
        return
    recent = AuditEntry.objects.filter(actor=name, action=_ACTION, at__gt=timezone.now() - timedelta(minutes=1))
    if recent.count() >= TESTS_PER_MINUTE:
        raise Refused(
            _("More than %(count)d connection tests in a minute. Wait a moment, then test again.")
            % {"count": TESTS_PER_MINUTE}
        )
    audit.record(actor=name, action=_ACTION, subject=subject, message=message, task=task)
