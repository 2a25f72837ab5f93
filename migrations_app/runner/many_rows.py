"""Writes very many rows of one kind: a run has a row for each of its tables, and stores each of them three times.

Django's own way makes an object of each row and a new statement for each lot, which takes ten times as long.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

from django.db import connection, models, transaction

_PLAIN = (models.CharField, models.TextField, models.BigIntegerField, models.BooleanField)


def write_rows(
    model: type[models.Model],
    names: Sequence[str],
    rows: Sequence[Sequence[Any]],
    *,
    key: Sequence[str] = (),
    once: Collection[str] = (),
) -> None:
    """Insert rows, all or none; `names` are their fields, and no others may need a value.

    Where a row stands under the same `key`, the fields of a unique constraint, it is updated, but for what it already
    has of the fields in `once`; without a key such a row is left as it is. Raises what the database raises.
    """
    if not rows:
        return
    fields = [_field(model, name) for name in names]
    columns = [_quoted(field.column) for field in fields]
    table, unique = _quoted(model._meta.db_table), [_quoted(_field(model, name).column) for name in key]
    updates = [
        f"{column} = coalesce({table}.{column}, excluded.{column})" if name in once else f"{column} = excluded.{column}"
        for name, column in zip(names, columns, strict=True)
        if column not in unique
    ]
    conflict = f"({', '.join(unique)}) DO UPDATE SET {', '.join(updates)}" if key else "DO NOTHING"
    statement = (
        f"INSERT INTO {table} ({', '.join(columns)})"  # noqa: S608 - our own names
        f" VALUES ({', '.join(['%s'] * len(columns))}) ON CONFLICT {conflict}"
    )
    prepare = [_preparation(field) for field in fields]
    values = [[made(value) for made, value in zip(prepare, row, strict=True)] for row in rows]
    with transaction.atomic(savepoint=False), connection.cursor() as cursor:
        cursor.executemany(statement, values)


def _field(model: type[models.Model], name: str) -> Any:
    return model._meta.get_field(name)


def _quoted(name: str) -> str:
    return connection.ops.quote_name(name)


def _preparation(field: Any) -> Callable[[Any], Any]:
    """Return what makes of a value what the database takes; of words it must be `str` itself, no kind of it."""
    if isinstance(field, models.CharField | models.TextField):
        return lambda value: None if value is None else str(value)
    if isinstance(field, _PLAIN):
        return lambda value: value
    return lambda value: field.get_db_prep_save(value, connection)
