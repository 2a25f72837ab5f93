"""Servers that go away in the copy of a task without sync: what is copied is kept, or it says that it begins again."""

from __future__ import annotations

import signal

import pytest

from migrations_app.engine.ports import TableStatus
from migrations_app.engine.states import StepName
from tests.faults.conftest import Record
from tests.faults.engine_kit import SUM, Driver, Scene, writing
from tests.faults.proxy import FaultProxy, Way
from tests.faults.server_kit import FAST, IMMEDIATE, restart, slowed

FILES = "SELECT relname, relfilenode FROM pg_class WHERE relname = ANY ('{%s}') ORDER BY relname"


def finished(driver: Driver) -> list[str]:
    return sorted(state.name for state in driver.store.table_rows.values() if state.status is TableStatus.DONE)


def in_the_copy(driver: Driver, proxies: dict[str, FaultProxy]) -> list[str]:
    """Wait until some tables are finished and others under way; returns the finished ones."""
    driver.until_step(StepName.COPY)
    driver.until(lambda: len(finished(driver)) >= 2, "finished tables")
    passed = proxies["target"].passed[Way.TO_SERVER]
    driver.until(lambda: proxies["target"].passed[Way.TO_SERVER] > passed + 50_000, "rows on their way")
    assert driver.step is StepName.COPY
    return finished(driver)


def assert_of_one_moment(scene: Scene) -> None:
    """Each transaction of the application is on the target in all its tables or in none, and all tables are whole."""
    assert scene.at("target", "SELECT sum(amount) FROM account") == [(SUM,)]
    ((promised, listed),) = scene.at(
        "target",
        "SELECT (SELECT count(*) FROM ledger), (SELECT sum(length(items) - length(replace(items, ',', ''))) FROM list)",
    )
    assert promised == listed
    assert scene.at("target", "SELECT count(*), sum(length(data)) FROM big") == scene.at(
        "source", "SELECT count(*), sum(length(data)) FROM big"
    )


@pytest.mark.parametrize("how", [FAST, IMMEDIATE], ids=["fast", "immediate"])
@pytest.mark.fault("C1", "target away for as long as the units are tried again, in a copy without sync")
def test_a_copy_without_sync_outlives_the_target(
    breakable: Scene, how: signal.Signals, record_property: Record
) -> None:
    breakable.at("source", "CREATE UNLOGGED TABLE fleeting AS SELECT 1 AS n")
    with writing(breakable) as writers, slowed(breakable, 200_000, incremental=False) as (driver, proxies):
        kept = [name for name in in_the_copy(driver, proxies) if name != "fleeting"]
        before = breakable.at("target", FILES % ",".join(kept))
        breakable.target.stop(how)
        driver.until(lambda: driver.told("COPY-WAITS"), "the copy waiting", 60)
        driver.until(lambda: driver.store.steps[-1][2].startswith("waiting since "), "the wait on the page", 60)
        breakable.target.start()
        for proxy in proxies.values():
            proxy.rate = 0
        driver.until_finished()
        writers.stop()
    record_property("seen", f"{len(kept)} finished tables kept; {driver.told('COPY-WAITS')}")
    assert driver.failures == []
    assert "COPY-AGAIN" not in driver.events
    assert breakable.at("target", FILES % ",".join(kept)) == before
    assert breakable.at("target", "SELECT n FROM fleeting") == [(1,)]
    assert_of_one_moment(breakable)


@pytest.mark.parametrize("how", [FAST, IMMEDIATE], ids=["fast", "immediate"])
@pytest.mark.fault("B1", "source restarted in a copy without sync")
def test_a_copy_without_sync_begins_again_when_the_source_restarts(
    breakable: Scene, how: signal.Signals, record_property: Record
) -> None:
    with writing(breakable) as writers, slowed(breakable, 200_000, incremental=False) as (driver, proxies):
        kept = in_the_copy(driver, proxies)
        before = breakable.at("target", FILES % ",".join(kept))
        restart(breakable.source, how)
        for proxy in proxies.values():
            proxy.rate = 0
        driver.until_finished()
        writers.stop()
    record_property("seen", driver.told("COPY-AGAIN"))
    assert all(failure.retryable for failure in driver.failures)
    assert driver.events.count("COPY-AGAIN") == 1
    after = breakable.at("target", FILES % ",".join(kept))
    assert not set(before) & set(after)
    assert_of_one_moment(breakable)
