"""The ledger on our rows: what is crossed off, and what stays."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace
from typing import Any, TypeVar, cast

import pytest
from django.db import connection

from migrations_app.engine.errors import LeaseLost
from migrations_app.engine.plan import Side
from migrations_app.engine.ports import Kind, LedgerItem
from migrations_app.engine.states import StepName
from migrations_app.models import LedgerEntry, MigrationTask
from migrations_app.runner.ledger import OrmLedger
from migrations_app.runner.recorder import Recorder
from migrations_app.services import work
from tests import factories

T = TypeVar("T")


class AtOnce:
    """A recorder without a thread: the test's own transaction sees what it writes."""

    def call(self, function: Callable[[], T]) -> T:
        return function()

    def start(self, function: Callable[[], T]) -> Future[T]:
        raise NotImplementedError


@pytest.fixture
def ledger(draft: MigrationTask) -> OrmLedger:
    MigrationTask.objects.filter(pk=draft.pk).update(worker="w", epoch=1)
    claim = work.Claim(task_id=str(draft.pk), worker="w", epoch=1)
    return OrmLedger(claim, cast("Recorder", AtOnce()))


def _table(name: str, **changes: Any) -> LedgerItem:
    values = {"side": Side.TARGET, "database": "shop", "kind": Kind.TABLE, "schema": "public", "name": name}
    return LedgerItem(**{**values, **changes})


def test_only_what_is_named_is_crossed_off(ledger: OrmLedger) -> None:
    other_side, other_database = _table("a", side=Side.SOURCE), _table("a", database="crm")
    other_kind, other_schema = _table("a", kind=Kind.OBJECT), _table("a", schema="sales")
    ledger.intend(_table("a"), _table("b"), other_side, other_database, other_kind, other_schema)
    ledger.removed(_table("a"), _table("never made"))
    assert ledger.items() == [_table("b"), other_side, other_database, other_kind, other_schema]


def test_many_are_crossed_off_by_few_statements(ledger: OrmLedger, django_assert_max_num_queries: Any) -> None:
    made = [_table(f"t{number}") for number in range(1200)]
    ledger.intend(*made)
    with django_assert_max_num_queries(4):
        ledger.removed(*made)
    assert ledger.items() == []
    assert LedgerEntry.objects.exclude(removed_at=None).count() == 1200


@pytest.mark.parametrize("change", [OrmLedger.removed, OrmLedger.amend])
def test_a_change_of_one_reads_none_of_the_others_however_many_there_are(
    ledger: OrmLedger, change: Callable[..., None]
) -> None:
    ledger.intend(*(_table(f"t{number}") for number in range(1200)))
    asked: list[tuple[str, Any]] = []

    def note(execute: Callable[..., Any], sql: str, params: Any, many: bool, context: dict[str, Any]) -> Any:
        asked.append((sql, params))
        return execute(sql, params, many, context)

    with connection.execute_wrapper(note):
        change(ledger, _table("never made"))
    [(sql, params)] = [one for one in asked if one[0].startswith("SELECT")]
    with connection.cursor() as cursor:
        cursor.execute(sql, params)
        assert cursor.fetchall() == []


def test_details_of_what_is_recorded_are_replaced(ledger: OrmLedger) -> None:
    ledger.intend(_table("a"), _table("b", detail={"old": 1}))
    ledger.removed(_table("a"))
    ledger.amend(_table("a", detail={"new": 2}), _table("b", detail={"new": 3}))
    assert [(item.name, item.detail) for item in ledger.items()] == [("b", {"new": 3})]
    assert LedgerEntry.objects.get(name="a").detail == {}


def test_a_worker_that_has_lost_the_task_does_not_say_that_its_target_was_opened(ledger: OrmLedger) -> None:
    mark = _table("bookmark", kind=Kind.BOOKMARK)
    ledger.intend(mark)
    MigrationTask.objects.update(epoch=2)
    with pytest.raises(LeaseLost):
        ledger.amend(replace(mark, detail={"opening": True}))
    assert ledger.items()[0].detail == {}


@pytest.mark.django_db
@pytest.mark.parametrize("left", [0, 2])
def test_a_task_completes_with_the_number_of_what_could_not_be_removed(left: int) -> None:
    task = factories.running_task("cleanup", status="completing")
    for number in range(left):
        factories.ledger_entry(task, side="source", kind="replica_identity", name=f"t{number}")
    claim = work.claim_sync(str(task.pk), "here:1:sync")
    assert claim is not None
    assert work.finish_step(claim, StepName.CLEANUP) is None
    told = task.events.get(code="TASK-COMPLETED")
    assert ("nothing of ours is left" in told.message) == (not left)
    assert ("Not removed: 2 things; the task page says how." in told.message) == bool(left)
    assert told.level == ("warning" if left else "info")


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("codes", "late"), [(["TASK-COMPLETING", "SRC-LATE"], True), (["SRC-LATE", "TASK-COMPLETING"], False)]
)
def test_a_completed_task_says_that_the_source_was_written_to_at_the_end(codes: list[str], late: bool) -> None:
    task = factories.running_task("cleanup", status="completing")
    for code in codes:
        factories.event(task, code=code)
    claim = work.claim_sync(str(task.pk), "here:1:sync")
    assert claim is not None
    work.finish_step(claim, StepName.CLEANUP)
    told = task.events.get(code="TASK-COMPLETED")
    assert ("at the very end is not on the target" in told.message) == late
    assert told.level == ("warning" if late else "info")
