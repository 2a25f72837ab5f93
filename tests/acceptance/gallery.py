"""Rows of a made-up company that moves its databases: what the pictures of the pages show."""

from __future__ import annotations

import inspect
import math
import os
import re
from datetime import timedelta
from functools import partial
from typing import Any

from django.utils import timezone

from migrations_app import services
from migrations_app.draft_facts import draft_hash
from migrations_app.engine.checks import all_items
from migrations_app.engine.checks.registry import ITEMS
from migrations_app.engine.connect import server_error
from migrations_app.engine.plan import DatabasePlan, Plan, Server, Side, TlsMode
from migrations_app.engine.prepare import prepare
from migrations_app.engine.selection import Selection
from migrations_app.engine.source_facts import DatabaseFacts, Setting, SourceFacts
from migrations_app.engine.wording import NOTHING, Sentence, as_data, count, listing, say, verbatim
from migrations_app.models import (
    Endpoint,
    MigrationTask,
    Sample,
    SourceObject,
    TaskDatabase,
    User,
)
from tests import factories

MB = 1_000_000
TABLES = [
    ("sales", "order_items", 412 * MB, 4_180_220),
    ("sales", "orders", 198 * MB, 1_204_331),
    ("billing", "invoices", 121 * MB, 980_114),
    ("sales", "customers", 44 * MB, 310_482),
    ("catalogue", "prices", 18 * MB, 120_044),
    ("catalogue", "products", 9 * MB, 24_310),
    ("billing", "payments", 7 * MB, 88_102),
    ("catalogue", "categories", MB // 20, 214),
]
_PARENTS = {"orders": ["customers"], "order_items": ["orders"]}


def _source(host: str, **fields: Any) -> Endpoint:
    return factories.endpoint(host=host, account="towpath", **fields)


def _target() -> Endpoint:
    return factories.endpoint(host="pg18.example.net", account="towpath")


def the_list(actor: User) -> dict[str, MigrationTask]:
    """Fill the list with a task in each kind of state and return them by what they show."""
    now = timezone.now()
    made = {"cancelled": factories.task(name="Intranet", status="cancelled", finished_at=now - timedelta(days=2))}
    made["completed"] = _completed()
    made["scheduled"] = factories.task(
        name="CRM, at night",
        status="scheduled",
        scheduled_at=now + timedelta(hours=9),
        source=_source("crm.example.net"),
    )
    made["failed"] = _failed()
    made["problems"] = _problems()
    made["passed"] = _passed()
    made["queued"] = factories.task(name="Reports", status="queued", queued_at=now, source=_source("bi.example.net"))
    made["draft"] = _draft()
    made["copying"] = _copying()
    made["sync"] = _in_sync()
    for task, tag in ((made["sync"], "billing"), (made["copying"], "shop"), (made["draft"], "shop")):
        services.add_tag(task_id=task.pk, name=tag, actor=actor)
    return made


def copies(task: MigrationTask, *, moved: int = len(TABLES)) -> None:
    now = timezone.now()
    for number, (schema, name, size, rows) in enumerate(sorted(TABLES, key=lambda table: table[2])):
        state = "done" if number < moved else "copying" if number < moved + 2 else "waiting"
        share = {"done": 1.0, "copying": 0.62 - 0.2 * (number - moved), "waiting": 0.0}[state]
        factories.table_copy(
            task,
            name,
            schema=schema,
            status=state,
            bytes_total=size,
            rows_estimate=rows,
            bytes_done=int(size * share),
            rows_done=int(rows * share),
            started_at=now - timedelta(seconds=150 - 10 * number) if share else None,
            finished_at=now - timedelta(seconds=140 - 10 * number) if state == "done" else None,
        )


def samples(task: MigrationTask, **waves: tuple[float, float]) -> None:
    """Draw each value as (height, waviness) over the last eight minutes."""
    now = timezone.now()
    for number in range(96):
        turn = math.sin(number / 7) * 0.6 + math.sin(number / 2.3) * 0.4
        values = {name: max(0.0, height * (1 + wavy * turn)) for name, (height, wavy) in waves.items()}
        if "wal_kept_bytes" in values:
            values["wal_kept_bytes"] = int(values["wal_kept_bytes"])
        Sample.objects.create(task=task, at=now - timedelta(seconds=5 * (96 - number)), **values)


def started(task: MigrationTask) -> None:
    counts = {"failed": 0, "warning": 2, "passed": 71}
    ended = say("Check ended: {failed} Failed, {warning} Warning, {passed} Passed.", **counts)
    factories.event(task, ended, code="CHECK-PASSED")
    factories.event(task, say("Start pressed; the task waits for its turn."), actor="anna", code="TASK-QUEUED")
    factories.event(task, say("Migration started."), code="TASK-RUNNING")
    for kind, name in (("slot", f"towpath_{task.key}_16402"), ("publication", f"towpath_{task.key}")):
        factories.ledger_entry(task, kind=kind, name=name)


def _copying() -> MigrationTask:
    task = factories.running_task(
        "copy",
        name="Shop to PostgreSQL 18",
        source=_source("shop-db.example.net"),
        target=_target(),
        rows_per_second=48_210.0,
        bytes_per_second=41e6,
        eta_at=timezone.now() + timedelta(minutes=6),
    )
    copies(task, moved=4)
    started(task)
    lost = server_error(
        "08006", "server closed the connection", Side.SOURCE, say("copying {label}", label="sales.orders")
    )
    again = say(
        " Trying again in {seconds} s (try {number}, gives up {gives_up}). Nothing is lost: the position is kept.",
        seconds=8,
        number=1,
        gives_up=f"{timezone.now() + timedelta(minutes=30):%H:%M}",
    )
    factories.event(task, say("{text}.", text=lost.message) + again, level="warning", code="RUN-RETRY")
    samples(task, copy_bytes_per_second=(38e6, 0.2), wal_kept_bytes=(22e6, 0.7))
    return task


def _in_sync() -> MigrationTask:
    task = factories.running_task(
        "sync",
        status="ready",
        name="Billing",
        source=_source("billing.example.net"),
        target=_target(),
        lag_bytes=4100,
        lag_seconds=0.2,
        rows_per_second=212.0,
    )
    TaskDatabase.objects.filter(task=task).update(
        in_sync=True, lag_bytes=4100, lag_seconds=0.2, rows_applied=120_331, bookmark=0x1_2A3B4C5D
    )
    copies(task)
    started(task)
    factories.event(task, say("In sync. Press Complete when the application is ready to move."), code="TASK-READY")
    factories.comparison(task, tables_count=len(TABLES), lsn=0x1_2A3B4000)
    samples(task, lag_seconds=(0.4, 0.9), apply_rows_per_second=(205, 0.5), wal_kept_bytes=(6e6, 0.6))
    return task


def _completed() -> MigrationTask:
    now = timezone.now()
    task = factories.running_task(
        "cleanup",
        status="completed",
        name="Human resources",
        source=_source("hr.example.net"),
        target=_target(),
        finished_at=now,
    )
    task.steps.filter(name="cleanup").update(state="done", finished_at=now, progress_done=0, progress_total=0)
    copies(task)
    started(task)
    task.ledger.update(removed_at=now)
    TaskDatabase.objects.filter(task=task).update(lag_bytes=0, rows_applied=98_204, bookmark=0x1_3B4C5D00)
    pressed = say("Complete pressed: draining the last changes, then comparing.")
    factories.event(task, pressed, actor="anna", code="TASK-COMPLETING")
    closed = say("Completed. The target holds the data; nothing of ours is left on either server.")
    factories.event(task, closed, code="TASK-COMPLETED")
    factories.comparison(task, tables_count=len(TABLES), lsn=0x1_3B4C5D00)
    _checks(task)
    samples(task, lag_seconds=(0.3, 0.9), apply_rows_per_second=(160, 0.5))
    return task


def _failed() -> MigrationTask:
    doing = say("building the indexes of {label}", label="sales.orders")
    full = server_error("53100", "could not extend file: No space left on device", Side.TARGET, doing)
    task = factories.running_task(
        "index",
        status="failed",
        name="Orders archive",
        source=_source("archive.example.net"),
        target=_target(),
        error_code=full.code,
        error_message=full.message,
        error_hint=full.hint,
        words=as_data(error_message=full.message, error_hint=full.hint),
    )
    task.steps.filter(name="index").update(state="failed")
    copies(task)
    started(task)
    factories.ledger_entry(task, side="target", kind="table", schema="sales", name="orders")
    factories.event(task, full.message, level="error", code=full.code)
    samples(task, copy_bytes_per_second=(30e6, 0.3), wal_kept_bytes=(90e6, 0.4))
    return task


def _draft() -> MigrationTask:
    rules = [[["shop"], True], [["shop", "sales", "customers"], False], [["shop", "billing"], False]]
    task = factories.task(
        name="Shop, second try",
        source=_source("shop-db.example.net", ca_pem=""),
        target=_target(),
        selection={"rules": rules, "targets": {}},
    )
    rows = [SourceObject(task=task, database=name, kind="database", bytes=size) for name, size in _DATABASES]
    for schema in ("billing", "catalogue", "sales"):
        rows.append(SourceObject(task=task, database="shop", schema=schema, kind="schema"))
    rows.append(SourceObject(task=task, database="analytics", schema="public", kind="schema"))
    rows.append(
        SourceObject(task=task, database="analytics", schema="public", name="visits", kind="table", bytes=90 * MB)
    )
    for schema, name, size, number in TABLES:
        parents = [[schema, parent] for parent in _PARENTS.get(name, [])]
        rows.append(
            SourceObject(
                task=task,
                database="shop",
                schema=schema,
                name=name,
                kind="table",
                bytes=size,
                rows_estimate=number,
                fk_parents=parents,
            )
        )
    rows.append(SourceObject(task=task, database="shop", schema="sales", name="daily_turnover", kind="view"))
    SourceObject.objects.bulk_create(rows)
    now = timezone.now()
    factories.connection_test(task, kind="inventory", state="passed", finished_at=now)
    for side, version in (("source", "14.12"), ("target", "18.1")):
        factories.connection_test(
            task, side, state="passed", finished_at=now, detail={"version": version, "latency_ms": 3, "tls": "TLSv1.3"}
        )
    return task


_DATABASES = [("analytics", 96 * MB), ("shop", 812 * MB), ("wiki", 31 * MB)]


def _usual(code: str) -> Sentence:
    """What an item says when it has passed, as far as that holds no values."""
    look = ITEMS[code].look
    written = inspect.getsource(look.func if isinstance(look, partial) else look)
    text = re.search(r'passed\(\s*say\(\s*"([^"{}]+)"\s*\)', written)
    return say(text[1]) if text else NOTHING


def _checks(task: MigrationTask, **problems: dict[str, Any]) -> None:
    """Give a task every item of the check, passed but for the problems."""
    now = timezone.now()
    for position, info in enumerate(all_items()):
        fields: dict[str, Any] = {"status": "passed", "found": _usual(info.code), "seconds": 0.004}
        fields |= problems.get(info.code.replace("-", "_"), {})
        factories.check_item(
            task, info.code, title=info.title, group=str(info.group), position=position, checked_at=now, **fields
        )
    MigrationTask.objects.filter(pk=task.pk).update(checked_hash=draft_hash(task), checked_at=now)
    task.refresh_from_db()


def _passed() -> MigrationTask:
    fields: dict[str, Any] = {"status": "check_passed", "checked_at": timezone.now()}
    task = factories.task(name="Warehouse", source=_source("stock.example.net"), target=_target(), **fields)
    factories.inventory(task)
    _checks(task, target_disk={"status": "warning", "found": "24 GB are needed; the free space is not known."})
    return task


def _problems() -> MigrationTask:
    task = factories.task(name="Legacy ERP", status="check_failed", source=_source("erp.example.net"), target=_target())
    _checks(
        task,
        wal_level=_wal_is_replica(),
        table_keys=_two_without_a_key(),
        long_transactions=_a_long_transaction(),
        target_disk=_disk_unknown(),
    )
    return task


def _wal_is_replica() -> dict[str, Any]:
    return {
        "status": "failed",
        "found": say("wal_level is {level}; incremental sync needs logical.", level="replica"),
        "hint": say(
            "Set it and restart the source. On managed servers it is a parameter, such as rds.logical_replication."
        ),
        "sql": "ALTER SYSTEM SET wal_level = 'logical';",
        "needs_restart": True,
        "fix": "settings",
        "fix_arguments": {"settings": [["wal_level", "logical", "replica"]], "restart": True},
    }


def _two_without_a_key() -> dict[str, Any]:
    return {
        "status": "warning",
        "database": "erp",
        "found": say(
            "{number} without a key: {names}.",
            number=count(2, "{number} table", "{number} tables"),
            names=listing(["app.log", "app.audit"]),
        ),
        "hint": say(
            "REPLICA IDENTITY FULL is set there during the migration and put back afterwards. Updates and"
            " deletes there write more WAL and are slower to follow; a primary key avoids that."
        ),
        "sql": 'ALTER TABLE "app"."log" REPLICA IDENTITY FULL;\nALTER TABLE "app"."audit" REPLICA IDENTITY FULL;',
        "fix": "replica-identity",
        "fix_arguments": {"database": "erp", "tables": [["app", "log", "", "d"], ["app", "audit", "audit_key", "d"]]},
    }


def _a_long_transaction() -> dict[str, Any]:
    return {
        "status": "warning",
        "found": say(
            "{number} with writes open on the source: {names}.",
            number=count(1, "{number} long transaction", "{number} long transactions"),
            names=listing([say("PID {pid} of {user}, {minutes} min", pid=20417, user="report_user", minutes=47)]),
        ),
        "hint": say("The start waits until they end. Let them end, or end them if the application allows it."),
        "sql": "SELECT pg_terminate_backend(20417);",
    }


def _disk_unknown() -> dict[str, Any]:
    return {
        "status": "warning",
        "found": say(
            "The selected tables take {size}; with indexes and WAL about {size_2} may be needed.",
            size="12 GB",
            size_2="24 GB",
        ),
        "hint": say("PostgreSQL does not tell its free disk space. Compare with the target's disk before the start."),
        "acknowledged_by": "anna",
        "acknowledged_reason": "The volume has 200 GB, asked the platform team.",
        "acknowledged_at": timezone.now(),
    }


def prepared(task: MigrationTask) -> dict[str, Any]:
    """Return what a worker found when it looked at the source of a task."""
    server = Server(host="erp.example.net", port=5432, user="towpath", tls=TlsMode.REQUIRE)
    plan = Plan(
        key=task.key,
        epoch=1,
        source=server,
        target=server,
        databases=(DatabasePlan(source_name="erp", target_name="erp"),),
        selection=Selection.everything(),
        incremental=True,
        work_dir=os.devnull,  # type: ignore[arg-type]
    )
    numbers = {"max_replication_slots": 2, "max_wal_senders": 10, "max_slot_wal_keep_size": -1}
    folder = "/etc/postgresql/16/main"
    facts = SourceFacts(
        version=160014,
        replication=False,
        address="192.0.2.10",
        address_seen=True,
        tls="TLSv1.3",
        settings={
            "wal_level": Setting(shown="replica", number=None),
            "config_file": Setting(shown=f"{folder}/postgresql.conf", number=None),
            "hba_file": Setting(shown=f"{folder}/pg_hba.conf", number=None),
            **{name: Setting(shown=str(value), number=value) for name, value in numbers.items()},
        },
        replication_refused=verbatim("no pg_hba.conf entry"),
        databases=(DatabaseFacts(name="erp"),),
    )
    return {**prepare(plan, facts).as_json(), "draft": draft_hash(task)}


def shown_tests(task: MigrationTask) -> str:
    """Return the query that shows the last connection test of both sides."""
    tests = {test.side: test.pk for test in task.tests.filter(kind="test")}
    return f"?source={tests['source']}&target={tests['target']}"
