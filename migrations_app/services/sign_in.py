"""Limits guessing of passwords. Counted in our database, so that all web processes count together.

An account is never locked by others: only the pair of account and address, and the address itself, have limits.
"""

from __future__ import annotations

from datetime import timedelta

from django.db import transaction
from django.utils import timezone

from ..models import SignInFailure

WINDOW_MINUTES = 15
PER_ACCOUNT_AND_ADDRESS = 10
PER_ADDRESS = 50


def may_sign_in(*, address: str, account: str) -> bool:
    """Say whether another attempt is taken from this address for this account."""
    recent = SignInFailure.objects.filter(
        address=address[:64], at__gt=timezone.now() - timedelta(minutes=WINDOW_MINUTES)
    )
    return recent.count() < PER_ADDRESS and recent.filter(account=account[:150]).count() < PER_ACCOUNT_AND_ADDRESS


@transaction.atomic
def record_failure(*, address: str, account: str) -> None:
    """Count a wrong password; what is older than the window is forgotten."""
    now = timezone.now()
    SignInFailure.objects.filter(at__lt=now - timedelta(minutes=WINDOW_MINUTES)).delete()
    SignInFailure.objects.create(address=address[:64], account=account[:150], at=now)


@transaction.atomic
def forget_failures(*, address: str, account: str) -> None:
    """Start anew after a right password."""
    SignInFailure.objects.filter(address=address[:64], account=account[:150]).delete()
