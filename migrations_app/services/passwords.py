"""Passwords that the target needs and the source does not show: of user mappings, and of roles that are made."""

from __future__ import annotations

from dataclasses import field

from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from ..engine.states import Status
from ..engine.values import frozen
from ..engine.wording import count, say
from ..models import MigrationTask, TargetPassword
from . import audit
from .base import Actor, Refused, TaskId, actor_name, locked, note

_ENDED = (Status.COMPLETED, Status.CANCELLING, Status.CANCELLED)
_BEFORE_ROLES = (Status.DRAFT, Status.CHECKING, Status.CHECK_FAILED, Status.CHECK_PASSED, Status.SCHEDULED)
_LONGEST_NAME, _LONGEST = 63, 1000


@frozen
class PasswordData:
    """A password and whose it is: see `TargetPassword`. An empty one takes back what was given."""

    role: str
    database: str = ""
    server: str = ""
    user: str = field(default="", repr=False)
    password: str = field(default="", repr=False)


def takes_passwords(task: MigrationTask, *, server: str) -> bool:
    """Say whether passwords of user mappings, or without a `server` of roles, may still be given."""
    status = Status(task.status)
    return status not in _ENDED if server else status in _BEFORE_ROLES


@transaction.atomic
def give_passwords(*, task_id: TaskId, actor: Actor, given: list[PasswordData]) -> MigrationTask:
    """Store passwords, encrypted; each takes the place of an earlier one. Nobody reads them again but the worker.

    Those of user mappings are set with the schema, later ones at Complete; those of roles when the roles are made.
    Taking one back is always possible. Raises Refused when it is too late to give one, or a text is too long.
    """
    task = locked(task_id)
    for one in given:
        _judge(task, one)
        rows = TargetPassword.objects.filter(task=task, database=one.database, server=one.server, role=one.role)
        if not one.password:
            rows.delete()
            continue
        TargetPassword.objects.update_or_create(
            task=task,
            database=one.database,
            server=one.server,
            role=one.role,
            defaults={
                "user": one.user,
                "password": one.password,
                "given_at": timezone.now(),
                "given_by": actor_name(actor),
            },
        )
    said = say(
        "Passwords for the target: {given} given, {gone} taken back.",
        given=count(sum(1 for one in given if one.password), "{number} password", "{number} passwords"),
        gone=sum(1 for one in given if not one.password),
    )
    note(task, said, actor=actor, code="PASSWORDS-GIVEN")
    if actor is None:
        audit.from_command_line(action="tasks:passwords", message=said, task=task)
    task.refresh_from_db()
    return task


def _judge(task: MigrationTask, one: PasswordData) -> None:
    if one.password and not takes_passwords(task, server=one.server):
        if one.server:
            raise Refused(_("The task has ended. Set the password on the target."))
        raise Refused(_("The roles may have been made by now. Set their passwords on the target."))
    names = (one.role, one.server, one.database)
    if not one.role or bool(one.server) != bool(one.database) or max(map(len, names)) > _LONGEST_NAME:
        raise Refused(_("A password belongs to a role, or to a user mapping: database, server and role."))
    if "\x00" in "".join((*names, one.user, one.password)) or max(len(one.user), len(one.password)) > _LONGEST:
        raise Refused(_("A user and a password have at most 1,000 characters here. Check for text pasted by mistake."))
