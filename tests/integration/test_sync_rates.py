"""What a sync tells of its speed: WAL that the source writes, WAL that it applies, and when it will have caught up."""

from __future__ import annotations

import json
from datetime import timedelta
from functools import partial
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from pytest_django.asserts import assertContains, assertNotContains

from migrations_app import selectors
from migrations_app.engine.ports import DatabaseState
from migrations_app.engine.states import StepName
from migrations_app.models import MigrationTask, Sample, TaskDatabase
from migrations_app.runner import ports
from migrations_app.runner.ports import OrmStore
from migrations_app.runner.sync_rates import SyncRates
from migrations_app.services import work
from tests import factories

pytestmark = pytest.mark.django_db
MB = 1_000_000


class _Here:
    """A recorder that writes in the caller's thread."""

    def call(self, write):  # type: ignore[no-untyped-def]
        return write()


class Sync:
    """A syncing task, and the looks that its workers have had at both sides."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1_000.0
        monkeypatch.setattr(ports, "SyncRates", partial(SyncRates, clock=lambda: self.now))
        made = factories.running_task("sync")
        claim = work.claim_sync(str(made.pk), "here")
        assert claim is not None
        self.claim, self.pk = claim, made.pk
        self.slice()

    def slice(self) -> None:
        """Another worker goes on."""
        self.store = OrmStore(self.claim, _Here(), {})  # type: ignore[arg-type]
        self.store.current = StepName.SYNC

    def look(self, *, written: int, applied: int, seconds: float = 2.0, rows: int = 0, in_sync: bool = False) -> None:
        """So many seconds later, tell that the source has written so much by now, and what of it is applied."""
        self.now += seconds
        state = DatabaseState(
            source_name="shop",
            target_name="shop",
            bookmark=applied,
            lag_bytes=written - applied,
            lag_seconds=1.0,
            source_lsn=written,
            source_at=self.now - 0.5,
            rows_applied=rows,
            in_sync=in_sync,
        )
        self.store.save_database(state)

    @property
    def task(self) -> MigrationTask:
        return MigrationTask.objects.get(pk=self.pk)


@pytest.fixture
def sync(monkeypatch: pytest.MonkeyPatch) -> Sync:
    return Sync(monkeypatch)


def shown(task: MigrationTask) -> dict[str, Any]:
    out = StringIO()
    call_command("task", "show", str(task.pk), "--json", stdout=out)
    found: dict[str, Any] = json.loads(out.getvalue())
    return found


def test_the_time_until_the_source_is_reached_is_told_everywhere(sync: Sync, client: Client) -> None:
    sync.look(written=100 * MB, applied=0)
    sync.look(written=120 * MB, applied=60 * MB, rows=4_000)
    task = sync.task
    assert (task.wal_bytes_per_second, task.applied_bytes_per_second) == (10 * MB, 30 * MB)
    assert (task.catching_up, task.rows_per_second) == (True, 2_000)
    assert task.eta_at is not None
    assert abs((task.eta_at - timezone.now()).total_seconds() - 3.0) < 2
    report = shown(task)
    assert report["rates"] == {
        "rows_per_second": 2_000,
        "applied_bytes_per_second": 30 * MB,
        "wal_bytes_per_second": 10 * MB,
    }
    assert (report["catching_up"], report["eta"]) == (True, task.eta_at.isoformat())
    MigrationTask.objects.filter(pk=task.pk).update(eta_at=timezone.now() + timedelta(minutes=20, seconds=20))
    out = StringIO()
    call_command("task", "show", str(task.pk), stdout=out)
    assert "source writes 10.0 MB/s of WAL · caught up in about 20 min" in out.getvalue()
    client.force_login(factories.user())
    page = client.get(reverse("tasks:detail", args=[task.pk]))
    for words in ("WAL rate of the source", "10 MB/s", "30 MB/s applied", "caught up in about 20 min"):
        assertContains(page, words)
    assertNotContains(page, "Not catching up")


@pytest.mark.parametrize("applied", [0, 20 * MB])
def test_a_sync_that_does_not_come_nearer_is_told_as_that(sync: Sync, client: Client, applied: int) -> None:
    sync.look(written=100 * MB, applied=0)
    sync.look(written=120 * MB, applied=applied)
    task = sync.task
    assert (task.catching_up, task.eta_at) == (False, None)
    assert shown(task)["catching_up"] is False
    out = StringIO()
    call_command("task", "show", str(task.pk), stdout=out)
    assert "not catching up" in out.getvalue()
    client.force_login(factories.user())
    for page in (reverse("tasks:detail", args=[task.pk]), reverse("tasks:list")):
        assertContains(client.get(page), "Not catching up")


def test_in_sync_there_is_nothing_to_catch_up_with(sync: Sync) -> None:
    sync.look(written=100 * MB, applied=100 * MB, in_sync=True)
    sync.look(written=120 * MB, applied=119 * MB, in_sync=True)
    task = sync.task
    assert (task.catching_up, task.eta_at, task.wal_bytes_per_second) == (None, None, 10 * MB)


def test_slices_too_short_to_measure_anything_go_on_from_each_other(sync: Sync) -> None:
    for number in range(4):
        sync.slice()
        sync.look(written=(100 + 20 * number) * MB, applied=60 * number * MB, rows=300 * number)
    assert sync.task.wal_bytes_per_second == pytest.approx(10 * MB)
    assert sync.task.rows_per_second == pytest.approx(150)


def test_the_database_that_is_farthest_behind_counts_and_the_wal_of_the_source_once(sync: Sync) -> None:
    TaskDatabase.objects.create(
        task=sync.task, source_name="other", target_name="other", source_lsn=1, source_at=1.0, lag_bytes=0
    )
    sync.look(written=100 * MB, applied=0)
    TaskDatabase.objects.filter(source_name="other").update(
        source_lsn=120 * MB, source_at=sync.now + 1.6, lag_bytes=10 * MB
    )
    sync.look(written=119 * MB, applied=60 * MB)
    assert sync.task.wal_bytes_per_second == pytest.approx(20 * MB / 2.1)


def test_what_is_written_and_what_is_applied_go_by_the_clock_of_the_source() -> None:
    host = [1_000.0]
    rates = SyncRates({}, clock=lambda: host[0])

    def see(at: float, written: int, applied: int, rows: int) -> None:
        row = TaskDatabase(source_at=at, source_lsn=written, lag_bytes=written - applied, rows_applied=rows)
        rates.see([row])

    see(5_000.0, 100 * MB, 0, 0)
    host[0] += 50.0  # somebody sets the clock of the worker's host
    see(5_002.0, 120 * MB, 60 * MB, 4_000)
    assert (rates.written, rates.applied, rates.rows) == (10 * MB, 30 * MB, 2_000)


def test_a_pause_forgets_them(sync: Sync) -> None:
    sync.look(written=100 * MB, applied=0)
    sync.look(written=120 * MB, applied=60 * MB)
    work.finish_step(sync.claim, StepName.SYNC)
    task = sync.task
    assert (task.wal_bytes_per_second, task.applied_bytes_per_second, task.catching_up) == (None, None, None)
    assert (task.eta_at, task.rates) == (None, {})


def test_the_rate_of_the_source_has_a_chart(sync: Sync) -> None:
    sync.look(written=100 * MB, applied=0)
    Sample.objects.all().delete()
    sync.slice()
    sync.look(written=120 * MB, applied=0)
    (sample,) = Sample.objects.filter(task=sync.pk)
    assert sample.wal_bytes_per_second == 10 * MB
    (chart,) = [one for one in selectors.charts(sync.task) if one.name == "written"]
    assert (chart.title, chart.last, chart.per_second) == ("WAL rate of the source", 10 * MB, True)
