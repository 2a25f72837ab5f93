"""What goes wrong on a target, or on the worker's disk: locks, deadlocks, hanging commits, no room."""

from __future__ import annotations

import subprocess
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from migrations_app.demo.clusters import Cluster
from tests.faults.conftest import Record
from tests.faults.engine_kit import Driver, Scene, writing
from tests.faults.server_kit import fill_up, moved, set_up, small_disk


@pytest.mark.long
@pytest.mark.quick
@pytest.mark.fault("C5", "LOCK TABLE held on the target in the sync, patience shortened")
@pytest.mark.usefixtures("short_patience")
def test_a_lock_on_the_target_is_told_with_its_holder(scene: Scene, record_property: Record) -> None:
    with writing(scene) as writers, Driver(scene.plan()) as driver:
        driver.until_in_sync()
        with scene.target.connect(scene.target_db) as holder:
            holder.execute("BEGIN; LOCK TABLE ledger")
            pid = holder.info.backend_pid
            driver.until(lambda: driver.told("DST-LOCKED"), "the lock being told", 30)
            text = driver.told("DST-LOCKED")
            later = time.monotonic() + 7
            driver.until(lambda: time.monotonic() > later, "patience", 20)
            holder.execute("COMMIT")
        driver.until_in_sync()
        writers.stop()
        scene.drained(driver)
    record_property("seen", text)
    assert f"PID {pid}, user postgres" in text
    assert driver.failures == []
    scene.assert_whole(writers)


@pytest.mark.quick
@pytest.mark.fault("C6", "crossed updates: the sync is the victim of a deadlock on the target")
def test_a_deadlock_is_tried_again_as_a_whole(scene: Scene, record_property: Record) -> None:
    with Driver(scene.plan()) as driver:
        driver.until_in_sync()
        with scene.target.connect(scene.target_db) as stranger:
            stranger.execute("SET deadlock_timeout = '1h'")
            stranger.execute("BEGIN; UPDATE list SET items = items WHERE id = 2")
            scene.at(
                "source",
                "BEGIN; UPDATE list SET items = 'a' WHERE id = 1; UPDATE list SET items = 'b' WHERE id = 2; END",
            )
            waits = (
                "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND application_name ~ 'towpath'"
            )
            driver.until(lambda: scene.at("target", waits) == [(1,)], "the sync waiting", 20)
            stranger.execute("UPDATE list SET items = items WHERE id = 1")
            stranger.execute("ROLLBACK")
        scene.at("source", "INSERT INTO ledger VALUES (-1, 0, 'after')")
        scene.drained(driver)
    (failure,) = driver.failures
    record_property("seen", failure.message)
    assert failure.retryable
    scene.assert_whole()


_WRITE = "SELECT pg_logical_emit_message(true, 'tests', '')"
"""A commit that has something to wait for."""


def _stand_still(scene: Scene, driver: Driver) -> None:
    """Have commits on the target wait for a standby that there is not, none of them one of the sync's yet."""
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep' AND application_name {} '^towpath'"
    tries: list[threading.Thread] = []

    def in_force() -> bool:
        if not any(one.is_alive() for one in tries):
            tries.append(threading.Thread(target=scene.at, args=("target", _WRITE), daemon=True))
            tries[-1].start()
        return scene.at("target", waiting.format("!~")) != [(0,)]

    for _ in range(10):
        set_up(scene.target, synchronous_standby_names="nobody")
        driver.until(in_force, "commits that wait", 30)
        if scene.at("target", waiting.format("~")) == [(0,)]:
            return
        set_up(scene.target, synchronous_standby_names="")
        driver.until(lambda: not any(one.is_alive() for one in tries), "the end of their wait", 30)
    raise AssertionError("the sync commits all the time")


@pytest.mark.fault("C12", "synchronous_standby_names names nobody, in the sync, patience shortened")
@pytest.mark.usefixtures("short_patience")
def test_commits_that_hang_are_told_and_not_confirmed(breakable: Scene, record_property: Record) -> None:
    slot = "SELECT (confirmed_flush_lsn - '0/0')::bigint FROM pg_replication_slots WHERE slot_name ~ 'towpath'"
    with Driver(breakable.plan()) as driver:
        driver.until_in_sync()
        _stand_still(breakable, driver)
        ((place,),) = breakable.at("source", "SELECT (pg_current_wal_insert_lsn() - '0/0')::bigint")
        with writing(breakable) as writers:
            driver.until(lambda: driver.told("DST-STALLED"), "the stall being told", 30)
            later = time.monotonic() + 8
            driver.until(lambda: time.monotonic() > later, "patience", 20)
            ((confirmed,),) = breakable.at("source", slot)
            set_up(breakable.target, synchronous_standby_names="")
            driver.until_in_sync()
            writers.stop()
            breakable.drained(driver)
    record_property("seen", driver.told("DST-STALLED"))
    assert confirmed <= place, "the source was told of commits that may still be lost"
    assert driver.failures == []
    breakable.assert_whole(writers)


