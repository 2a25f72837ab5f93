"""What goes wrong on a source: slots, timeouts, logins, huge transactions."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from dataclasses import replace

import psycopg
import pytest

from migrations_app.engine.states import StepName
from tests.faults.conftest import Record
from tests.faults.engine_kit import Driver, Scene
from tests.faults.server_kit import rss_kilobytes, set_up, slowed, used_up


@pytest.mark.fault("B4", "slot dropped while the sync runs")
@pytest.mark.quick
def test_a_slot_dropped_in_the_sync_ends_it_plainly(scene: Scene, record_property: Record) -> None:
    with Driver(scene.plan()) as driver:
        driver.until_in_sync()
        slot = driver.store.database(scene.source_db).slot
        with scene.source.connect(scene.source_db) as connection:
            for _ in range(100):
                connection.execute(
                    "SELECT pg_terminate_backend(active_pid, 5000) FROM pg_replication_slots WHERE slot_name = %s",
                    (slot,),
                )
                with contextlib.suppress(psycopg.errors.ObjectInUse):
                    connection.execute("SELECT pg_drop_replication_slot(%s)", (slot,))
                    break
        failure = driver.until_failure()
    record_property("seen", f"{failure.code}: {failure.message}")
    assert failure.code == "SRC-SLOTGONE"
    assert "new copy" in failure.hint


def lose_slot(scene: Scene) -> None:
    """Write on the source until it has given the slot up, whose reader does not get on."""
    status = "SELECT wal_status FROM pg_replication_slots WHERE slot_name ~ 'towpath'"
    deadline = time.monotonic() + 60
    while scene.at("source", status) != [("lost",)]:
        assert time.monotonic() < deadline, "the slot stays"
        scene.at("source", "SELECT pg_switch_wal()")
        scene.at("source", "UPDATE list SET items = 'x' WHERE id = 7")
        scene.at("source", "CHECKPOINT")


@pytest.mark.fault("B4", "slot invalidated by max_slot_wal_keep_size while the target is away")
def test_a_slot_that_was_invalidated_ends_the_sync_plainly(breakable: Scene, record_property: Record) -> None:
    set_up(breakable.source, max_slot_wal_keep_size="1MB")
    with Driver(breakable.plan()) as driver:
        driver.until_in_sync()
        breakable.target.stop()
        lose_slot(breakable)
        breakable.target.start()
        failure = driver.until_failure()
    record_property("seen", f"{failure.code}: {failure.message}")
    assert failure.code == "SRC-SLOTLOST"
    assert not failure.retryable


@pytest.mark.parametrize(
    "moment",
    [
        pytest.param("at", marks=pytest.mark.fault("B4", "slot invalidated in the moment of the pause; then Resume")),
        pytest.param("after", marks=pytest.mark.fault("B4", "slot invalidated while the task is paused; then Resume")),
    ],
)
def test_a_slot_that_was_lost_beside_a_pause_is_told_at_the_resume(
    breakable: Scene, moment: str, record_property: Record
) -> None:
    set_up(breakable.source, max_slot_wal_keep_size="1MB")
    plan = breakable.plan()
    with Driver(plan) as driver:
        driver.until_in_sync()
        if moment == "at":
            breakable.target.stop()  # the sync does not get on, and is paused just when the slot is gone
            lose_slot(breakable)
    if moment == "at":
        breakable.target.start()
    else:
        lose_slot(breakable)
    breakable.at("source", "INSERT INTO ledger VALUES (-1, 0, 'after the loss')")
    with Driver(replace(plan, epoch=99), driver.ports, StepName.SYNC) as resumed:
        failure = resumed.until_failure()
    record_property("seen", f"{failure.code}: {failure.message}")
    assert (failure.code, failure.retryable) == ("SRC-SLOTLOST", False)
    assert "new copy" in failure.hint
    assert breakable.at("target", "SELECT count(*) FROM ledger WHERE n = -1") == [(0,)], "nothing was passed over"


@pytest.mark.fault("B7", "statement, lock, idle and transaction timeouts of 1 s on role and database of both sides")
def test_timeouts_of_roles_and_databases_do_not_reach_us(breakable: Scene, record_property: Record) -> None:
    names = ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout", "idle_session_timeout")
    for cluster, database in ((breakable.source, breakable.source_db), (breakable.target, breakable.target_db)):
        mine = [*names, "transaction_timeout"] if cluster.major >= 17 else names
        with cluster.connect() as connection:
            for name in mine:
                connection.execute(f"ALTER ROLE postgres SET {name} = '1s'".encode())
                connection.execute(f"ALTER DATABASE \"{database}\" SET {name} = '1s'".encode())
    with slowed(breakable, 250_000) as (driver, proxies):
        driver.until_step(StepName.INDEX, 120)
        for proxy in proxies.values():
            proxy.rate = 0
        driver.until_in_sync()
        idle = time.monotonic() + 3
        driver.until(lambda: time.monotonic() > idle, "idling", 10)
        breakable.at("source", "SET statement_timeout = 0; UPDATE big SET note = note || 'x'")
        driver.until(
            lambda: breakable.at("target", "SELECT count(*) FROM big WHERE note ~ 'x$'") == [(breakable.rows,)], "it"
        )
    record_property("seen", f"{len(driver.failures)} failures")
    assert driver.failures == []
    breakable.assert_whole()


@pytest.mark.parametrize(
    "side",
    [
        pytest.param("source", marks=pytest.mark.fault("B8", "every connection of the source used up, in the sync")),
        pytest.param("target", marks=pytest.mark.fault("C14", "every connection of the target used up, in the sync")),
    ],
)
def test_a_server_without_a_connection_left_is_waited_for(breakable: Scene, side: str, record_property: Record) -> None:
    cluster = breakable.source if side == "source" else breakable.target
    with Driver(breakable.plan()) as driver:
        driver.until_in_sync()
        record_property("seen", used_up(cluster, driver, 60))
        breakable.at("source", "INSERT INTO ledger VALUES (-1, 0, 'after')")
        breakable.drained(driver)
    assert all(failure.retryable for failure in driver.failures), driver.story()
    breakable.assert_whole()


@pytest.mark.parametrize(
    "side",
    [
        pytest.param("source", marks=pytest.mark.fault("B9", "password changed in the sync, then the session ended")),
        pytest.param("target", marks=pytest.mark.fault("C14", "password changed in the sync, then the session ended")),
    ],
)
def test_a_changed_password_is_met_once_and_told(breakable: Scene, side: str, record_property: Record) -> None:
    cluster, name = (
        (breakable.source, breakable.source_db) if side == "source" else (breakable.target, breakable.target_db)
    )
    with cluster.connect() as boss:
        boss.execute("CREATE ROLE mover SUPERUSER LOGIN REPLICATION PASSWORD 'first'")
    plan = breakable.plan()
    login = {"user": "mover", "password": "first"}
    changed = {side: replace(getattr(plan, side), **login)}
    try:
        with Driver(replace(plan, **changed)) as driver:
            driver.until_in_sync()
            with cluster.connect() as boss:
                boss.execute("ALTER ROLE mover PASSWORD 'second'")
            breakable.at("source", "INSERT INTO ledger VALUES (-1, 0, 'still')")
            breakable.drained(driver)
            assert driver.failures == []  # who is in stays in
            log = cluster.log.stat().st_size
            with cluster.connect() as boss:
                boss.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'mover'")
            failure = driver.until_failure()
            with cluster.log.open() as text:
                text.seek(log)
                refused = text.read().count("password authentication failed")
        record_property("seen", f"{failure.code} after {refused} refused logins")
        assert failure.code == "AUTH-FAILED"
        assert "password" in failure.hint
        assert refused <= 4, "a lock-out storm"
        again = {side: replace(getattr(plan, side), user="mover", password="second")}
        with Driver(replace(plan, epoch=99, **again), driver.ports, StepName.SYNC) as resumed:
            breakable.at("source", "INSERT INTO ledger VALUES (-2, 0, 'again')")
            breakable.drained(resumed)
        breakable.assert_whole()
    finally:
        with cluster.connect() as boss:
            boss.execute("ALTER ROLE mover NOLOGIN")
        with cluster.connect(name) as connection:
            connection.execute("REASSIGN OWNED BY mover TO postgres; DROP ROLE mover")


@pytest.mark.fault("N8", "wal_sender_timeout = 2 s and a target that takes a second per row")
def test_a_slow_target_does_not_cost_the_stream(breakable: Scene, record_property: Record) -> None:
    set_up(breakable.source, wal_sender_timeout="2s")
    with Driver(breakable.plan()) as driver:
        driver.until_in_sync()
        breakable.at(
            "target",
            "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS"
            " 'BEGIN PERFORM pg_sleep(0.5); RETURN new; END';"
            "CREATE TRIGGER slow BEFORE INSERT ON ledger FOR EACH ROW EXECUTE FUNCTION slow();"
            "ALTER TABLE ledger ENABLE ALWAYS TRIGGER slow",
        )
        breakable.at("source", "INSERT INTO ledger SELECT -g, 0, 'slow' FROM generate_series(1, 16) g")
        breakable.at("source", "UPDATE big SET note = note || repeat('x', 4000)")  # more than waits in memory
        breakable.drained(driver)
        driver.until(lambda: breakable.at("target", "SELECT min(length(note)) > 4000 FROM big") == [(True,)], "big", 60)
        breakable.at("target", "DROP FUNCTION slow CASCADE")
    record_property("seen", f"{len(driver.failures)} failures")
    assert driver.failures == []
    breakable.assert_whole()


PARTS = 60_000
"""Subtransactions of the huge one."""


@pytest.mark.fault("B17", "one transaction of many rows under 60,000 savepoints, half of them rolled back")
@pytest.mark.parametrize("rows", [int(os.environ.get("TOWPATH_FAULT_ROWS", "420000"))])
def test_a_huge_transaction_needs_little_memory(breakable: Scene, rows: int, record_property: Record) -> None:
    set_up(breakable.source, wal_sender_timeout="10s")
    with Driver(breakable.plan()) as driver:
        driver.until_in_sync()
        shown: set[int] = set()  # how many of its rows others on the target ever saw
        before, peak, over = rss_kilobytes(), [0], threading.Event()

        def watch() -> None:
            with breakable.target.connect(breakable.target_db) as onlooker:
                ended = False
                while not ended:
                    ended = over.wait(0.1)
                    peak[0] = max(peak[0], rss_kilobytes())
                    found = onlooker.execute("SELECT count(*) FROM ledger WHERE n < 0").fetchone()
                    shown.add(int(found[0]) if found else -1)

        watching = threading.Thread(target=watch)
        watching.start()
        part = rows // PARTS
        assert part, "TOWPATH_FAULT_ROWS leaves no row for a part"
        try:
            breakable.at(
                "source",
                f"DO $$ BEGIN FOR i IN 0..{PARTS - 1} LOOP BEGIN"
                f" INSERT INTO ledger SELECT -(i * {part} + g), 0, 'bulk' FROM generate_series(1, {part}) g;"
                " IF i % 2 = 1 THEN RAISE 'back'; END IF;"
                " EXCEPTION WHEN raise_exception THEN NULL; END; END LOOP; END $$",
            )
            breakable.drained(driver, 600)
        finally:
            over.set()
            watching.join()
    assert shown == {0, rows // PARTS * PARTS // 2}, "not in one commit"
    grown = (peak[0] - before) // 1024
    record_property(
        "seen",
        f"{rows} rows in {PARTS} parts, {grown} MB more than before, {peak[0] // 1024} MB at most, one commit",
    )
    assert driver.failures == []
    assert peak[0] < 512 * 1024
    breakable.assert_whole()
