"""Complete says what it waits for, does not wait for ever, and can be stopped; the sync goes on with nothing lost."""

from __future__ import annotations

import pkgutil
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, cast

import psycopg
import pytest

from migrations_app.engine.errors import CompleteStopped, DrainLate
from migrations_app.engine.executor import Executor
from migrations_app.engine.plan import Plan
from migrations_app.engine.ports import Ports
from migrations_app.engine.states import StepName
from tests.fakes import FakeControl, FakeStore, wait_until
from tests.postgres import complete_kit
from tests.postgres.complete_kit import assert_same, begin, migrate

# Fixtures that stand in the kit.
plan = complete_kit.plan
ports = complete_kit.ports
source = complete_kit.source
target = complete_kit.target


@pytest.fixture
def blocked(
    plan: Plan, ports: Ports, source: psycopg.Connection[Any], target: psycopg.Connection[Any]
) -> Iterator[int]:
    """A sync whose next change waits for a lock of somebody else on the target; yields whose."""
    begin(plan, ports)
    target.autocommit = False
    target.execute("LOCK TABLE audit")
    source.execute("INSERT INTO audit VALUES (9, 'stuck')")
    yield target.info.backend_pid
    target.rollback()


def in_the_end(plan: Plan, ports: Ports, source: psycopg.Connection[Any], target: psycopg.Connection[Any]) -> None:
    """Let the lock go, sync and complete: nothing was lost."""
    target.rollback()
    target.autocommit = True
    control = cast(FakeControl, ports.control)
    control.back, control.complete = False, True
    migrate(plan, ports, StepName.SYNC, StepName.COMPLETE, StepName.CLEANUP)
    assert_same(source, target)
    assert source.execute("SELECT * FROM audit").fetchall() == target.execute("SELECT * FROM audit").fetchall()


@pytest.mark.long
def test_a_drain_that_a_lock_holds_up_ends_with_who_holds_it(
    plan: Plan, ports: Ports, blocked: int, source: psycopg.Connection[Any], target: psycopg.Connection[Any]
) -> None:
    with pytest.raises(DrainLate, match=f"wait for a lock that others hold: PID {blocked}, user postgres"):
        migrate(replace(plan, drain_seconds=2.0), ports, StepName.COMPLETE)
    in_the_end(plan, ports, source, target)


@pytest.mark.long
def test_a_sync_that_a_lock_holds_up_on_the_way_to_complete_ends_so_too(
    plan: Plan, ports: Ports, blocked: int, source: psycopg.Connection[Any], target: psycopg.Connection[Any]
) -> None:
    errors: list[BaseException] = []
    late = replace(plan, drain_seconds=2.0)
    thread = threading.Thread(target=_noting(errors, lambda: migrate(late, ports, StepName.SYNC)))
    thread.start()
    waits = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'audit'::regclass"
    wait_until(lambda: target.execute(waits).fetchone() == (1,), what="the sync waiting for the lock")
    cast(FakeControl, ports.control).complete = True
    thread.join(30)
    assert [type(error) for error in errors] == [DrainLate]
    assert f"PID {blocked}" in str(errors[0])
    in_the_end(plan, ports, source, target)


@pytest.mark.long
def test_a_source_that_goes_on_writing_is_told_and_the_way_back_is_open(
    plan: Plan, ports: Ports, blocked: int, source: psycopg.Connection[Any], target: psycopg.Connection[Any]
) -> None:
    store, control = cast(FakeStore, ports.store), cast(FakeControl, ports.control)
    errors: list[BaseException] = []
    thread = threading.Thread(target=_noting(errors, lambda: migrate(plan, ports, StepName.COMPLETE)))
    thread.start()

    def told(words: str) -> bool:
        return any(words in note for _, _, note in store.steps)

    wait_until(lambda: told(f"PID {blocked}"), what="the holder of the lock")
    assert not told("still written to")
    source.execute("INSERT INTO events (what) SELECT repeat('x', 100) FROM generate_series(1, 10000)")
    wait_until(lambda: told("the source is still written to: "), what="the writing")
    control.back = True
    thread.join(30)
    assert [type(error) for error in errors] == [CompleteStopped]
    in_the_end(plan, ports, source, target)


