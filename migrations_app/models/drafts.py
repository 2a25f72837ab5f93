"""What belongs to a draft: what the source holds, tests of its connections, results of its check."""

from __future__ import annotations

import uuid
from typing import ClassVar

from django.db import models
from django.utils import timezone

from . import globs  # noqa: F401 - registers the condition `glob`
from .tasks import MigrationTask


class Level(models.IntegerChoices):
    """Where an object stands in the tree."""

    DATABASE = 0
    SCHEMA = 1
    TABLE = 2  # what can be selected: tables, partitioned tables, foreign tables
    PARTITION = 3  # stands under its table
    ALONG = 4  # views, functions, sequences, types: they come along with their schema


_LEVEL = models.Case(
    models.When(schema="", then=models.Value(Level.DATABASE.value)),
    models.When(name="", then=models.Value(Level.SCHEMA.value)),
    models.When(kind__in=["view", "matview", "sequence", "function", "type"], then=models.Value(Level.ALONG.value)),
    models.When(kind="partition", then=models.Value(Level.PARTITION.value)),
    models.When(root="", then=models.Value(Level.TABLE.value)),
    default=models.Value(Level.PARTITION.value),
    output_field=models.SmallIntegerField(),
)


class SourceObject(models.Model):
    """What the source holds, as read by a worker: the rows behind the object tree."""

    task = models.ForeignKey(MigrationTask, on_delete=models.CASCADE, related_name="source_objects")
    database = models.CharField(max_length=63)
    schema = models.CharField(max_length=63, blank=True, default="")  # '' = the database itself
    name = models.CharField(max_length=200, blank=True, default="")  # '' = the schema itself; functions: with arguments
    kind = models.CharField(max_length=20)
    level = models.GeneratedField(expression=_LEVEL, output_field=models.SmallIntegerField(), db_persist=True)
    parent_schema = models.CharField(max_length=63, blank=True, default="")  # of a partition: what it stands under
    parent = models.CharField(max_length=63, blank=True, default="")
    root_schema = models.CharField(max_length=63, blank=True, default="")  # of a partition: the table it belongs to
    root = models.CharField(max_length=63, blank=True, default="")
    bytes = models.BigIntegerField(default=0)  # of a partitioned table: with its partitions
    rows_estimate = models.BigIntegerField(default=0)
    unlogged = models.BooleanField(default=False)
    selectable = models.BooleanField(default=True)
    reason = models.CharField(max_length=300, blank=True, default="")
    words = models.JSONField(default=dict, blank=True)  # what the reason was made from (engine.wording.as_data)
    fk_parents = models.JSONField(default=list)  # [[schema, table], …]
    needs = models.JSONField(default=list)  # types, sequences, functions that come along: [[kind, schema, name], …]
    at_target = models.CharField(max_length=20, blank=True, default="")  # kind of what has this name on the target
    at_target_rows = models.BigIntegerField(null=True, blank=True)  # its estimate; NULL = unknown

    class Meta:
        ordering: ClassVar = ["database", "schema", "name"]
        indexes: ClassVar = [
            models.Index(fields=["task", "database", "schema", "name"]),
            models.Index(fields=["task", "level", "database", "schema", "name"], name="source_object_level"),
            models.Index(fields=["task", "database", "parent_schema", "parent"], name="source_object_parent"),
        ]

    def __str__(self) -> str:
        return ".".join(part for part in (self.database, self.schema, self.name) if part)


class Asked(models.Model):
    """Something that a press asks of a worker: done by it, polled by the page."""

    STATES: ClassVar = [("waiting", "Waiting"), ("running", "Running"), ("passed", "Passed"), ("failed", "Failed")]
    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    state = models.CharField(max_length=8, choices=STATES, default="waiting")
    code = models.CharField(max_length=40, blank=True, default="")
    message = models.TextField(blank=True, default="")
    hint = models.TextField(blank=True, default="")
    words = models.JSONField(default=dict, blank=True)  # what the texts were made from (engine.wording.as_data)
    detail = models.JSONField(default=dict, blank=True)  # version, latency, TLS; an SSH host key that wants confirming
    created_at = models.DateTimeField(default=timezone.now)
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        abstract = True
        ordering: ClassVar = ["-created_at"]


class ConnectionTest(Asked):
    """A press on Test connection of a task, a reading of the object list, a fix."""

    KINDS: ClassVar = [
        ("test", "Test connection"),
        ("inventory", "Read objects"),
        ("fix", "Fix"),
        ("prepare", "Prepare the source"),
    ]
    task = models.ForeignKey(MigrationTask, on_delete=models.CASCADE, related_name="tests")
    side = models.CharField(max_length=6)
    kind = models.CharField(max_length=10, choices=KINDS, default="test")

    def __str__(self) -> str:
        return f"{self.kind} {self.side}: {self.state}"


class EndpointTest(Asked):
    """A press on Test connection of a saved endpoint."""

    endpoint = models.ForeignKey("Endpoint", on_delete=models.CASCADE, related_name="tests")

    def __str__(self) -> str:
        return f"{self.endpoint}: {self.state}"


class CheckItem(models.Model):
    """The last result of one check item of a task. An acknowledgement is void as soon as the finding is another."""

    STATUSES: ClassVar = [("waiting", "Waiting"), ("passed", "Passed"), ("warning", "Warning"), ("failed", "Failed")]
    task = models.ForeignKey(MigrationTask, on_delete=models.CASCADE, related_name="check_items")
    code = models.CharField(max_length=60)
    title = models.CharField(max_length=200)
    group = models.CharField(max_length=60)
    position = models.PositiveSmallIntegerField(default=0)
    status = models.CharField(max_length=8, choices=STATUSES, default="waiting")
    database = models.CharField(max_length=63, blank=True, default="")
    found = models.TextField(blank=True, default="")
    hint = models.TextField(blank=True, default="")
    words = models.JSONField(default=dict, blank=True)  # what the texts were made from (engine.wording.as_data)
    sql = models.TextField(blank=True, default="")
    needs_restart = models.BooleanField(default=False)
    fix = models.CharField(max_length=60, blank=True, default="")  # what the Fix button would do; '' = nothing
    fix_arguments = models.JSONField(default=dict, blank=True)
    seconds = models.FloatField(null=True, blank=True)
    acknowledged_by = models.CharField(max_length=150, blank=True, default="")
    acknowledged_reason = models.CharField(max_length=500, blank=True, default="")
    acknowledged_at = models.DateTimeField(null=True, blank=True)
    checked_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering: ClassVar = ["position", "database"]
        constraints: ClassVar = [models.UniqueConstraint(fields=["task", "code", "database"], name="one_check_result")]

    def __str__(self) -> str:
        return f"{self.code}: {self.status}"
