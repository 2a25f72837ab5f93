"""Pages hold what they show at every width, in both languages: nothing leaves the page, and no chart stands alone."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.urls import reverse
from django.utils import timezone
from playwright.sync_api import Page, expect

from migrations_app.models import MigrationTask, Sample, User
from tests import factories

pytestmark = [pytest.mark.browser, pytest.mark.long, pytest.mark.django_db(transaction=True)]
SignIn = Callable[[], Page]
WIDTHS = (1920, 1366, 1280, 1272, 1270, 1140, 860, 720, 390)
# What each chart is drawn of, in the order in which they stand.
VALUES = {
    "lag_seconds": 4.0,
    "apply_rows_per_second": 640.0,
    "wal_bytes_per_second": 41e6,
    "wal_kept_bytes": 13_100_000_000,
    "copy_bytes_per_second": 41e6,
}


def _beyond(page: Page) -> int:
    return int(page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth"))


_OUT_OF_THE_CARD = """() => {
  const table = document.querySelector("table.tasks"), card = table.closest(".card");
  return Math.round(Math.max(0, table.getBoundingClientRect().right - card.getBoundingClientRect().right));
}"""


def _far_behind() -> None:
    """Tasks whose figures are as long as they come, in each state that has figures."""
    factories.workers()
    now = timezone.now()
    figures: dict[str, Any] = {
        "lag_bytes": 999_000_000_000,
        "lag_seconds": 86_340.0,
        "rows_per_second": 999_900.0,
        "bytes_per_second": 999e6,
        "eta_at": now + timedelta(hours=23, minutes=58, seconds=55),
    }
    long = {"name": "the nightly warehouse of the logistics department", "source": factories.endpoint(host="h" * 60)}
    behind = factories.running_task("sync", **long, **figures, catching_up=True)
    factories.running_task("copy", name="billing move", **figures)
    factories.running_task("sync", name="telemetry", status="ready", **figures, catching_up=False, wal_level="reached")
    lost = factories.running_task("sync", name="loyalty", status="failed", error_code="SRC-SLOTLOST")
    MigrationTask.objects.filter(pk=lost.pk).update(error_message="The slot is lost. " * 20)
    for name in ("later", "newer"):
        factories.new_table(behind, name)
    factories.event(behind, "public.orders is quarantined.", code="TABLE-QUARANTINED")
    factories.table_copy(behind, status="quarantined")
    factories.conflict(factories.running_task("sync", name="desk"))


@pytest.mark.parametrize("language", ["en", "zh-hans"])
def test_the_list_holds_the_longest_figures_at_every_width(sign_in: SignIn, live_server: Any, language: str) -> None:
    page = sign_in()
    User.objects.update(language=language)
    _far_behind()
    found = {}
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 900})
        page.goto(f"{live_server.url}/")
        expect(page.locator("table.tasks tbody tr")).to_have_count(5)
        found[width] = (_beyond(page), page.evaluate(_OUT_OF_THE_CARD))
    assert found == dict.fromkeys(WIDTHS, (0, 0))


@pytest.mark.parametrize("number", range(1, 6))
def test_charts_fill_their_rows_whatever_their_number(sign_in: SignIn, live_server: Any, number: int) -> None:
    page, task = sign_in(), factories.running_task("sync")
    values = dict(list(VALUES.items())[:number])
    for ago in (10, 5):
        Sample.objects.create(task=task, at=timezone.now() - timedelta(seconds=ago), **values)
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 900})
        page.goto(live_server.url + reverse("tasks:detail", args=[task.pk]))
        charts = page.locator("figure.chart")
        expect(charts).to_have_count(number)
        boxes = [box for box in (chart.bounding_box() for chart in charts.all()) if box]
        outer = page.locator(".charts").bounding_box()
        assert outer
        rows: dict[int, list[float]] = {}
        for box in boxes:
            rows.setdefault(round(box["y"]), []).append(box["x"] + box["width"])
        ends = [max(row) for row in rows.values()]
        assert ends == pytest.approx([outer["x"] + outer["width"]] * len(ends), abs=2), f"{number} charts, {width} px"
        assert _beyond(page) <= 0
