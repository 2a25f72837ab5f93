"""Servers that stop, crash and fall back, and commits in doubt: taken up again, no row lost or doubled."""

from __future__ import annotations

import os
import signal
import time

import pytest

from migrations_app.engine.states import StepName
from tests.faults.conftest import SEED, Record
from tests.faults.engine_kit import Driver, Scene, writing
from tests.faults.proxy import Way, When, fault_proxy
from tests.faults.server_kit import FAST, IMMEDIATE, restart, set_up, slowed


@pytest.mark.parametrize("how", [FAST, IMMEDIATE], ids=["fast", "immediate"])
@pytest.mark.parametrize(
    "side",
    [
        pytest.param("source", marks=pytest.mark.fault("B1", "source restarted in the sync, twice")),
        pytest.param("target", marks=pytest.mark.fault("C1", "target restarted in the sync, twice")),
    ],
)
def test_a_server_that_restarts_in_the_sync_is_waited_for(
    breakable: Scene, side: str, how: signal.Signals, record_property: Record
) -> None:
    cluster = breakable.source if side == "source" else breakable.target
    with writing(breakable) as writers, Driver(breakable.plan()) as driver:
        for _ in range(2):
            driver.until_in_sync()
            failures = len(driver.failures)
            restart(cluster, how)
            accepts = time.monotonic()
            driver.until(lambda known=failures: len(driver.failures) > known, "the stop being noticed", 20)
        driver.until_in_sync()
        record_property("seen", f"in sync {time.monotonic() - accepts:.1f} s after the server accepted again")
        writers.stop()
        breakable.drained(driver)
    breakable.assert_whole(writers)


@pytest.mark.parametrize("how", [FAST, IMMEDIATE], ids=["fast", "immediate"])
@pytest.mark.parametrize(
    "side",
    [
        pytest.param("source", marks=pytest.mark.fault("B1", "source restarted in the copy")),
        pytest.param("target", marks=pytest.mark.fault("C1", "target restarted in the copy")),
    ],
)
def test_a_server_that_restarts_in_the_copy_is_waited_for(
    breakable: Scene, side: str, how: signal.Signals, record_property: Record
) -> None:
    cluster = breakable.source if side == "source" else breakable.target
    with writing(breakable) as writers, slowed(breakable, 400_000) as (driver, proxies):
        driver.until_step(StepName.COPY)
        driver.until(lambda: proxies["target"].passed[Way.TO_SERVER] > 400_000, "rows on their way")
        restart(cluster, how)
        for proxy in proxies.values():
            proxy.rate = 0
        driver.until_in_sync(120)
        record_property("seen", f"{len(driver.failures)} failed slices, {driver.events.count('RUN-RETRY')} units again")
        writers.stop()
        breakable.drained(driver)
    breakable.assert_whole(writers)


@pytest.mark.fault("B1", "a source backend killed with -9, so that the server goes through crash recovery")
def test_a_crash_of_the_source_loses_and_doubles_nothing(breakable: Scene) -> None:
    with writing(breakable) as writers, Driver(breakable.plan()) as driver:
        driver.until_in_sync()
        os.kill(breakable.our_pids("source")[0], signal.SIGKILL)
        driver.until(lambda: driver.failures, "the crash being noticed", 20)
        driver.until_in_sync()
        writers.stop()
        breakable.drained(driver)
    breakable.assert_whole(writers)


@pytest.mark.fault("B2", "immediate stop of the source after confirmations that it had not written down")
def test_a_slot_that_falls_back_sends_again_what_is_skipped(breakable: Scene, record_property: Record) -> None:
    slot = "SELECT (confirmed_flush_lsn - '0/0')::bigint FROM pg_replication_slots WHERE slot_name ~ 'towpath'"
    with writing(breakable) as writers, Driver(breakable.plan()) as driver:
        driver.until_in_sync()
        breakable.at("source", "CHECKPOINT")
        wanted = len(writers.sure) + 60
        driver.until(lambda: len(writers.sure) > wanted, "more transactions", 30)
        writers.stop()
        breakable.drained(driver)
        ((before,),) = breakable.at("source", slot)
        breakable.source.stop(IMMEDIATE)
        driver.until(lambda: driver.failures, "the stop being noticed", 20)
        driver.pause()
        driver.stop()
        breakable.source.start()
        ((after,),) = breakable.at("source", slot)
    assert after < before, "the slot did not fall back, so this shows nothing"
    record_property("seen", f"the slot fell back by {before - after} bytes")
    with Driver(breakable.plan(epoch=99), driver.ports, StepName.SYNC) as again:
        again.until_in_sync()
    breakable.assert_whole(writers)


