"""What goes wrong around a sync ends in a message that says what and where, and never in lost or doubled rows."""

from __future__ import annotations

import pickle
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

from migrations_app.demo.clusters import Cluster, source_settings
from migrations_app.engine.errors import (
    ConflictError,
    ConnectionLost,
    EngineError,
    SchemaChanged,
    SlotLost,
    SourceError,
    TargetError,
)
from migrations_app.engine.replication import lag
from tests.folders import public_folder
from tests.postgres.sync_kit import Pair

TABLE = "CREATE TABLE t (id int PRIMARY KEY, v text)"


@pytest.fixture
def pair(source_cluster: Cluster, target_cluster: Cluster, source_db: str, target_db: str) -> Pair:
    return Pair(source_cluster, target_cluster, source_db, target_db)


def failure(pair: Pair, kind: type[EngineError]) -> EngineError:
    with pytest.raises(kind) as caught:
        pair.catch_up()
    return caught.value


def count(pair: Pair) -> int:
    return int(pair.value("SELECT count(*) FROM t", "target"))


def test_a_duplicate_key_names_table_and_key_and_keeps_the_position(pair: Pair) -> None:
    pair.build(TABLE)
    position = pair.catch_up()
    pair.at_target("INSERT INTO t VALUES (5, 'foreign')")
    pair.at_source("INSERT INTO t SELECT g, 'secret' FROM generate_series(1, 9) g")
    error = failure(pair, ConflictError)
    assert "insert of public.t (id=5)" in error.message
    assert "secret" not in error.message + error.hint
    assert count(pair) == 1
    pair.at_target("DELETE FROM t")
    assert pair.catch_up() > position
    pair.assert_equal()


@pytest.mark.parametrize("change", ["UPDATE t SET v = 'x' WHERE id = 3", "DELETE FROM t WHERE id = 3"])
def test_a_missing_row_stops_the_sync(pair: Pair, change: str) -> None:
    pair.build(TABLE)
    pair.at_source("INSERT INTO t SELECT generate_series(1, 9)")
    pair.catch_up()
    pair.at_target("DELETE FROM t WHERE id = 3")
    pair.at_source(change)
    error = failure(pair, ConflictError)
    assert error.code == "DST-CONFLICT"
    assert "public.t (id=3) found no row" in error.message
    pair.at_target("INSERT INTO t VALUES (3)")
    pair.catch_up()
    pair.assert_equal()


def test_a_check_that_only_the_target_has_is_a_conflict(pair: Pair) -> None:
    pair.build(TABLE, target=TABLE + "; ALTER TABLE t ADD CONSTRAINT short CHECK (length(v) < 3)")
    pair.at_source("INSERT INTO t VALUES (1, 'long one')")
    assert "short" in failure(pair, ConflictError).message


@pytest.mark.parametrize(
    ("ddl", "words"),
    [
        ("ALTER TABLE t ADD COLUMN c int", "column c exists only on the source"),
        ("ALTER TABLE t DROP COLUMN v", "column v exists only on the target"),
        (
            "ALTER TABLE t RENAME COLUMN v TO w",
            "column w exists only on the source; column v exists only on the target",
        ),
        ("ALTER TABLE t ALTER v TYPE varchar(10)", "column v is character varying(10) on the source and text"),
        ("ALTER TABLE t RENAME TO u", "now called public.u"),
        ("CREATE SCHEMA s; ALTER TABLE t SET SCHEMA s", "now called s.t"),
    ],
)
def test_a_changed_table_stops_the_sync_just_before_the_change(pair: Pair, ddl: str, words: str) -> None:
    pair.build(TABLE)
    pair.at_source("INSERT INTO t VALUES (1, 'a')")
    with pair.syncing() as session:
        session.advance(until=pair.insert_lsn())
        pair.at_source(ddl)
        name = "t" if "called" not in words else words.split()[-1].removeprefix("public.")
        pair.at_source(f"INSERT INTO {name} VALUES (2)")
        with pytest.raises(SchemaChanged) as caught:
            session.advance(until=pair.insert_lsn())
    assert caught.value.code == "SRC-DDL"
    assert words in caught.value.message
    assert count(pair) == 1


