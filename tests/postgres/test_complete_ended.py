"""A task that was killed in Complete, cancelled, or starts again: what is repeated, and what is cleared."""

from __future__ import annotations

import pkgutil
import threading
from dataclasses import replace
from typing import Any

import psycopg
import pytest

from migrations_app.demo.clusters import Cluster
from migrations_app.engine.errors import CancelRequested
from migrations_app.engine.executor import Executor
from migrations_app.engine.plan import Plan, Side
from migrations_app.engine.ports import Kind, Ports
from migrations_app.engine.selection import Selection
from migrations_app.engine.states import StepName
from tests.fakes import FakeControl, FakeStore, fake_ports, wait_until
from tests.postgres import complete_kit
from tests.postgres.complete_kit import assert_same, begin, migrate, rows

# Fixtures that stand in the kit.
plan = complete_kit.plan
ports = complete_kit.ports
source = complete_kit.source
target = complete_kit.target


def test_cancel_during_the_drain_ends_it_at_once(
    plan: Plan, ports: Ports, source: psycopg.Connection[Any], target: psycopg.Connection[Any]
) -> None:
    begin(plan, ports)
    target.autocommit = False
    target.execute("LOCK TABLE audit")  # the sync cannot go on
    source.execute("INSERT INTO audit VALUES (9, 'stuck')")
    control = ports.control
    assert isinstance(control, FakeControl)
    errors: list[BaseException] = []

    def complete() -> None:
        try:
            migrate(plan, ports, StepName.COMPLETE)
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=complete)
    thread.start()
    assert isinstance(ports.store, FakeStore)
    store = ports.store
    wait_until(lambda: any("last changes" in note for _, _, note in store.steps))
    control.cancel()
    thread.join(15)
    assert not thread.is_alive()
    assert [type(error) for error in errors] == [CancelRequested]
    target.rollback()


def test_start_again_clears_exactly_what_the_task_made(
    plan: Plan, ports: Ports, target: psycopg.Connection[Any]
) -> None:
    target.execute("CREATE TABLE foreign_table (a int); CREATE SCHEMA other; CREATE TABLE other.t (a int)")
    target.execute("SELECT lo_from_bytea(77, '\\x01')")
    begin(plan, ports)
    with Executor(plan, ports) as executor:
        assert executor.cancelled() == []
        assert any(item.kind is Kind.TABLE for item in ports.ledger.items(Side.TARGET))
        assert executor.clear_target() == []
    assert ports.ledger.items() == []
    left = rows(
        target,
        "SELECT relnamespace::regnamespace::text || '.' || relname FROM pg_class"
        " WHERE relkind IN ('r', 'v', 'm', 'S', 'p') AND oid >= 16384 ORDER BY 1",
    )
    assert left == [("other.t",), ("public.foreign_table",)]
    assert rows(target, "SELECT oid::int FROM pg_largeobject_metadata") == [(77,)]
    assert rows(target, "SELECT proname FROM pg_proc WHERE proname = 'count_order'") == []


@pytest.mark.parametrize("foreign", [False, True])
def test_a_database_that_the_task_made_is_dropped_unless_others_use_it(
    plan: Plan, target_cluster: Cluster, foreign: bool
) -> None:
    ports = fake_ports()
    name = f"{plan.databases[0].target_name}_made"
    made = replace(
        plan,
        databases=(replace(plan.databases[0], target_name=name),),
        selection=Selection(rules=plan.selection.rules, targets={plan.databases[0].source_name: name}),
    )
    try:
        begin(made, ports)
        if foreign:
            with target_cluster.connect(name) as connection:
                connection.execute("CREATE TABLE theirs (a int)")
        with Executor(made, ports) as executor:
            executor.cancelled()
            left = executor.clear_target()
        assert [item.kind for item in left] == ([Kind.DATABASE] if foreign else [])
        with target_cluster.connect() as connection:
            there = connection.execute("SELECT count(*) FROM pg_database WHERE datname = %s", (name,)).fetchone()
        assert there == (int(foreign),)
    finally:
        with target_cluster.connect() as connection:
            connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)'.encode())


def test_what_others_built_on_our_tables_is_not_dropped(
    plan: Plan, ports: Ports, target: psycopg.Connection[Any]
) -> None:
    begin(plan, ports)
    target.execute("CREATE VIEW theirs AS SELECT * FROM audit")
    with Executor(plan, ports) as executor:
        executor.cancelled()
        left = executor.clear_target()
    assert [item.name for item in left] == ["audit"]
    assert rows(target, "SELECT count(*) FROM theirs") == [(0,)]


class Killed(BaseException):
    """Stands for the death of the process."""


POINTS = [
    "steps.complete.drain",
    "steps.complete.prove_equal",
    "finishing.copy_again",
    "finishing.large_objects.sync_large_objects",
    "finishing.carry_over",
]
"""Before the target is opened; `test_complete_opened` has those that come later."""


@pytest.mark.sample(2)
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("point", POINTS)
def test_complete_that_died_before_the_opening_is_simply_run_again(
    plan: Plan,
    ports: Ports,
    source: psycopg.Connection[Any],
    target: psycopg.Connection[Any],
    monkeypatch: pytest.MonkeyPatch,
    point: str,
    after: bool,
) -> None:
    begin(plan, ports)
    source.execute("INSERT INTO audit VALUES (3, 'before'); UPDATE cache SET v = 'new'; SELECT nextval('never')")
    place = f"migrations_app.engine.{point}"
    module, _, name = place.rpartition(".")
    real = getattr(pkgutil.resolve_name(module), name)

    def dying(*arguments: Any, **named: Any) -> Any:
        if after:
            real(*arguments, **named)
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(place, dying)
        with pytest.raises(Killed):
            migrate(plan, ports, StepName.COMPLETE)
    source.execute("INSERT INTO audit VALUES (4, 'after'); UPDATE orders SET amount = 1 WHERE id = 7")
    migrate(replace(plan, epoch=2), ports, StepName.COMPLETE, StepName.CLEANUP)
    assert_same(source, target)
    assert rows(target, "SELECT what FROM audit ORDER BY 1") == [("after",), ("before",)]
    assert ports.ledger.items() == []
