"""Server processes that hang: they answer nothing, and neither TCP nor any timeout of PostgreSQL notices."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

import pytest

from migrations_app.engine.connect import Sessions
from migrations_app.engine.plan import Side
from migrations_app.engine.states import StepName
from tests.fakes import FakeControl
from tests.faults.conftest import Record
from tests.faults.engine_kit import Driver, Scene, writing
from tests.faults.server_kit import slowed, stopped
from tests.impostors import listening, pooling

WALSENDER = "backend_type = 'walsender'"
AT_REST = "coalesce(wait_event_type IN ('Client', 'Activity'), false)"


@contextlib.contextmanager
def _stopped_at_rest(scene: Scene, side: str, which: str) -> Iterator[None]:
    """Hold the first such process of ours still where it waits. One that says it works is believed for good: nobody can
    tell it from a source that goes through a very long transaction."""
    deadline = time.monotonic() + 60
    while True:
        pid = scene.our_pids(side, which)[0]
        with stopped(pid):
            if pid in scene.our_pids(side, f"(state <> 'active' OR {AT_REST})"):
                yield
                return
        assert time.monotonic() < deadline, "it never waits"


@pytest.mark.fault("N3", "one of our server processes stopped with SIGSTOP in the sync, unshortened")
@pytest.mark.parametrize(
    ("side", "which"),
    [("source", WALSENDER), ("source", f"NOT ({WALSENDER})"), ("target", "true")],
    ids=["walsender", "watch", "applying"],
)
def test_a_hung_backend_in_the_sync_is_given_up(
    breakable: Scene, side: str, which: str, record_property: Record
) -> None:
    with writing(breakable) as writers, Driver(breakable.plan()) as driver:
        driver.until_in_sync()
        with _stopped_at_rest(breakable, side, which):
            began = time.monotonic()
            driver.until(lambda: driver.failures, "the hung process being noticed", 140)
            seconds = time.monotonic() - began
        driver.until_in_sync()
        writers.stop()
        breakable.drained(driver)
    record_property("seen", f"given up after {seconds:.0f} s: {driver.failures[0].message}")
    assert seconds < 130
    assert all(failure.retryable for failure in driver.failures)
    breakable.assert_whole(writers)


@pytest.mark.fault("N3", "a server process stopped with SIGSTOP in the copy, patience shortened")
@pytest.mark.parametrize("side", ["source", "target"])
@pytest.mark.usefixtures("short_patience", "form")
def test_a_hung_backend_in_the_copy_is_given_up(breakable: Scene, side: str, record_property: Record) -> None:
    with writing(breakable) as writers, slowed(breakable, 400_000) as (driver, proxies):
        driver.until_step(StepName.COPY)
        copying = "query ~ 'COPY .*big'"
        driver.until(lambda: breakable.our_pids(side, copying), "the COPY", 60)
        with stopped(breakable.our_pids(side, copying)[0]):
            for proxy in proxies.values():
                proxy.rate = 0
            began = time.monotonic()
            driver.until(lambda: driver.failures or "RUN-RETRY" in driver.events, "the hung process being noticed", 60)
            record_property("seen", f"given up after {time.monotonic() - began:.1f} s")
        driver.until_in_sync(120)
        writers.stop()
        breakable.drained(driver)
    breakable.assert_whole(writers)


@pytest.mark.long
@pytest.mark.quick
@pytest.mark.fault("N3", "a long statement through a pooler that numbers processes by itself: no false alarm")
@pytest.mark.usefixtures("short_patience")
def test_a_long_statement_behind_a_pooler_is_believed(scene: Scene) -> None:
    with listening(pooling(scene.target.port)) as port:
        plan = scene.plan(target_port=port)
        with Sessions(plan, FakeControl()) as sessions, sessions.session(Side.TARGET, scene.target_db) as session:
            assert session.info.backend_pid == 7
            assert session.execute("SELECT pg_sleep(5)").fetchone() == ("",)
