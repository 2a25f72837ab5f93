"""The tables of the data-migration app: fields, constraints and small properties; no behaviour.

Our rows are the truth. A queue message only wakes a worker up, a page only renders rows.
"""

from __future__ import annotations

import uuid
from typing import ClassVar

from django.conf import settings
from django.db import models
from django.utils import timezone

from .crypto import EncryptedTextField
from .engine.ports import Kind, TableStatus
from .engine.states import Status, StepName


def _choices(names: type[Status] | type[StepName] | type[Kind] | type[TableStatus]) -> list[tuple[str, str]]:
    return [(name.value, name.value.replace("_", " ").capitalize()) for name in names]


class Endpoint(models.Model):
    """One side of a task: an address, an account and its password (encrypted, write-only)."""

    TLS_MODES: ClassVar = [
        ("disable", "Off: plain connection"),
        ("prefer", "If offered (not verified)"),
        ("require", "Required (certificate not verified)"),
        ("verify-ca", "Required, certificate authority verified"),
        ("verify-full", "Required, certificate and host name verified"),
    ]
    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    kind = models.CharField(max_length=30, default="public_ip")
    host = models.CharField(max_length=255)
    port = models.PositiveIntegerField(default=5432)
    account = models.CharField(max_length=63)
    password = EncryptedTextField(blank=True, default="")
    database = models.CharField(max_length=63, default="postgres")
    tls_mode = models.CharField(max_length=12, choices=TLS_MODES, default="require")
    ca_file = models.CharField(max_length=500, blank=True, default="")

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"

    @property
    def has_password(self) -> bool:
        """Whether a password is stored; the password itself is never shown."""
        return bool(self.password)


