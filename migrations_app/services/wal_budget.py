"""How much WAL a source may keep for a task, and what is done then. Changed while the task runs."""

from __future__ import annotations

import re

from django.db import transaction
from django.utils.translation import gettext as _

from ..engine.checks.registry import size
from ..engine.replication.governor import Policy
from ..engine.states import Status
from ..engine.wording import Sentence, say
from ..models import MigrationTask
from . import audit
from .base import Actor, Refused, TaskId, locked, note, touch

LEAST_BYTES, MOST_BYTES = 1_000_000, 10**15
_UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
_SIZE = re.compile(r"(\d{1,16}(?:\.\d{1,3})?)\s*([KMGT]?B)?", re.IGNORECASE)
_ENDED = (Status.COMPLETED, Status.CANCELLING)
POLICIES = tuple(policy.value for policy in Policy)


def parse_bytes(text: str) -> int | None:
    """Return the bytes of `20 GB`, `500MB` or `1000000`, in powers of 1000; None for an empty text. Raises Refused."""
    if not text.strip():
        return None
    found = _SIZE.fullmatch(text.strip())
    number = round(float(found[1]) * _UNITS[(found[2] or "").upper()]) if found else 0
    if not LEAST_BYTES <= number <= MOST_BYTES:
        raise Refused(_("A size is a number with a unit, such as 20 GB: at least 1 MB, at most 1000 TB."))
    return number


@transaction.atomic
def set_wal_budget(
    *, task_id: TaskId, actor: Actor, budget_bytes: int | None, policy: str, disk_bytes: int | None
) -> MigrationTask:
    """Set how much WAL the source may keep for a task, what is done then, and how large the disk of its WAL is.

    None: no budget, and a size that nobody knows. Obeyed at the next look, within a minute. Raises Refused when the
    task has no incremental sync or has ended, or a value is out of range.
    """
    task = locked(task_id)
    if not task.incremental or Status(task.status) in _ENDED:
        raise Refused(_("This task keeps no WAL on its source, so it has no WAL budget."))
    if policy not in POLICIES:
        raise Refused(_("There is no such policy for the WAL budget."))
    for value in (budget_bytes, disk_bytes):
        if value is not None and not LEAST_BYTES <= value <= MOST_BYTES:
            raise Refused(_("A size is a number with a unit, such as 20 GB: at least 1 MB, at most 1000 TB."))
    said = say(
        "WAL budget set: {budget}, at the budget: {policy}, {disk}.",
        budget=size(budget_bytes) if budget_bytes else say("no budget"),
        policy=_policy_words(Policy(policy)),
        disk=say("WAL disk of {size}", size=size(disk_bytes)) if disk_bytes else say("size of the WAL disk not known"),
    )
    note(task, said, actor=actor, code="WAL-BUDGET")
    if actor is None:
        audit.from_command_line(action="tasks:wal", message=said, task=task)
    touch(
        task,
        wal_budget_bytes=budget_bytes,
        wal_policy=policy,
        wal_disk_bytes=disk_bytes,
        wal_looked_at=None,
        spooling=task.spooling and policy == Policy.SPOOL and budget_bytes is not None,
    )
    task.refresh_from_db()
    return task


def _policy_words(policy: Policy) -> Sentence:
    if policy is Policy.PAUSE_OTHERS:
        return say("pause other tasks of the source")
    if policy is Policy.SPOOL:
        return say("put changes into a spool on the worker's disk")
    if policy is Policy.DROP:
        return say("give up the slot and stop")
    if policy is Policy.NEW_COPY:
        return say("give up the slot and copy anew")
    return say("tell it, nothing else")
