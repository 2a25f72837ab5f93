"""The retry window measures one outage, not the sum of all outages of a task's life."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from django.utils import timezone

from migrations_app import services
from migrations_app.engine.errors import ConnectionLost
from migrations_app.engine.ports import DatabaseState, TableState, TableStatus
from migrations_app.engine.states import StepName
from migrations_app.management.cli.output import progress_line, told_since
from migrations_app.models import MigrationTask, User
from migrations_app.runner.ports import OrmStore
from migrations_app.runner.rate import Lasting
from migrations_app.services import work
from tests import factories


class _Here:
    """A recorder that writes in the caller's thread."""

    def call(self, write):  # type: ignore[no-untyped-def]
        return write()


pytestmark = pytest.mark.django_db


@pytest.fixture
def store(checked: MigrationTask, alice: User) -> OrmStore:
    """The store of a task that has been failing for an hour."""
    services.start_task(task_id=checked.pk, actor=alice)
    claim = work.claim_migration("here:1:migrate")
    assert claim
    hour_ago = timezone.now() - timedelta(hours=1)
    MigrationTask.objects.filter(pk=checked.pk).update(failing_since=hour_ago, tries=9, error_code="RUN-RETRY")
    return OrmStore(claim, _Here(), {})  # type: ignore[arg-type]


def synced(position: int) -> DatabaseState:
    return DatabaseState(
        source_name="shop", target_name="shop", bookmark=position, lag_bytes=1 << 30, lag_seconds=900.0
    )


def test_a_sync_that_moves_forward_begins_a_new_window_though_it_is_far_behind(
    store: OrmStore, checked: MigrationTask
) -> None:
    store.current = StepName.SYNC
    store.save_database(synced(1000))
    store.save_database(synced(2000))
    checked.refresh_from_db()
    assert (checked.failing_since, checked.tries, checked.error_code) == (None, 0, "")


def test_a_sync_that_stands_still_stays_in_its_window(store: OrmStore, checked: MigrationTask) -> None:
    store.current = StepName.SYNC
    store.save_database(synced(1000))
    store.save_database(synced(1000))
    checked.refresh_from_db()
    assert checked.failing_since is not None
    assert checked.tries == 9


@pytest.mark.parametrize(("status", "moves"), [(TableStatus.COPIED, True), (TableStatus.COPYING, False)])
def test_a_copy_that_finishes_a_table_begins_a_new_window(
    store: OrmStore, checked: MigrationTask, status: TableStatus, moves: bool
) -> None:
    store.current = StepName.COPY
    store.save_tables(TableState(database="shop", schema="public", name="orders", oid=1, status=status))
    checked.refresh_from_db()
    assert (checked.failing_since is None) == moves


@pytest.mark.parametrize(("sizes", "moves"), [((100, 200), True), ((100, 100), False), ((200, 100), False)])
def test_a_table_that_takes_long_begins_a_new_window_once_its_rows_have_passed_for_a_while(
    store: OrmStore, checked: MigrationTask, sizes: tuple[int, ...], moves: bool
) -> None:
    store.current, clock = StepName.COPY, [0.0]
    store._passing = Lasting(60, lambda: clock[0])
    giant = TableState(database="shop", schema="public", name="giant", oid=1, status=TableStatus.COPYING)
    for size in sizes:
        checked.refresh_from_db()
        assert checked.failing_since is not None
        store.table_progress(replace(giant, bytes_done=size))
        store.flush()
        clock[0] += 61
    checked.refresh_from_db()
    assert (checked.failing_since is None) == moves


def test_the_progress_of_a_foreground_run_says_what_is_tried_again(store: OrmStore, checked: MigrationTask) -> None:
    checked.refresh_from_db()
    checked.error_message = "Lost the connection to the source. Trying again in 8 s (try 4, gives up 14:01 UTC)."
    assert checked.error_message in progress_line(checked)
    checked.failing_since = None
    assert checked.error_message not in progress_line(checked)


def test_a_foreground_run_tells_errors_that_do_not_end_it_once_as_they_come(checked: MigrationTask) -> None:
    task_id = str(checked.pk)
    last, _ = told_since(task_id, 0)
    factories.event(checked, "All is well.")
    factories.event(checked, "It is slow.", level="warning", code="WAL-WARNING")
    factories.event(checked, "It has failed.", level="error", code="DST-ERROR", to_status="failed")
    factories.event(checked, "No key\x1b[2K.", level="error", code="SRC-IDENTITY")
    after, told = told_since(task_id, last)
    assert told == ["ERROR SRC-IDENTITY: No key\\x1b[2K."]
    assert told_since(task_id, after) == (after, [])


@pytest.mark.parametrize(("waited", "again"), [(0.0, True), (3600.0, True), (7200.0, False)])
def test_what_was_waited_inside_a_run_counts_into_the_window(
    checked: MigrationTask, waited: float, again: bool
) -> None:
    services.start_task(task_id=checked.pk, actor=None)
    claim = work.claim_migration("here:1:migrate")
    assert claim
    lost = ConnectionLost("Nothing accepts connections.")
    lost.failing_for = waited
    assert work.fail(claim, StepName.COPY, lost) is again
    checked.refresh_from_db()
    if again:
        assert checked.failing_since
        assert timezone.now() - checked.failing_since >= timedelta(seconds=waited)
    else:
        assert checked.status == "failed"
