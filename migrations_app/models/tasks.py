"""The migration task and its steps, databases and tables: what is to be done and how far it is."""

from __future__ import annotations

import uuid
from typing import Any, ClassVar

from django.conf import settings
from django.db import models
from django.utils import timezone

from ..engine.ports import TableStatus
from ..engine.replication.governor import Policy
from ..engine.states import Status, StepName
from .choices import choices_of
from .endpoints import Endpoint


class Tag(models.Model):
    """A word that operators file tasks under."""

    name = models.CharField(max_length=40, unique=True)

    class Meta:
        ordering: ClassVar = ["name"]

    def __str__(self) -> str:
        return self.name


class MigrationTask(models.Model):
    """The operator's object: from where, to where, what, when, and how far it is."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    name = models.CharField(max_length=120)
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+")
    status = models.CharField(max_length=20, choices=choices_of(Status), default=Status.DRAFT.value)
    created_at = models.DateTimeField(default=timezone.now)
    source = models.OneToOneField(Endpoint, null=True, on_delete=models.PROTECT, related_name="source_of")
    target = models.OneToOneField(Endpoint, null=True, on_delete=models.PROTECT, related_name="target_of")
    incremental = models.BooleanField(default=True)
    scheduled_at = models.DateTimeField(null=True, blank=True)
    selection = models.JSONField(default=dict)
    objects_read = models.UUIDField(null=True, editable=False)  # names the reading in source_objects; NULL = unknown
    copy_jobs = models.PositiveSmallIntegerField(null=True, blank=True)  # null = the installation's
    copy_mb_per_second = models.PositiveIntegerField(null=True, blank=True)  # null = as fast as it goes
    wal_budget_bytes = models.BigIntegerField(null=True, blank=True)  # most WAL that its source may keep; null = any
    wal_disk_bytes = models.BigIntegerField(null=True, blank=True)  # size of the source's WAL disk, when stated
    wal_policy = models.CharField(max_length=12, choices=choices_of(Policy), default=Policy.ALARM.value)
    skip_compare = models.BooleanField(default=False)  # full-only: ends without its comparison, and says so
    tags: models.ManyToManyField[Tag, Any] = models.ManyToManyField("Tag", blank=True, related_name="tasks")
    cloned_from = models.ForeignKey("self", null=True, blank=True, on_delete=models.SET_NULL, related_name="clones")

    # The check belongs to exactly one version of the draft.
    checked_hash = models.CharField(max_length=64, blank=True, default="")
    checked_at = models.DateTimeField(null=True, blank=True)

    # Progress that the list shows.
    current_step = models.CharField(max_length=12, choices=choices_of(StepName), blank=True, default="")
    lag_bytes = models.BigIntegerField(null=True, blank=True)
    lag_seconds = models.FloatField(null=True, blank=True)
    rows_per_second = models.FloatField(null=True, blank=True)
    bytes_per_second = models.FloatField(null=True, blank=True)
    eta_at = models.DateTimeField(null=True, blank=True)  # of the copy, or of catching up with the source
    wal_bytes_per_second = models.FloatField(null=True, blank=True)  # that the source writes, whoever it is for
    applied_bytes_per_second = models.FloatField(null=True, blank=True)  # of it that the sync gets behind it
    catching_up = models.BooleanField(null=True, blank=True)  # null = in sync, or not known
    rates = models.JSONField(default=dict, blank=True)  # what rates go on from in the next slice (runner.rate.Rate)
    version = models.PositiveBigIntegerField(default=0)  # grows with every visible change: the live list asks for it

    queued_at = models.DateTimeField(null=True, blank=True)
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)
    error_code = models.CharField(max_length=40, blank=True, default="")
    error_message = models.TextField(blank=True, default="")
    error_hint = models.TextField(blank=True, default="")
    words = models.JSONField(default=dict, blank=True)  # what the texts were made from (engine.wording.as_data)

    conflict = models.JSONField(default=dict, blank=True)  # where the sync stopped: engine.conflicts.Conflict, or empty
    drift = models.JSONField(
        default=dict, blank=True
    )  # the changed table where it stopped: engine.drift.Drift, or empty

    # Claim of a worker. `epoch` fences everything that the worker does on the servers.
    epoch = models.PositiveBigIntegerField(default=0)
    worker = models.CharField(max_length=120, blank=True, default="")
    lease_until = models.DateTimeField(null=True, blank=True)
    not_before = models.DateTimeField(null=True, blank=True)  # back-off: no slice before this time
    woken_at = models.DateTimeField(null=True, blank=True)
    failing_since = models.DateTimeField(null=True, blank=True)
    tries = models.PositiveIntegerField(default=0)
    tries_of = models.JSONField(default=dict, blank=True)  # causes with a limit of their own, since `failing_since`
    foreground = models.BooleanField(default=False)  # driven by `task run`: the dispatcher leaves it alone
    notes_count = models.PositiveIntegerField(default=0)  # how many StructureNotes there are
    compare_requested = models.BooleanField(default=False)
    back_requested = models.BooleanField(default=False)  # while completing: the sync is to go on instead
    recopy_requested = models.BooleanField(default=False)  # there are Recopy rows
    clear_target = models.BooleanField(default=False)  # Start again: drop what we made before checking
    new_copy = models.BooleanField(default=False)  # when what is ours is removed, it starts again by itself

    # The governor's last look at the source's WAL.
    wal_level = models.CharField(max_length=8, blank=True, default="")  # '' = not looked at
    wal_state = models.JSONField(default=dict, blank=True)  # engine.replication.governor.Judgement, and what was done
    spooling = models.BooleanField(default=False)  # changes go through a spool on the worker's disk
    wal_looked_at = models.DateTimeField(null=True, blank=True)
    paused_for = models.ForeignKey("self", null=True, blank=True, on_delete=models.SET_NULL, related_name="holds")

    class Meta:
        indexes: ClassVar = [
            models.Index(fields=["status", "queued_at"]),
            models.Index(fields=["-created_at", "id"]),
            models.Index(fields=["name"]),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def key(self) -> str:
        """The 8 hex digits that every server object of this task carries."""
        return self.id.hex[:8]


class Step(models.Model):
    """One step of a task: planned at Start, filled in as it runs."""

    STATES: ClassVar = [("pending", "Pending"), ("running", "Running"), ("done", "Done"), ("failed", "Failed")]
    task = models.ForeignKey(MigrationTask, on_delete=models.CASCADE, related_name="steps")
    name = models.CharField(max_length=12, choices=choices_of(StepName))
    position = models.PositiveSmallIntegerField()
    state = models.CharField(max_length=10, choices=STATES, default="pending")
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)
    progress_done = models.FloatField(default=0)
    progress_total = models.FloatField(default=0)
    note = models.CharField(max_length=300, blank=True, default="")
    words = models.JSONField(default=dict, blank=True)  # what the texts were made from (engine.wording.as_data)

    class Meta:
        ordering: ClassVar = ["position"]
        constraints: ClassVar = [models.UniqueConstraint(fields=["task", "name"], name="one_step_of_a_name")]

    def __str__(self) -> str:
        return f"{self.task_id}:{self.name}"

    @property
    def percent(self) -> int | None:
        """Progress in whole percent, or None where nothing can be said."""
        if self.state == "done":
            return 100
        return min(99, int(100 * self.progress_done / self.progress_total)) if self.progress_total else None


class TaskDatabase(models.Model):
    """One database of a task: what must survive a restart (engine.ports.DatabaseState)."""

    task = models.ForeignKey(MigrationTask, on_delete=models.CASCADE, related_name="databases")
    source_name = models.CharField(max_length=63)
    target_name = models.CharField(max_length=63)
    system_id = models.CharField(max_length=30, blank=True, default="")
    timeline = models.PositiveIntegerField(default=0)
    target_system_id = models.CharField(max_length=30, blank=True, default="")
    target_timeline = models.PositiveIntegerField(default=0)
    slot = models.CharField(max_length=63, blank=True, default="")
    publication = models.CharField(max_length=63, blank=True, default="")
    consistent_point = models.BigIntegerField(null=True, blank=True)
    schema_done = models.BooleanField(default=False)
    index_done = models.BooleanField(default=False)
    replica_role = models.BooleanField(default=True)
    bookmark = models.BigIntegerField(null=True, blank=True)
    lag_bytes = models.BigIntegerField(null=True, blank=True)
    lag_seconds = models.FloatField(null=True, blank=True)
    source_lsn = models.BigIntegerField(null=True, blank=True)  # how far the source had written at the last look
    source_at = models.FloatField(null=True, blank=True)  # when that was, by its own clock (Unix seconds)
    rows_applied = models.BigIntegerField(default=0)
    in_sync = models.BooleanField(default=False)
    told_drift = models.JSONField(default=list, blank=True)  # marks of changes of the source that were told
    shapes_seen = models.CharField(max_length=140, blank=True, default="")  # hash of its tables when that was looked at
    publication_row = models.CharField(max_length=20, blank=True, default="")  # version of the publication's own row
    spool_host = models.CharField(max_length=80, blank=True, default="")  # whose disk holds the spool; '' = none
    spool_ends = models.BigIntegerField(null=True, blank=True)  # everything before this LSN is in it, or applied
    spool_bytes = models.BigIntegerField(default=0)  # of it, not applied yet
    snapshot_since = models.DateTimeField(null=True, blank=True)  # of the oldest of the source that is held now
    structure_at = models.DateTimeField(null=True, blank=True)  # when the structures were compared last
    structure_count = models.PositiveIntegerField(default=0)  # how many objects that were

    class Meta:
        ordering: ClassVar = ["source_name"]
        constraints: ClassVar = [models.UniqueConstraint(fields=["task", "source_name"], name="one_row_per_database")]

    def __str__(self) -> str:
        return self.source_name


class TableCopy(models.Model):
    """One physical table of a task and how far it is (engine.ports.TableState)."""

    task = models.ForeignKey(MigrationTask, on_delete=models.CASCADE, related_name="tables")
    database = models.CharField(max_length=63)
    schema = models.CharField(max_length=63)
    name = models.CharField(max_length=63)
    oid = models.BigIntegerField()
    status = models.CharField(max_length=12, choices=choices_of(TableStatus), default=TableStatus.WAITING.value)
    bytes_total = models.BigIntegerField(default=0)
    rows_estimate = models.BigIntegerField(default=0)
    bytes_done = models.BigIntegerField(default=0)
    rows_done = models.BigIntegerField(default=0)
    watermark = models.BigIntegerField(null=True, blank=True)
    unlogged = models.BooleanField(default=False)
    published_by = models.JSONField(default=list, blank=True)  # entries of the publication that brought it then
    numbers = models.JSONField(default=list, blank=True)  # (name, attnum) of its columns then
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering: ClassVar = ["id"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["task", "database", "schema", "name"], name="one_copy_per_table")
        ]
        indexes: ClassVar = [models.Index(fields=["task", "bytes_total"])]

    def __str__(self) -> str:
        return f"{self.schema}.{self.name}"
