"""What goes wrong on either server while rows are copied: locks, deadlocks, logins, room."""

from __future__ import annotations

import subprocess
import time
from functools import partial

import pytest

from migrations_app.demo.clusters import Cluster
from migrations_app.engine.states import StepName
from tests.fakes import wait_until
from tests.faults.conftest import Record
from tests.faults.engine_kit import Driver, Scene, make_schema, writing
from tests.faults.proxy import Way
from tests.faults.server_kit import fill_up, moved, slowed, small_disk, used_up

COPY, INDEX = StepName.COPY, StepName.INDEX
BIG_INDEXED = """
CREATE TABLE wide (id int PRIMARY KEY, v text);
INSERT INTO wide SELECT g, md5(g::text) || md5((g + 1)::text) || md5((g + 2)::text) || md5((g + 3)::text)
  FROM generate_series(1, 70000) g;
CREATE INDEX ON wide (v, id); CREATE INDEX ON wide (id, v); CREATE INDEX ON wide (upper(v));
"""


@pytest.mark.long
@pytest.mark.quick
@pytest.mark.fault("C5", "LOCK TABLE ... IN SHARE MODE held on the target in the copy, patience shortened")
@pytest.mark.usefixtures("short_patience")
def test_a_lock_on_the_target_is_told_with_its_holder_in_the_copy(scene: Scene, record_property: Record) -> None:
    ports = make_schema(scene.plan())
    with writing(scene) as writers, scene.target.connect(scene.target_db) as holder:
        holder.execute("BEGIN; LOCK TABLE big IN SHARE MODE")
        pid = holder.info.backend_pid
        with Driver(scene.plan(epoch=2), ports, COPY) as driver:
            driver.until(lambda: driver.told("DST-LOCKED"), "the lock being told", 30)
            text = driver.told("DST-LOCKED")
            later = time.monotonic() + 12
            driver.until(lambda: time.monotonic() > later, "patience", 20)
            scene.at("source", "SET lock_timeout = '5s'; BEGIN; LOCK TABLE big; COMMIT")  # nobody waits for us there
            holder.execute("COMMIT")
            driver.until_in_sync()
            writers.stop()
            scene.drained(driver)
    record_property("seen", text)
    assert f"PID {pid}, user postgres" in text
    assert driver.failures == []
    assert "RUN-RETRY" not in driver.events
    scene.assert_whole(writers)


@pytest.mark.long
@pytest.mark.quick
@pytest.mark.fault("C6", "crossed locks: a lane of the copy is the victim of a deadlock on the target")
def test_a_deadlock_in_the_copy_is_tried_again(scene: Scene, record_property: Record) -> None:
    ports = make_schema(scene.plan())
    with scene.target.connect(scene.target_db) as stranger:
        stranger.execute("SET deadlock_timeout = '1h'")
        stranger.execute("BEGIN; LOCK TABLE big IN SHARE MODE")
        with Driver(scene.plan(epoch=2), ports, COPY) as driver:
            held = (
                "SELECT h.relation::regclass::text FROM pg_locks w JOIN pg_locks h USING (pid) WHERE NOT w.granted"
                " AND w.relation = 'big'::regclass AND h.granted AND h.mode = 'ShareRowExclusiveLock'"
                " AND h.relation IN (SELECT oid FROM pg_class WHERE relkind = 'r' AND relnamespace = 2200)"
            )
            ((other,),) = driver.until(lambda: scene.at("target", held), "a lane waiting", 20)
            stranger.execute(f"LOCK TABLE {other} IN SHARE MODE".encode())
            stranger.execute("ROLLBACK")
            driver.until_in_sync()
            record_property("seen", driver.told("RUN-RETRY"))
    assert driver.events.count("RUN-RETRY") == 1
    assert "deadlock" in driver.told("RUN-RETRY")
    assert driver.failures == []
    scene.assert_whole()


@pytest.mark.parametrize(
    "side",
    [
        pytest.param("source", marks=pytest.mark.fault("B8", "every connection of the source used up, in the copy")),
        pytest.param("target", marks=pytest.mark.fault("C14", "every connection of the target used up, in the copy")),
    ],
)
def test_a_copy_waits_for_a_server_without_a_connection_left(
    breakable: Scene, side: str, record_property: Record
) -> None:
    cluster = breakable.source if side == "source" else breakable.target
    with slowed(breakable, 400_000) as (driver, proxies):
        driver.until_step(COPY)
        driver.until(lambda: proxies["target"].passed[Way.TO_SERVER] > 400_000, "rows on their way")
        record_property("seen", used_up(cluster, driver, 90))
        for proxy in proxies.values():
            proxy.rate = 0
        driver.until_in_sync(120)
    assert all(failure.retryable for failure in driver.failures), driver.story()
    breakable.assert_whole()


