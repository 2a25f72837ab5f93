"""Every page in a real browser, in both themes and at two widths: no axe violation, no console error, no other host."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.urls import reverse
from django.utils import timezone
from playwright.sync_api import Page

from migrations_app.models import MigrationTask, TaskDatabase
from migrations_app.services.drafts import draft_hash
from tests import factories

pytestmark = [pytest.mark.browser, pytest.mark.long, pytest.mark.django_db(transaction=True)]


def _list_rows() -> None:
    factories.workers()
    now = timezone.now()
    factories.running_task(
        "sync", status="ready", name="shop to 18", lag_bytes=4100, lag_seconds=0.2, rows_per_second=212.0
    )
    factories.running_task(
        "copy",
        name="billing move",
        rows_per_second=48_210.0,
        bytes_per_second=41e6,
        eta_at=now + timedelta(minutes=6),
        source=factories.endpoint(host="192.0.2.14"),
    )
    factories.task(name="crm nightly", status="scheduled", scheduled_at=now + timedelta(hours=9, minutes=12))
    factories.task(name="legacy erp", status="check_failed", checked_at=now)
    factories.checked_task(name="warehouse")
    factories.task(name="draft of wiki")
    failed = factories.running_task(
        "index",
        status="failed",
        name="orders archive",
        error_message="The target refused to build index orders_pkey: no space left on device.",
        error_hint="Free space on the target, then press Retry.",
    )
    failed.steps.filter(name="index").update(state="failed")
    factories.running_task("cleanup", status="completed", name="hr", finished_at=now)


def _detail_rows() -> MigrationTask:
    factories.workers()
    task = factories.running_task(
        "copy",
        name="billing move",
        rows_per_second=48_210.0,
        bytes_per_second=41e6,
        eta_at=timezone.now() + timedelta(minutes=6),
    )
    for number, status in enumerate(["copying", "copying", "indexing", "done", "done", "waiting"]):
        factories.table_copy(
            task,
            ["orders", "order_lines", "customers", "prices", "regions", 'Ärzte & "Labs"'][number],
            status=status,
            bytes_done=12_000_000 * number,
            rows_done=100_000 * number,
            started_at=timezone.now() - timedelta(seconds=90),
            finished_at=timezone.now() if status == "done" else None,
            bytes_total=(7 - number) * 48_000_000,
        )
    factories.event(task, "Migration started.", code="TASK-RUNNING")
    factories.event(task, "Start pressed; the task waits for its turn.", actor="anna", code="TASK-QUEUED")
    factories.event(task, "Lost connection to the source. Trying again in 8 s.", level="warning", code="RUN-RETRY")
    factories.ledger_entry(task)
    factories.ledger_entry(task, kind="publication", name="towpath_ab12cd34")
    factories.ledger_entry(task, side="target", kind="table", schema="public", name="orders")
    return task


def _ready_rows() -> MigrationTask:
    factories.workers()
    task = factories.running_task(
        "sync", status="ready", name="shop to 18", lag_bytes=4100, lag_seconds=0.2, rows_per_second=212.0
    )
    TaskDatabase.objects.filter(task=task).update(
        in_sync=True, lag_bytes=4100, lag_seconds=0.2, rows_applied=120_331, bookmark=0x1_2A3B4C5D
    )
    for name in ("orders", "customers", "prices"):
        factories.table_copy(task, name, status="done", bytes_done=48_000_000, rows_done=400_000)
    factories.event(task, "In sync. Press Complete when the application is ready to move.", code="TASK-READY")
    differences = [
        {
            "schema": "public",
            "name": "orders",
            "verdict": "differs",
            "source_rows": 1204,
            "target_rows": 1203,
            "sample_keys": ["id=9", "id=17"],
            "reason": "",
        },
    ]
    factories.comparison(task, equal=False, differences=differences, lsn=0x1_2A3B4000)
    factories.comparison(task, database="analytics")
    return task


def _check_rows() -> MigrationTask:
    factories.workers()
    task = factories.task(name="legacy erp", status="check_failed", checked_at=timezone.now())
    factories.check_item(
        task,
        status="failed",
        found="Found replica. Changes cannot be read from the source until it is logical.",
        hint="Set wal_level to logical.",
        sql="ALTER SYSTEM SET wal_level = 'logical';  -- then restart PostgreSQL",
        needs_restart=True,
    )
    factories.check_item(
        task,
        "tables_without_key",
        "warning",
        title="Tables without a key",
        database="shop",
        position=2,
        found='3 tables: updates and deletes on app.log, app.audit, "Order Lines" need REPLICA IDENTITY FULL.',
        hint="Inserts are not affected.",
        sql='ALTER TABLE "app"."log" REPLICA IDENTITY FULL;',
    )
    factories.check_item(task, "slots", title="Free replication slots", found="8 of 10 are free.", position=3)
    factories.check_item(
        task,
        "reach",
        title="Source answers",
        group="Connectivity",
        found="Answered in 2 ms.",
        hint="Both addresses are reached from the workers.",
    )
    MigrationTask.objects.filter(pk=task.pk).update(checked_hash=draft_hash(task))
    factories.check_item(task, "login", title="Login works", group="Connectivity", found="Signed in as mover.")
    return task


def _objects_rows() -> MigrationTask:
    factories.workers()
    task = factories.task(
        name="legacy erp", selection={"rules": [[[], True], [["shop", "public", "table_000"], False]], "targets": {}}
    )
    factories.inventory(task, tables=12)
    return task


SCENES: dict[str, Callable[[], str]] = {
    "empty list": lambda: reverse("tasks:list"),
    "list": lambda: (_list_rows(), reverse("tasks:list"))[1],
    "create": lambda: (factories.workers(), reverse("tasks:create"))[1],
    "settings": lambda: _settings(),
    "objects": lambda: reverse("tasks:objects", args=[_objects_rows().id]),
    "objects unread": lambda: reverse("tasks:objects", args=[factories.task().id]),
    "check": lambda: reverse("tasks:check", args=[_check_rows().id]),
    "check not run": lambda: reverse("tasks:check", args=[factories.task().id]),
    "copying": lambda: reverse("tasks:detail", args=[_detail_rows().id]),
    "ready": lambda: reverse("tasks:detail", args=[_ready_rows().id]),
    "draft": lambda: reverse("tasks:detail", args=[factories.task().id]),
    "complete": lambda: reverse("tasks:confirm", args=[_ready_rows().id, "complete"]),
    "start again": lambda: _start_again(),
    "missing": lambda: "/nothing-here/",
}


def _settings() -> str:
    task = factories.task()
    factories.workers()
    passed = factories.connection_test(task, state="passed", message="PostgreSQL 16.4, answered in 3 ms, TLS 1.3.")
    failed = factories.connection_test(
        task,
        "target",
        state="failed",
        message="The target refused the password of mover.",
        hint="Check account and password.",
    )
    return reverse("tasks:settings", args=[task.id]) + f"?source={passed.id}&target={failed.id}"


def _start_again() -> str:
    task = factories.task(status="cancelled", finished_at=timezone.now())
    factories.ledger_entry(task, side="target", kind="table", schema="public", name="orders")
    return reverse("tasks:confirm", args=[task.id, "start_again"])


def _shot(page: Page, name: str) -> None:
    folder = os.environ.get("TOWPATH_SHOTS")
    if folder:
        Path(folder).mkdir(parents=True, exist_ok=True)
        page.screenshot(path=f"{folder}/{name.replace(' ', '-')}.png", full_page=True)


@pytest.mark.parametrize("scene", SCENES)
def test_a_page_is_accessible_and_quiet_in_both_themes_and_widths(
    scene: str, sign_in: Callable[[], Page], live_server: Any, request: pytest.FixtureRequest
) -> None:
    page = sign_in()
    url = live_server.url + SCENES[scene]()
    expected_404 = scene == "missing"
    for theme in ("light", "dark"):
        page.emulate_media(color_scheme=theme)
        for width in (1280, 860, 390) if theme == "light" else (1280, 390):
            page.set_viewport_size({"width": width, "height": 900})
            page.goto(url)
            _shot(page, f"{scene}-{width}-{theme}")
            result = Axe().run(page)
            assert result.violations_count == 0, result.generate_report()
            wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
            assert wide <= 0, f"{scene} scrolls sideways at {width} px by {wide}"
    assert page.locator("h1").count() == 1 or expected_404
