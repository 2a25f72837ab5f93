"""Why an action is not possible now: what services refuse it with, and what pages say before anybody asks."""

from __future__ import annotations

import hashlib
from datetime import UTC
from typing import Any

from django.db.models import Q, QuerySet
from django.utils.translation import gettext as _

from . import clock
from .engine.plan import Side
from .engine.ports import ALONE, OPENING, Kind, TableStatus
from .engine.refusing import refusal_at
from .engine.states import RULES, Action, Status, StepName, new_copy_helps
from .models import LedgerEntry, MigrationTask

_NAMED = 5
ON_A_SERVER = {f"detail__{ALONE}__isnull": True}
"""Leaves out of the ledger what is nothing but a mark of how far Complete is."""
_OPENED = ("COMPLETE-OPENING", "COMPLETE-RESUMED")
"""Codes of events that tell that Complete has opened a target."""
_OURS_ON_TARGET = (Kind.BOOKMARK, Kind.TRIGGER_STATE, Kind.IDENTITY_STATE)


def why_not(action: Action, task: MigrationTask) -> str:
    """Return in the reader's language why the task does not allow `action` and what to do; '' when it does."""
    status = Status(task.status)
    if status not in RULES[action].allowed_from:
        return _(refusal_at(action, status))
    if action is Action.NEW_COPY and past_return(task):
        return _(
            "Complete has begun to open the target to the application, so nothing is cleared there any more. Press "
            "Retry to end it, or Cancel."
        )
    if action is Action.NEW_COPY and not new_copy_helps(task.error_code, incremental=task.incremental):
        return _(
            "Nothing that the task needs for its sync is lost. Mend what its message says and press Retry; or press "
            "Cancel, then Start again."
        )
    if action is Action.HAND_OVER and not task.foreground:
        return _("No terminal drives this task: it is the workers' already.")
    if action is Action.HAND_OVER and not left_by_its_terminal(task):
        return _(
            "The terminal that drives this task (manage.py task run) is at work on it. Stop it there with Ctrl-C, or "
            "wait until it has ended."
        )
    if action is Action.CLEAN_UP and not leftovers(task).exists():
        return _("Nothing of this task that a clean-up removes is left on either server.")
    if action is Action.COMPLETE and task.failing_since is not None:
        at = task.failing_since.astimezone(UTC).strftime("%H:%M UTC")
        return _(
            "The sync has been interrupted since %(at)s, so nobody knows whether the target is in sync. Mend what the "
            "task's message says, or press Try now; Complete is possible as soon as it is in sync again."
        ) % {"at": at}
    return ""


def left_by_its_terminal(task: MigrationTask) -> bool:
    """Say whether nobody works on a started task that `task run` drives: that has ended, or its process was killed.

    Between two tries of one that lives nobody can tell; then it is left alone.
    """
    if not task.foreground or Status(task.status) not in RULES[Action.HAND_OVER].allowed_from:
        return False
    now = clock.now()
    held = task.lease_until is not None and task.lease_until >= now
    waits = task.not_before is not None and task.not_before > now
    return not held and not waits


def complete_waits(task: MigrationTask) -> str:
    """Return in the reader's language which tables Complete waits for and what to do; '' when it waits for none."""
    set_aside = _named(task.tables.filter(status=TableStatus.QUARANTINED))
    if set_aside:
        said = _(
            "Complete is not possible while tables are quarantined, because nobody knows what they hold: %(names)s. "
            "Copy each of them again, or drop it from the task."
        )
        return said % {"names": set_aside}
    if undecided := _named(task.new_tables.filter(choice="")):
        said = _(
            "Complete is not possible while nobody has decided about tables that are new on the source: %(names)s. "
            "Add or ignore each of them on the task page."
        )
        return said % {"names": undecided}
    if coming := _named(task.new_tables.filter(choice="add")):
        said = _("Complete is not possible while new tables are being added: %(names)s. Wait until they are in sync.")
        return said % {"names": coming}
    if again := _named(task.recopies.all()):
        said = _("Complete is not possible while tables are copied again: %(names)s. Wait until they are in sync.")
        return said % {"names": again}
    return ""


def leftovers(task: MigrationTask) -> QuerySet[LedgerEntry]:
    """Return what of ours should have gone when the task ended, and has not: what a clean-up would try to remove.

    The objects that the task made for the user are none of it.
    """
    return left_at_the_end(task) if task.status == Status.COMPLETED else all_leftovers().filter(task=task)


def left_at_the_end(task: MigrationTask) -> QuerySet[LedgerEntry]:
    """Return what Complete should have removed or handed over to the user, and has not: nothing else is left then."""
    return LedgerEntry.objects.filter(task=task, removed_at=None).exclude(kind=Kind.FILE)


def all_leftovers() -> QuerySet[LedgerEntry]:
    """Return the same of all tasks; of one that has not ended it is what its clean-up will remove."""
    ours = Q(side=Side.SOURCE) | Q(side=Side.TARGET, kind__in=_OURS_ON_TARGET)
    return LedgerEntry.objects.filter(ours, removed_at=None, **ON_A_SERVER).exclude(kind=Kind.FILE)


def stands_on(task: MigrationTask, side: str) -> bool:
    """Say whether anything of this task stands on the server of a side, by the ledger."""
    return LedgerEntry.objects.filter(task=task, side=side, removed_at=None).exclude(kind=Kind.FILE).exists()


def leftovers_seen(task: MigrationTask) -> str:
    """Return what tells one list of leftovers from another: who confirms to leave them has to have seen this one."""
    keys = leftovers(task).order_by("id").values_list("id", flat=True)
    return hashlib.sha256(",".join(str(key) for key in keys).encode()).hexdigest()


def delete_waits(task: MigrationTask) -> str:
    """Return in the reader's language what is lost sight of when the task is deleted; '' when nothing is."""
    if not leftovers(task).exists():
        return ""
    return _(
        "Something of this task is still on its servers, and nobody would know of it any more. Press Try clean-up, or "
        "delete the task on its page, which names what stays."
    )


def _named(rows: QuerySet[Any]) -> str:
    names = [f"{row.schema}.{row.name}" for row in rows[: _NAMED + 1]]
    return ", ".join(names[:_NAMED]) + (", …" if len(names) > _NAMED else "")


def past_return(task: MigrationTask) -> bool:
    """Say whether Complete has begun to open targets, so that the sync cannot go on any more."""
    if task.current_step == StepName.CLEANUP:
        return True
    marks = LedgerEntry.objects.filter(task=task, side=Side.TARGET, kind=Kind.BOOKMARK, removed_at=None)
    return any(OPENING in detail for detail in marks.values_list("detail", flat=True))


def cleans_up_again(task: MigrationTask) -> bool:
    """Say whether a task that has completed removes only what it had to leave then; it will have completed after that,
    whatever it finds.
    """
    return task.status == Status.COMPLETING and task.finished_at is not None


def was_opened(task: MigrationTask) -> bool:
    """Say whether Complete ever began to open targets since the last Start: the application may have written there."""
    began = task.events.filter(code="TASK-QUEUED").order_by("-id").values_list("id", flat=True).first() or 0
    return task.events.filter(code__in=_OPENED, id__gt=began).exists()


def only_cleans_up(task: MigrationTask) -> bool:
    """Say whether a task without sync is at its end: all is on the target, and what is ours is being removed.

    Not while that fails: nobody has to wait for a server that does not answer.
    """
    at_work = task.status == Status.RUNNING and task.failing_since is None
    return at_work and task.current_step == StepName.CLEANUP
