"""What a check is told about the other tasks of the console."""

from __future__ import annotations

import pytest

from migrations_app.engine.plan import Neighbour
from migrations_app.engine.states import Status
from migrations_app.models import TaskDatabase
from migrations_app.runner.planning import at_work, neighbours
from tests import factories


@pytest.mark.django_db
def test_unfinished_tasks_with_the_same_target_server_are_neighbours() -> None:
    task, queued, finished = (factories.task(name=name, status=status) for name, status in _TASKS)
    for other in (queued, finished):
        other.target.host, other.target.port = task.target.host, task.target.port
        other.target.save()
        TaskDatabase.objects.create(task=other, source_name="shop", target_name="shop_new")
    assert neighbours(task) == (Neighbour(key=queued.key, name="Queued", database="shop_new"),)
    queued.target.host = "elsewhere.example"
    queued.target.save()
    assert neighbours(task) == ()


@pytest.mark.django_db
def test_what_all_other_unfinished_tasks_have_on_servers_is_known_by_their_keys() -> None:
    task, queued, _finished = (factories.task(name=name, status=status) for name, status in _TASKS)
    paused = factories.task(name="Paused", status=Status.PAUSED)
    assert at_work(task) == {queued.key, paused.key}


_TASKS = (("Mine", Status.DRAFT), ("Queued", Status.QUEUED), ("Finished", Status.COMPLETED))
