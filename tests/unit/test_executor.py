"""The executor dispatches steps, translates driver errors, and lets an interruption win over the errors it causes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest

from migrations_app.engine import executor as executor_module
from migrations_app.engine.errors import CancelRequested, ConnectionLost, EngineError
from migrations_app.engine.executor import Executor
from migrations_app.engine.outcome import CONTINUE, DONE, Run
from migrations_app.engine.plan import DatabasePlan, Plan, Server
from migrations_app.engine.ports import Ports
from migrations_app.engine.selection import Selection
from migrations_app.engine.states import StepName
from tests.fakes import fake_ports


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    nowhere = Server(host="127.0.0.1", port=1, user="nobody")
    return Plan(
        key="0badcafe",
        epoch=1,
        source=nowhere,
        target=nowhere,
        databases=(DatabasePlan(source_name="a", target_name="b"),),
        selection=Selection.everything(),
        incremental=True,
        work_dir=tmp_path,
    )


@pytest.fixture
def step(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[Run], Any]], None]:
    def install(work: Callable[[Run], Any]) -> None:
        monkeypatch.setitem(executor_module._STEPS, StepName.COPY, ("copying rows", work))

    return install


class Closing:
    def __init__(self) -> None:
        self.closed = False

    def close(self) -> None:
        self.closed = True


def raising(error: Exception) -> Callable[[Run], Any]:
    def work(run: Run) -> Any:
        raise error

    return work


def test_a_step_gets_the_run_and_its_outcome_comes_back(plan: Plan, step: Any) -> None:
    ports = fake_ports()
    seen: list[Run] = []
    step(lambda run: seen.append(run) or CONTINUE)
    with Executor(plan, ports) as executor:
        assert executor.run(StepName.COPY) is CONTINUE
    assert seen[0].plan is plan
    assert seen[0].ports is ports


def test_steps_of_one_executor_share_snapshots_and_leaving_closes_them(plan: Plan, step: Any) -> None:
    snapshot = Closing()
    with Executor(plan, fake_ports()) as executor:
        step(lambda run: run.snapshots.update(a=snapshot) or DONE)
        executor.run(StepName.COPY)
        step(lambda run: DONE if run.snapshots["a"] is snapshot else CONTINUE)
        assert executor.run(StepName.COPY) is DONE
        assert not snapshot.closed
    assert snapshot.closed


def test_a_driver_error_becomes_an_engine_error_that_says_what_was_done(plan: Plan, step: Any) -> None:
    step(raising(psycopg.errors.DiskFull("no space left")))
    with Executor(plan, fake_ports()) as executor, pytest.raises(EngineError) as caught:
        executor.run(StepName.COPY)
    assert "copying rows" in caught.value.message


def test_a_lost_session_is_retryable(plan: Plan, step: Any) -> None:
    step(raising(psycopg.errors.AdminShutdown("terminating connection")))
    with Executor(plan, fake_ports()) as executor, pytest.raises(ConnectionLost) as caught:
        executor.run(StepName.COPY)
    assert caught.value.retryable


@pytest.mark.parametrize("error", [psycopg.errors.QueryCanceled("cancelled"), ConnectionLost("gone"), OSError("reset")])
def test_an_interruption_wins_over_the_error_that_it_caused(plan: Plan, step: Any, error: Exception) -> None:
    ports: Ports = fake_ports()

    def work(run: Run) -> Any:
        ports.control.cancel()  # type: ignore[attr-defined]
        raise error

    step(work)
    with Executor(plan, ports) as executor, pytest.raises(CancelRequested):
        executor.run(StepName.COPY)


def test_a_step_does_not_begin_when_the_run_must_stop(plan: Plan, step: Any) -> None:
    ports = fake_ports()
    step(raising(AssertionError("the step ran")))
    with Executor(plan, ports) as executor:
        ports.control.cancel()  # type: ignore[attr-defined]
        with pytest.raises(CancelRequested):
            executor.run(StepName.COPY)


def test_a_bug_is_not_hidden(plan: Plan, step: Any) -> None:
    step(raising(KeyError("bug")))
    with Executor(plan, fake_ports()) as executor, pytest.raises(KeyError):
        executor.run(StepName.COPY)


def test_the_check_is_not_a_step_of_the_executor(plan: Plan) -> None:
    with Executor(plan, fake_ports()) as executor, pytest.raises(ValueError, match="check"):
        executor.run(StepName.CHECK)


def test_a_closed_executor_refuses(plan: Plan) -> None:
    with pytest.raises(RuntimeError, match="not open"):
        Executor(plan, fake_ports()).run(StepName.COPY)
