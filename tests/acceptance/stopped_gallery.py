"""Tasks of the made-up company whose sync needs somebody: what the pictures of conflicts, changes and WAL show."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from django.utils import timezone

from migrations_app import services
from migrations_app.engine.drift import Column
from migrations_app.engine.drifting import compare
from migrations_app.engine.replication.explained import changed
from migrations_app.engine.replication.given_up import given_up
from migrations_app.engine.replication.governed import SlotsLook
from migrations_app.engine.wording import Sentence, as_data, count, listing, say
from migrations_app.models import MigrationTask, Sample, TaskDatabase, User
from tests import factories
from tests.acceptance import gallery

GB = 1_000_000_000
_LSN = 0x2_0A2B4C5D


def _syncing(name: str, host: str, *, status: str = "ready", database: str = "shop") -> MigrationTask:
    """A task whose tables have been copied and follow their source."""
    task = factories.running_task(
        "sync",
        status=status,
        name=name,
        source=factories.endpoint(host=host, account="towpath"),
        target=factories.endpoint(host="pg18.example.net", account="towpath"),
        lag_bytes=2_400_000,
        lag_seconds=4.0,
        rows_per_second=640.0,
    )
    TaskDatabase.objects.filter(task=task).update(
        source_name=database,
        target_name=database,
        in_sync=status == "ready",
        lag_bytes=2_400_000,
        lag_seconds=4.0,
        rows_applied=88_214,
        bookmark=_LSN,
        slot=f"towpath_{task.key}_16402",
    )
    gallery.copies(task)
    gallery.started(task)
    task.tables.update(database=database)
    return task


def _stop(task: MigrationTask, code: str, message: Sentence, hint: Sentence) -> None:
    """Let the task have failed in its sync."""
    task.steps.filter(name="sync").update(state="failed")
    words = as_data(error_message=message, error_hint=hint)
    MigrationTask.objects.filter(pk=task.pk).update(
        status="failed", error_code=code, error_message=message, error_hint=hint, words=words
    )
    task.refresh_from_db()
    factories.event(task, message, level="error", code=code)


def conflict() -> MigrationTask:
    """Somebody removed a row on the target that the source has changed since."""
    task = _syncing("Orders desk", "desk.example.net")
    what = say("update of {row}", row="sales.orders (order_id=1204331)")
    message = say("The {what} found {found} on the target where exactly one must be.", what=what, found=say("no row"))
    hint = say(
        "Somebody wrote to the target, it was not empty, or the source's publication kept changes back. Take the "
        "source's row, copy the table again, quarantine it or drop it from the task; or put the row right on the "
        "target, then retry."
    )
    facts = {
        "database": "shop",
        "schema": "sales",
        "name": "orders",
        "kind": "row_missing",
        "change": "update",
        "key": "order_id=1204331",
        "digest": "d" * 32,
        "lsn": _LSN,
        "obstacle": "",
    }
    _stop(task, "DST-CONFLICT", message, hint)
    MigrationTask.objects.filter(pk=task.pk).update(conflict=facts)
    gallery.samples(task, lag_seconds=(0.5, 0.9), apply_rows_per_second=(410, 0.5), wal_kept_bytes=(60e6, 0.6))
    task.refresh_from_db()
    return task


def completing() -> MigrationTask:
    """Complete was pressed: rows are compared, one large table is left."""
    task = factories.running_task(
        "compare",
        status="completing",
        name="Bookkeeping",
        source=factories.endpoint(host="books.example.net", account="towpath"),
        target=factories.endpoint(host="pg18.example.net", account="towpath"),
        bytes_per_second=88e6,
        eta_at=timezone.now() + timedelta(minutes=7),
    )
    gallery.copies(task)
    gallery.started(task)
    pressed = say("Complete pressed: draining the last changes, then comparing.")
    factories.event(task, pressed, actor="anna", code="TASK-COMPLETING")
    read = [say("{label} ({size})", label="sales.order_items", size="412 MB")]
    note = say("{number} of {tables}", number=7, tables=count(8, "{number} table", "{number} tables")) + say(
        ", comparing {names}", names=listing(read)
    )
    task.steps.filter(name="compare").update(note=note, words=as_data(note=note), progress_done=397, progress_total=809)
    TaskDatabase.objects.filter(task=task).update(
        in_sync=True, lag_bytes=0, lag_seconds=0.0, rows_applied=88_214, bookmark=_LSN
    )
    gallery.samples(task, lag_seconds=(0.4, 0.9), apply_rows_per_second=(205, 0.5), wal_kept_bytes=(6e6, 0.6))
    task.refresh_from_db()
    return task


def drift() -> MigrationTask:
    """A table got a column and a wider one on the source."""
    task = _syncing("Customer care", "care.example.net")
    old = [
        Column(name="customer_id", type_name="bigint", not_null=True),
        Column(name="full_name", type_name="character varying(80)", not_null=True),
    ]
    new = [
        old[0],
        replace(old[1], type_name="character varying(200)"),
        Column(name="loyalty_points", type_name="integer", not_null=True, default="0", filled="0"),
    ]
    place = ("sales", "customers")
    found = compare(place, place, old, new)
    assert found is not None
    error = changed(replace(found, database="shop", lsn=_LSN))
    factories.drift(task, found)
    _stop(task, error.code, error.message, error.hint)
    gallery.samples(task, lag_seconds=(0.5, 0.9), apply_rows_per_second=(310, 0.5), wal_kept_bytes=(40e6, 0.6))
    task.refresh_from_db()
    return task


def quarantined(actor: User) -> MigrationTask:
    """One table is set aside and one was dropped; all others are in sync."""
    task = conflict()
    MigrationTask.objects.filter(pk=task.pk).update(name="Points of sale")
    services.quarantine_conflict(task_id=task.pk, actor=actor)
    place = {"database": "shop", "schema": "catalogue", "name": "prices"}
    task.tables.filter(name="prices").update(status="quarantined")
    services.drop_table(task_id=task.pk, actor=actor, **place)
    MigrationTask.objects.filter(pk=task.pk).update(status="ready")
    task.steps.filter(name="sync").update(state="running")
    task.refresh_from_db()
    return task


def wal(level: str) -> MigrationTask:
    """The source keeps much WAL for the task. `level`: warning, alarm or reached."""
    gigabytes = {"warning": 13.1, "alarm": 17.6, "reached": 20.4}[level]
    status = "paused" if level == "alarm" else "ready"
    names = {"warning": "Stock keeping", "alarm": "Payroll", "reached": "Telemetry"}
    task = _syncing(names[level], f"{names[level].split()[0].lower()}.example.net", status=status)
    MigrationTask.objects.filter(pk=task.pk).update(wal_budget_bytes=20 * GB, wal_policy="pause_others")
    now = timezone.now()
    for ago in range(480, 0, -5):
        kept = int((gigabytes - 0.004 * ago) * GB)
        Sample.objects.create(
            task=task, at=now - timedelta(seconds=ago), wal_kept_bytes=kept, lag_seconds=4.0, apply_rows_per_second=640
        )
    services.record_look(
        str(task.pk), services.slots_of(str(task.pk)), SlotsLook(kept_bytes=int(gigabytes * GB), wal_status="extended")
    )
    task.refresh_from_db()
    return task


def slot_lost() -> MigrationTask:
    """The source has thrown away changes that are still needed: only a new copy helps."""
    task = _syncing("Loyalty cards", "loyalty.example.net")
    error = given_up("wal_removed", f"towpath_{task.key}_16402", 0x5123_4567)
    _stop(task, error.code, error.message, error.hint)
    return task
