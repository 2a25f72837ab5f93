"""The seconds that an item shows are its own: waiting for another item is none of them. Without any server."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest

from migrations_app.engine.checks import context as contexts
from migrations_app.engine.checks import run as runs
from migrations_app.engine.checks.context import Context
from migrations_app.engine.checks.registry import ITEMS, Finding, Item, failed, passed
from migrations_app.engine.plan import Plan, Server, Side
from migrations_app.engine.selection import Selection
from migrations_app.engine.wording import say
from tests.fakes import FakeControl

CODES = {Side.SOURCE: "source-login", Side.TARGET: "target-login"}


class Clock:
    """Stands still unless it is set on."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


class Busy:
    """A lock that another item holds for 10 seconds."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def __enter__(self) -> None:
        self._clock.now += 10

    def __exit__(self, *_: object) -> None:
        pass


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    for module in (contexts, runs):
        monkeypatch.setattr(module, "time", clock)
    return clock


@pytest.fixture
def context() -> Iterator[Context]:
    nobody = Server(host="h", port=1, user="x")
    plan = Plan(
        key="0badcafe",
        epoch=1,
        source=nobody,
        target=nobody,
        databases=(),
        selection=Selection.everything(),
        incremental=True,
        work_dir=Path("/dev/null/none"),
    )
    with Context(plan, FakeControl()) as context:
        yield context


def job(look: Callable[[Context], Finding], side: Side = Side.SOURCE) -> Any:
    return runs._Job((0, -1), Item(info=ITEMS[CODES[side]].info, look=look))


def test_the_wait_for_the_turn_to_look_again_is_not_counted(clock: Clock, context: Context) -> None:
    looks: list[int] = []

    def look(known: Context) -> Finding:
        looks.append(1)
        clock.now += 2
        if len(looks) > 1:
            return passed(say("Passed"))
        known._loan().shared = True
        return replace(failed(say("Failed"), say("Failed")), error=psycopg.OperationalError("gone"))

    context._again = {side: Busy(clock) for side in Side}  # type: ignore[misc]
    result = runs._result(context, job(look))
    assert (result.status, len(looks), result.seconds) == ("passed", 2, 4)


def test_the_wait_for_a_fact_that_another_item_reads_is_not_counted(clock: Clock, context: Context) -> None:
    def look(known: Context) -> Finding:
        clock.now += 1
        known.remember("tables", lambda: "read by nobody else after all")
        return passed(say("Passed"))

    context._fact_locks["tables"] = Busy(clock)  # type: ignore[assignment]
    assert runs._result(context, job(look)).seconds == 1


def test_who_reads_a_fact_counts_it(clock: Clock, context: Context) -> None:
    def read() -> int:
        clock.now += 3
        return 1

    def look(known: Context) -> Finding:
        return passed(say(str(known.remember("tables", read))))

    assert [runs._result(context, job(look)).seconds for _ in range(2)] == [3, 0]


@pytest.mark.parametrize("side", Side)
def test_items_of_different_servers_do_not_wait_for_each_other(side: Side, context: Context) -> None:
    inside, done = threading.Event(), threading.Event()

    def other() -> None:
        with context.looking(again=True, sides=(next(one for one in Side if one is not side),)):
            inside.set()
        with context.looking(again=True, sides=(side,)):
            done.set()

    with context.looking(again=True, sides=(side,)):
        thread = threading.Thread(target=other, daemon=True)
        thread.start()
        assert inside.wait(20)
        assert not done.is_set()
    assert done.wait(20)
    thread.join()
