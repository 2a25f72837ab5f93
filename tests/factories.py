"""Rows with sensible defaults: a test names only what it is about."""

from __future__ import annotations

from dataclasses import asdict, replace
from datetime import datetime, timedelta
from functools import cache
from itertools import count
from typing import Any

from django.contrib.auth.hashers import make_password
from django.utils import timezone

from migrations_app.engine.drift import Column, Drift
from migrations_app.engine.drifting import compare
from migrations_app.engine.wording import as_data
from migrations_app.models import (
    CheckItem,
    ComparisonResult,
    ConnectionTest,
    Endpoint,
    Event,
    LedgerEntry,
    MigrationTask,
    NewTable,
    SourceObject,
    Step,
    TableCopy,
    TaskDatabase,
    User,
    WorkerBeat,
)
from migrations_app.services.drafts import draft_hash

PASSWORD = "a long enough password"
CANARY = "canary-password-8c1f"
STEPS = ["schema", "copy", "index", "sync", "compare", "complete", "cleanup"]
# What a server may call its things: markup, line breaks, right-to-left, quotes, the full 63 bytes.
HOSTILE = "<script>alert(1)</script>\n\u202egnp\"'%s{{x}}"
LONG = "n" * 63
_numbers = count(1)


@cache
def _hashed() -> str:
    return make_password(PASSWORD)  # slow on purpose: once for all tests


def user(name: str = "", **fields: Any) -> User:
    """An operator who can sign in with PASSWORD."""
    fields.setdefault("role", "operator")
    return User.objects.create(username=name or f"operator{next(_numbers)}", password=_hashed(), **fields)


def endpoint(**fields: Any) -> Endpoint:
    """A stored address with a password."""
    defaults = {"host": "db1.internal", "port": 5432, "account": "mover", "password": CANARY, "database": "postgres"}
    return Endpoint.objects.create(**(defaults | fields))


def task(**fields: Any) -> MigrationTask:
    """A task in status draft, whole instance selected."""
    defaults: dict[str, Any] = {
        "name": "shop to 18",
        "source": fields.pop("source", None) or endpoint(),
        "target": fields.pop("target", None) or endpoint(host="10.0.4.9"),
        "selection": {"rules": [[[], True]], "targets": {}},
    }
    return MigrationTask.objects.create(**(defaults | fields))


def checked_task(**fields: Any) -> MigrationTask:
    """A task whose check has passed and still holds, with its objects read: Start is possible."""
    made = task(**({"status": "check_passed", "checked_at": timezone.now()} | fields))
    inventory(made)
    check_item(made)
    MigrationTask.objects.filter(pk=made.pk).update(checked_hash=draft_hash(made))
    made.refresh_from_db()
    return made


def running_task(step: str = "copy", *, status: str = "running", **fields: Any) -> MigrationTask:
    """A started task at `step`, with steps and one database."""
    started = timezone.now() - timedelta(minutes=8)
    made = task(**({"status": status, "current_step": step, "started_at": started, "version": 5} | fields))
    steps(made, step)
    TaskDatabase.objects.create(task=made, source_name="shop", target_name="shop")
    return made


def steps(made: MigrationTask, current: str) -> None:
    """The steps of a task: done before `current`, running at it, pending after it."""
    at = timezone.now() - timedelta(minutes=8)
    for position, name in enumerate(STEPS, start=1):
        place = position - 1 - STEPS.index(current)
        state = "done" if place < 0 else "running" if place == 0 else "pending"
        step = Step(task=made, name=name, position=position, state=state)
        if place <= 0:
            step.started_at = at
        if place < 0:
            at += timedelta(seconds=[4, 200, 65, 120, 20, 5, 5][position - 1])
            step.finished_at = at
        if place == 0:
            step.progress_done, step.progress_total = 62, 100
        step.save()


def new_table(made: MigrationTask, name: str = "later", **fields: Any) -> NewTable:
    """A table that appeared on the source of a syncing task."""
    defaults = {"database": "shop", "schema": "public", "name": name, "oid": 4242}
    return NewTable.objects.create(task=made, **(defaults | fields))


def table_copy(made: MigrationTask, name: str = "orders", **fields: Any) -> TableCopy:
    """A table of a started task."""
    defaults = {
        "database": "shop",
        "schema": "public",
        "oid": 16384,
        "bytes_total": 48_000_000,
        "rows_estimate": 400_000,
    }
    return TableCopy.objects.create(task=made, name=name, **(defaults | fields))


