"""The policy *spool* on rows: when changes go through a spool, who may take the task then, what the page tells."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from migrations_app import services
from migrations_app.models import Event, MigrationTask, TaskDatabase, WorkerBeat
from migrations_app.services import work
from tests import factories
from tests.integration.test_wal_governor import holding, look

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(
    ("step", "status"), [("sync", "running"), ("sync", "ready"), ("copy", "running"), ("index", "running")]
)
def test_spool_has_the_worker_receive_changes_until_all_are_applied(step: str, status: str) -> None:
    task = look(holding(step, status, wal_policy="spool"), 150)
    assert (task.spooling, task.status) == (True, status)
    assert "go into a spool on the worker's disk now" in Event.objects.get(task=task).message
    TaskDatabase.objects.filter(task=task).update(spool_host="a", spool_ends=1, spool_bytes=2_000_000)
    assert look(task, 10).spooling
    TaskDatabase.objects.filter(task=task).update(spool_bytes=0)
    assert not look(task, 10).spooling


@pytest.mark.parametrize("where", [("sync", "paused"), ("sync", "failed"), ("copy", "paused"), ("schema", "running")])
def test_a_task_that_is_not_at_work_says_that_nothing_can_be_spooled(where: tuple[str, str]) -> None:
    task = look(holding(*where, wal_policy="spool"), 150)
    assert not task.spooling
    assert "nothing can be put into a spool" in Event.objects.get(task=task).message


def test_another_policy_ends_the_spooling() -> None:
    task = look(holding(wal_policy="spool"), 150)
    services.set_wal_budget(task_id=task.pk, actor=None, budget_bytes=10**9, policy="spool", disk_bytes=None)
    task.refresh_from_db()
    assert task.spooling
    services.set_wal_budget(task_id=task.pk, actor=None, budget_bytes=10**9, policy="alarm", disk_bytes=None)
    task.refresh_from_db()
    assert not task.spooling


def test_a_cancelled_task_has_no_spool_any_more() -> None:
    task = look(holding(wal_policy="spool"), 150)
    TaskDatabase.objects.filter(task=task).update(spool_host="a", spool_ends=1, spool_bytes=10)
    services.cancel_task(task_id=task.pk, actor=None)
    MigrationTask.objects.filter(pk=task.pk).update(lease_until=None)
    claim = work.claim_sync(str(task.pk), "w:1:sync")
    assert claim is not None
    work.cancelled(claim, left=0)
    task.refresh_from_db()
    assert (task.spooling, TaskDatabase.objects.get(task=task).spool_host) == (False, "")


def test_a_spool_of_another_host_is_left_to_its_workers_while_there_are_any() -> None:
    task = holding()
    TaskDatabase.objects.filter(task=task).update(spool_host="elsewhere", spool_ends=1, spool_bytes=10)
    beat = WorkerBeat.objects.create(cluster="sync", host="elsewhere", pid=1)
    assert work.claim_sync(str(task.pk), "w:1:sync") is None
    WorkerBeat.objects.filter(pk=beat.pk).update(at=timezone.now() - timedelta(minutes=5))
    assert work.claim_sync(str(task.pk), "w:1:sync") is not None


def test_a_copy_whose_spool_another_host_has_is_left_to_its_workers_while_there_are_any() -> None:
    task = holding("copy", "running")
    TaskDatabase.objects.filter(task=task).update(spool_host="elsewhere", spool_ends=1, spool_bytes=10)
    beat = WorkerBeat.objects.create(cluster="migrate", host="elsewhere", pid=1)
    assert work.claim_migration("w:1:migrate") is None
    WorkerBeat.objects.filter(pk=beat.pk).update(at=timezone.now() - timedelta(minutes=5))
    assert work.claim_migration("w:1:migrate") is not None


def test_the_page_tells_what_waits_in_the_spool(client: Client) -> None:
    client.force_login(factories.user())
    task = look(holding(wal_policy="spool", lag_seconds=90.0), 150)
    address = reverse("tasks:detail", args=[task.pk])
    assert "the target has all of them so far" in client.get(address).content.decode()
    TaskDatabase.objects.filter(task=task).update(spool_host="worker-1", spool_ends=1, spool_bytes=3_000_000)
    page = client.get(address).content.decode()
    assert "3 MB of changes wait in a spool on the disk of worker-1" in page
    assert "The target is 2 min behind." in page
    MigrationTask.objects.filter(pk=task.pk).update(status="completed")
    assert 'id="spool"' not in client.get(address).content.decode()
