"""Points of a task's life: written while a worker has it, thinned with age, drawn as lines."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from pytest_django.asserts import assertContains, assertNotContains

from migrations_app import selectors, services
from migrations_app.engine.replication.governor import WINDOW_SECONDS
from migrations_app.models import MigrationTask, Sample
from migrations_app.runner.samples import Sampler
from migrations_app.sample_ages import spacing
from migrations_app.services import work
from migrations_app.services.work import dispatching
from tests import factories

pytestmark = pytest.mark.django_db


def _fill(task: MigrationTask, now: datetime, *, seconds: int, every: int, **values: float) -> None:
    Sample.objects.bulk_create(
        Sample(task=task, at=now - timedelta(seconds=age), **(values or {"lag_seconds": 1.0}))
        for age in range(0, seconds, every)
    )


def test_four_weeks_stay_a_few_hundred_points_and_the_last_minutes_stay_whole() -> None:
    task, now = factories.running_task("sync", status="ready"), timezone.now()
    _fill(task, now, seconds=28 * 86_400, every=300)
    _fill(task, now, seconds=290, every=5)
    services.thin_samples(now)
    assert Sample.objects.filter(task=task).count() < 700
    assert Sample.objects.filter(task=task, at__gt=now - timedelta(seconds=290)).count() >= 58
    assert services.thin_samples(now) == 0


_FIGURES = (
    "lag_bytes",
    "lag_seconds",
    "apply_rows_per_second",
    "copy_bytes_per_second",
    "wal_bytes_per_second",
    "wal_kept_bytes",
)


def test_points_over_which_the_growth_of_wal_is_measured_stay_as_they_were_measured() -> None:
    assert spacing(WINDOW_SECONDS) == 0


@pytest.mark.parametrize("figure", _FIGURES)
def test_a_peak_outlives_all_thinning(figure: str) -> None:
    task, now = factories.running_task("sync"), timezone.now()
    _fill(task, now, seconds=1800, every=5, **{figure: 1})
    Sample.objects.create(task=task, at=now - timedelta(seconds=28), **{figure: 421})
    for later in (0, 600, 7_200, 50_000):
        at = now + timedelta(seconds=later)
        _fill(task, at, seconds=5, every=5, **{figure: 1})
        services.thin_samples(at)
    assert [row for row in Sample.objects.filter(task=task).values_list(figure, flat=True) if row == 421] == [421]


def test_figures_of_other_samples_of_a_slot_are_kept_beside_each_other() -> None:
    task, now = factories.running_task("sync"), timezone.now()
    slot = datetime(2026, 5, 4, 3, 0, tzinfo=UTC)
    for second, values in enumerate(
        ({"copy_bytes_per_second": 7.0}, {"copy_bytes_per_second": 9.0}, {"lag_seconds": 3.0})
    ):
        Sample.objects.create(task=task, at=slot + timedelta(seconds=second * 5), **values)
    Sample.objects.create(task=task, at=now, lag_seconds=0.0)
    services.thin_samples(now)
    kept = Sample.objects.filter(task=task).first()
    assert kept is not None
    assert (kept.at, kept.copy_bytes_per_second, kept.lag_seconds, kept.wal_kept_bytes) == (slot, 9.0, 3.0, None)


def test_the_dispatcher_thins_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    task, now = factories.running_task("sync", status="ready", foreground=True), timezone.now()
    _fill(task, now, seconds=1800, every=5)
    monkeypatch.setattr(dispatching, "_thinned", [float("-inf")])
    work.dispatch()
    thinned = Sample.objects.filter(task=task).count()
    assert thinned < 180
    _fill(task, now - timedelta(seconds=900), seconds=100, every=5)
    work.dispatch()
    assert Sample.objects.filter(task=task).count() == thinned + 20


def test_points_of_an_ended_task_are_left_alone() -> None:
    task, now = factories.task(status="completed"), timezone.now()
    _fill(task, now - timedelta(hours=20), seconds=600, every=5)
    assert services.thin_samples(now) == 0


def test_a_sample_is_written_every_few_seconds_with_what_the_source_keeps() -> None:
    task, clock = factories.running_task("sync"), [100.0]
    sampler = Sampler(task.pk, clock=lambda: clock[0])
    sampler.kept(5_000)
    for _ in range(3):
        sampler.sync(lag_bytes=10, lag_seconds=0.5, rows_per_second=7.0)
        clock[0] += 1
    assert Sample.objects.filter(task=task).count() == 1
    clock[0] += 5
    sampler.copy(bytes_per_second=9.0)
    sampler.copy(bytes_per_second=None)
    first, second = Sample.objects.filter(task=task)
    assert (first.lag_seconds, first.apply_rows_per_second, first.wal_kept_bytes) == (0.5, 7.0, 5_000)
    assert (second.copy_bytes_per_second, second.wal_kept_bytes) == (9.0, 5_000)


def test_short_slices_write_no_more_than_one_long_one() -> None:
    task = factories.running_task("sync")
    for _ in range(4):
        Sampler(task.pk).sync(lag_bytes=0, lag_seconds=0.0, rows_per_second=None)
    assert Sample.objects.filter(task=task).count() == 1


def test_charts_stay_inside_their_box_and_say_their_last_value() -> None:
    task, now = factories.running_task("sync"), timezone.now()
    for number in range(1000):
        Sample.objects.create(task=task, at=now - timedelta(seconds=5 * (1000 - number)), lag_seconds=float(number))
    (chart,) = selectors.charts(task)
    points = [tuple(map(float, spot.split(","))) for line in chart.lines for spot in line.points.split()]
    assert len(points) <= 240
    assert all(0 <= x <= 600 and 0 <= y <= 120 for x, y in points)
    assert (chart.last, chart.highest) == (999.0, 999.0)
    assert len(chart.values) <= 12


def test_a_pause_is_a_gap_and_not_a_line() -> None:
    task, now = factories.running_task("sync"), timezone.now()
    _fill(task, now, seconds=100, every=5)
    _fill(task, now - timedelta(seconds=240), seconds=50, every=5)
    (chart,) = selectors.charts(task)
    assert len(chart.lines) == 2


@pytest.mark.parametrize("value", [0.0, 1e15])
def test_flat_lines_are_drawn(value: float) -> None:
    task = factories.running_task("copy")
    _fill(task, timezone.now(), seconds=50, every=5, copy_bytes_per_second=value)
    (chart,) = selectors.charts(task)
    assert chart.lines


def test_a_single_point_is_drawn_wide_enough_to_be_seen() -> None:
    task = factories.running_task("copy")
    Sample.objects.create(task=task, copy_bytes_per_second=1.0)
    (chart,) = selectors.charts(task)
    first, last = [tuple(map(float, spot.split(","))) for spot in chart.lines[0].points.split()]
    assert last[0] - first[0] >= 5
    assert (chart.last, chart.highest, len(chart.values)) == (1.0, 1.0, 1)


def test_all_charts_of_a_task_begin_and_end_together() -> None:
    task, now = factories.running_task("sync"), timezone.now()
    Sample.objects.create(task=task, at=now - timedelta(hours=1), copy_bytes_per_second=9.0)
    _fill(task, now, seconds=120, every=5, lag_seconds=2.0)
    lag, copy = selectors.charts(task)
    assert (lag.begin, lag.end) == (copy.begin, copy.end) == (now - timedelta(hours=1), now)
    assert all(float(spot.split(",")[0]) > 500 for line in lag.lines for spot in line.points.split())


def test_the_page_draws_them_with_words_and_a_table(client: Client) -> None:
    client.force_login(factories.user())
    task, now = factories.running_task("sync"), timezone.now()
    url = reverse("tasks:detail", args=[task.id])
    assertNotContains(client.get(url), "<polyline")
    _fill(task, now, seconds=60, every=5, lag_seconds=0.5, wal_kept_bytes=41_000_000)
    page = client.get(url)
    for words in ("WAL kept on the source", "41 MB", "highest 0.5 s", "<polyline", "<desc", "Values"):
        assertContains(page, words)
    assertNotContains(page, "style=")