@pytest.mark.long
@pytest.mark.fault("C1", "the line cut exactly at COMMIT, in the sync")
@pytest.mark.parametrize(
    "when", [pytest.param(When.BEFORE, id="unsent"), pytest.param(When.AFTER, id="in-doubt", marks=pytest.mark.quick)]
)
def test_a_commit_in_doubt_is_settled_by_the_bookmark(scene: Scene, when: When, record_property: Record) -> None:
    with (
        fault_proxy(scene.target.port, SEED) as proxy,
        writing(scene) as writers,
        Driver(scene.plan(target_port=proxy.port)) as driver,
    ):
        driver.until_in_sync()
        for _ in range(3):
            failures = len(driver.failures)
            proxy.trigger(word=b"COMMIT", when=when)
            driver.until(lambda known=failures: len(driver.failures) > known, "a cut at a commit", 30)
            driver.until_in_sync()
        writers.stop()
        scene.drained(driver)
    record_property("seen", f"{len(driver.failures)} failed slices")
    assert driver.failures
    scene.assert_whole(writers)


@pytest.mark.fault("C1", "the line cut exactly at COMMIT, in schema, copy and index")
@pytest.mark.parametrize("when", list(When), ids=["unsent", "in-doubt"])
def test_commits_in_doubt_before_the_sync_are_settled(scene: Scene, when: When, record_property: Record) -> None:
    with fault_proxy(scene.target.port, SEED) as proxy, writing(scene) as writers:
        trigger = proxy.trigger(word=b"COMMIT", when=when, times=12)
        with Driver(scene.plan(target_port=proxy.port)) as driver:
            driver.until_in_sync(180)
            writers.stop()
            scene.drained(driver)
    record_property("seen", f"{trigger.pulled} cuts, {len(driver.failures)} failed slices")
    assert trigger.pulled
    scene.assert_whole(writers)


@pytest.mark.fault("C2", "synchronous_commit = off for the role of the target, immediate stop")
def test_a_target_that_may_forget_commits_loses_nothing(breakable: Scene, record_property: Record) -> None:
    breakable.at("target", "ALTER ROLE postgres SET synchronous_commit = off")
    set_up(breakable.target, wal_writer_delay="10s")
    with writing(breakable) as writers, Driver(breakable.plan()) as driver:
        for _ in range(2):
            driver.until_in_sync()
            wanted = len(writers.sure) + 30
            driver.until(lambda goal=wanted: len(writers.sure) > goal, "more transactions", 30)
            restart(breakable.target, IMMEDIATE)
        driver.until_in_sync()
        writers.stop()
        breakable.drained(driver)
    record_property("seen", f"{len(writers.sure)} numbers")
    breakable.assert_whole(writers)


@pytest.mark.fault("C7", "the target read-only as a standby, then promoted")
def test_a_target_that_takes_no_writes_is_told_and_taken_up_again(breakable: Scene, record_property: Record) -> None:
    with Driver(breakable.plan()) as driver:
        driver.until_in_sync()
        breakable.target.stop()
        (breakable.target.data / "standby.signal").touch()
        breakable.target.start()
        failure = driver.until_failure()
        with breakable.target.connect() as connection:
            connection.execute("SELECT pg_promote()")
    record_property("seen", f"{failure.code}: {failure.message}")
    assert failure.code == "DST-READONLY"
    with Driver(breakable.plan(epoch=99), driver.ports, StepName.SYNC) as again:
        breakable.at("source", "INSERT INTO ledger VALUES (-1, 0, 'after')")
        breakable.drained(again)
    breakable.assert_whole()


@pytest.mark.fault("B3", "the source promoted from a standby: another timeline")
def test_a_source_with_another_history_is_refused(breakable: Scene, record_property: Record) -> None:
    with Driver(breakable.plan()) as driver:
        driver.until_in_sync()
        breakable.source.stop()
        (breakable.source.data / "standby.signal").touch()
        breakable.source.start()
        with breakable.source.connect() as connection:
            assert connection.execute("SELECT pg_promote()").fetchone() == (True,)
        failure = driver.until_failure()
    record_property("seen", f"{failure.code}: {failure.message}")
    assert failure.code == "SRC-FAILOVER"
    assert "Restart with new copy" in failure.hint
