"""The sync while workers are killed and servers restart, forget their last commits or drop WAL."""

from __future__ import annotations

import os
import pickle
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from migrations_app.demo.clusters import Cluster, source_settings
from migrations_app.engine.errors import (
    ConnectionLost,
    EngineError,
    SlotLost,
)
from migrations_app.engine.replication.session import SyncSession
from tests.fakes import wait_until
from tests.faults.proxy import fault_proxy
from tests.folders import public_folder
from tests.postgres import sync_faults_kit
from tests.postgres.sync_faults_kit import TABLE, failure
from tests.postgres.sync_kit import Pair

SEED = int(os.environ.get("TOWPATH_SEED", "1"))

# Fixtures that stand in the kit.
pair = sync_faults_kit.pair


def test_a_killed_walsender_is_a_lost_connection(pair: Pair) -> None:
    pair.build(TABLE)
    with pair.syncing() as session:
        session.advance(until=pair.insert_lsn())
        pair.at_source("SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE active")
        with pytest.raises(ConnectionLost) as caught:
            session.advance()
    assert caught.value.retryable
    pair.at_source("INSERT INTO t VALUES (1)")
    pair.catch_up()
    pair.assert_equal()


def test_a_killed_target_session_is_a_lost_connection(pair: Pair) -> None:
    pair.build(TABLE)
    pair.at_source("INSERT INTO t VALUES (1)")
    with pair.syncing() as session:
        session.advance(until=pair.insert_lsn())
        pair.at_target(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE application_name LIKE 'towpath%'"
        )
        pair.at_source("INSERT INTO t VALUES (2)")
        with pytest.raises(ConnectionLost):
            session.advance()
    pair.catch_up()
    pair.assert_equal()


class Turned(Exception):
    """Stands for what ends a session so that another follows in the same run."""


def test_a_session_that_was_lost_does_not_keep_the_next_one_of_its_run_from_the_bookmark(pair: Pair) -> None:
    pair.build(TABLE)
    pair.catch_up()
    pair.at_source("INSERT INTO t VALUES (1)")
    until, turned, freed = pair.insert_lsn(), threading.Event(), list[int]()
    waiting = "SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    kept = "SELECT count(*) FROM pg_stat_activity WHERE pid = {}"

    def check() -> None:
        if turned.is_set():
            raise Turned

    with (
        fault_proxy(pair.target.port) as proxy,
        pair.running(target=replace(pair.plan().target, port=proxy.port)) as run,
        ThreadPoolExecutor(1) as pool,
    ):

        def advance() -> None:
            with SyncSession(run, pair.database, check) as session:
                session.advance(until=until)

        with pair.target.connect(pair.target_db) as other:
            other.execute("BEGIN; LOCK TABLE t")
            going = pool.submit(advance)
            lost = wait_until(lambda: pair.value(waiting, "target"), 20, "the change waiting for its table")
            assert proxy.lose()
            turned.set()
            with pytest.raises(Turned):
                going.result(20)
            assert pair.value(kept.format(lost), "target") == 1

            def free() -> None:
                freed.append(lost)
                pair.at_target(f"SELECT pg_terminate_backend({lost})")

            timer = threading.Timer(10, free)
            timer.start()
            with SyncSession(run, pair.database) as session:
                timer.cancel()
                assert freed == []
                assert pair.value(kept.format(lost), "target") == 0
                other.execute("ROLLBACK")
                session.advance(until=until)
    pair.assert_equal()


def write_until(pair: Pair, over: threading.Event) -> None:
    """Change keyed and keyless tables in small transactions, equal rows among them."""
    dice = random.Random(7)  # noqa: S311 - no secret
    with pair.source.connect(pair.source_db) as connection:
        number = 0
        while not over.is_set():
            number += 1
            with connection.transaction():
                connection.execute("INSERT INTO t VALUES (%s, 'new')", (number,))
                connection.execute("INSERT INTO bag VALUES (%s, 'same')", (dice.randrange(5),))
                connection.execute("UPDATE t SET v = v || 'x' WHERE id = %s", (dice.randrange(1, number + 1),))
                if number % 5 == 0:
                    connection.execute("DELETE FROM bag WHERE ctid = (SELECT min(ctid) FROM bag)")
                    connection.execute("DELETE FROM t WHERE id = %s", (dice.randrange(1, number + 1),))


BAG = TABLE + "; CREATE TABLE bag (n int, v text); ALTER TABLE bag REPLICA IDENTITY FULL"


class Writing:
    """A writer in the background. `stop` returns when its last transaction is committed."""

    def __init__(self) -> None:
        self._over = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self, pair: Pair) -> None:
        self._thread = threading.Thread(target=write_until, args=(pair, self._over))
        self._thread.start()

    def stop(self) -> None:
        self._over.set()
        if self._thread is not None:
            self._thread.join()


@pytest.fixture
def writing() -> Iterator[Writing]:
    writer = Writing()
    yield writer
    writer.stop()


def worker(pair: Pair, *arguments: str) -> subprocess.Popen[bytes]:
    pair.epoch += 1
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.postgres.sync_worker", *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[2],
    )
    assert process.stdin is not None
    pickle.dump((pair.plan(), pair.store.databases, pair.store.table_rows), process.stdin)
    process.stdin.close()
    return process


