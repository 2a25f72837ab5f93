"""Very many rows at once. The measured installation keeps them in SQLite, which makes most of them itself."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.db import connection, transaction
from django.db.models import Field, Model


def store(rows: Iterable[Model]) -> None:
    """Insert rows of one model with one prepared statement. Keys that the database would give stay unknown."""
    given = iter(rows)
    first = next(given)
    fields = _fields(first)
    statement = f"{_insert(first, fields)} VALUES ({', '.join(['%s'] * len(fields))})"
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement, _values(first, fields))
        cursor.executemany(statement, (_values(row, fields) for row in given))


def multiply(row: Model, number: int, **columns: str) -> None:
    """Insert `number` rows that are like `row`, but for the columns given: each is SQL about n, which counts from 0."""
    counted = f"WITH RECURSIVE counted(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM counted WHERE n < {number - 1})"
    _select(row, counted, "counted", columns)


def for_each(table: str, row: Model, **columns: str) -> None:
    """Insert one row for each of another table, like `row` but for the columns given, as SQL about that table."""
    _select(row, "", table, columns)


def _select(row: Model, head: str, table: str, columns: dict[str, str]) -> None:
    fields = _fields(row)
    by_name = dict(zip((each.attname for each in fields), _values(row, fields), strict=True))
    constant = [value for name, value in by_name.items() if name not in columns]
    places = [columns[name].replace("%", "%%") if name in columns else "%s" for name in by_name]
    with connection.cursor() as cursor:
        cursor.execute(f"{head} {_insert(row, fields)} SELECT {', '.join(places)} FROM {table}", constant)


def _fields(row: Model) -> list[Field[Any, Any]]:
    return [
        each
        for each in row._meta.concrete_fields
        if not getattr(each, "generated", False) and not (each.primary_key and row.pk is None)
    ]


def _values(row: Model, fields: list[Field[Any, Any]]) -> list[object]:
    return [each.get_db_prep_save(getattr(row, each.attname), connection) for each in fields]


def _insert(row: Model, fields: list[Field[Any, Any]]) -> str:
    quote = connection.ops.quote_name
    return f"INSERT INTO {quote(row._meta.db_table)} ({', '.join(quote(each.column) for each in fields)})"
