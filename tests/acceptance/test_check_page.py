"""The check page and Prepare the source in a browser: fold, filter, fix, acknowledge, copy, by keyboard as well."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.urls import reverse
from django.utils import timezone
from playwright.sync_api import Page, expect

from migrations_app.draft_facts import draft_hash
from migrations_app.engine.plan import DatabasePlan, Plan, Server, TlsMode
from migrations_app.engine.prepare import prepare
from migrations_app.engine.selection import Selection
from migrations_app.engine.source_facts import DatabaseFacts, Setting, SourceFacts
from migrations_app.models import CheckItem, MigrationTask
from tests import factories

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
SignIn = Callable[[], Page]


def _shots(page: Page, name: str) -> None:
    """Write pictures of the page in both widths and themes, for whoever wants to look."""
    folder = os.environ.get("TOWPATH_SHOTS")
    if not folder:
        return
    for theme in ("light", "dark"):
        page.evaluate("theme => document.documentElement.setAttribute('data-bs-theme', theme)", theme)
        for width in (1280, 390):
            page.set_viewport_size({"width": width, "height": 900})
            page.screenshot(path=f"{folder}/{name}-{width}-{theme}.png", full_page=True)
    page.set_viewport_size({"width": 1280, "height": 720})


def _accessible(page: Page) -> None:
    result = Axe().run(page)
    assert result.violations_count == 0, result.generate_report()


def _checked() -> MigrationTask:
    """A task of two databases whose check found a bit of everything."""
    task = factories.task(name="legacy erp", status="check_failed", checked_at=timezone.now())
    sync = {"group": "Incremental sync", "seconds": 0.004}
    factories.check_item(
        task,
        "wal-level",
        "failed",
        title="wal_level is logical",
        found="wal_level is replica; incremental sync needs logical.",
        hint="Set it and restart the source. On managed servers it is a parameter, such as rds.logical_replication.",
        sql="ALTER SYSTEM SET wal_level = 'logical';",
        needs_restart=True,
        fix="settings",
        fix_arguments={"settings": [["wal_level", "logical", "replica"]], "restart": True},
        **sync,
    )
    for database, status in (("erp", "warning"), ("crm", "warning"), ("logs", "passed")):
        factories.check_item(
            task,
            "table-keys",
            status,
            title="Tables have keys",
            database=database,
            found="2 tables without a key: app.log, app.audit." if status == "warning" else "Every table has a key.",
            hint="REPLICA IDENTITY FULL is set there during the migration and put back afterwards."
            if status == "warning"
            else "",
            sql='ALTER TABLE "app"."log" REPLICA IDENTITY FULL;\nALTER TABLE "app"."audit" REPLICA IDENTITY FULL;'
            if status == "warning"
            else "",
            fix="replica-identity",
            fix_arguments={
                "database": database,
                "tables": [["app", "log", "", "d"], ["app", "audit", "audit_key", "d"]],
            },
            **sync,
        )
    for database in ("erp", "crm"):
        factories.check_item(
            task, "replication-login", title="Replication login", database=database, found="Opened.", **sync
        )
    factories.check_item(task, "replication-slots", title="Free replication slots", found="9 of 10 are free.", **sync)
    for code, title in (("source-reachable", "Source can be reached"), ("target-reachable", "Target can be reached")):
        factories.check_item(task, code, title=title, group="Connection", found="PostgreSQL answers.", seconds=0.3)
    MigrationTask.objects.filter(pk=task.pk).update(checked_hash=draft_hash(task))
    task.refresh_from_db()
    return task


def _open(page: Page, live_server: Any, name: str, task: MigrationTask, query: str = "") -> None:
    page.goto(live_server.url + reverse(f"tasks:{name}", args=[task.id]) + query)


def test_the_check_page_folds_filters_and_is_accessible(sign_in: SignIn, live_server: Any) -> None:
    page, task = sign_in(), _checked()
    _open(page, live_server, "check", task)
    expect(page.get_by_text("1 Warning", exact=True)).to_be_visible()
    expect(page.locator("p.found", has_text="wal_level is replica")).to_be_visible()
    expect(page.get_by_text("Source can be reached", exact=True)).to_be_hidden()
    page.locator("#g-connection > summary").click()
    expect(page.get_by_text("Source can be reached", exact=True)).to_be_visible()
    _accessible(page)
    _shots(page, "check")
    page.get_by_role("link", name="Problems only 2", exact=True).click()
    expect(page.locator("#g-connection")).to_have_count(0)
    expect(page.get_by_text("Free replication slots", exact=True)).to_have_count(0)
    _shots(page, "check-problems")


@pytest.mark.long
def test_the_hint_says_what_was_found_and_then_how_to_fix_it_by_keyboard(sign_in: SignIn, live_server: Any) -> None:
    page, task = sign_in(), _checked()
    _open(page, live_server, "check", task)
    page.get_by_role("button", name="What was found: wal_level is logical", exact=True).focus()
    tip = page.locator("#tip-wal-level")
    expect(tip).to_be_visible()
    expect(tip).to_have_text(
        re.compile(r"Found\s+wal_level is replica; .*What to do\s+Set it and restart .* SQL stands below", re.DOTALL)
    )
    _accessible(page)
    _shots(page, "check-hint")
    page.keyboard.press("Escape")
    expect(tip).to_be_hidden()
    page.locator("#mark-table-keys").focus()
    tip = page.locator("#tip-table-keys")
    expect(tip).to_have_text(
        re.compile(r"Found\s+crm: 2 tables .*erp: 2 tables .*logs: Every table .*What to do", re.DOTALL)
    )
    _accessible(page)
    _shots(page, "check-hint-databases")


def test_the_hint_of_what_passed_says_what_was_found(sign_in: SignIn, live_server: Any) -> None:
    page, task = sign_in(), _checked()
    _open(page, live_server, "check", task)
    page.locator("#g-connection > summary").click()
    page.get_by_role("button", name="What was found: Source can be reached", exact=True).focus()
    expect(page.locator("#tip-source-reachable")).to_contain_text("Found PostgreSQL answers.")
    expect(page.locator("#tip-source-reachable")).not_to_contain_text("What to do")


@pytest.mark.long
def test_a_fix_is_read_before_it_is_asked_for(sign_in: SignIn, live_server: Any) -> None:
    page, task = sign_in(), _checked()
    _open(page, live_server, "check", task)
    item = CheckItem.objects.get(task=task, code="table-keys", database="erp")
    page.locator(f"#fix-{item.pk}").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text('ALTER TABLE "app"."audit" REPLICA IDENTITY USING INDEX "audit_key";')
    _accessible(page)
    _shots(page, "fix")
    dialog.get_by_role("button", name="Run it", exact=True).click()
    expect(page.locator("#fix-note")).to_contain_text("A worker runs the fix")
    test = task.tests.get(kind="fix")
    task.tests.filter(pk=test.pk).update(
        state="failed", message="The source refused: permission denied (42501).", finished_at=timezone.now()
    )
    expect(page.locator("#fix-note")).to_contain_text("permission denied")
    _shots(page, "fix-failed")


def test_a_warning_is_acknowledged_with_a_reason(sign_in: SignIn, live_server: Any) -> None:
    page, task = sign_in(), _checked()
    _open(page, live_server, "check", task)
    item = CheckItem.objects.get(task=task, code="table-keys", database="crm")
    box = page.locator(f"#ack-{item.pk}")
    box.locator("summary").click()
    box.get_by_label("Why may it stay?", exact=True).fill("Nobody updates these two.")
    _accessible(page)
    _shots(page, "acknowledging")
    box.get_by_role("button", name="Acknowledge", exact=True).click()
    expect(page.locator(".acknowledged")).to_contain_text("anna")
    expect(page.locator(".acknowledged")).to_contain_text("Nobody updates these two.")
    _shots(page, "acknowledged")
    page.locator(f"#withdraw-{item.pk}").click()
    expect(page.locator(".acknowledged")).to_have_count(0)


def test_items_arrive_while_the_check_runs(sign_in: SignIn, live_server: Any) -> None:
    page, task = sign_in(), _checked()
    MigrationTask.objects.filter(pk=task.pk).update(status="checking")
    waiting = CheckItem.objects.filter(task=task, group="Connection")
    waiting.update(status="waiting")
    _open(page, live_server, "check", task)
    expect(page.get_by_text("2 running", exact=True).first).to_be_visible()
    _shots(page, "checking")
    waiting.update(status="passed")
    MigrationTask.objects.filter(pk=task.pk).update(status="check_failed")
    expect(page.get_by_role("button", name="Check again", exact=True)).to_be_visible()


def _prepared(task: MigrationTask, *, reached: bool) -> dict[str, Any]:
    server = Server(host="db1.internal", port=5432, user="mover", tls=TlsMode.REQUIRE)
    plan = Plan(
        key="0badcafe",
        epoch=1,
        source=server,
        target=server,
        databases=tuple(DatabasePlan(source_name=name, target_name=name) for name in ("erp", "crm")),
        selection=Selection.everything(),
        incremental=True,
        work_dir=os.devnull,  # type: ignore[arg-type]
    )
    facts = SourceFacts(failure="mover cannot log in.", hint="Make the account.", address="10.0.0.8")
    if reached:
        number = {"max_replication_slots": 2, "max_wal_senders": 10, "max_slot_wal_keep_size": -1}
        facts = SourceFacts(
            version=160014,
            replication=False,
            address="192.0.2.10",
            address_seen=True,
            tls="TLSv1.3",
            settings={
                "wal_level": Setting(shown="replica", number=None),
                "config_file": Setting(shown="/etc/postgresql/16/main/postgresql.conf", number=None),
                "hba_file": Setting(shown="/etc/postgresql/16/main/pg_hba.conf", number=None),
                **{name: Setting(shown=str(value), number=value) for name, value in number.items()},
            },
            replication_refused="no pg_hba.conf entry",
            databases=(DatabaseFacts(name="erp"), DatabaseFacts(name="crm", unknown="the account may not connect")),
        )
    return {**prepare(plan, facts).as_json(), "draft": draft_hash(task)}


@pytest.mark.sample(1)
@pytest.mark.parametrize("reached", [True, False])
def test_prepare_the_source_shows_lines_to_copy(reached: bool, sign_in: SignIn, live_server: Any) -> None:
    page, task = sign_in(), _checked()
    _open(page, live_server, "prepare", task)
    page.get_by_role("button", name="Look at the source", exact=True).click()
    expect(page.get_by_text("A worker looks at the source").first).to_be_visible()
    task.tests.filter(kind="prepare").update(
        state="passed", detail=_prepared(task, reached=reached), finished_at=timezone.now()
    )
    expect(page.locator("#conf")).to_contain_text("wal_level = logical")
    expect(page.locator("#hba")).to_contain_text("192.0.2.10/32" if reached else "10.0.0.8/32")
    page.get_by_role("button", name="Copy the script of the account", exact=True).click()
    _accessible(page)
    _shots(page, f"prepare-{'reached' if reached else 'outside'}")