def check_item(made: MigrationTask, code: str = "wal_level", status: str = "passed", **fields: Any) -> CheckItem:
    """A result on the check page."""
    defaults = {"title": "wal_level is logical", "group": "Incremental sync", "found": "Found logical."}
    values: dict[str, Any] = defaults | fields
    words = as_data(**{name: values[name] for name in ("found", "hint") if name in values})
    return CheckItem.objects.create(task=made, code=code, status=status, **({"words": words} | values))


def connection_test(made: MigrationTask, side: str = "source", **fields: Any) -> ConnectionTest:
    """A press on Test connection."""
    return ConnectionTest.objects.create(task=made, side=side, **fields)


def inventory(made: MigrationTask, *, tables: int = 3, at: datetime | None = None) -> ConnectionTest:
    """A finished reading of the source: databases shop and analytics, one greyed out, one foreign key."""
    for database in ("analytics", "shop"):
        SourceObject.objects.create(task=made, database=database, kind="database", bytes=900_000_000)
        SourceObject.objects.create(task=made, database=database, schema="public", kind="schema")
    SourceObject.objects.create(
        task=made, database="template1", kind="database", selectable=False, reason="Templates are never migrated."
    )
    for number in range(tables):
        SourceObject.objects.create(
            task=made,
            database="shop",
            schema="public",
            name=f"table_{number:03}",
            kind="table",
            bytes=1_000_000 * (number + 1),
            rows_estimate=1000 * number,
            fk_parents=[["public", "table_000"]] if number == 1 else [],
        )
    done = at or timezone.now()
    return ConnectionTest.objects.create(
        task=made, side="source", kind="inventory", state="passed", created_at=done, finished_at=done
    )


def event(made: MigrationTask, message: str = "Task created.", **fields: Any) -> Event:
    """An entry of the history."""
    return Event.objects.create(task=made, message=message, **({"words": as_data(message=message)} | fields))


def ledger_entry(made: MigrationTask, **fields: Any) -> LedgerEntry:
    """Something of ours on a server."""
    defaults = {"side": "source", "database": "shop", "kind": "slot", "name": "towpath_ab12cd34_16400"}
    return LedgerEntry.objects.create(task=made, **(defaults | fields))


def comparison(made: MigrationTask, **fields: Any) -> ComparisonResult:
    """A finished comparison."""
    now = timezone.now()
    defaults = {"database": "shop", "started_at": now, "finished_at": now, "equal": True, "tables_count": 25}
    return ComparisonResult.objects.create(task=made, **(defaults | {"source_rows": 1_204_331} | fields))


def workers() -> None:
    """Signs of life of every kind of worker, and of the dispatcher."""
    for cluster in ("console", "migrate", "sync", "dispatcher"):
        WorkerBeat.objects.create(cluster=cluster, host="here", pid=next(_numbers))


def drift(made: MigrationTask, found: Drift | None = None) -> MigrationTask:
    """Let a task have failed in the sync, at a column that was added to public.orders on the source."""
    column = Column(name="note", type_name="text")
    old = [Column(name="id", type_name="integer")]
    place = ("public", "orders")
    found = found or compare(place, place, old, [*old, column])
    assert found is not None
    if not made.tables.filter(name="orders").exists():
        table_copy(made, status="done", watermark=100)
    steps_now = {"status": "failed", "current_step": "sync", "error_code": "SRC-DDL"}
    words = {"error_message": "Table public.orders does not have the same columns any more.", "error_hint": "Decide."}
    facts = asdict(replace(found, database="shop", lsn=0x16B3748))
    MigrationTask.objects.filter(pk=made.pk).update(drift=facts, **steps_now, **words)
    made.refresh_from_db()
    return made


def conflict(made: MigrationTask, **fields: Any) -> MigrationTask:
    """Let a task have failed in the sync, at a row that is missing on the target; its table is public.orders."""
    facts = {
        "database": "shop",
        "schema": "public",
        "name": "orders",
        "kind": "row_missing",
        "change": "update",
        "key": f"id={CANARY}",
        "digest": "d" * 32,
        "lsn": 0x16B3748,
        "obstacle": "",
    }
    if not made.tables.filter(name="orders").exists():
        table_copy(made, status="done", watermark=100)
    steps_now = {"status": "failed", "current_step": "sync", "error_code": "DST-CONFLICT"}
    words = {"error_message": "The update of public.orders found no row.", "error_hint": "Decide."}
    MigrationTask.objects.filter(pk=made.pk).update(conflict=facts | fields, **steps_now, **words)
    made.refresh_from_db()
    return made
