"""What is kept of a table's way through the copy: small ones write it down only when there is something to see."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from django.utils import timezone

from migrations_app import services
from migrations_app.engine.ports import TableState, TableStatus
from migrations_app.engine.rows_file import RowsFile, rows_file
from migrations_app.engine.states import StepName
from migrations_app.models import MigrationTask, TableCopy, User
from migrations_app.runner.ports import OrmStore
from migrations_app.runner.rate import Average
from migrations_app.services import work

from .test_retry_window import _Here

pytestmark = pytest.mark.django_db
ORDERS = TableState(database="shop", schema="public", name="orders", oid=1)


@pytest.fixture
def store(checked: MigrationTask, alice: User) -> OrmStore:
    """The store of a task whose copy has begun, with one table."""
    services.start_task(task_id=checked.pk, actor=alice)
    claim = work.claim_migration("here:1:migrate")
    assert claim
    made = OrmStore(claim, _Here(), {})  # type: ignore[arg-type]
    made.current = StepName.COPY
    made.save_tables(ORDERS)
    return made


def test_a_table_whose_rows_move_is_shown_as_being_copied(store: OrmStore) -> None:
    store.table_progress(replace(ORDERS, status=TableStatus.COPYING, rows_done=5, bytes_done=50))
    store.flush()
    row = TableCopy.objects.get()
    assert (row.status, row.rows_done, row.bytes_done) == ("copying", 5, 50)
    assert row.started_at is not None


def test_what_a_copy_remembers_of_the_source_is_kept_with_it(store: OrmStore) -> None:
    rows = RowsFile(file=2**48 - 1, width=1600, computed=2**32 - 1)
    numbers = (("id", 1), ("größe", 4), rows.entry)
    copied = replace(ORDERS, status=TableStatus.COPIED, published_by=(7, 9), numbers=numbers)
    store.save_tables(copied)
    assert store.tables("shop") == [copied]
    assert rows_file(store.tables("shop")[0].numbers) == rows
    store.save_tables(replace(copied, numbers=()))
    assert store.tables("shop") == [replace(copied, numbers=())]


def test_the_number_of_a_column_whose_name_is_no_text_is_not_kept(store: OrmStore) -> None:
    store.save_tables(replace(ORDERS, numbers=(("id", 1), ("gr\udcf6\udcdfe", 2))))
    assert store.tables("shop") == [replace(ORDERS, numbers=(("id", 1),))]


def test_counts_that_come_late_do_not_bring_a_finished_table_back(store: OrmStore) -> None:
    store.save_tables(replace(ORDERS, status=TableStatus.COPIED, rows_done=9))
    store.table_progress(replace(ORDERS, status=TableStatus.COPYING, rows_done=5))
    store.flush()
    row = TableCopy.objects.get()
    assert (row.status, row.rows_done) == ("copied", 9)


def test_a_table_that_is_finished_ends_once_and_begins_anew_when_it_is_copied_again(store: OrmStore) -> None:
    store.save_tables(replace(ORDERS, status=TableStatus.COPIED))
    store.save_tables(replace(ORDERS, status=TableStatus.DONE))
    first = TableCopy.objects.get()
    store.save_tables(replace(ORDERS, status=TableStatus.DONE, rows_done=3))
    again = TableCopy.objects.get()
    assert (again.started_at, again.finished_at, again.rows_done) == (first.started_at, first.finished_at, 3)
    store.save_tables(replace(ORDERS, status=TableStatus.COPYING))
    anew = TableCopy.objects.get()
    assert first.started_at is not None
    assert anew.started_at is not None
    assert anew.started_at > first.started_at
    assert anew.finished_at is None


def test_a_table_that_was_over_before_anybody_looked_has_a_beginning_too(store: OrmStore) -> None:
    store.save_tables(replace(ORDERS, status=TableStatus.COPIED, rows_done=9))
    store.save_tables(replace(ORDERS, status=TableStatus.DONE, rows_done=9))
    row = TableCopy.objects.get()
    assert row.started_at is not None
    assert row.finished_at is not None


def test_a_comparison_tells_its_speed_and_its_end(store: OrmStore) -> None:
    store.current, clock = StepName.COMPARE, [0.0]
    store._compared = Average(lambda: clock[0])
    began = timezone.now()
    for clock[0], done in ((0.0, 0), (100.0, 50_000_000)):
        store.step_progress(done, 150_000_000, "comparing")
        store.flush()
    task = MigrationTask.objects.get()
    assert task.bytes_per_second == 500_000
    assert task.eta_at is not None
    assert began <= task.eta_at - timedelta(seconds=200) <= timezone.now()
