"""What the tables of a task are sorted by where no column holds it: what a page computes, in the database's words."""

from __future__ import annotations

from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Case, DateTimeField, F, FloatField, Func, Q, QuerySet, Value, When
from django.db.models.expressions import CombinedExpression
from django.db.models.functions import Cast, Coalesce
from django.db.models.sql.compiler import SQLCompiler
from django.utils import timezone

from ..engine.ports import TableStatus
from ..models import TableCopy

_MOVING = [status.value for status in (TableStatus.COPYING, TableStatus.COPIED, TableStatus.INDEXING)]
_LEAST_SECONDS = 0.5


class _Seconds(Func):
    """The time from the first to the second moment in seconds. SQLite computes it without calling Python per row."""

    output_field = FloatField()

    def as_sqlite(self, compiler: SQLCompiler, connection: BaseDatabaseWrapper, **_: Any) -> Any:
        return super().as_sql(
            compiler, connection, template="((julianday(%(expressions)s)) * 86400.0)", arg_joiner=") - julianday("
        )

    def as_postgresql(self, compiler: SQLCompiler, connection: BaseDatabaseWrapper, **_: Any) -> Any:
        return super().as_sql(
            compiler, connection, template="EXTRACT(EPOCH FROM (%(expressions)s))::float8", arg_joiner=" - "
        )


def with_key(rows: QuerySet[TableCopy], column: str, *, stopped: bool) -> QuerySet[TableCopy]:
    """Return the tables with `key`, what `column` shows of each: took, progress, rate or eta. NULL: it shows nothing.

    `stopped`: the task does nothing now, so that what was on its way has neither a rate nor a time left.
    """
    if column == "took":
        return rows.annotate(key=_Seconds(F("finished_at"), F("started_at")))
    if column == "progress":
        return rows.annotate(key=_progress())
    now = Value(timezone.now(), output_field=DateTimeField())
    rows = rows.annotate(seconds=_Seconds(Coalesce("finished_at", now), F("started_at")))
    told = Q(seconds__gt=_LEAST_SECONDS, bytes_done__gt=0)
    if stopped:
        told &= ~Q(status__in=_MOVING)
    if column == "rate":
        return rows.annotate(key=_where(told, _real("bytes_done") / F("seconds")))
    told &= Q(status=TableStatus.COPYING.value, bytes_total__gt=F("bytes_done"))
    return rows.annotate(key=_where(told, (_real("bytes_total") / _real("bytes_done") - Value(1.0)) * F("seconds")))


def _progress() -> Case:
    """The part of a table that has been copied, 0 to 1."""
    return Case(
        When(~Q(status__in=[TableStatus.WAITING.value, *_MOVING]), then=Value(1.0)),
        When(bytes_total__gt=0, then=_real("bytes_done") / _real("bytes_total")),
        default=Value(0.0),
        output_field=FloatField(),
    )


def _where(told: Q, value: CombinedExpression) -> Case:
    return Case(When(told, then=value), default=Value(None), output_field=FloatField())


def _real(name: str) -> Cast:
    return Cast(name, FloatField())
