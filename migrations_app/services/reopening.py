"""Editing a task that has failed: all of it while nothing was made, else only how the same servers are reached."""

from __future__ import annotations

from dataclasses import field

from django.db import transaction
from django.utils.translation import gettext as _

from ..engine.ports import Kind
from ..engine.states import Action, Status
from ..engine.values import frozen
from ..engine.wording import noun, say
from ..models import CheckItem, Endpoint, LedgerEntry, MigrationTask, TaskDatabase
from .base import Actor, Refused, TaskId, locked, move, note, require
from .figures import UNKNOWN

_TLS_STRENGTH = ["disable", "prefer", "require", "verify-ca", "verify-full"]
TYPED_ADDRESS = ("public_ip", "direct_connect", "vpn")


@frozen
class Access:
    """How one side is reached. `password=None` keeps the stored one."""

    host: str
    port: int
    account: str
    password: str | None = field(default=None, repr=False)
    tls_mode: str = "require"


def nothing_made(task: MigrationTask) -> bool:
    """Say whether nothing of this task stands on either server, by the ledger."""
    return not LedgerEntry.objects.filter(task=task, removed_at=None).exclude(kind=Kind.FILE).exists()


def movable_sides(task: MigrationTask) -> set[str]:
    """Return the sides whose address may change.

    The source: when every database of the task knows which server it began on, because the engine refuses another one.
    The target: never, because what was copied stands there and no other server would be recognised as wrong.
    """
    states = list(TaskDatabase.objects.filter(task=task))
    known = bool(states) and all(state.system_id for state in states)
    return {"source"} if known and task.source and task.source.kind in TYPED_ADDRESS else set()


@transaction.atomic
def reopen_task(*, task_id: TaskId, actor: Actor) -> MigrationTask:
    """Make a failed task a draft again. Raises Refused when something of it stands on a server."""
    task = locked(task_id)
    require(Action.REOPEN, task)
    if not nothing_made(task):
        raise Refused(
            _(
                "This task has made objects on its servers, so what it migrates cannot change any more. "
                "Change only how the servers are reached, or cancel the task and clone it."
            )
        )
    for rows in (task.steps, task.tables, task.entries, task.databases, task.comparisons, task.notes):
        rows.all().delete()
    CheckItem.objects.filter(task=task).update(status="waiting")
    move(
        task,
        Status.DRAFT,
        actor=actor,
        code="TASK-REOPENED",
        message=say("Nothing had been made on either server: the task is a draft again."),
        current_step="",
        notes_count=0,
        checked_hash="",
        checked_at=None,
        queued_at=None,
        started_at=None,
        finished_at=None,
        error_code="",
        error_message="",
        error_hint="",
        failing_since=None,
        tries=0,
        not_before=None,
        **UNKNOWN,
    )
    return task


@transaction.atomic
def change_access(*, task_id: TaskId, actor: Actor, side: str, access: Access) -> MigrationTask:
    """Change how one side of a failed task is reached; it stays failed until Retry. Raises Refused.

    A stored password never follows to another address, another account or weaker TLS.
    """
    task = locked(task_id)
    require(Action.ACCESS, task)
    endpoint = task.source if side == "source" else task.target if side == "target" else None
    if endpoint is None:
        raise Refused(_("Choose a side: source or target."))
    _store(task, endpoint, side, access)
    note(
        task,
        say("Access to the {side} changed. Press Retry to go on.", side=noun(side)),
        actor=actor,
        code="TASK-ACCESS",
    )
    task.refresh_from_db()
    return task


def _store(task: MigrationTask, endpoint: Endpoint, side: str, access: Access) -> None:
    moved = (endpoint.host, endpoint.port) != (access.host, access.port)
    if moved and side not in movable_sides(task):
        said = _(
            "The address of the %(side)s cannot change any more: nothing would tell whether it is the same server. "
            "Cancel the task and clone it for another server."
        )
        raise Refused(said % {"side": _("source") if side == "source" else _("target")})
    weaker = _TLS_STRENGTH.index(access.tls_mode) < _TLS_STRENGTH.index(endpoint.tls_mode)
    if access.password is None and (moved or weaker or endpoint.account != access.account):
        raise Refused(_("Enter the password: a stored one never follows to another address, account or weaker TLS."))
    if access.password is not None:
        endpoint.password = access.password
    endpoint.host, endpoint.port = access.host, access.port
    endpoint.account, endpoint.tls_mode = access.account, access.tls_mode
    endpoint.save()
