"""Complete without a sync that is repeated once the target was opened: nothing of ours writes there any more."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import psycopg
import pytest

from migrations_app.demo.clusters import Cluster
from migrations_app.engine import finishing
from migrations_app.engine.cleaning import clean_up
from migrations_app.engine.errors import CompareDiffers, EngineError
from migrations_app.engine.executor import Executor
from migrations_app.engine.plan import Plan
from migrations_app.engine.ports import Ports
from migrations_app.engine.states import StepName
from migrations_app.engine.steps import complete
from tests.fakes import FakeStore
from tests.postgres import complete_kit
from tests.postgres.compare_kit import plan_for, running, server
from tests.postgres.complete_kit import STATE, migrate, rows

# Fixtures that stand in the kit.
source = complete_kit.source
target = complete_kit.target

BEFORE = (StepName.SCHEMA, StepName.COPY, StepName.INDEX, StepName.COMPARE)
STAGES = [
    (finishing, "restore_row_security"),
    (finishing, "refresh_matviews"),
    (finishing, "fill_late"),
    (finishing, "restore_event_triggers"),
    (finishing, "restore_binding"),
    (complete, "limit_connections"),
    (complete, "look_at_structure"),
]
BY_THE_APPLICATION = """
INSERT INTO orders (customer, amount) VALUES (1, 7);
UPDATE customers SET name = 'of the application' WHERE id = 2;
DELETE FROM orders WHERE id = 3;
UPDATE cache SET v = 'of the application';
SELECT lo_put(90001, 0, '\\xff'); SELECT lo_from_bytea(90002, 'new');
SELECT setval('orders_id_seq', 2000);
DROP SEQUENCE never;
"""
ROWS = [query for query in STATE if "pg_" not in query and "never" not in query] + ["SELECT lo_get(90002)"]


class Killed(BaseException):
    """Stands for the death of the process."""


@pytest.fixture
def plan(source_cluster: Cluster, target_cluster: Cluster, source_db: str, target_db: str, tmp_path: Path) -> Plan:
    with source_cluster.connect(source_db) as connection:
        connection.execute(complete_kit.SHOP.encode())
    return plan_for(
        server(source_cluster), server(target_cluster), source_db, target_db, incremental=False, work_dir=tmp_path
    )


ports = complete_kit.ports


def killed(
    plan: Plan, ports: Ports, monkeypatch: pytest.MonkeyPatch, module: Any, place: str, *, after: bool = False
) -> None:
    """Let the process die before or after a stage of the opening."""
    real = getattr(module, place)

    def dying(*arguments: Any, **named: Any) -> Any:
        if after:
            real(*arguments, **named)
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(module, place, dying)
        with pytest.raises(Killed):
            migrate(plan, ports, StepName.COMPLETE)


def told(ports: Ports, code: str) -> list[str]:
    return [text for _, known, text in cast(FakeStore, ports.store).events if known == code]


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize(("module", "stage"), STAGES, ids=[stage for _, stage in STAGES])
def test_what_the_application_wrote_on_an_opened_target_stays_as_it_is(
    plan: Plan,
    ports: Ports,
    source: psycopg.Connection[Any],
    target: psycopg.Connection[Any],
    monkeypatch: pytest.MonkeyPatch,
    module: Any,
    stage: str,
    after: bool,
) -> None:
    migrate(plan, ports, *BEFORE)
    killed(plan, ports, monkeypatch, module, stage, after=after)
    target.execute(BY_THE_APPLICATION.encode())
    written = {query: rows(target, query) for query in ROWS}
    source.execute("SELECT nextval('orders_id_seq'); UPDATE customers SET name = 'late' WHERE id = 1")
    compared = len(cast(FakeStore, ports.store).comparisons)
    if not after:
        killed(replace(plan, epoch=2), ports, monkeypatch, module, stage)
    migrate(replace(plan, epoch=3), ports, StepName.COMPLETE, StepName.CLEANUP)
    assert {query: rows(target, query) for query in ROWS} == written
    assert rows(target, "SELECT to_regclass('never')") == [(None,)]
    assert len(told(ports, "COMPLETE-OPENING")) == 1
    (again,) = told(ports, "COMPLETE-RESUMED")
    assert "may have written to it since" in again
    assert len(cast(FakeStore, ports.store).comparisons) == compared
    assert ports.ledger.items() == []


@pytest.mark.parametrize("step", BEFORE)
def test_no_earlier_step_runs_once_a_target_was_opened_without_sync(
    plan: Plan,
    ports: Ports,
    target: psycopg.Connection[Any],
    monkeypatch: pytest.MonkeyPatch,
    step: StepName,
) -> None:
    migrate(plan, ports, *BEFORE)
    killed(plan, ports, monkeypatch, complete, "limit_connections")
    target.execute("UPDATE customers SET name = 'of the application'")
    with (
        Executor(replace(plan, epoch=2), ports) as executor,
        pytest.raises(EngineError, match="has opened the target to the application") as refused,
    ):
        executor.run(step)
    assert refused.value.code == "COMPLETE-OPENED"
    assert rows(target, "SELECT DISTINCT name FROM customers") == [("of the application",)]


def test_a_complete_that_ends_before_it_opens_the_target_begins_anew(
    plan: Plan, ports: Ports, source: psycopg.Connection[Any], target: psycopg.Connection[Any]
) -> None:
    migrate(plan, ports, *BEFORE)
    target.execute("DROP SEQUENCE never")
    with Executor(plan, ports) as executor, pytest.raises(CompareDiffers):
        executor.run(StepName.COMPLETE)
    assert told(ports, "COMPLETE-OPENING") == []
    target.execute("CREATE SEQUENCE never")
    source.execute("SELECT nextval('never'), nextval('never')")
    migrate(replace(plan, epoch=2), ports, StepName.COMPLETE, StepName.CLEANUP)
    assert rows(target, "SELECT last_value FROM never") == [(2,)]
    assert told(ports, "COMPLETE-RESUMED") == []


def test_cancel_takes_the_mark_off_without_a_word_to_the_target(
    plan: Plan, ports: Ports, monkeypatch: pytest.MonkeyPatch
) -> None:
    migrate(plan, ports, *BEFORE)
    killed(plan, ports, monkeypatch, complete, "limit_connections")
    nowhere = replace(plan, epoch=2, target=replace(plan.target, port=1))
    with running(nowhere, ports) as run:
        assert clean_up(run, keep_target_objects=True) == []
    assert {item.kind.value for item in ports.ledger.items()}.isdisjoint({"bookmark"})
    assert told(ports, "CANCEL-LEFT") == []
