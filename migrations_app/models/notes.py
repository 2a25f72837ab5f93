"""What a task has to say at its end beside success, and what it was asked to do once more."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.utils import timezone

from .tasks import MigrationTask


class StructureNote(models.Model):
    """Something of the structure that did not arrive, or is not as on the source (engine.ports.Note).

    Those of a database are replaced by each comparison of its structure.
    """

    task = models.ForeignKey(MigrationTask, on_delete=models.CASCADE, related_name="notes")
    at = models.DateTimeField(default=timezone.now)
    database = models.CharField(max_length=63)
    kind = models.CharField(max_length=60)
    schema = models.TextField(blank=True, default="")
    table = models.TextField(blank=True, default="")
    name = models.TextField(blank=True, default="")
    title = models.TextField()
    what = models.TextField()
    statement = models.TextField(blank=True, default="")
    words = models.TextField(blank=True, default="")
    how = models.JSONField(default=dict, blank=True)  # what the texts were made from (engine.wording.as_data)

    class Meta:
        ordering: ClassVar = ["id"]

    def __str__(self) -> str:
        return f"{self.title}: {self.what}"


class Recopy(models.Model):
    """A request to copy one table once more. It stays until the copy has arrived: a worker that dies leaves it."""

    task = models.ForeignKey(MigrationTask, on_delete=models.CASCADE, related_name="recopies")
    database = models.CharField(max_length=63)
    schema = models.CharField(max_length=63)
    name = models.CharField(max_length=63)
    asked_at = models.DateTimeField(default=timezone.now)
    asked_by = models.CharField(max_length=150, blank=True, default="")

    class Meta:
        ordering: ClassVar = ["id"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["task", "database", "schema", "name"], name="one_recopy_of_a_table")
        ]

    def __str__(self) -> str:
        return f"{self.database}: {self.schema}.{self.name}"
