"""Users: the first administrator, roles, passwords. Every change is in the audit trail, in the same transaction.

A change of role or password, and a deactivation, end every session of that user: the proof that a session carries
covers all of them (`User.get_session_auth_hash`).
"""

from __future__ import annotations

import hashlib
import secrets
from datetime import timedelta

from django.contrib.auth.password_validation import validate_password
from django.db import IntegrityError, transaction
from django.db.models import F, Q, QuerySet
from django.utils import timezone
from django.utils.translation import gettext as _

from ..engine.wording import noun, say
from ..models import Role, SetupToken, User
from . import audit
from .base import NotFound, Refused

SETUP_HOURS = 24
_ADMINISTRATOR = Q(is_active=True) & (Q(role=Role.ADMIN) | Q(is_superuser=True))


def _hashed(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def _administrators() -> QuerySet[User]:
    return User.objects.filter(_ADMINISTRATOR)


def administrator_exists() -> bool:
    """Say whether somebody can administer this installation."""
    return _administrators().exists()


@transaction.atomic
def new_setup_token() -> str | None:
    """Make the one-time token for the first administrator, and void earlier ones. None once there is one."""
    SetupToken.objects.all().delete()
    if administrator_exists():
        return None
    token = secrets.token_urlsafe(24)
    SetupToken.objects.create(token_hash=_hashed(token))
    return token


def _open_tokens(token: str) -> QuerySet[SetupToken]:
    begun = timezone.now() - timedelta(hours=SETUP_HOURS)
    return SetupToken.objects.filter(token_hash=_hashed(token), used_at=None, made_at__gt=begun)


def setup_token_is_open(token: str) -> bool:
    """Say whether this token still makes the first administrator."""
    return _open_tokens(token).exists() and not administrator_exists()


def create_first_administrator(*, token: str, account: str, password: str) -> User:
    """Spend the token on an administrator. Raises NotFound when it is used, too old, voided, or no longer needed.

    Raises ValidationError when the password is too weak; Refused when the name is taken. Nothing is spent then.
    """
    validate_password(password, User(username=account))
    with transaction.atomic():
        # The conditional UPDATE lets exactly one of two simultaneous requests through.
        if not _open_tokens(token).update(used_at=timezone.now()) or administrator_exists():
            raise NotFound("this address is no longer valid")
        user = _insert(account, Role.ADMIN, password)
        audit.record(
            actor=account, action="first-administrator", subject=account, message=say("Made by one-time token.")
        )
    return user


def _insert(account: str, role: str, password: str, *, one_time: bool = False) -> User:
    user = User(username=User.normalize_username(account), role=role, must_change_password=one_time)
    user.set_password(password)
    try:
        with transaction.atomic():
            user.save()
    except IntegrityError as error:
        raise Refused(_("There is an account of this name already. Choose another name.")) from error
    return user


@transaction.atomic
def create_user(*, actor: User, account: str, role: str, password: str = "") -> tuple[User, str]:
    """Make an account. Without a password a one-time password is made, which has to be changed at first sign-in.

    Returns the user and the one-time password, '' when one was given. Raises Refused when the name is taken.
    """
    one_time = "" if password else _one_time_password()
    user = _insert(account, Role(role).value, password or one_time, one_time=bool(one_time))
    audit.record(
        actor=actor.get_username(),
        action="user-created",
        subject=user.username,
        message=say("Role {role}.", role=noun(user.role)),
    )
    return user, one_time


def _one_time_password() -> str:
    return secrets.token_urlsafe(12)


def _locked(user_id: int) -> User:
    """Return the user, with all administrators locked: two of them must not remove each other at once."""
    list(_administrators().select_for_update().order_by("pk"))
    try:
        return User.objects.select_for_update().get(pk=user_id)
    except User.DoesNotExist as error:
        raise NotFound("there is no such user") from error


def _keep_one_administrator(user: User) -> None:
    if not _administrators().exclude(pk=user.pk).exists():
        raise Refused(
            _("%(account)s is the last administrator. Make somebody else an administrator first.")
            % {"account": user.username}
        )


@transaction.atomic
def change_role(*, actor: User, user_id: int, role: str) -> User:
    """Change what a user may do; ends the user's sessions. Raises NotFound, and Refused for the last administrator."""
    user = _locked(user_id)
    before, after = user.effective_role, Role(role).value
    if before == after:
        return user
    if before == Role.ADMIN and user.is_active:
        _keep_one_administrator(user)
    user.role, user.is_superuser, user.is_staff = after, False, False
    user.save(update_fields=["role", "is_superuser", "is_staff"])
    audit.record(
        actor=actor.get_username(),
        action="user-role",
        subject=user.username,
        message=say("Role {before} → {after}.", before=noun(before), after=noun(after)),
    )
    return user


@transaction.atomic
def set_active(*, actor: User, user_id: int, active: bool) -> User:
    """Let a user sign in, or no longer; the latter ends the user's sessions. Raises NotFound and Refused."""
    user = _locked(user_id)
    if user.is_active == active:
        return user
    if not active and user.effective_role == Role.ADMIN:
        _keep_one_administrator(user)
    user.is_active = active
    user.session_epoch += 1
    user.save(update_fields=["is_active", "session_epoch"])
    action = "user-activated" if active else "user-deactivated"
    audit.record(actor=actor.get_username(), action=action, subject=user.username)
    return user


@transaction.atomic
def reset_password(*, actor: User, user_id: int, password: str = "") -> tuple[User, str]:
    """Set a user's password, or a one-time password; ends the user's sessions. Returns as `create_user` does."""
    user = _locked(user_id)
    one_time = "" if password else _one_time_password()
    user.set_password(password or one_time)
    user.must_change_password = bool(one_time)
    user.save(update_fields=["password", "must_change_password"])
    audit.record(
        actor=actor.get_username(),
        action="user-password",
        subject=user.username,
        message=say("One-time password set.") if one_time else say("Password set."),
    )
    return user, one_time


@transaction.atomic
def change_own_password(*, user: User, password: str) -> None:
    """Set one's own password; ends every session but the one that the caller renews. `user` is changed in place."""
    user.set_password(password)
    user.must_change_password = False
    user.save(update_fields=["password", "must_change_password"])
    audit.record(actor=user.get_username(), action="own-password", subject=user.username)


@transaction.atomic
def end_sessions(*, user: User) -> None:
    """End every session of a user but the one that the caller renews. `user` is changed in place."""
    User.objects.filter(pk=user.pk).update(session_epoch=F("session_epoch") + 1)
    user.refresh_from_db()
    audit.record(actor=user.get_username(), action="sessions-ended", subject=user.username)


def choose_language(*, user: User, language: str) -> None:
    """Remember the language in which this user reads the console."""
    User.objects.filter(pk=user.pk).update(language=language)
