"""The ledger keeps the numbers of large objects as runs, and spells out only those that somebody looks at."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

from migrations_app.engine.large_object_numbers import Ours, Span, items_of, numbers_of
from migrations_app.engine.outcome import Run
from migrations_app.engine.plan import Side
from migrations_app.engine.ports import Kind, LedgerItem
from tests.fakes import FakeLedger


def a_run() -> Run:
    return cast(Run, SimpleNamespace(ports=SimpleNamespace(ledger=FakeLedger())))


def claimed(run: Run, numbers: Any) -> list[LedgerItem]:
    Ours(run, "shop").claim(numbers)
    return items_of(run, "shop")


def test_numbers_that_follow_each_other_take_the_room_of_two() -> None:
    (item,) = claimed(a_run(), [*range(100, 90_000), 7, 90_001])
    assert item.detail == {"numbers": "7 100-89999 90001"}
    assert item.name == "7-90001"
    assert list(numbers_of(item)) == [7, *range(100, 90_000), 90_001]


def test_nothing_is_claimed_when_there_is_nothing_to_claim() -> None:
    assert claimed(a_run(), ()) == []


def test_only_what_lies_in_a_span_is_ours_there() -> None:
    run = a_run()
    claimed(run, range(1, 11))
    claimed(run, [20, 25, 4_294_967_295])
    ours = Ours(run, "shop")
    assert ours.within(Span(after=8, last=20)) == {9, 10, 20}
    assert ours.within(Span(after=25)) == {4_294_967_295}
    assert ours.within(Span()) == {*range(1, 11), 20, 25, 4_294_967_295}


def test_what_a_task_wrote_that_began_before_there_were_runs_is_understood() -> None:
    run = a_run()
    run.ports.ledger.intend(
        LedgerItem(side=Side.TARGET, database="shop", kind=Kind.LARGE_OBJECTS, name="3-9", detail={"oids": [3, 5, 9]})
    )
    assert Ours(run, "shop").within(Span(after=3)) == {5, 9}
