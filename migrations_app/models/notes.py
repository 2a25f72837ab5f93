"""What a task has to say at its end beside success, and what it was asked to do about single tables and rows."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.utils import timezone

from ..engine.conflicts import Use
from .choices import choices_of
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


class RowPermission(models.Model):
    """Leave to take the source's row once, where a conflict stopped the sync (engine.conflicts.Permission).

    It is stored before anything acts on it, and stays as a note of what was done once it is used up.
    """

    task = models.ForeignKey(MigrationTask, on_delete=models.CASCADE, related_name="permissions")
    database = models.CharField(max_length=63)
    schema = models.CharField(max_length=63)
    name = models.CharField(max_length=63)
    lsn = models.BigIntegerField()
    digest = models.CharField(max_length=32)
    change = models.CharField(max_length=10)
    key = models.TextField()  # shown to those who may see values of rows
    asked_at = models.DateTimeField(default=timezone.now)
    asked_by = models.CharField(max_length=150, blank=True, default="")
    used_at = models.DateTimeField(null=True, blank=True)
    use = models.CharField(max_length=12, choices=choices_of(Use), blank=True, default="")

    class Meta:
        ordering: ClassVar = ["id"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["task", "database", "schema", "name", "lsn", "digest"],
                condition=models.Q(used_at=None),
                name="one_permission_of_a_row",
            )
        ]

    def __str__(self) -> str:
        return f"{self.database}: {self.schema}.{self.name}"


class ShapeLeave(models.Model):
    """Leave to change a table of the target as it changed on the source (engine.drift.Leave).

    It is stored before anything acts on it, and stays as a note of what was done once it is used up.
    """

    task = models.ForeignKey(MigrationTask, on_delete=models.CASCADE, related_name="shape_leaves")
    database = models.CharField(max_length=63)
    schema = models.CharField(max_length=63)
    name = models.CharField(max_length=63)
    lsn = models.BigIntegerField()
    digest = models.CharField(max_length=32)
    statements = models.JSONField(default=list)
    asked_at = models.DateTimeField(default=timezone.now)
    asked_by = models.CharField(max_length=150, blank=True, default="")
    used_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering: ClassVar = ["id"]

    def __str__(self) -> str:
        return f"{self.database}: {self.schema}.{self.name}"


class NewTable(models.Model):
    """A selected table that appeared on the source during the sync, and what was decided (engine.drift.NewTable).

    It goes when the table has been added, and while nothing is decided also when the source has it no more.
    """

    CHOICES: ClassVar = [("", "undecided"), ("add", "to be added"), ("ignored", "ignored")]
    task = models.ForeignKey(MigrationTask, on_delete=models.CASCADE, related_name="new_tables")
    database = models.CharField(max_length=63)
    schema = models.CharField(max_length=63)
    name = models.CharField(max_length=63)
    oid = models.BigIntegerField()
    tables = models.PositiveIntegerField(default=1)
    partition = models.BooleanField(default=False)
    choice = models.CharField(max_length=10, choices=CHOICES, blank=True, default="")
    found_at = models.DateTimeField(default=timezone.now)
    decided_at = models.DateTimeField(null=True, blank=True)
    decided_by = models.CharField(max_length=150, blank=True, default="")
    problem = models.TextField(blank=True, default="")  # why it could not be added
    words = models.JSONField(default=dict, blank=True)  # what the text was made from (engine.wording.as_data)

    class Meta:
        ordering: ClassVar = ["id"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["task", "database", "schema", "name"], name="one_decision_of_a_new_table")
        ]

    def __str__(self) -> str:
        return f"{self.database}: {self.schema}.{self.name}"
