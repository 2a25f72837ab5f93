"""The audit trail: who did what, from where. One entry for each request that changed something.

Services that write entries of their own do it in the transaction of the change. For every other request the middleware
writes one at its end, with what the services said meanwhile.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import transaction

from .. import clock
from ..audit_seal import seal
from ..engine.wording import Sentence, as_data, one_line, rewritten, template, together
from ..engine.wording import say as sentence
from ..models import AuditAsked, AuditEntry, AuditHead, MigrationTask

log = logging.getLogger("towpath.audit")
_LONGEST_MESSAGE = 2000
_THINGS_AT_ONCE = 1800  # characters of things in one entry that tells some of many
_COMMAND_LINE = "command line"
_LONGEST_ANSWER = timedelta(minutes=5)  # the web server gives none more than one
_UNANSWERED = template(
    "The process that answered this was ended before it was done; the task's history tells whether it took effect."
)


@dataclass
class Origin:
    """The request that is being answered: where it came from, and what services said and wrote during it."""

    address: str
    said: list[str] = field(default_factory=list)
    entries: int = 0
    asked: int | None = None
    action: str = ""


_origin: ContextVar[Origin | None] = ContextVar("audit_origin", default=None)


@contextmanager
def answering(address: str) -> Iterator[Origin]:
    """Let everything that is recorded inside know where the request came from."""
    origin = Origin(address)
    token = _origin.set(origin)
    try:
        yield origin
    finally:
        _origin.reset(token)


def say(message: str) -> None:
    """Add to the message of the entry that the middleware writes for this request."""
    origin = _origin.get()
    if origin is not None:
        origin.said.append(message)


def asked(*, actor: str, action: str, subject: str, task_id: UUID | None) -> None:
    """Write down, before anything is done, what a request asks for: if its process is killed it is told all the same.

    The note goes with the request's first entry, or with `answered`.
    """
    origin = _origin.get()
    if origin is not None:
        note = AuditAsked.objects.create(
            at=clock.now(),
            actor=one_line(actor)[:150],
            address=origin.address[:64],
            action=action[:60],
            subject=one_line(subject)[:200],
            about=task_id,
        )
        origin.asked, origin.action = note.pk, action


def answered() -> None:
    """Forget what the request asked for: all that it did is written down. Idempotent."""
    origin = _origin.get()
    if origin is not None and origin.asked is not None:
        AuditAsked.objects.filter(pk=origin.asked).delete()


def settle_unanswered(now: datetime) -> None:
    """Write the entries of requests whose processes ended before they had answered. Inside a transaction."""
    for note in AuditAsked.objects.filter(at__lt=now - _LONGEST_ANSWER):
        if not AuditAsked.objects.filter(pk=note.pk).delete()[0]:
            continue
        with answering(note.address):
            record(
                actor=note.actor,
                action=note.action,
                subject=note.subject,
                message=sentence(_UNANSWERED),
                task=MigrationTask.objects.filter(pk=note.about).first() if note.about else None,
            )


@contextmanager
def apart(*, actor: str, action: str, subject: str, task: MigrationTask | None) -> Iterator[None]:
    """Write an entry of its own for what is done inside, with what services say there; neither if that fails."""
    origin = _origin.get()
    before = list(origin.said) if origin else []
    try:
        if origin is not None:
            origin.said.clear()
        with transaction.atomic():
            yield
            message = together(origin.said) if origin else ""
            record(actor=actor, action=action, subject=subject, message=message, task=task)
    finally:
        if origin is not None:
            origin.said[:] = before


def record(
    *,
    actor: str,
    action: str,
    subject: str = "",
    message: str = "",
    task: MigrationTask | None = None,
    longest: int | None = _LONGEST_MESSAGE,
) -> AuditEntry:
    """Append an entry. Names with line breaks or invisible characters stay one readable line.

    The message is cut at `longest` characters; None: it is kept whole.
    """
    origin = _origin.get()
    entry = AuditEntry(
        actor=one_line(actor)[:150],
        address=origin.address[:64] if origin else "",
        action=action[:60],
        subject=one_line(subject)[:200],
        message=one_line(message)[:longest],
        words=_words(message, longest),
        task=task,
    )
    with transaction.atomic():
        _append(entry)
        answered()
    if origin is not None:
        origin.entries += 1
    log.info("actor=%r address=%r action=%r subject=%r", entry.actor, entry.address, entry.action, entry.subject)
    return entry


def from_command_line(*, action: str, message: str, task: MigrationTask) -> None:
    """Append what was done to a task by somebody at the server: no request is there that the middleware writes down."""
    record(actor=_COMMAND_LINE, action=action, subject=task.name, message=message, task=task)


def in_full(*, actor: str, otherwise: str, about: str, things: Iterable[Sentence], subject: str) -> None:
    """Append to the trail what must not be lost with a task, in the caller's transaction: none of `things` is cut.

    `about` has a place `{things}`; as many entries repeat it as that takes. They are entries of the request that is
    being answered, and of the command line's action `otherwise` when there is none.
    """
    origin = _origin.get()
    action = origin.action if origin is not None and origin.action else otherwise
    for some in _by_length(things):
        told = sentence(about, things=together(some, "; "))
        record(actor=actor or _COMMAND_LINE, action=action, subject=subject, message=told, longest=None)


def _by_length(things: Iterable[Sentence]) -> Iterator[list[Sentence]]:
    """Yield the things in lists that make messages of a readable length: one thing at least in each."""
    some: list[Sentence] = []
    length = 0
    for thing in things:
        length += len(one_line(thing))
        if some and length > _THINGS_AT_ONCE:
            yield some
            some, length = [], len(one_line(thing))
        some.append(thing)
    if some:
        yield some


@transaction.atomic
def _append(entry: AuditEntry) -> None:
    """Seal an entry behind the last one; others that append wait until this transaction has ended."""
    AuditHead.objects.get_or_create(pk=AuditHead.ONLY)
    head = AuditHead.objects.select_for_update().get(pk=AuditHead.ONLY)
    entry.number = head.number + 1
    entry.seal = seal(entry, head.seal)
    entry.save()
    head.number, head.seal = entry.number, entry.seal
    head.save()


def record_request(*, actor: str, action: str, subject: str, message: str = "", task_id: UUID | None = None) -> None:
    """Append the entry of a request for which no service wrote one, with what services said during it."""
    origin = _origin.get()
    if origin is None or origin.entries:
        return
    task = MigrationTask.objects.filter(pk=task_id).first() if task_id else None
    record(actor=actor, action=action, subject=subject, message=message or together(origin.said), task=task)


def _words(message: str, longest: int | None) -> dict[str, Any]:
    """Return what the message was made from, if it is told whole and on one line too."""
    whole = isinstance(message, Sentence) and (longest is None or len(one_line(message)) <= longest)
    return as_data(message=rewritten(message, one_line)) if whole and isinstance(message, Sentence) else {}
