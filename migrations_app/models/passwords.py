"""Passwords of the target that the source does not show, as an operator gave them for a task."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.utils import timezone

from ..crypto import EncryptedTextField
from .tasks import MigrationTask


class TargetPassword(models.Model):
    """What a user mapping signs in with, or with an empty `server` a role's own password (engine.plan.GivenPassword).

    Encrypted and write-only, as the secrets of endpoints.
    """

    task = models.ForeignKey(MigrationTask, on_delete=models.CASCADE, related_name="target_passwords")
    database = models.CharField(max_length=63, blank=True, default="")  # of the source; '' = a role's own
    server = models.CharField(max_length=63, blank=True, default="")
    role = models.CharField(max_length=63)  # 'public' = everybody
    user = models.CharField(max_length=1000, blank=True, default="")  # on the other server; '' = not to be set
    password = EncryptedTextField()
    given_at = models.DateTimeField(default=timezone.now)
    given_by = models.CharField(max_length=150, blank=True, default="")

    class Meta:
        ordering: ClassVar = ["database", "server", "role"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["task", "database", "server", "role"], name="one_password_of_a_place")
        ]

    def __str__(self) -> str:
        return f"{self.role} on {self.server}" if self.server else self.role
