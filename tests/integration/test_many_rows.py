"""Very many rows are written by one statement, as Django's own way would write them."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db import IntegrityError
from django.utils import timezone

from migrations_app.engine.ports import Kind, TableStatus
from migrations_app.models import LedgerEntry, MigrationTask, TableCopy
from migrations_app.runner.many_rows import write_rows

pytestmark = pytest.mark.django_db
NAMES = ["task", "database", "schema", "name", "oid", "status", "bytes_total", "rows_estimate", "bytes_done"]
NAMES += ["rows_done", "watermark", "unlogged", "published_by", "numbers"]
KEY = ["task", "database", "schema", "name"]


def row(task: MigrationTask, name: str, **changes: Any) -> list[Any]:
    values = {
        **{"task": task.pk, "database": "shop", "schema": 'we"ird %s', "name": name, "oid": 2**31 + 5},
        **{"status": TableStatus.COPIED, "bytes_total": 10, "rows_estimate": 3, "bytes_done": 2**40},
        **{"rows_done": 4, "watermark": None, "unlogged": True, "published_by": [7], "numbers": []},
        **changes,
    }
    return [values[field] for field in NAMES]


def test_a_row_has_what_it_was_given(draft: MigrationTask) -> None:
    write_rows(TableCopy, NAMES, [row(draft, "a"), row(draft, "ü ? {}", watermark=7)], key=KEY)
    first, second = TableCopy.objects.order_by("id")
    assert (first.task_id, first.schema, first.name, first.oid) == (draft.pk, 'we"ird %s', "a", 2**31 + 5)
    assert (first.status, first.bytes_done, first.watermark, first.unlogged) == ("copied", 2**40, None, True)
    assert (second.name, second.watermark, second.started_at, second.published_by) == ("ü ? {}", 7, None, [7])


def test_a_row_under_the_same_key_is_updated_in_what_is_named(draft: MigrationTask) -> None:
    began = timezone.now()
    write_rows(TableCopy, [*NAMES, "started_at"], [[*row(draft, "a"), began]], key=KEY)
    before = TableCopy.objects.get()
    write_rows(TableCopy, NAMES, [row(draft, "a", status=TableStatus.DONE, rows_done=9)], key=KEY)
    after = TableCopy.objects.get()
    assert (after.pk, after.status, after.rows_done, after.started_at) == (before.pk, "done", 9, began)


def test_what_is_to_be_written_once_stays(draft: MigrationTask) -> None:
    began = timezone.now()
    later = began + timedelta(seconds=1)
    names = [*NAMES, "started_at", "finished_at"]
    write_rows(TableCopy, names, [[*row(draft, "a"), began, None]], key=KEY)
    write_rows(TableCopy, names, [[*row(draft, "a"), later, later]], key=KEY, once={"started_at", "finished_at"})
    known = TableCopy.objects.get()
    assert (known.started_at, known.finished_at) == (began, later)


def test_without_a_key_a_row_that_stands_is_left_as_it_is(draft: MigrationTask) -> None:
    names = ["task", "side", "database", "kind", "schema", "name", "detail", "made_at"]
    now = timezone.now()

    def entry(name: str, **detail: Any) -> list[Any]:
        return [draft.pk, "target", "shop", Kind.TABLE, "public", name, detail, now]

    write_rows(LedgerEntry, names, [entry("a", first={"x": [1, None]})])
    write_rows(LedgerEntry, names, [entry("a", second=True), entry("b")])
    assert list(LedgerEntry.objects.values_list("name", "kind", "detail", "made_at")) == [
        ("a", "table", {"first": {"x": [1, None]}}, now),
        ("b", "table", {}, now),
    ]


def test_all_rows_are_written_or_none(draft: MigrationTask, transactional_db: None) -> None:
    with pytest.raises(IntegrityError):
        write_rows(TableCopy, NAMES, [row(draft, "a"), row(draft, "b", status=None)], key=KEY)
    assert TableCopy.objects.count() == 0


def test_very_many_rows_take_one_statement(draft: MigrationTask, django_assert_num_queries: Any) -> None:
    with django_assert_num_queries(1):
        write_rows(TableCopy, NAMES, [row(draft, f"t{number}") for number in range(1500)], key=KEY)
    assert TableCopy.objects.count() == 1500