def test_a_retyped_user_type_is_seen(pair: Pair) -> None:
    pair.build("CREATE TYPE a AS ENUM ('x'); CREATE TYPE b AS ENUM ('x'); CREATE TABLE t (id int PRIMARY KEY, m a)")
    pair.at_source(
        "INSERT INTO t VALUES (1, 'x')", "ALTER TABLE t ALTER m TYPE b USING 'x'", "INSERT INTO t VALUES (2, 'x')"
    )
    assert "column m is public.b on the source and public.a" in failure(pair, SchemaChanged).message


def test_a_changed_table_goes_on_once_the_target_was_changed_too(pair: Pair) -> None:
    pair.build(TABLE)
    pair.catch_up()
    pair.at_source("ALTER TABLE t ADD COLUMN c int", "INSERT INTO t VALUES (2, 'x', 3)")
    failure(pair, SchemaChanged)
    pair.at_target("ALTER TABLE t ADD COLUMN c int")
    pair.catch_up()
    pair.assert_equal()


def test_a_new_partition_of_a_selected_table_stops_the_sync(pair: Pair) -> None:
    pair.build(
        "CREATE TABLE m (id int PRIMARY KEY) PARTITION BY LIST (id); CREATE TABLE m1 PARTITION OF m FOR VALUES IN (1)"
    )
    pair.at_source("CREATE TABLE m2 PARTITION OF m FOR VALUES IN (2)", "INSERT INTO m VALUES (2)")
    # Before the stream even starts nothing is missing; the new table is met in the stream.
    assert "public.m2" in failure(pair, SchemaChanged).message


def test_a_new_partition_of_a_table_selected_by_name_is_noticed_too(pair: Pair) -> None:
    pair.selection = type(pair.selection)(rules={(pair.source_db, "public", "m"): True})
    pair.build(
        "CREATE TABLE m (id int PRIMARY KEY) PARTITION BY LIST (id); CREATE TABLE m1 PARTITION OF m FOR VALUES IN (1)"
    )
    pair.at_source("CREATE TABLE m2 PARTITION OF m FOR VALUES IN (2)", "INSERT INTO m VALUES (2)")
    assert "new partition" in failure(pair, SchemaChanged).message


def test_a_table_missing_on_the_target_is_named(pair: Pair) -> None:
    pair.build(TABLE)
    pair.at_source("INSERT INTO t VALUES (1)")
    pair.at_target("DROP TABLE t")
    assert "public.t is missing on the target" in failure(pair, TargetError).message


def test_a_table_taken_out_of_the_publication_is_named(pair: Pair) -> None:
    pair.build(TABLE + "; CREATE TABLE u (id int PRIMARY KEY)")
    pair.at_source(f'ALTER PUBLICATION "{pair.state.publication}" DROP TABLE t')
    error = failure(pair, SourceError)
    assert (error.code, "Missing: public.t." in error.message) == ("SRC-PUBLICATION", True)


def test_a_publication_that_is_gone_is_refused(pair: Pair) -> None:
    pair.build(TABLE)
    pair.at_source(f'DROP PUBLICATION "{pair.state.publication}"')
    error = failure(pair, SourceError)
    assert (error.code, "is gone" in error.message) == ("SRC-PUBLICATION", True)


def test_a_table_renamed_between_two_sessions_is_noticed_at_its_first_change(pair: Pair) -> None:
    pair.build(TABLE)
    pair.at_source("ALTER TABLE t RENAME TO u")
    pair.catch_up()
    pair.at_source("INSERT INTO u VALUES (1)")
    assert "now called public.u" in failure(pair, SchemaChanged).message


def test_a_publication_that_keeps_deletes_back_is_refused(pair: Pair) -> None:
    pair.build(TABLE)
    pair.at_source(f"ALTER PUBLICATION \"{pair.state.publication}\" SET (publish = 'insert, update')")
    assert failure(pair, SourceError).code == "SRC-PUBLICATION"


