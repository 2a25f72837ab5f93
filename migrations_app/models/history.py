"""What happened to a task and what was made for it."""

from __future__ import annotations

from typing import Any, ClassVar, NoReturn

from django.db import models
from django.utils import timezone

from ..engine.plan import Side
from ..engine.ports import Kind, LedgerItem
from .choices import choices_of
from .tasks import MigrationTask


class ArchiveEntry(models.Model):
    """An entry of the schema archive that needs remembering (engine.ports.EntryState)."""

    task = models.ForeignKey(MigrationTask, on_delete=models.CASCADE, related_name="entries")
    database = models.CharField(max_length=63)
    dump_id = models.PositiveIntegerField()
    section = models.CharField(max_length=20)
    type = models.CharField(max_length=60)
    schema = models.TextField(blank=True, default="")
    name = models.TextField(blank=True, default="")
    done = models.BooleanField(default=False)
    error = models.TextField(blank=True, default="")

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["task", "database", "dump_id"], name="one_row_per_entry")
        ]

    def __str__(self) -> str:
        return f"{self.type} {self.schema}.{self.name}"


class LedgerEntry(models.Model):
    """One thing that we made on a server, written before it was made."""

    task = models.ForeignKey(MigrationTask, on_delete=models.CASCADE, related_name="ledger")
    side = models.CharField(max_length=6, choices=[("source", "Source"), ("target", "Target")])
    database = models.CharField(max_length=63, blank=True, default="")
    kind = models.CharField(max_length=20, choices=choices_of(Kind))
    schema = models.TextField(blank=True, default="")
    name = models.TextField()
    detail = models.JSONField(default=dict)
    made_at = models.DateTimeField(default=timezone.now)
    removed_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering: ClassVar = ["id"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["task", "side", "database", "kind", "schema", "name"],
                condition=models.Q(removed_at=None),
                name="one_open_ledger_entry",
            )
        ]

    def __str__(self) -> str:
        return f"{self.side} {self.kind} {self.name}"

    def item(self) -> LedgerItem:
        """Return it as the engine knows it."""
        return LedgerItem(
            side=Side(self.side),
            database=self.database,
            kind=Kind(self.kind),
            schema=self.schema,
            name=self.name,
            detail=self.detail,
        )


class AppendOnlyEvents(models.QuerySet["Event"]):
    """Rows that can be read and added. They go with their task, and in no other way."""

    def update(self, **kwargs: Any) -> NoReturn:
        """History is never rewritten."""
        raise TypeError("events are append-only")

    def delete(self) -> NoReturn:
        """History is never shortened."""
        raise TypeError("events are append-only")


class Event(models.Model):
    """The history of a task. Append-only: who, when, what, from which status to which."""

    task = models.ForeignKey(MigrationTask, on_delete=models.CASCADE, related_name="events")
    at = models.DateTimeField(default=timezone.now)
    actor = models.CharField(max_length=150, blank=True, default="")  # empty = the engine
    level = models.CharField(max_length=8, default="info")
    code = models.CharField(max_length=40, blank=True, default="")
    message = models.TextField()
    words = models.JSONField(default=dict, blank=True)  # what the texts were made from (engine.wording.as_data)
    from_status = models.CharField(max_length=20, blank=True, default="")
    to_status = models.CharField(max_length=20, blank=True, default="")
    detail = models.JSONField(default=dict)

    objects = AppendOnlyEvents.as_manager()

    class Meta:
        ordering: ClassVar = ["-id"]
        indexes: ClassVar = [models.Index(fields=["task", "-id"])]

    def __str__(self) -> str:
        return self.message

    def save(self, *args: object, **kwargs: object) -> None:
        """Insert only: history is never rewritten."""
        if self.pk:
            raise TypeError("events are append-only")
        super().save(*args, **kwargs)  # type: ignore[arg-type]

    def delete(self, *args: object, **kwargs: object) -> NoReturn:
        """History is never shortened."""
        raise TypeError("events are append-only")


class ComparisonResult(models.Model):
    """A finished comparison of one database (engine.ports.Comparison)."""

    task = models.ForeignKey(MigrationTask, on_delete=models.CASCADE, related_name="comparisons")
    database = models.CharField(max_length=63)
    lsn = models.BigIntegerField(null=True, blank=True)
    rows_applied = models.BigIntegerField(null=True, blank=True)  # of its database at `lsn`; null = not known
    started_at = models.DateTimeField()
    finished_at = models.DateTimeField()
    equal = models.BooleanField()
    tables_count = models.PositiveIntegerField(default=0)
    source_rows = models.BigIntegerField(default=0)
    differences = models.JSONField(default=list)  # items that are not equal, with their samples

    class Meta:
        ordering: ClassVar = ["-id"]

    def __str__(self) -> str:
        return f"{self.database}: {'equal' if self.equal else 'differs'}"


class Sample(models.Model):
    """One point of a task's charts. Thinned out with age: a life of weeks stays a few hundred rows."""

    task = models.ForeignKey(MigrationTask, on_delete=models.CASCADE, related_name="samples")
    at = models.DateTimeField(default=timezone.now)
    lag_bytes = models.BigIntegerField(null=True, blank=True)
    lag_seconds = models.FloatField(null=True, blank=True)
    apply_rows_per_second = models.FloatField(null=True, blank=True)
    copy_bytes_per_second = models.FloatField(null=True, blank=True)
    wal_bytes_per_second = models.FloatField(null=True, blank=True)
    wal_kept_bytes = models.BigIntegerField(null=True, blank=True)

    class Meta:
        ordering: ClassVar = ["at"]
        indexes: ClassVar = [models.Index(fields=["task", "at"]), models.Index(fields=["at"])]

    def __str__(self) -> str:
        return f"{self.task_id} {self.at:%H:%M:%S}"
