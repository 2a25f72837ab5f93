"""A worker reads the source, and what the target has under the same names, into the rows of the tree."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import pytest

from migrations_app import services
from migrations_app.engine import inventory
from migrations_app.engine.errors import ConnectFailed
from migrations_app.engine.selection import Selection
from migrations_app.models import ConnectionTest, MigrationTask, SourceObject
from migrations_app.runner import asking
from tests import factories

ROWS = [
    inventory.InventoryDatabase(name="shop", bytes=100, can_connect=True),
    inventory.InventorySchema(database="shop", name="public"),
    inventory.InventoryTable(
        database="shop", schema="public", name="root", kind="partitioned", needs=(("type", "public", "mood"),)
    ),
    inventory.InventoryTable(
        database="shop",
        schema="public",
        name="leaf",
        kind="partition",
        parent=("public", "root"),
        root=("public", "root"),
    ),
    inventory.InventoryAlong(database="shop", schema="public", name="f" * 400, kind="function"),
]
THERE = [
    inventory.TargetObject(database="shop_new"),
    inventory.TargetObject(database="shop_new", schema="app", kind="schema"),
    inventory.TargetObject(database="shop_new", schema="app", name="root", kind="table", rows_estimate=1204),
]


@pytest.fixture
def task(db: None, monkeypatch: pytest.MonkeyPatch) -> MigrationTask:
    def read_target(server: object, names: set[str]) -> Iterator[inventory.TargetObject]:
        return iter([item for item in THERE if item.database in names])

    monkeypatch.setattr(inventory, "read_inventory", lambda server: iter(ROWS))
    monkeypatch.setattr(inventory, "read_target", read_target)
    return factories.task()


def read(task: MigrationTask, side: str = "source") -> ConnectionTest:
    test = ConnectionTest.objects.create(task=task, side=side, kind="inventory")
    asking.run_connection_test(str(test.pk))
    test.refresh_from_db()
    return test


def rename(task: MigrationTask) -> None:
    renamed = dataclasses.replace(
        Selection.everything(), targets={"shop": "shop_new"}, schema_targets={("shop", "public"): "app"}
    )
    MigrationTask.objects.filter(pk=task.pk).update(selection=renamed.to_json())


def test_everything_that_was_read_stands_at_its_level(task: MigrationTask) -> None:
    assert read(task).message == "1 tables read."
    rows = SourceObject.objects.filter(task=task).order_by("level").values_list("level", "name", "root", "at_target")
    assert list(rows) == [
        (0, "", "", ""),
        (1, "", "", ""),
        (2, "root", "", ""),
        (3, "leaf", "root", ""),
        (4, "f" * 200, "", ""),
    ]


def test_what_the_target_has_is_looked_for_under_the_names_that_things_get_there(task: MigrationTask) -> None:
    rename(task)
    assert read(task).state == "passed"
    root = SourceObject.objects.get(task=task, name="root")
    assert (root.at_target, root.at_target_rows) == ("table", 1204)
    assert SourceObject.objects.get(task=task, schema="").at_target == "database"


def test_after_a_change_of_names_the_target_alone_is_looked_at_again(task: MigrationTask) -> None:
    read(task)
    rename(task)
    assert read(task, "target").message == "3 of these objects exist on the target."
    assert SourceObject.objects.get(task=task, name="root").at_target_rows == 1204
    MigrationTask.objects.filter(pk=task.pk).update(selection=Selection.everything().to_json())
    read(task, "target")
    assert not SourceObject.objects.exclude(at_target="").exists()


def test_a_target_that_cannot_be_reached_stops_nobody(task: MigrationTask, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> Iterator[inventory.TargetObject]:
        raise ConnectFailed("No answer from the target.", hint="Open the port.", code="CONNECT-TIMEOUT")

    monkeypatch.setattr(inventory, "read_target", refuse)
    test = read(task)
    assert (test.state, test.detail) == ("passed", {"target": "No answer from the target."})
    assert SourceObject.objects.filter(task=task).count() == len(ROWS)


def test_what_was_read_is_thrown_away_when_the_task_has_another_source_by_then(
    task: MigrationTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    def move_meanwhile(server: object) -> Iterator[inventory.InventoryRow]:
        assert task.source is not None
        type(task.source).objects.filter(pk=task.source.pk).update(host="db2.internal")
        return iter(ROWS)

    monkeypatch.setattr(inventory, "read_inventory", move_meanwhile)
    answer = read(task)
    assert (answer.state, answer.code) == ("failed", "READ-MOVED")
    assert not SourceObject.objects.filter(task=task).exists()


def test_another_source_is_not_left_waiting_for_a_reading_of_the_former_one(task: MigrationTask) -> None:
    running = ConnectionTest.objects.create(task=task, side="source", kind="inventory", state="running")
    assert task.source is not None
    assert task.target is not None
    sides = {
        side: services.EndpointData(host=host, port=5432, account=stored.account, password="typed again")
        for side, host, stored in (("source", "db2.internal", task.source), ("target", task.target.host, task.target))
    }
    services.save_settings(task_id=task.pk, actor=None, name=task.name, scheduled_at=None, incremental=True, **sides)
    assert services.request_inventory(task_id=task.pk, actor=None).pk != running.pk
