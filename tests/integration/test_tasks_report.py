"""The report of a task: everything but secrets, safe to open anywhere."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from pytest_django.asserts import assertContains, assertNotContains

from migrations_app.models import MigrationTask
from migrations_app.selectors import report
from tests import factories

pytestmark = pytest.mark.django_db
SECRETS = {
    "password": factories.CANARY,
    "client_key_pem": "key-canary-1",
    "ssh_password": "key-canary-2",
    "ssh_private_key": "key-canary-3",
}


@pytest.fixture
def anna(client: Client) -> Client:
    client.force_login(factories.user("anna"))
    return client


def _full(name: str = "shop to 18") -> MigrationTask:
    task = factories.running_task(
        "sync", status="ready", name=name, source=factories.endpoint(**SECRETS), target=factories.endpoint(**SECRETS)
    )
    factories.table_copy(task, "orders", status="done", rows_done=7)
    factories.check_item(
        task,
        "keys",
        "warning",
        found="3 tables",
        acknowledged_by="bob",
        acknowledged_reason="inserts only",
        acknowledged_at=timezone.now(),
    )
    factories.event(task, "In sync.", actor="anna", code="TASK-READY")
    factories.ledger_entry(task)
    difference = {"schema": "public", "name": "orders", "verdict": "differs", "source_rows": 5, "target_rows": 4}
    factories.comparison(task, equal=False, differences=[difference | {"sample_keys": ["id=9"], "reason": ""}])
    return task


def test_the_json_holds_everything_but_secrets(anna: Client) -> None:
    answer = anna.get(reverse("tasks:report-json", args=[_full().id]))
    assert answer["Content-Disposition"].startswith('attachment; filename="towpath-shop-to-18-')
    for secret in SECRETS.values():
        assert secret not in answer.text
    report = json.loads(answer.text)
    assert report["settings"]["source"]["host"] == "db1.internal"
    assert report["check"]["results"][0]["acknowledged_reason"] == "inserts only"
    assert [step["name"] for step in report["steps"]] == factories.STEPS
    assert report["tables"][0] | {"seconds": None} == {
        "database": "shop",
        "schema": "public",
        "name": "orders",
        "state": "mismatch",
        "label": "Differs",
        "rows": 7,
        "bytes": 48_000_000,
        "seconds": None,
    }
    assert report["comparisons"][0]["differences"][0]["sample_keys"] == ["id=9"]
    assert report["events"][0]["actor"] == "anna"
    assert report["left"]["source"][0]["removal"].startswith("SELECT")


def test_what_a_completed_task_left_on_the_source_stands_at_the_top(anna: Client) -> None:
    task = factories.running_task("cleanup", status="completed")
    factories.event(task, "Complete pressed.", code="TASK-COMPLETING")
    factories.event(task, "shop: still written to: public.orders (8 changes).", code="SRC-LATE", level="error")
    facts = json.loads(anna.get(reverse("tasks:report-json", args=[task.id])).text)
    assert [event["code"] for event in facts["late_writes"]] == ["SRC-LATE"]
    page = anna.get(reverse("tasks:report", args=[task.id])).text
    head, _, rest = page.partition("<h2>")
    assert '<p class="bad"><code>SRC-LATE</code> shop: still written to: public.orders (8 changes).' in head
    assert "still written to" in rest
    assert json.loads(anna.get(reverse("tasks:report-json", args=[_full().id])).text)["late_writes"] == []


def test_lists_that_are_cut_say_how_many_there_are(anna: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    task = _full()
    factories.event(task, "Another one.")
    factories.comparison(task)
    monkeypatch.setattr(report, "_MOST_EVENTS", 1)
    monkeypatch.setattr(report, "_MOST_COMPARISONS", 1)
    facts = json.loads(anna.get(reverse("tasks:report-json", args=[task.id])).text)
    assert (len(facts["events"]), facts["events_total"]) == (1, task.events.count())
    assert (len(facts["comparisons"]), facts["comparisons_total"]) == (1, 2)
    assert facts["left_total"] == 1
    page = anna.get(reverse("tasks:report", args=[task.id]))
    assertContains(page, f"The newest 1 of {task.events.count()} events.")
    assertContains(page, "1 of 2 comparisons.")


def test_the_page_stands_alone_and_names_no_other_place(anna: Client) -> None:
    answer = anna.get(reverse("tasks:report", args=[_full().id]))
    for words in ("In sync.", "inserts only", "public.orders", "id=9", "pg_drop_replication_slot"):
        assertContains(answer, words)
    for words in ("<script", "src=", "href=", "@import", "url(", *SECRETS.values()):
        assertNotContains(answer, words)


def test_hostile_names_are_text_and_no_formula(anna: Client) -> None:
    task = _full(name="=cmd|' /C calc'!A0")
    factories.table_copy(task, "<script>alert(1)</script>", schema="@SUM(1)", database="+1")
    factories.event(task, factories.HOSTILE, actor="-2+3")
    answer = anna.get(reverse("tasks:report", args=[task.id]))
    assertNotContains(answer, "<script")
    assertNotContains(answer, ">=cmd")
    assertContains(answer, "&#x27;=cmd")
    for cell in ("<td>@SUM", "<td>+1", "<td>-2"):
        assertNotContains(answer, cell)


def test_a_file_name_holds_plain_characters_only(anna: Client) -> None:
    answer = anna.get(reverse("tasks:report", args=[_full(name='a"; filename=x\r\nX: y').id]))
    assert answer["Content-Disposition"].count('"') == 2
    assert "X: y" not in str(answer.headers)


@pytest.mark.parametrize("kind", ["report", "report-json"])
def test_a_task_that_has_not_begun_has_a_report_too(kind: str, anna: Client) -> None:
    assert anna.get(reverse(f"tasks:{kind}", args=[factories.task().id])).status_code == 200


def test_people_read_words_and_times_where_programs_read_values(anna: Client) -> None:
    rules = {
        "rules": [[[], True], [["shop", "sales"], "structure"], [["shop", "sales", "old"], False]],
        "patterns": [[["shop"], "log_*", ""]],
        "targets": {"shop": "store"},
        "schema_targets": [["shop", "sales", "vente"]],
        "foreign_keys": "without",
    }
    at = datetime(2031, 5, 6, 7, 8, 9, tzinfo=UTC)
    task = _full()
    MigrationTask.objects.filter(pk=task.pk).update(selection=rules, started_at=at)
    page = anna.get(reverse("tasks:report", args=[task.id]))
    for words in (
        "Whole instance: with data",
        "shop.sales: structure only",
        "shop.sales.old: left out",
        "<code>log_*</code> (shop): left out",
        "shop → store",
        "shop.sales → vente",
        "Foreign keys to tables that are left out are not made on the target.",
        "2031-05-06 07:08:09",
        "Required (certificate not verified)",
    ):
        assertContains(page, words)
    assertNotContains(page, "&quot;rules&quot;")
    assert json.loads(anna.get(reverse("tasks:report-json", args=[task.id])).text)["settings"]["selection"] == rules
