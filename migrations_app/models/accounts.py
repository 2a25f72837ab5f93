"""Who may sign in, what they may do, and what they did."""

from __future__ import annotations

from typing import Any, ClassVar, NoReturn

from django.contrib.auth.models import AbstractUser
from django.db import models
from django.utils import timezone
from django.utils.crypto import salted_hmac
from django.utils.translation import gettext_lazy as _


class Role(models.TextChoices):
    """What a user may do; each includes the one before."""

    VIEWER = "viewer", _("Viewer: looks only")
    OPERATOR = "operator", _("Operator: creates and runs tasks")
    ADMIN = "admin", _("Administrator: also users, resources and the audit trail")


_ROLE_NAMES = {Role.VIEWER: _("Viewer"), Role.OPERATOR: _("Operator"), Role.ADMIN: _("Administrator")}


class User(AbstractUser):
    """A person who signs in. The role decides; superusers are administrators."""

    role = models.CharField(max_length=10, choices=Role.choices, default=Role.VIEWER)
    language = models.CharField(max_length=10, blank=True, default="")  # '' = what the browser asks for
    must_change_password = models.BooleanField(default=False)  # a one-time password opens only the page to change it
    session_epoch = models.PositiveIntegerField(default=0)  # grown to end all sessions

    @property
    def effective_role(self) -> str:
        """The role that counts."""
        return Role.ADMIN.value if self.is_superuser else self.role

    @property
    def role_name(self) -> str:
        """The role in one word."""
        return str(_ROLE_NAMES[Role(self.effective_role)])

    def has_role(self, role: str) -> bool:
        """Say whether this user may do what `role` may do."""
        ranks = list(Role.values)
        return self.is_active and ranks.index(self.effective_role) >= ranks.index(role)

    def _get_session_auth_hash(self, secret: str | None = None) -> str:
        # Every session carries this proof: it ends with the password, the role, or the epoch that it began under.
        proof = f"{self.password} {self.effective_role} {self.session_epoch}"
        return salted_hmac("migrations_app.User.session", proof, secret=secret, algorithm="sha256").hexdigest()


class SetupToken(models.Model):
    """The one-time token that makes the first administrator. Only its hash is kept; it dies when it was used."""

    token_hash = models.CharField(max_length=64, unique=True)
    made_at = models.DateTimeField(default=timezone.now)
    used_at = models.DateTimeField(null=True, blank=True)

    def __str__(self) -> str:
        return f"made {self.made_at:%Y-%m-%d %H:%M}"


class AppendOnly(models.QuerySet["AuditEntry"]):
    """Rows that can be read and added, and nothing else."""

    def update(self, **kwargs: Any) -> NoReturn:
        """History is never rewritten."""
        raise TypeError("audit entries are append-only")

    def delete(self) -> NoReturn:
        """History is never shortened."""
        raise TypeError("audit entries are append-only")


class AuditEntry(models.Model):
    """Who did what, from where. Append-only; what concerns one task is also among its events."""

    at = models.DateTimeField(default=timezone.now)
    actor = models.CharField(max_length=150, blank=True, default="")  # empty = nobody signed in
    address = models.CharField(max_length=64, blank=True, default="")
    action = models.CharField(max_length=60)
    subject = models.CharField(max_length=200, blank=True, default="")
    message = models.TextField(blank=True, default="")
    words = models.JSONField(default=dict, blank=True)  # what the texts were made from (engine.wording.as_data)
    task = models.ForeignKey("MigrationTask", null=True, blank=True, on_delete=models.SET_NULL, related_name="+")

    number = models.PositiveBigIntegerField(null=True, blank=True, unique=True)  # place in the chain of seals
    seal = models.CharField(max_length=64, blank=True, default="")  # see audit_seal

    objects = AppendOnly.as_manager()

    class Meta:
        ordering: ClassVar = ["-id"]
        indexes: ClassVar = [models.Index(fields=["actor", "-id"]), models.Index(fields=["action", "-id"])]

    def __str__(self) -> str:
        return f"{self.actor} {self.action} {self.subject}"

    def save(self, *args: object, **kwargs: object) -> None:
        """Insert only: history is never rewritten."""
        if self.pk:
            raise TypeError("audit entries are append-only")
        super().save(*args, **kwargs)  # type: ignore[arg-type]

    def delete(self, *args: object, **kwargs: object) -> NoReturn:
        """History is never shortened."""
        raise TypeError("audit entries are append-only")


class AuditAsked(models.Model):
    """A request that is being answered: it becomes an audit entry, or none; left over when its process was killed."""

    at = models.DateTimeField()
    actor = models.CharField(max_length=150)
    address = models.CharField(max_length=64, blank=True, default="")
    action = models.CharField(max_length=60)
    subject = models.CharField(max_length=200, blank=True, default="")
    about = models.UUIDField(null=True, blank=True)  # the task; it may be gone by the end

    class Meta:
        indexes: ClassVar = [models.Index(fields=["at"], name="migrations_asked_at_idx")]

    def __str__(self) -> str:
        return f"{self.actor} {self.action} {self.subject}"


class AuditHead(models.Model):
    """The end of the audit trail's chain, in one row: whoever appends locks it, so that the chain never forks."""

    ONLY: ClassVar = 1
    number = models.PositiveBigIntegerField(default=0)
    seal = models.CharField(max_length=64, blank=True, default="")

    def __str__(self) -> str:
        return f"{self.number}"


class SignInFailure(models.Model):
    """A wrong password at sign-in: counted per address, and per account and address, never per account alone."""

    address = models.CharField(max_length=64)
    account = models.CharField(max_length=150)
    at = models.DateTimeField(default=timezone.now)

    class Meta:
        indexes: ClassVar = [models.Index(fields=["address", "at"])]

    def __str__(self) -> str:
        return f"{self.address}: {self.account}"
