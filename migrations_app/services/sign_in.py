"""Limits guessing of passwords. Counted in our database, so that all web processes count together.

An account is never locked by others: only the pair of account and address, and the address itself, have limits.
"""

from __future__ import annotations

import ipaddress
import unicodedata
from datetime import timedelta

from django.db import transaction
from django.utils import timezone

from ..engine.wording import say
from ..models import AuditEntry, SignInFailure, User
from . import audit

WINDOW_MINUTES = 15
PER_ACCOUNT_AND_ADDRESS = 10
PER_ADDRESS = 50
_REFUSED = "sign-in-refused"


def may_sign_in(*, address: str, account: str) -> bool:
    """Take an attempt from this address for this account: True when the password may be looked at.

    Each attempt counts as wrong before anybody looks at its password, and only then is counted: of many at the same
    moment no more get through than the limit. Must not run inside a transaction, which would hide it from the others.
    """
    origin, name = _origin(address), _name(account)
    attempt = SignInFailure.objects.create(address=origin, account=name)
    recent = SignInFailure.objects.filter(address=origin, at__gt=timezone.now() - timedelta(minutes=WINDOW_MINUTES))
    allowed = recent.count() <= PER_ADDRESS and recent.filter(account=name).count() <= PER_ACCOUNT_AND_ADDRESS
    if not allowed:
        attempt.delete()  # who is refused is not kept out for longer by trying
        _record_refusal(origin)
    return allowed


def _record_refusal(origin: str) -> None:
    """Write down that sign-ins are refused, once a minute for each origin: nobody fills the trail by trying."""
    lately = timezone.now() - timedelta(minutes=1)
    if not AuditEntry.objects.filter(action=_REFUSED, subject=origin, at__gt=lately).exists():
        audit.record(
            actor="", action=_REFUSED, subject=origin, message=say("Too many wrong passwords from this address.")
        )


@transaction.atomic
def record_failure(*, address: str, account: str) -> None:
    """Write down that an attempt's password was wrong; what is older than the window is forgotten."""
    SignInFailure.objects.filter(at__lt=timezone.now() - timedelta(minutes=WINDOW_MINUTES)).delete()
    # An unknown name is not written down: people type their password into the wrong field.
    known = "\0" not in account and User.objects.filter(username=account).exists()
    audit.record(actor="", action="sign-in-failed", subject=account if known else "unknown account")


@transaction.atomic
def forget_failures(*, address: str, account: str) -> None:
    """Start anew after a right password."""
    SignInFailure.objects.filter(address=_origin(address), account=_name(account)).delete()


def record_sign_in(*, user: User) -> None:
    """Write into the audit trail that somebody signed in."""
    audit.record(actor=user.get_username(), action="sign-in", subject=user.get_username())


def record_sign_out(*, user: User) -> None:
    """Write into the audit trail that somebody signed out."""
    audit.record(actor=user.get_username(), action="sign-out", subject=user.get_username())


def _origin(address: str) -> str:
    """Return what counts as one address: of IPv6 the network of 64 bits, all of which one customer owns."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address[:64]
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped:
            return str(parsed.ipv4_mapped)
        return str(ipaddress.IPv6Network((int(parsed), 64), strict=False))
    return str(parsed)


def _name(account: str) -> str:
    return unicodedata.normalize("NFKC", account.replace("\0", "")).strip().casefold()[:150]
