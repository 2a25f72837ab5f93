"""Complete that is repeated once the target was opened: the application may write there, so nothing of ours does."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import psycopg
import pytest

from migrations_app.engine import finishing
from migrations_app.engine.errors import EngineError
from migrations_app.engine.executor import Executor
from migrations_app.engine.plan import Plan
from migrations_app.engine.ports import Ports
from migrations_app.engine.states import StepName
from tests.fakes import FakeControl, FakeStore
from tests.postgres import complete_kit
from tests.postgres.complete_kit import STATE, begin, migrate, rows

# Fixtures that stand in the kit.
plan = complete_kit.plan
ports = complete_kit.ports
source = complete_kit.source
target = complete_kit.target

STAGES = [
    "restore_deferred",
    "restore_row_security",
    "refresh_matviews",
    "fill_late",
    "restore_state",
    "restore_event_triggers",
    "restore_binding",
]
BY_THE_APPLICATION = """
INSERT INTO orders (customer, amount) VALUES (1, 7);
UPDATE customers SET name = 'of the application' WHERE id = 2;
DELETE FROM orders WHERE id = 3;
INSERT INTO events (what) VALUES ('new');
UPDATE cache SET v = 'of the application'; INSERT INTO cache VALUES ('z', 'new');
SELECT lo_put(90001, 0, '\\xff'); SELECT lo_from_bytea(90002, 'new');
SELECT nextval('never'), nextval('"odd %s seq"');
"""
ROWS = [query for query in STATE if "pg_" not in query] + ["SELECT lo_get(90002)"]


class Killed(BaseException):
    """Stands for the death of the process."""


def killed(plan: Plan, ports: Ports, monkeypatch: pytest.MonkeyPatch, place: str, *, after: bool = False) -> None:
    """Let the process die before or after a stage of the opening."""
    real = getattr(finishing, place)

    def dying(*arguments: Any, **named: Any) -> Any:
        if after:
            real(*arguments, **named)
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(finishing, place, dying)
        with pytest.raises(Killed):
            migrate(plan, ports, StepName.COMPLETE)


def told(ports: Ports, code: str) -> list[str]:
    return [text for _, known, text in cast(FakeStore, ports.store).events if known == code]


@pytest.mark.sample(2)
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("stage", STAGES)
def test_what_the_application_wrote_on_an_opened_target_is_neither_overwritten_nor_a_difference(
    plan: Plan,
    ports: Ports,
    source: psycopg.Connection[Any],
    target: psycopg.Connection[Any],
    monkeypatch: pytest.MonkeyPatch,
    stage: str,
    after: bool,
) -> None:
    begin(plan, ports)
    source.execute("UPDATE cache SET v = 'last'")
    killed(plan, ports, monkeypatch, stage, after=after)
    target.execute(BY_THE_APPLICATION.encode())
    written = {query: rows(target, query) for query in ROWS}
    source.execute("UPDATE cache SET v = 'late'; INSERT INTO audit VALUES (1, 'late'); SELECT lo_put(90001, 2, 'l')")
    compared = len(cast(FakeStore, ports.store).comparisons)
    if not after:
        killed(replace(plan, epoch=2), ports, monkeypatch, stage)
    migrate(replace(plan, epoch=3), ports, StepName.COMPLETE, StepName.CLEANUP)
    assert {query: rows(target, query) for query in ROWS} == written
    assert rows(target, "SELECT count(*) FROM audit") == [(0,)]
    assert len(told(ports, "COMPLETE-OPENING")) == 1
    (late,) = told(ports, "SRC-LATE")
    assert "public.audit (1 change)" in late
    (again,) = told(ports, "COMPLETE-RESUMED")
    assert "may have written to it since" in again
    assert len(cast(FakeStore, ports.store).comparisons) == compared
    assert ports.ledger.items() == []
    for query in STATE:
        if "pg_" in query:
            assert rows(source, query) == rows(target, query), query
    assert rows(source, "SELECT 1 FROM pg_replication_slots WHERE database = current_database()") == []


def test_a_death_before_it_is_told_that_complete_goes_on_does_not_keep_it_from_being_told(
    plan: Plan, ports: Ports, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin(plan, ports)
    killed(plan, ports, monkeypatch, "restore_binding")
    store = cast(FakeStore, ports.store)
    real = store.event

    def dying(level: str, code: str, message: str, **detail: Any) -> None:
        if code == "COMPLETE-RESUMED":
            raise Killed
        real(level, code, message, **detail)

    with monkeypatch.context() as patched:
        patched.setattr(store, "event", dying)
        with pytest.raises(Killed):
            migrate(replace(plan, epoch=2), ports, StepName.COMPLETE)
    migrate(replace(plan, epoch=3), ports, StepName.COMPLETE, StepName.CLEANUP)
    assert len(told(ports, "COMPLETE-RESUMED")) == 1


def test_unlogged_tables_and_large_objects_are_not_copied_again_over_those_of_the_application(
    plan: Plan,
    ports: Ports,
    source: psycopg.Connection[Any],
    target: psycopg.Connection[Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    begin(plan, ports)
    killed(plan, ports, monkeypatch, "restore_binding")
    target.execute("UPDATE cache SET v = 'of the application'; SELECT lo_put(90001, 0, '\\xff')")
    migrate(replace(plan, epoch=2), ports, StepName.COMPLETE, StepName.CLEANUP)
    assert rows(target, "SELECT v FROM cache") == [("of the application",)]
    assert rows(target, "SELECT lo_get(90001)") == [(b"\xff\x02\x03\x04\x05",)]


EARLIER = [StepName.SCHEMA, StepName.COPY, StepName.INDEX, StepName.SYNC, StepName.COMPARE]


@pytest.mark.sample(2)
@pytest.mark.parametrize("step", [*EARLIER, None], ids=[*EARLIER, "a table copied again"])
def test_no_earlier_step_runs_once_a_target_was_opened(
    plan: Plan,
    ports: Ports,
    target: psycopg.Connection[Any],
    source: psycopg.Connection[Any],
    monkeypatch: pytest.MonkeyPatch,
    step: StepName | None,
) -> None:
    begin(plan, ports)
    killed(plan, ports, monkeypatch, "restore_deferred")
    source.execute("INSERT INTO audit VALUES (1, 'late')")
    cast(FakeControl, ports.control).complete = True
    with (
        Executor(replace(plan, epoch=2), ports) as executor,
        pytest.raises(EngineError, match="has opened the target to the application") as refused,
    ):
        executor.run(step) if step else executor.recopy()
    assert refused.value.code == "COMPLETE-OPENED"
    assert rows(target, "SELECT count(*) FROM audit") == [(0,)]
