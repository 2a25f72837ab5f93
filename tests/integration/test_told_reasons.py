"""Reasons and notes are kept with what they were made from, and told in the language of the reader."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import translation

from migrations_app import services
from migrations_app.draft_facts import draft_hash
from migrations_app.engine.causes import refusal_again
from migrations_app.engine.inventory import InventorySchema
from migrations_app.engine.plan import DatabasePlan, Plan, Server
from migrations_app.engine.ports import Comparison, Note, TableDifference
from migrations_app.engine.prepare import prepare
from migrations_app.engine.selection import Selection
from migrations_app.engine.source_facts import Setting, SourceFacts
from migrations_app.engine.wording import noun, say
from migrations_app.models import MigrationTask, SourceObject, StructureNote, TaskDatabase, User
from migrations_app.runner.ports import OrmStore
from migrations_app.runner.reading import _columns
from tests import factories

pytestmark = pytest.mark.django_db

NOTE = Note(
    database="shop",
    kind="index",
    schema="sales",
    table="orders",
    name="by_day",
    what=say("missing on the target"),
    words=refusal_again("missing right: permission denied (42501)"),
)
DIFFERENCES = (
    TableDifference(
        schema="sales",
        name="orders",
        verdict="differs",
        source_rows=7,
        target_rows=5,
        reason=say("{number} missing on the target", number=2),
        sample_keys=(say("{key} (missing on the target)", key="id=9"),),
    ),
    TableDifference(
        schema="sales",
        name=say("{kind} {name}", kind=noun("sequence"), name="orders_id_seq"),
        verdict="differs",
        reason=say("missing on the target"),
    ),
)


class _Here:
    """A recorder that writes at once."""

    def call(self, work: Callable[[], Any]) -> Any:
        return work()


@pytest.fixture
def client(client: Client) -> Client:
    client.force_login(factories.user("anna", language="zh-hans"))
    return client


def store(task: MigrationTask) -> OrmStore:
    claim = services.work.Claim(task_id=str(task.pk), epoch=1, worker="here")
    return OrmStore(claim, _Here(), {})  # type: ignore[arg-type]


def page(client: Client, name: str, task: MigrationTask) -> str:
    return client.get(reverse(f"tasks:{name}", args=[task.pk])).content.decode()


@pytest.fixture
def ended(db: None) -> MigrationTask:
    task = factories.running_task("complete", status="completed")
    database = TaskDatabase.objects.get(task=task)
    kept = store(task)
    kept.save_notes(database.source_name, 12, [NOTE])
    now = datetime.now(UTC)
    kept.save_comparison(
        Comparison(database=database.source_name, lsn=None, started_at=now, finished_at=now, tables=DIFFERENCES)
    )
    task.refresh_from_db()
    return task


def test_notes_on_the_structure(ended: MigrationTask, client: Client) -> None:
    shown = page(client, "detail", ended)
    assert "sales.orders 的索引 by_day" in shown
    assert "缺少权限：permission denied (42501)" in shown
    StructureNote.objects.update(how={})
    assert "index by_day on sales.orders" in page(client, "detail", ended)


def test_differences_of_a_comparison(ended: MigrationTask, client: Client) -> None:
    shown = page(client, "detail", ended)
    assert "目标库缺少 2 行" in shown
    assert "id=9（目标库缺少）" in shown
    assert "模式 sales 中的序列 orders_id_seq" in shown
    result = ended.comparisons.get()
    result.differences = [
        {name: value for name, value in item.items() if name != "words"} for item in result.differences
    ]
    result.save()
    assert "2 missing on the target" in page(client, "detail", ended)


def test_reports_for_people_are_told_and_those_for_programs_are_english(ended: MigrationTask, client: Client) -> None:
    shown = page(client, "report", ended)
    assert "目标库缺少 2 行" in shown
    assert "sales.orders 的索引 by_day" in shown
    report = json.loads(page(client, "report-json", ended))
    orders, sequence = report["comparisons"][0]["differences"]
    assert (orders["reason"], orders["sample_keys"]) == ("2 missing on the target", ["id=9 (missing on the target)"])
    assert sequence["name"] == "sequence orders_id_seq"
    assert {"words", "place"}.isdisjoint(orders)
    assert report["structure"][0]["notes"][0]["object"] == "index by_day on sales.orders"


def test_keys_of_rows_stay_hidden_from_who_only_looks(ended: MigrationTask, client: Client) -> None:
    User.objects.update(role="viewer")
    for name in ("detail", "report", "report-json"):
        assert "id=9" not in page(client, name, ended)


def test_why_an_object_cannot_be_selected(client: Client) -> None:
    task = factories.task()
    factories.inventory(task)
    reason = say("The account has no USAGE right on this schema.")
    row = InventorySchema(database="shop", name="closed", selectable=False, reason=reason)
    SourceObject.objects.create(task=task, **_columns(row))
    level = reverse("tasks:tree", args=[task.pk])
    assert "账号没有该模式的 USAGE 权限。" in client.get(level, {"path": ["shop"]}).content.decode()
    SourceObject.objects.update(words={})
    assert "The account has no USAGE right on this schema." in client.get(level, {"path": ["shop"]}).content.decode()


def test_what_the_source_needs(client: Client) -> None:
    task = factories.task()
    server = Server(host="db", port=5432, user="mover")
    plan = Plan(
        key=task.key,
        epoch=1,
        source=server,
        target=server,
        databases=(DatabasePlan(source_name="shop", target_name="shop"),),
        selection=Selection.everything(),
        incremental=True,
        work_dir="/dev/null/none",  # type: ignore[arg-type]
    )
    facts = SourceFacts(
        version=160004, superuser=True, vendor="rds", settings={"wal_level": Setting(shown="replica", number=None)}
    )
    detail = {**prepare(plan, facts).as_json(), "draft": draft_hash(task)}
    test = factories.connection_test(task, kind="prepare", state="passed", detail=detail)
    shown = page(client, "prepare", task)
    assert "WAL 必须包含逻辑解码所需内容。" in shown
    assert "mover 是超级用户，已经足够。" in shown
    assert "请在参数组中设置 rds.logical_replication = 1" in shown
    test.detail = {name: value for name, value in detail.items() if name != "words"}
    test.save()
    assert "mover is a superuser, which is enough." in page(client, "prepare", task)


def test_a_pattern_that_cannot_be_read(client: Client) -> None:
    task = factories.task()
    factories.inventory(task)
    answer = client.get(reverse("tasks:tree", args=[task.pk]), {"q": "/(/"})
    assert "有一个括号没有闭合。" in answer.content.decode()


@pytest.mark.parametrize(
    ("language", "words"),
    [
        (
            "en",
            "“Pause” is not possible: the task's status is “check failed”. "
            "Only a running or syncing task can be paused.",
        ),
        ("zh-hans", "无法执行“暂停”：任务的状态为“校验失败”。只有进行中或正在同步的任务可以暂停。"),
    ],
)
def test_a_refusal_says_what_was_asked_where_the_task_stands_and_when_it_is_possible(language: str, words: str) -> None:
    task = factories.task(status="check_failed")
    with translation.override(language), pytest.raises(services.Refused) as refused:
        services.pause_task(task_id=task.pk, actor=None)
    assert refused.value.message == words


def test_a_comparison_that_is_told_further_is_shown_once(ended: MigrationTask) -> None:
    first = ended.comparisons.get()
    told = Comparison(
        database=first.database,
        lsn=None,
        started_at=first.started_at,
        finished_at=datetime.now(UTC),
        tables=(*DIFFERENCES, replace(DIFFERENCES[0], name="one_more")),
    )
    store(ended).save_comparison(told)
    assert [item["name"] for item in ended.comparisons.get().differences][-1] == "one_more"