class MigrationTask(models.Model):
    """The operator's object: from where, to where, what, when, and how far it is."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    name = models.CharField(max_length=120)
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+")
    status = models.CharField(max_length=20, choices=_choices(Status), default=Status.DRAFT.value)
    created_at = models.DateTimeField(default=timezone.now)
    source = models.OneToOneField(Endpoint, null=True, on_delete=models.PROTECT, related_name="source_of")
    target = models.OneToOneField(Endpoint, null=True, on_delete=models.PROTECT, related_name="target_of")
    incremental = models.BooleanField(default=True)
    scheduled_at = models.DateTimeField(null=True, blank=True)
    selection = models.JSONField(default=dict)
    copy_jobs = models.PositiveSmallIntegerField(null=True, blank=True)

    # The check belongs to exactly one version of the draft.
    checked_hash = models.CharField(max_length=64, blank=True, default="")
    checked_at = models.DateTimeField(null=True, blank=True)

    # Progress that the list shows.
    current_step = models.CharField(max_length=12, choices=_choices(StepName), blank=True, default="")
    lag_bytes = models.BigIntegerField(null=True, blank=True)
    lag_seconds = models.FloatField(null=True, blank=True)
    rows_per_second = models.FloatField(null=True, blank=True)
    bytes_per_second = models.FloatField(null=True, blank=True)
    eta_at = models.DateTimeField(null=True, blank=True)
    version = models.PositiveBigIntegerField(default=0)  # grows with every visible change: the live list asks for it

    queued_at = models.DateTimeField(null=True, blank=True)
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)
    error_code = models.CharField(max_length=40, blank=True, default="")
    error_message = models.TextField(blank=True, default="")
    error_hint = models.TextField(blank=True, default="")

    # Claim of a worker. `epoch` fences everything that the worker does on the servers.
    epoch = models.PositiveBigIntegerField(default=0)
    worker = models.CharField(max_length=120, blank=True, default="")
    lease_until = models.DateTimeField(null=True, blank=True)
    not_before = models.DateTimeField(null=True, blank=True)  # back-off: no slice before this time
    woken_at = models.DateTimeField(null=True, blank=True)
    failing_since = models.DateTimeField(null=True, blank=True)
    tries = models.PositiveIntegerField(default=0)
    foreground = models.BooleanField(default=False)  # driven by `task run`: the dispatcher leaves it alone
    compare_requested = models.BooleanField(default=False)
    clear_target = models.BooleanField(default=False)  # Start again: drop what we made before checking

    class Meta:
        indexes: ClassVar = [models.Index(fields=["status", "queued_at"]), models.Index(fields=["-created_at"])]

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
    name = models.CharField(max_length=12, choices=_choices(StepName))
    position = models.PositiveSmallIntegerField()
    state = models.CharField(max_length=10, choices=STATES, default="pending")
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)
    progress_done = models.FloatField(default=0)
    progress_total = models.FloatField(default=0)
    note = models.CharField(max_length=300, blank=True, default="")

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
    slot = models.CharField(max_length=63, blank=True, default="")
    publication = models.CharField(max_length=63, blank=True, default="")
    consistent_point = models.BigIntegerField(null=True, blank=True)
    schema_done = models.BooleanField(default=False)
    index_done = models.BooleanField(default=False)
    replica_role = models.BooleanField(default=True)
    bookmark = models.BigIntegerField(null=True, blank=True)
    lag_bytes = models.BigIntegerField(null=True, blank=True)
    lag_seconds = models.FloatField(null=True, blank=True)
    rows_applied = models.BigIntegerField(default=0)
    in_sync = models.BooleanField(default=False)

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
    status = models.CharField(max_length=10, choices=_choices(TableStatus), default=TableStatus.WAITING.value)
    bytes_total = models.BigIntegerField(default=0)
    rows_estimate = models.BigIntegerField(default=0)
    bytes_done = models.BigIntegerField(default=0)
    rows_done = models.BigIntegerField(default=0)
    watermark = models.BigIntegerField(null=True, blank=True)
    unlogged = models.BooleanField(default=False)
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering: ClassVar = ["id"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["task", "database", "schema", "name"], name="one_copy_per_table")
        ]

    def __str__(self) -> str:
        return f"{self.schema}.{self.name}"


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
    kind = models.CharField(max_length=20, choices=_choices(Kind))
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


class Event(models.Model):
    """The history of a task. Append-only: who, when, what, from which status to which."""

    task = models.ForeignKey(MigrationTask, on_delete=models.CASCADE, related_name="events")
    at = models.DateTimeField(default=timezone.now)
    actor = models.CharField(max_length=150, blank=True, default="")  # empty = the engine
    level = models.CharField(max_length=8, default="info")
    code = models.CharField(max_length=40, blank=True, default="")
    message = models.TextField()
    from_status = models.CharField(max_length=20, blank=True, default="")
    to_status = models.CharField(max_length=20, blank=True, default="")
    detail = models.JSONField(default=dict)

    class Meta:
        ordering: ClassVar = ["-id"]

    def __str__(self) -> str:
        return self.message

    def save(self, *args: object, **kwargs: object) -> None:
        """Insert only: history is never rewritten."""
        if self.pk:
            raise TypeError("events are append-only")
        super().save(*args, **kwargs)  # type: ignore[arg-type]


class CheckItem(models.Model):
    """The last result of one check item of a task."""

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
    sql = models.TextField(blank=True, default="")
    needs_restart = models.BooleanField(default=False)
    checked_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering: ClassVar = ["position", "database"]
        constraints: ClassVar = [models.UniqueConstraint(fields=["task", "code", "database"], name="one_check_result")]

    def __str__(self) -> str:
        return f"{self.code}: {self.status}"


class ConnectionTest(models.Model):
    """A press on Test connection, or a reading of the object list: done by a worker, polled by the page."""

    KINDS: ClassVar = [("test", "Test connection"), ("inventory", "Read objects")]
    STATES: ClassVar = [("waiting", "Waiting"), ("running", "Running"), ("passed", "Passed"), ("failed", "Failed")]
    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    task = models.ForeignKey(MigrationTask, on_delete=models.CASCADE, related_name="tests")
    side = models.CharField(max_length=6)
    kind = models.CharField(max_length=10, choices=KINDS, default="test")
    state = models.CharField(max_length=8, choices=STATES, default="waiting")
    code = models.CharField(max_length=40, blank=True, default="")
    message = models.TextField(blank=True, default="")
    hint = models.TextField(blank=True, default="")
    created_at = models.DateTimeField(default=timezone.now)
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering: ClassVar = ["-created_at"]

    def __str__(self) -> str:
        return f"{self.kind} {self.side}: {self.state}"


class SourceObject(models.Model):
    """What the source holds, as read by a worker: the rows behind the object tree."""

    task = models.ForeignKey(MigrationTask, on_delete=models.CASCADE, related_name="source_objects")
    database = models.CharField(max_length=63)
    schema = models.CharField(max_length=63, blank=True, default="")  # '' = the database itself
    name = models.CharField(max_length=63, blank=True, default="")  # '' = the schema itself
    kind = models.CharField(max_length=20)
    parent = models.CharField(max_length=63, blank=True, default="")
    bytes = models.BigIntegerField(default=0)
    rows_estimate = models.BigIntegerField(default=0)
    selectable = models.BooleanField(default=True)
    reason = models.CharField(max_length=300, blank=True, default="")
    fk_parents = models.JSONField(default=list)  # [[schema, table], …]

    class Meta:
        ordering: ClassVar = ["database", "schema", "name"]
        indexes: ClassVar = [models.Index(fields=["task", "database", "schema", "name"])]

    def __str__(self) -> str:
        return ".".join(part for part in (self.database, self.schema, self.name) if part)


class ComparisonResult(models.Model):
    """A finished comparison of one database (engine.ports.Comparison)."""

    task = models.ForeignKey(MigrationTask, on_delete=models.CASCADE, related_name="comparisons")
    database = models.CharField(max_length=63)
    lsn = models.BigIntegerField(null=True, blank=True)
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


class WorkerBeat(models.Model):
    """A sign of life of one queue worker, written by its main loop while idle and by its lease while busy."""

    cluster = models.CharField(max_length=20)
    host = models.CharField(max_length=120)
    pid = models.PositiveIntegerField()
    at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint(fields=["cluster", "host", "pid"], name="one_beat_per_worker")]

    def __str__(self) -> str:
        return f"{self.cluster}@{self.host}:{self.pid}"


class SignInFailure(models.Model):
    """A wrong password at sign-in: counted per address, and per account and address, never per account alone."""

    address = models.CharField(max_length=64)
    account = models.CharField(max_length=150)
    at = models.DateTimeField(default=timezone.now)

    class Meta:
        indexes: ClassVar = [models.Index(fields=["address", "at"])]

    def __str__(self) -> str:
        return f"{self.address}: {self.account}"
