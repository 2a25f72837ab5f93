"""When the copy of a task without sync waits under its snapshot instead of ending the run."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from migrations_app.engine import copy_waits
from migrations_app.engine.copy_waits import KEPT_SECONDS, Waits
from migrations_app.engine.errors import ConnectionLost, EngineError, TargetError
from migrations_app.engine.parts import Part, Shares
from migrations_app.engine.plan import DatabasePlan
from migrations_app.engine.ports import TableState, TableStatus
from tests.fakes import fake_ports
from tests.postgres.engine_runs import fakes

SHOP = DatabasePlan(source_name="shop", target_name="shop")
CUT = ConnectionLost("cut")


def state(name: str, status: TableStatus, **more: Any) -> TableState:
    return TableState(database="shop", schema="public", name=name, oid=1, status=status, **more)


def copying(
    *states: TableState,
    incremental: bool = False,
    alive: bool = True,
    shares: Shares | None = None,
    window: float = 7200.0,
) -> Any:
    ports = fake_ports()
    ports.store.save_tables(*(states or (state("a", TableStatus.DONE), state("b", TableStatus.COPYING))))
    return SimpleNamespace(
        plan=SimpleNamespace(incremental=incremental, retry_seconds=window),
        ports=ports,
        databases=lambda: (SHOP,),
        snapshots={"shop": SimpleNamespace(alive=lambda: alive, shares={1: shares} if shares else {})},
    )


def test_a_copy_goes_on_under_its_snapshot() -> None:
    assert Waits(copying()).may_go_on(CUT)


def test_a_copy_of_a_single_table_goes_on_with_its_other_parts() -> None:
    part = Part("id < 5", 1)
    begun = Shares([part, Part("id >= 5", 1)])
    run = copying(state("a", TableStatus.COPYING), shares=begun)
    assert not Waits(run).may_go_on(CUT)
    begun.finished[part] = 4
    assert Waits(run).may_go_on(CUT)


@pytest.mark.parametrize(
    ("run", "error"),
    [
        pytest.param(copying(incremental=True), CUT, id="with sync every table has a place of its own"),
        pytest.param(copying(alive=False), CUT, id="the snapshot is gone"),
        pytest.param(copying(), TargetError("full"), id="it will not pass"),
        pytest.param(copying(state("a", TableStatus.COPYING)), CUT, id="nothing would be lost"),
    ],
)
def test_a_copy_ends_its_run_otherwise(run: Any, error: EngineError) -> None:
    assert not Waits(run).may_go_on(error)


def test_a_copy_that_does_not_get_on_ends_its_run_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(copy_waits.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(copy_waits, "_LONGEST_PAUSE_SECONDS", 0.0)
    run = copying()
    waits = Waits(run)
    assert waits.may_go_on(CUT)
    waits.wait(CUT)
    for _ in range(8):
        now[0] += KEPT_SECONDS / 8
        assert waits.may_go_on(CUT) == (now[0] < KEPT_SECONDS)
        waits.wait(CUT)
    run.ports.store.save_tables(state("b", TableStatus.DONE), state("c", TableStatus.COPYING))
    assert waits.may_go_on(CUT)


def test_an_outage_long_after_the_last_one_is_another_one(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(copy_waits.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(copy_waits, "_LONGEST_PAUSE_SECONDS", 0.0)
    waits = Waits(copying())
    assert waits.may_go_on(CUT)
    waits.wait(CUT)
    now[0] += 2 * KEPT_SECONDS  # one huge table was under way again meanwhile, and none was finished
    later = ConnectionLost("cut")
    assert waits.may_go_on(later)
    assert later.failing_for == 0.0


def test_the_copy_waits_no_longer_than_the_retry_window_and_says_how_long(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(copy_waits.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(copy_waits, "_LONGEST_PAUSE_SECONDS", 0.0)
    waits, first, last = Waits(copying(window=600.0)), ConnectionLost("cut"), ConnectionLost("cut")
    assert waits.may_go_on(first)
    waits.wait(first)
    now[0] += 300.0
    waits.wait(ConnectionLost("cut"))
    now[0] += 300.0
    assert not waits.may_go_on(last)
    assert (first.failing_for, last.failing_for) == (0.0, 600.0)


def test_a_copy_that_waits_shows_what_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copy_waits, "_LONGEST_PAUSE_SECONDS", 0.0)
    run = copying(state("a", TableStatus.DONE, bytes_total=30), state("b", TableStatus.COPYING, bytes_total=70))
    Waits(run).wait(CUT)
    assert fakes(run.ports)[1].steps[-1][:2] == (30, 100)


def test_what_a_crash_of_the_target_empties_is_copied_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copy_waits, "_LONGEST_PAUSE_SECONDS", 0.0)
    run = copying(state("fleeting", TableStatus.DONE, unlogged=True), state("kept", TableStatus.DONE))
    Waits(run).wait(CUT)
    _, store, _ = fakes(run.ports)
    assert {one.name: one.status for one in store.table_rows.values()} == {
        "fleeting": TableStatus.WAITING,
        "kept": TableStatus.DONE,
    }
    assert [code for _, code, _ in store.events] == ["COPY-WAITS"]