@pytest.mark.slow
@pytest.mark.parametrize("path", ["rows", "batches"])
def test_kills_at_random_moments_lose_and_double_nothing(pair: Pair, writing: Writing, path: str) -> None:
    pair.build(BAG)
    pair.catch_up()
    writing.start(pair)
    print(f"TOWPATH_SEED={SEED}")
    dice = random.Random(f"{SEED} {path}")  # noqa: S311 - no secret
    for number in range(10):
        # A large transaction now and then, so that some kills hit the middle of one.
        if number % 2:
            pair.at_source(f"INSERT INTO t SELECT g, 'large' FROM generate_series({number}000000, {number}004000) g")
        process = worker(pair, path)
        assert process.stdout is not None
        assert process.stdout.readline() == b"syncing\n"
        time.sleep(dice.uniform(0, 0.6))
        process.kill()
        process.wait()
        process.stdout.close()
    writing.stop()
    pair.catch_up()
    pair.assert_equal()


def test_a_look_through_a_session_that_the_server_has_ended_is_a_lost_connection(pair: Pair) -> None:
    pair.build(TABLE)
    with pair.syncing() as session:
        session.watch._stop.set()  # nobody else uses the session
        connection = session.watch._connection
        pair.at_source(f"SELECT pg_terminate_backend({connection.info.backend_pid}, 5000)")
        for _ in range(2):  # the second one finds a session whose end is known
            with pytest.raises(ConnectionLost):
                session.watch.used_sequences()


@pytest.fixture
def own_cluster(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    settings = {**source_settings(), **getattr(request, "param", {})}
    with public_folder("own") as folder:
        cluster = Cluster(folder=folder / "server", major=16, settings=settings)
        cluster.create()
        cluster.start()
        with cluster.connect() as connection:
            connection.execute("CREATE DATABASE shop")
        yield cluster
        cluster.stop()


def sync_through(pair: Pair, disturb: Callable[[], None]) -> None:
    """Sync, disturb, and go on as the runner does: again after every retryable failure."""
    timer = threading.Timer(0.5, disturb)
    timer.start()
    deadline = time.monotonic() + 4
    while time.monotonic() < deadline:
        try:
            with pair.syncing() as session:
                session.advance(stop=lambda: time.monotonic() > deadline)
        except EngineError as error:
            assert error.retryable or error.code.startswith("CONNECT"), error.message  # noqa: PT017 - either is right
            time.sleep(0.1)
    timer.join()


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGQUIT, signal.SIGINT])
def test_a_restarted_source_loses_and_doubles_nothing(
    own_cluster: Cluster, target_cluster: Cluster, target_db: str, how: signal.Signals
) -> None:
    pair = Pair(own_cluster, target_cluster, "shop", target_db)
    pair.build(BAG)
    pair.at_source(
        "INSERT INTO t SELECT generate_series(1, 1000)", "INSERT INTO bag SELECT g % 3 FROM generate_series(1, 500) g"
    )

    def restart() -> None:
        began = time.monotonic()
        own_cluster.stop(how)
        assert time.monotonic() - began < 20
        restarting.set()

    restarting = threading.Event()
    starter = threading.Thread(target=sync_through, args=(pair, restart))
    starter.start()
    restarting.wait(30)
    own_cluster.start()  # from the main thread: the server dies with the thread that started it
    pair.at_source("UPDATE t SET v = 'after'", "DELETE FROM bag WHERE n = 1")
    starter.join()
    pair.catch_up()
    pair.assert_equal()


@pytest.mark.slow
def test_a_target_that_forgets_its_last_commits_gets_them_again(
    own_cluster: Cluster, source_cluster: Cluster, source_db: str, writing: Writing
) -> None:
    pair = Pair(source_cluster, own_cluster, source_db, "shop")
    pair.build(BAG)
    pair.catch_up()
    writing.start(pair)
    stopped = threading.Event()

    def stop() -> None:
        own_cluster.stop(signal.SIGQUIT)
        stopped.set()

    syncing = threading.Thread(target=sync_through, args=(pair, stop))
    syncing.start()
    stopped.wait(30)
    own_cluster.start()
    syncing.join()
    writing.stop()
    pair.catch_up()
    pair.assert_equal()


@pytest.mark.parametrize("own_cluster", [{"max_slot_wal_keep_size": "2MB", "max_wal_size": "32MB"}], indirect=True)
def test_a_slot_that_lost_its_wal_is_the_end(own_cluster: Cluster, target_cluster: Cluster, target_db: str) -> None:
    pair = Pair(own_cluster, target_cluster, "shop", target_db)
    pair.build(TABLE)
    query = f"SELECT wal_status FROM pg_replication_slots WHERE slot_name = '{pair.state.slot}'"
    while pair.value(query) != "lost":
        pair.at_source("SELECT pg_switch_wal()", "CREATE TABLE x AS SELECT 1", "DROP TABLE x", "CHECKPOINT")
    error = failure(pair, SlotLost)
    assert (error.code, "max_slot_wal_keep_size" in error.hint) == ("SRC-SLOTLOST", True)
