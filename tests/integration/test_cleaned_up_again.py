"""A completed task that had to leave something on its servers: it is removed later, and the task stays completed."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import psycopg
import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from pytest_django.asserts import assertContains, assertNotContains

from migrations_app import runner, selectors, services
from migrations_app.demo.clusters import Cluster
from migrations_app.engine.errors import EngineError
from migrations_app.engine.states import Status, StepName
from migrations_app.engine.wording import say
from migrations_app.models import LedgerEntry, MigrationTask, Step, TaskDatabase
from migrations_app.runner.planning import others_of
from migrations_app.selectors.wal import wal_mark
from migrations_app.services import work
from tests import factories
from tests.fakes import wait_until

pytestmark = pytest.mark.django_db


@pytest.fixture
def anna(client: Client) -> Client:
    client.force_login(factories.user("anna"))
    return client


def _completed(**fields: Any) -> MigrationTask:
    """A task that has completed, and left a slot on its source."""
    task = factories.running_task("cleanup", status="completed", **({"finished_at": timezone.now()} | fields))
    Step.objects.filter(task=task).update(state="done", finished_at=timezone.now())
    TaskDatabase.objects.filter(task=task).update(slot="towpath_ab12cd34_16400")
    factories.ledger_entry(task)
    return task


def _now(task: MigrationTask) -> MigrationTask:
    return MigrationTask.objects.get(pk=task.pk)


def _claim(task: MigrationTask) -> work.Claim:
    claim = work.claim_sync(str(task.pk), "here:1:sync")
    assert claim is not None
    return claim


def _press(client: Client, task: MigrationTask) -> None:
    assertContains(client.get(reverse("tasks:confirm", args=[task.pk, "clean_up"])), "Try clean-up")
    assert client.post(reverse("tasks:action", args=[task.pk, "clean_up"])).status_code == 302


@pytest.mark.parametrize("incremental", [True, False])
def test_a_press_has_a_worker_clean_up_and_the_task_stays_completed(incremental: bool, anna: Client) -> None:
    task = _completed(incremental=incremental)
    ended = task.finished_at
    _press(anna, task)
    assert _now(task).status == Status.COMPLETING
    page = anna.get(reverse("tasks:detail", args=[task.pk]))
    assertContains(page, "The task has completed; only what it had to leave")
    assertNotContains(page, "Write neither to the source")
    claim = _claim(task)
    LedgerEntry.objects.filter(task=task).update(removed_at=timezone.now())
    work.cleaned_up_again(claim)
    task = _now(task)
    assert (task.status, task.finished_at, task.lease_until, task.foreground) == (Status.COMPLETED, ended, None, False)
    told = task.events.filter(code="TASK-CLEANUP").latest("id")
    assert (told.level, "nothing of ours is left on either server" in told.message) == ("info", True)
    assert "The target holds" not in told.message, "what it holds was told when the task completed"
    assertContains(anna.get(reverse("tasks:detail", args=[task.pk])), "has left nothing of its own")


def test_it_looks_like_one_that_has_completed_meanwhile() -> None:
    task = _completed(wal_level="alarm", wal_state={"text": "The source keeps 5 GB."})
    factories.table_copy(task, status="done")
    before = selectors.TableView(task).counts().states
    assert not selectors.wal(task).text
    services.clean_up_task(task_id=task.pk, actor=None)
    task = _now(task)
    assert selectors.TableView(task).counts().states == before == {"done": 1}
    assert (selectors.wal(task).text, selectors.wal(task).may_set, wal_mark(task)) == ("", False, "")


def test_what_is_left_all_the_same_is_told_and_can_be_tried_again(anna: Client) -> None:
    task = _completed()
    for _ in range(2):
        _press(anna, task)
        work.cleaned_up_again(_claim(task))
        task = _now(task)
        assert task.status == Status.COMPLETED
    told = task.events.filter(code="TASK-CLEANUP").latest("id")
    assert (told.level, told.message) == ("warning", "Not removed: 1 thing; the task page says how.")


def test_a_clean_up_that_breaks_is_tried_three_times_and_the_task_stays_completed() -> None:
    task = _completed()
    services.clean_up_task(task_id=task.pk, actor=None)
    for tries in range(3):
        assert _now(task).status == Status.COMPLETING
        assert _now(task).tries == tries
        MigrationTask.objects.filter(pk=task.pk).update(not_before=None)
        work.fail(_claim(task), StepName.CLEANUP, EngineError(say("It broke.")))
    task = _now(task)
    assert (task.status, task.tries, task.not_before, task.error_code) == (Status.COMPLETED, 0, None, "")
    assert "It broke." in task.events.values_list("message", flat=True)


def test_a_worker_that_was_killed_meanwhile_is_followed_by_another() -> None:
    task = _completed()
    services.clean_up_task(task_id=task.pk, actor=None)
    first = _claim(task)
    MigrationTask.objects.filter(pk=task.pk).update(lease_until=timezone.now() - timedelta(seconds=1))
    work.cleaned_up_again(_claim(task))
    work.cleaned_up_again(first)
    assert _now(task).status == Status.COMPLETED
    assert _now(task).events.filter(to_status="completed").count() == 1


@pytest.mark.parametrize("ask", [services.cancel_task, services.keep_syncing, services.hand_over_task])
def test_nothing_leads_elsewhere_from_there(ask: Any, anna: Client) -> None:
    task = _completed()
    services.clean_up_task(task_id=task.pk, actor=None)
    with pytest.raises(services.Refused):
        ask(task_id=task.pk, actor=None)
    assert {button.name for button in selectors.task_row(_now(task)).actions} == set()
    assert services.slots_of(str(task.pk)) == [], "nobody looks after the WAL of its slot"
    other = factories.task()
    assert others_of(other).neighbours == (), "its tables are anybody's"


def test_there_is_nothing_to_try_where_nothing_is_left() -> None:
    task = _completed()
    LedgerEntry.objects.filter(task=task).update(removed_at=timezone.now())
    assert "clean_up" not in {button.name for button in selectors.task_row(task).actions}
    with pytest.raises(services.Refused, match="Nothing of this task that a clean-up removes"):
        services.clean_up_task(task_id=task.pk, actor=None)


@pytest.mark.django_db(transaction=True)
def test_a_slot_that_was_held_is_gone_after_the_next_try(source_cluster: Cluster, target_cluster: Cluster) -> None:
    ends = {
        side: factories.endpoint(
            host="127.0.0.1", port=one.port, account="postgres", tls_mode="disable", password=one.password
        )
        for side, one in (("source", source_cluster), ("target", target_cluster))
    }
    task = _completed(**ends)
    name = f"towpath_{task.key}_1"
    LedgerEntry.objects.filter(task=task).update(name=name, database="postgres")
    TaskDatabase.objects.filter(task=task).update(source_name="postgres", target_name="postgres", slot=name)
    with source_cluster.connect() as session:
        session.execute("SELECT pg_create_logical_replication_slot(%s, 'pgoutput')", (name,))
        try:
            services.clean_up_task(task_id=task.pk, actor=None)
            assert runner.run_sync(str(task.pk))
            assert _now(task).status == Status.COMPLETED
            assert not _now(task).ledger.filter(removed_at=None).exists()
            assert not _slots(session, name)
        finally:
            if _slots(session, name):
                wait_until(lambda: _dropped(session, name), what="the slot is dropped")


@pytest.mark.django_db(transaction=True)
def test_a_server_that_is_away_leaves_the_task_completed() -> None:
    gone = {side: factories.endpoint(host="127.0.0.1", port=1, tls_mode="disable") for side in ("source", "target")}
    task = _completed(**gone)
    services.clean_up_task(task_id=task.pk, actor=None)
    assert runner.run_sync(str(task.pk))
    task = _now(task)
    assert (task.status, task.ledger.filter(removed_at=None).count()) == (Status.COMPLETED, 1)
    assert "pg_drop_replication_slot" in task.events.get(code="COMPLETE-LEFT").message


def _slots(session: psycopg.Connection[Any], name: str) -> bool:
    rows = session.execute("SELECT FROM pg_replication_slots WHERE slot_name = %s", (name,)).fetchall()
    return bool(rows)


def _dropped(session: psycopg.Connection[Any], name: str) -> bool:
    session.execute("SELECT pg_drop_replication_slot(%s)", (name,))
    return True
