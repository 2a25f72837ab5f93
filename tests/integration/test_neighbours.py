"""What a check is told about the other tasks of the console."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from django.utils import timezone

from migrations_app.engine.plan import Neighbour
from migrations_app.engine.ports import Kind
from migrations_app.engine.states import Status
from migrations_app.models import LedgerEntry, MigrationTask, TaskDatabase
from migrations_app.runner.planning import at_work, others_of
from tests import factories


@pytest.mark.django_db
def test_unfinished_tasks_with_the_same_target_server_are_neighbours() -> None:
    task, queued, finished = (factories.task(name=name, status=status) for name, status in _TASKS)
    for other in (queued, finished):
        other.target.host, other.target.port = task.target.host, task.target.port
        other.target.save()
        TaskDatabase.objects.create(task=other, source_name="shop", target_name="shop_new")
    near = Neighbour(key=queued.key, name="Queued", database="shop_new")
    assert others_of(task).neighbours == (near,)
    queued.target.host = "elsewhere.example"
    queued.target.save()
    assert others_of(task).neighbours == (replace(near, near=False),)
    assert others_of(task).known == {queued.key, finished.key}


@pytest.mark.django_db
def test_what_other_unfinished_tasks_hold_on_a_target_is_known_by_their_ledgers() -> None:
    task, queued, finished = (factories.task(name=name, status=status) for name, status in _TASKS)
    for other in (task, queued, finished):
        TaskDatabase.objects.create(task=other, source_name="shop", target_name="shop_new")
        _made(other, Kind.TABLE, "made")
    _made(queued, Kind.ADOPTED, "taken")
    _made(queued, Kind.OBJECT, "numbers", detail={"catalog": 1259})
    _made(queued, Kind.OBJECT, "kind", detail={"catalog": 1247})
    _made(queued, Kind.TABLE, "gone", removed_at=timezone.now())
    _made(queued, Kind.TABLE, "elsewhere", database="other")
    (neighbour,) = others_of(task).neighbours
    assert neighbour.relations == {("public", "made"), ("public", "taken"), ("public", "numbers")}


def _made(task: MigrationTask, kind: Kind, name: str, **more: Any) -> None:
    fields = {"database": "shop_new", **more}
    LedgerEntry.objects.create(task=task, side="target", kind=kind, schema="public", name=name, **fields)


@pytest.mark.django_db
def test_what_all_other_unfinished_tasks_have_on_servers_is_known_by_their_keys() -> None:
    task, queued, _finished = (factories.task(name=name, status=status) for name, status in _TASKS)
    paused = factories.task(name="Paused", status=Status.PAUSED)
    assert at_work(task) == {queued.key, paused.key}


_TASKS = (("Mine", Status.DRAFT), ("Queued", Status.QUEUED), ("Finished", Status.COMPLETED))


@pytest.mark.django_db
@pytest.mark.parametrize("again", [False, True])
def test_a_task_whose_clean_up_is_only_tried_again_holds_nothing_on_a_target(again: bool) -> None:
    task = factories.task()
    cleaning = factories.task(status=Status.CANCELLING, finished_at=timezone.now() if again else None)
    TaskDatabase.objects.create(task=cleaning, source_name="shop", target_name="shop_new")
    _made(cleaning, Kind.TABLE, "made")
    found = [one.relations for one in others_of(task).neighbours]
    assert found == ([] if again else [{("public", "made")}])
    assert cleaning.key in others_of(task).known
