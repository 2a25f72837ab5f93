"""What all services share: the guarded move from one status to another, refusals, events."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any

from django.contrib.auth.models import AnonymousUser
from django.db.models import F
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import pgettext

from ..engine.states import RULES, Action, Status, may_move
from ..engine.wording import as_data
from ..models import Event, MigrationTask, User
from ..refusals import why_not
from ..telling import tell
from . import audit

Actor = User | AnonymousUser | None
TaskId = uuid.UUID | str


class Refused(Exception):
    """The task does not allow this now; `message` says why and what to do. Nothing was changed.

    A sentence of the engine is told in the reader's language.
    """

    def __init__(self, message: str) -> None:
        self.message = tell(message)
        super().__init__(self.message)


class Changed(Refused):
    """Somebody saved the same thing since the form was shown. Nothing was changed."""


class Untyped(Refused):
    """What cannot be undone was asked for without the task's name. Nothing was changed."""


def require_typed(task: MigrationTask, typed: str | None) -> None:
    """Raise Untyped unless the task's name was typed. None: the caller has asked in another way."""
    if typed is not None and typed.strip() != task.name.strip():
        raise Untyped(_("This is not the name of the task. Nothing was changed. Type the name as it is shown above."))


def refuse_stale(seen: str | None, now: str, message: str = "") -> None:
    """Raise Changed unless a form was drawn from what is stored now. `seen`: its fingerprint; None compares nothing."""
    if seen is not None and seen != now:
        raise Changed(message or _("Somebody saved this meanwhile. Nothing was saved. Look at it and save again."))


class NotFound(Exception):
    """There is no such object, or it is not this user's."""


def locked(task_id: TaskId) -> MigrationTask:
    """Return the task, locked for the rest of the transaction. Raises NotFound."""
    try:
        return MigrationTask.objects.select_for_update().get(pk=task_id)
    except (MigrationTask.DoesNotExist, ValueError) as error:
        raise NotFound(f"there is no task {task_id}") from error


def actor_name(actor: Actor) -> str:
    """Return how an event names who did it; empty for the engine."""
    return actor.get_username() if actor is not None and actor.is_authenticated else ""


def refusal(action: Action, task: MigrationTask) -> Refused:
    """Return the one refusal text of a wrong action: what was asked, where the task stands, what to do."""
    rule, status = RULES[action], Status(task.status)
    parts = {"action": _(rule.label), "why": why_not(action, task)}
    if status in rule.allowed_from:
        return Refused(_("“%(action)s” is not possible now. %(why)s") % parts)
    said = _("“%(action)s” is not possible: the task's status is “%(status)s”. %(why)s")
    label = pgettext("where a task stands", status.value.replace("_", " "))
    return Refused(said % (parts | {"status": label}))


def why_closed(task: MigrationTask) -> str:
    """Return why the steps of the wizard cannot be edited any more; nothing while they can be."""
    editable = Status(task.status) in RULES[Action.EDIT].allowed_from
    return "" if editable else refusal(Action.EDIT, task).message


def require(action: Action, task: MigrationTask) -> None:
    """Raise Refused unless the table of states allows `action` now, and the task moves where that takes it."""
    if why_not(action, task):
        raise refusal(action, task)


def require_filled(task: MigrationTask, *sides: str) -> None:
    """Raise Refused unless each of these sides was filled in; a draft may begin with one."""
    if "source" in sides and task.source is None:
        raise Refused(_("The source is not filled in yet. Enter it under Source and target."))
    if "target" in sides and task.target is None:
        raise Refused(_("The target is not filled in yet. Enter it under Source and target."))


def move(
    task: MigrationTask,
    status: Status,
    *,
    actor: Actor = None,
    message: str,
    code: str = "",
    level: str = "info",
    detail: dict[str, Any] | None = None,
    **fields: Any,
) -> None:
    """Change the status by a conditional UPDATE and write the event. Raises Refused when somebody was faster.

    Must run inside a transaction. `fields` are further columns to set with it. `task` is refreshed in place.
    """
    before = Status(task.status)
    if before != status and not may_move(before, status):
        raise AssertionError(f"no rule leads from {before} to {status}")
    changed = MigrationTask.objects.filter(pk=task.pk, status=before).update(
        status=status, version=F("version") + 1, **fields
    )
    if not changed:
        raise Refused(_("The task changed meanwhile. Look at it again and repeat what you wanted."))
    Event.objects.create(
        task=task,
        at=timezone.now(),
        actor=actor_name(actor),
        level=level,
        code=code,
        message=message,
        words=as_data(message=message),
        from_status=before,
        to_status=status,
        detail=detail or {},
    )
    if actor is not None:
        audit.say(message)
    task.refresh_from_db()


def note(
    task: MigrationTask,
    message: str,
    *,
    actor: Actor = None,
    code: str = "",
    level: str = "info",
    at: datetime | None = None,
    **detail: Any,
) -> None:
    """Append an event that changes no status, and let pages that show the task know.

    `at`: when it was, where others judge by that; else by the clock of this host.
    """
    Event.objects.create(
        task=task,
        at=at or timezone.now(),
        actor=actor_name(actor),
        level=level,
        code=code,
        message=message,
        words=as_data(message=message),
        detail=detail,
    )
    if actor is not None:
        audit.say(message)
    touch(task)


def hand_over(task: MigrationTask, actor: Actor) -> None:
    """Let the workers do what somebody pressed on a page to let a task of a terminal go on: nothing there waits for it.

    What the command line itself asks for (no actor) stays in the terminal.
    """
    if task.foreground and actor is not None:
        MigrationTask.objects.filter(pk=task.pk).update(foreground=False)
        task.foreground = False


def touch(task: MigrationTask, **fields: Any) -> None:
    """Set columns that pages show and grow the version that the live list compares."""
    MigrationTask.objects.filter(pk=task.pk).update(version=F("version") + 1, **fields)
