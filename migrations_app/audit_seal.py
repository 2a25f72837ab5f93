"""The chain over the audit trail: each entry is sealed together with the seal of the one before.

A seal is an HMAC-SHA256 under the signing key, which does not lie in the database: whoever can write there can change
or remove an entry, but cannot make a seal that fits.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Iterable, Iterator
from datetime import UTC

from django.conf import settings

from .engine.values import frozen
from .models import AuditEntry, AuditHead

_CHUNK = 1000


def seal(entry: AuditEntry, before: str, key: str = "") -> str:
    """Return the seal of an entry that follows one with the seal `before`; the key of today, if none is given.

    The task is left out: deleting a task sets it to null.
    """
    facts = [
        before,
        entry.number,
        entry.at.astimezone(UTC).isoformat(timespec="microseconds"),
        entry.actor,
        entry.address,
        entry.action,
        entry.subject,
        entry.message,
        entry.words,
    ]
    text = json.dumps(facts, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return hmac.new((key or settings.SECRET_KEY).encode(), text.encode(), hashlib.sha256).hexdigest()


@frozen
class Verdict:
    """What a look at the whole chain found. `broken` says where it breaks, in words; empty = nowhere."""

    entries: int
    seal: str
    broken: str = ""
    kept_is_there: bool = True


def verify(kept: str = "") -> Verdict:
    """Follow the chain from its first entry and stop at the first that is not as it was sealed.

    `kept`: a seal that was written down elsewhere; it must be in the chain, or the end of the trail was cut off.
    """
    before, number, found = "", 0, not kept
    for entry in _entries():
        if problem := _problem(entry, number + 1, before):
            return Verdict(entries=number, seal=before, broken=problem, kept_is_there=found)
        before, number = entry.seal, number + 1
        found = found or before == kept
    head = AuditHead.objects.filter(pk=AuditHead.ONLY).first() or AuditHead()
    loose = AuditEntry.objects.filter(number=None).order_by("id").first()
    broken = ""
    if (head.number, head.seal) != (number, before):
        broken = f"entry {number + 1} is missing: the trail had {head.number} entries and ends with {number} now"
    elif loose is not None:
        broken = f"an entry was never sealed: {_words(loose)}"
    elif not found:
        broken = "the seal that was kept is not in the chain: entries at the end were removed, or all were written anew"
    return Verdict(entries=number, seal=before, broken=broken, kept_is_there=found)


def _entries() -> Iterator[AuditEntry]:
    yield from AuditEntry.objects.exclude(number=None).order_by("number").iterator(chunk_size=_CHUNK)


def _problem(entry: AuditEntry, number: int, before: str) -> str:
    if entry.number != number:
        return f"entry {number} is missing; the next one is number {entry.number}: {_words(entry)}"
    if not any(hmac.compare_digest(entry.seal, seal(entry, before, key)) for key in _keys()):
        return f"entry {number} is not as it was sealed: {_words(entry)}"
    return ""


def _keys() -> Iterable[str]:
    return (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS)


def _words(entry: AuditEntry) -> str:
    return f"{entry.at:%Y-%m-%d %H:%M:%S} {entry.actor or '-'} {entry.action} {entry.subject}".rstrip()
