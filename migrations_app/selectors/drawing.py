"""Charts of a task's life as coordinates: drawn on the server, so that pages need neither a library nor a script."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from itertools import pairwise

from django.utils import timezone
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from ..engine.values import frozen
from ..models import MigrationTask, Sample
from ..sample_ages import spacing

WIDTH, HEIGHT = 600, 120
_POINTS = 240
_VALUES = 12
_LONGEST_GAP = 30.0
_DOT = 6  # how wide a point without neighbours is drawn

Value = Callable[[Sample], float | None]
Point = tuple[datetime, float]


@frozen
class ChartPoint:
    """One line of the table behind a chart."""

    at: datetime
    value: float


@frozen
class ChartLine:
    """One unbroken stretch: the points of an SVG polyline, and of the polygon below it."""

    points: str
    area: str


@frozen
class Chart:
    """One value over time, in a box of WIDTH by HEIGHT. `unit`: seconds, rows or bytes."""

    name: str
    title: str
    unit: str
    per_second: bool
    lines: list[ChartLine]
    last: float
    highest: float
    top: float
    begin: datetime
    end: datetime
    values: list[ChartPoint]


_CHARTS: list[tuple[str, Promise, str, bool, Value]] = [
    ("lag", _("Lag"), "seconds", False, lambda sample: sample.lag_seconds),
    ("apply", _("Apply rate"), "rows", True, lambda sample: sample.apply_rows_per_second),
    ("written", _("WAL rate of the source"), "bytes", True, lambda sample: sample.wal_bytes_per_second),
    ("wal", _("WAL kept on the source"), "bytes", False, lambda sample: sample.wal_kept_bytes),
    ("copy", _("Copy rate"), "bytes", True, lambda sample: sample.copy_bytes_per_second),
]


def charts(task: MigrationTask) -> list[Chart]:
    """Return the charts for which there is a point, all from the first to the last point of the task's life.

    One span for all of them: what stands above each other happened at the same time.
    """
    samples = list(Sample.objects.filter(task=task).order_by("at", "pk"))
    drawn = [(chart, points) for chart in _CHARTS if (points := _points(samples, chart[-1]))]
    if not drawn:
        return []
    begin, end = min(points[0][0] for _, points in drawn), max(points[-1][0] for _, points in drawn)
    return [_chart(points, begin, end, name, str(title), unit, rate) for (name, title, unit, rate, _), points in drawn]


def _points(samples: list[Sample], value: Value) -> list[Point]:
    return [(sample.at, float(found)) for sample in samples if (found := value(sample)) is not None]


def _chart(points: list[Point], begin: datetime, end: datetime, name: str, title: str, unit: str, rate: bool) -> Chart:
    points = _fewer(points, _POINTS)
    highest = max(number for _, number in points)
    top = highest or 1.0
    return Chart(
        name=name,
        title=title,
        unit=unit,
        per_second=rate,
        lines=[_line(part, begin, end, top) for part in _parts(points)],
        last=points[-1][1],
        highest=highest,
        top=top,
        begin=begin,
        end=end,
        values=[ChartPoint(at=at, value=number) for at, number in reversed(_fewer(points, _VALUES))],
    )


def _fewer(points: list[Point], most: int) -> list[Point]:
    """Return at most `most` points: the highest of each stretch, and always the last."""
    if len(points) <= most:
        return points
    size = -(-len(points) // (most - 1))
    kept = [max(points[at : at + size], key=lambda point: point[1]) for at in range(0, len(points) - 1, size)]
    return [*kept, points[-1]] if kept[-1] != points[-1] else kept


def _parts(points: list[Point]) -> list[list[Point]]:
    """Split where no worker looked: a line across a pause would claim to know what nobody measured."""
    now, parts = timezone.now(), [[points[0]]]
    usual = (points[-1][0] - points[0][0]) / max(1, len(points) - 1)
    for before, point in pairwise(points):
        wanted = max(spacing((now - before[0]).total_seconds()) * 3, _LONGEST_GAP)
        if point[0] - before[0] > max(timedelta(seconds=wanted), usual * 4):
            parts.append([])
        parts[-1].append(point)
    return parts


def _line(points: list[Point], begin: datetime, end: datetime, top: float) -> ChartLine:
    span = (end - begin).total_seconds() or 1.0
    spots = [
        (round(WIDTH * (at - begin).total_seconds() / span, 1), round(HEIGHT - (HEIGHT - 4) * number / top, 1))
        for at, number in points
    ]
    if len(spots) == 1:
        (x, y) = spots[0]
        x = min(x, WIDTH - _DOT)
        spots = [(x, y), (x + _DOT, y)]
    drawn = " ".join(f"{x:g},{y:g}" for x, y in spots)
    return ChartLine(points=drawn, area=f"{spots[0][0]:g},{HEIGHT} {drawn} {spots[-1][0]:g},{HEIGHT}")