@pytest.mark.fault("C1", "target stopped in the copy and kept away: the run ends for a retry that is told")
def test_a_target_that_stays_away_in_the_copy_ends_the_run_for_a_retry(
    breakable: Scene, record_property: Record
) -> None:
    breakable.at("source", "".join(f"CREATE TABLE t{n} AS SELECT 1 AS a; " for n in range(60)))
    with slowed(breakable, 200_000) as (driver, proxies):
        driver.until_step(COPY)
        driver.until(lambda: proxies["target"].passed[Way.TO_SERVER] > 200_000, "rows on their way")
        breakable.target.stop()
        away = time.monotonic()
        failure = driver.until(lambda: driver.failures, "the end of the run", 60)[0]
        record_property("seen", f"{failure.code} after {failure.at - away:.1f} s: {failure.message}")
        breakable.target.start()
        for proxy in proxies.values():
            proxy.rate = 0
        driver.until_in_sync(120)
    assert failure.step is COPY
    assert all(one.retryable for one in driver.failures)
    breakable.assert_whole()


@pytest.mark.fault("C3", "the tablespace of the target's database full in an index build, then given room")
def test_a_disk_that_is_full_in_an_index_build_is_told_and_taken_up_again(
    breakable: Scene, record_property: Record
) -> None:
    breakable.at("source", BIG_INDEXED)
    with small_disk(36) as disk, breakable.target.connect() as boss:
        boss.execute(f"CREATE TABLESPACE narrow LOCATION '{disk}'".encode())
        boss.execute(f'ALTER DATABASE "{breakable.target_db}" SET TABLESPACE narrow'.encode())
        with Driver(breakable.plan()) as driver:
            failure = driver.until_failure(120)
        record_property("seen", f"{failure.code}: {failure.message}")
        assert failure.code == "DST-FULL"
        assert failure.hint
        files = "SELECT relfilenode FROM pg_class WHERE relname = 'wide'"
        before = breakable.at("target", files)
        subprocess.run(["mount", "-o", "remount,size=256m", str(disk)], check=True)
        with Driver(breakable.plan(epoch=99), driver.ports, driver.step) as again:
            again.until_in_sync(120)
        assert breakable.at("target", files) == before, "the rows were copied again"
        breakable.assert_whole()
        boss.execute(f'ALTER DATABASE "{breakable.target_db}" SET TABLESPACE pg_default'.encode())
        boss.execute("DROP TABLESPACE narrow")


def _settled(driver: Driver, target: Cluster) -> bool:
    """Say whether the target is in sync. It is started whenever it has ended itself: its disk stays a small one."""
    target.start()
    return driver.store.database(driver.plan.databases[0].source_name).in_sync


@pytest.mark.fault("C4", "the file system of the target's WAL full in the copy, then given room")
def test_a_target_without_wal_space_in_the_copy_is_waited_for_or_told(
    breakable: Scene, fresh_target: Cluster, record_property: Record
) -> None:
    """PostgreSQL ends itself where it must write a change, and refuses where it may: both are taken up again."""
    target = breakable.target = fresh_target
    breakable.target_db = "postgres"
    breakable.at(
        "source",
        "INSERT INTO big SELECT g, 'more', decode(repeat(md5(g::text), 128), 'hex')"
        " FROM generate_series(100001, 180000) g",
    )
    with small_disk(256) as disk:
        target.stop()
        with moved(target.data / "pg_wal", disk / "pg_wal"):
            target.start()
            server = target.process
            assert server is not None
            with slowed(breakable, 30_000_000) as (driver, proxies):
                driver.until_step(COPY)
                driver.until(lambda: proxies["target"].passed[Way.TO_SERVER] > 4_000_000, "rows on their way")
                with fill_up(disk):
                    wait_until(lambda: driver.fatal or server.poll() is not None, 60, "a target without room")
                    assert driver.step in (COPY, INDEX)
                how = "ended" if server.poll() is not None else "refused"
                target.start()
                settled = partial(_settled, driver, target)
                wait_until(lambda: driver.fatal or settled(), 180, "in sync, or told")
            if driver.fatal is not None:
                assert driver.until_failure().code == "DST-FULL"
                with Driver(breakable.plan(epoch=99), driver.ports, driver.step) as again:
                    again.until(partial(_settled, again, target), "the target being in sync", 180)
            breakable.assert_whole()
            target.stop()
    record_property("seen", f"the target {how}; {len(driver.failures)} failed slices")
    assert all(failure.retryable or failure.code == "DST-FULL" for failure in driver.failures)