def test_a_dropped_slot_is_the_end(pair: Pair) -> None:
    pair.build(TABLE)
    pair.at_source(f"SELECT pg_drop_replication_slot('{pair.state.slot}')")
    error = failure(pair, SlotLost)
    assert (error.code, error.retryable) == ("SRC-SLOTGONE", False)


def test_a_slot_that_was_read_by_somebody_else_is_the_end(pair: Pair) -> None:
    pair.build(TABLE)
    pair.catch_up()
    pair.at_source("INSERT INTO t VALUES (1)")
    pair.at_source(f"SELECT pg_replication_slot_advance('{pair.state.slot}', pg_current_wal_lsn())")
    error = failure(pair, SlotLost)
    assert error.code == "SRC-SLOTLOST"


def test_a_target_without_its_bookmark_is_refused(pair: Pair) -> None:
    pair.build(TABLE)
    pair.catch_up()
    pair.at_target("DROP SCHEMA towpath CASCADE")
    assert failure(pair, TargetError).code == "DST-BOOKMARK"


def test_another_server_behind_the_address_is_refused(pair: Pair) -> None:
    pair.build(TABLE)
    pair.store.save_database(replace(pair.state, system_id="42"))
    assert failure(pair, SourceError).code == "SRC-CHANGED"


def test_a_busy_slot_names_the_process_that_reads_it(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("migrations_app.engine.replication.session._BUSY_SECONDS", 0.3)
    pair.build(TABLE)
    with psycopg.connect(
        **pair.source.arguments(pair.source_db),
        autocommit=True,
        replication="database",  # type: ignore[arg-type]
    ) as stranger:
        state = pair.state
        stranger.execute(
            f"START_REPLICATION SLOT {state.slot} LOGICAL 0/0"
            f" (proto_version '1', publication_names '{state.publication}')"
        )
        error = failure(pair, ConnectionLost)
        assert f"PID {stranger.info.backend_pid}" in error.message
        stranger.pgconn.finish()


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
    seed = random.randrange(10**6)  # noqa: S311 - no secret
    print(f"seed {seed}")
    dice = random.Random(seed)  # noqa: S311 - no secret
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


def test_a_slot_about_to_lose_its_wal_is_announced_once(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    pair.build(TABLE)
    real = lag.read_slot
    monkeypatch.setattr(lag, "_SECONDS_BETWEEN", 0.05)
    monkeypatch.setattr(lag, "read_slot", lambda *args: real(*args)._replace(wal_status="unreserved", safe_bytes=1000))
    with pair.syncing() as session:
        deadline = time.monotonic() + 0.5
        session.advance(stop=lambda: time.monotonic() > deadline)
    assert [event[:2] for event in pair.store.events] == [("warning", "SRC-WALLIMIT")]


def test_a_row_found_twice_stops_the_sync(pair: Pair) -> None:
    pair.build(
        "CREATE TABLE t (a int NOT NULL, v text); CREATE UNIQUE INDEX u ON t (a);"
        " ALTER TABLE t REPLICA IDENTITY USING INDEX u",
        target="CREATE TABLE t (a int NOT NULL, v text)",
    )
    pair.at_source("INSERT INTO t VALUES (1, 'x')")
    pair.catch_up()
    pair.at_target("INSERT INTO t VALUES (1, 'y')")
    pair.at_source("UPDATE t SET v = 'z'")
    error = failure(pair, ConflictError)
    assert "public.t (a=1) found 2 rows" in error.message
    assert "public.t found 2 rows" in error.public_message
    assert error.detail == {"key": "a=1"}
    assert pair.value("SELECT count(*) FROM t WHERE v = 'z'", "target") == 0


def test_an_insert_that_the_target_swallows_stops_the_sync(pair: Pair) -> None:
    swallow = (
        "; CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';"
        "CREATE TRIGGER no BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION no()"
    )
    pair.build(TABLE, target=TABLE)
    with pair.syncing() as session:
        pair.at_target(swallow.strip("; ") + "; ALTER TABLE t ENABLE ALWAYS TRIGGER no")
        pair.at_source("INSERT INTO t VALUES (1)")
        with pytest.raises(ConflictError, match=r"insert of public.t \(id=1\) stored no row"):
            session.advance()