class Killed(BaseException):
    """Stands for the death of the process."""


def killed_while_opening(
    plan: Plan, ports: Ports, monkeypatch: pytest.MonkeyPatch, at: str = "refresh_matviews"
) -> None:
    """Let the process die in the middle of opening the target."""

    def dying(*_: Any) -> None:
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(f"migrations_app.engine.finishing.{at}", dying)
        with pytest.raises(Killed):
            migrate(plan, ports, StepName.COMPLETE)


@pytest.mark.long
@pytest.mark.parametrize("back", [True, False], ids=["asked to go back", "late"])
def test_once_a_target_was_opened_complete_only_leads_forward(
    plan: Plan,
    ports: Ports,
    source: psycopg.Connection[Any],
    target: psycopg.Connection[Any],
    monkeypatch: pytest.MonkeyPatch,
    back: bool,
) -> None:
    begin(plan, ports)
    killed_while_opening(plan, ports, monkeypatch)
    source.execute("INSERT INTO audit VALUES (9, 'late')")
    cast(FakeControl, ports.control).back = back
    again = replace(plan, epoch=2, drain_seconds=900.0 if back else 0.0)
    migrate(again, ports, StepName.COMPLETE, StepName.CLEANUP)
    assert_same(source, target)
    assert target.execute("SELECT what FROM audit").fetchall() == []
    (late,) = [text for _, code, text in cast(FakeStore, ports.store).events if code == "SRC-LATE"]
    assert "public.audit (1 change)" in late


@pytest.mark.parametrize("at", ["refresh_matviews", "restore_deferred", "fill_late", "restore_state"])
def test_a_task_cancelled_between_the_steps_of_opening_leaves_its_target_as_it_was_made(
    plan: Plan,
    ports: Ports,
    source: psycopg.Connection[Any],
    target: psycopg.Connection[Any],
    monkeypatch: pytest.MonkeyPatch,
    at: str,
) -> None:
    begin(plan, ports)
    killed_while_opening(plan, ports, monkeypatch, at)
    with Executor(replace(plan, epoch=2), ports) as executor:
        assert executor.cancelled() == []
    assert source.execute("SELECT FROM pg_replication_slots WHERE slot_name ~ %s", (plan.key,)).fetchall() == []
    assert target.execute("SELECT to_regnamespace('towpath')").fetchone() == (None,)
    states = (
        "SELECT tgname::text, tgenabled::text FROM pg_trigger WHERE NOT tgisinternal UNION ALL"
        " SELECT attname::text, attidentity::text FROM pg_attribute WHERE attrelid = 'customers'::regclass ORDER BY 1"
    )
    assert target.execute(states).fetchall() == source.execute(states).fetchall()


def _noting(errors: list[BaseException], work: Callable[[], None]) -> Callable[[], None]:
    def run() -> None:
        try:
            work()
        except BaseException as error:
            errors.append(error)

    return run


@pytest.mark.sample(1)
@pytest.mark.parametrize("at", ["copy_again", "large_objects.sync_large_objects", "carry_over"])
def test_a_wish_to_go_back_that_comes_after_the_last_drain_still_keeps_the_target_closed(
    plan: Plan,
    ports: Ports,
    source: psycopg.Connection[Any],
    target: psycopg.Connection[Any],
    monkeypatch: pytest.MonkeyPatch,
    at: str,
) -> None:
    begin(plan, ports)
    place = f"migrations_app.engine.finishing.{at}"
    module, _, name = place.rpartition(".")
    real = getattr(pkgutil.resolve_name(module), name)

    def wishing(*arguments: Any) -> Any:
        cast(FakeControl, ports.control).back = True
        return real(*arguments)

    with monkeypatch.context() as patched:
        patched.setattr(place, wishing)
        with pytest.raises(CompleteStopped):
            migrate(plan, ports, StepName.COMPLETE)
    assert target.execute("SELECT tgenabled::text FROM pg_trigger WHERE tgname = 'always'").fetchone() == ("D",)
    in_the_end(plan, ports, source, target)