@pytest.mark.fault("C3", "the tablespace of the target's database full in the copy, then given room")
def test_a_full_disk_of_the_target_is_told_and_taken_up_again(
    breakable: Scene, record_property: Record, tmp_path: Path
) -> None:
    with small_disk(24) as disk, breakable.target.connect() as boss:
        boss.execute(f"CREATE TABLESPACE small LOCATION '{disk}'".encode())
        boss.execute(f'ALTER DATABASE "{breakable.target_db}" SET TABLESPACE small'.encode())
        breakable.at(
            "source",
            "INSERT INTO big SELECT g, 'more', decode(repeat(md5(g::text), 64), 'hex')"
            " FROM generate_series(100001, 140000) g",
        )
        with Driver(breakable.plan()) as driver:
            failure = driver.until_failure(120)
        record_property("seen", f"{failure.code}: {failure.message}")
        assert failure.code == "DST-FULL"
        assert failure.hint
        subprocess.run(["mount", "-o", "remount,size=256m", str(disk)], check=True)
        with Driver(breakable.plan(epoch=99), driver.ports, driver.step) as again:
            again.until_in_sync(120)
        breakable.assert_whole()
        boss.execute(f'ALTER DATABASE "{breakable.target_db}" SET TABLESPACE pg_default'.encode())
        boss.execute("DROP TABLESPACE small")


@pytest.mark.fault("C3", "the tablespace of the target's database full in the sync, then given room")
def test_a_disk_of_the_target_that_fills_up_in_the_sync_is_told_and_taken_up_again(
    breakable: Scene, record_property: Record
) -> None:
    with small_disk(96) as disk, breakable.target.connect() as boss:
        boss.execute(f"CREATE TABLESPACE tight LOCATION '{disk}'".encode())
        boss.execute(f'ALTER DATABASE "{breakable.target_db}" SET TABLESPACE tight'.encode())
        with Driver(breakable.plan()) as driver:
            driver.until_in_sync()
            with fill_up(disk):
                breakable.at("source", "UPDATE big SET note = note || repeat('x', 4000)")
                failure = driver.until_failure(120)
        record_property("seen", f"{failure.code}: {failure.message}")
        assert (failure.code, failure.retryable) == ("DST-FULL", False)
        assert failure.hint
        with Driver(breakable.plan(epoch=99), driver.ports, driver.step) as again:
            breakable.at("source", "INSERT INTO ledger VALUES (-1, 0, 'after')")
            breakable.drained(again, 120)
        breakable.assert_whole()
        boss.execute(f'ALTER DATABASE "{breakable.target_db}" SET TABLESPACE pg_default'.encode())
        boss.execute("DROP TABLESPACE tight")


@pytest.mark.fault("A15", "the worker's disk full when the schema is dumped, then given room")
def test_a_full_disk_of_the_worker_is_told(scene: Scene, record_property: Record) -> None:
    with small_disk(1) as disk:
        (disk / "filler").write_bytes(b"x" * (1020 << 10))
        with Driver(replace(scene.plan(), work_dir=disk)) as driver:
            failure = driver.until_failure(60)
        record_property("seen", f"{failure.code}: {failure.message}")
        assert failure.code == "WORKER-FULL"
        assert str(disk) in failure.message
        (disk / "filler").unlink()
        with Driver(replace(scene.plan(epoch=99), work_dir=disk), driver.ports) as again:
            again.until_in_sync()
    scene.assert_whole()


@pytest.mark.fault("C4", "the file system of the target's WAL full, so that the server ends itself; then given room")
def test_a_target_that_ended_for_want_of_wal_space_is_waited_for(
    breakable: Scene, fresh_target: Cluster, record_property: Record
) -> None:
    target = breakable.target = fresh_target
    breakable.target_db = "postgres"
    with small_disk(256) as disk:
        target.stop()
        with moved(target.data / "pg_wal", disk / "pg_wal"):
            target.start()
            with Driver(breakable.plan()) as driver:
                driver.until_in_sync()
                with fill_up(disk):
                    for number in range(4):
                        breakable.at("source", f"UPDATE big SET note = md5(note || {number}), data = data || data")
                    assert target.process is not None
                    server = target.process
                    driver.until(lambda: server.poll() is not None, "the end of the server", 60)
                    driver.until(lambda: driver.failures, "the end being noticed", 30)
                target.start()
                driver.until(
                    lambda: (
                        breakable.at("target", "SELECT sum(length(note)), sum(length(data)) FROM big")
                        == breakable.at("source", "SELECT sum(length(note)), sum(length(data)) FROM big")
                    ),
                    "the rest",
                    120,
                )
            breakable.assert_whole()
            target.stop()
    record_property("seen", f"{len(driver.failures)} failed slices: {driver.failures[0].message}")
    assert all(failure.retryable for failure in driver.failures)
