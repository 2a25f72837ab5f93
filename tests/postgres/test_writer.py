"""The demo's application: what it promises to the tests that lean on it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import psycopg
import pytest

from migrations_app.demo.clusters import Cluster, source_settings
from migrations_app.demo.operations import operations
from migrations_app.demo.shop import load_shop
from migrations_app.demo.writer import Writer
from tests.fakes import wait_until
from tests.folders import public_folder

_PROJECT = Path(__file__).resolve().parents[2]
_WRITES = """
SELECT relid::regclass::text, pg_stat_get_tuples_inserted(relid) + pg_stat_get_tuples_updated(relid)
    + pg_stat_get_tuples_deleted(relid)
FROM pg_stat_user_tables JOIN pg_class ON pg_class.oid = relid WHERE relkind = 'r'
"""


@pytest.fixture
def shop(source_cluster: Cluster, source_db: str) -> str:
    with source_cluster.connect(source_db) as connection:
        load_shop(connection, 0.01)
    return source_db


def _writes(connection: psycopg.Connection[tuple[object, ...]]) -> dict[object, object]:
    connection.execute("SELECT pg_stat_clear_snapshot()")
    return dict(connection.execute(_WRITES).fetchall())  # type: ignore[arg-type]


def _commits_of(writer: Writer, number: int) -> bool:
    return writer.stats().committed >= number


def test_two_rounds_touch_every_table_and_no_statement_fails(source_cluster: Cluster, shop: str) -> None:
    rounds = 2 * sum(operation.weight for operation in operations())
    with source_cluster.connect(shop) as connection:
        connection.execute("SELECT pg_stat_force_next_flush()")
        before = _writes(connection)
        with Writer(source_cluster.arguments(shop), seed=1, rate=1000, large_objects=True) as writer:
            wait_until(lambda: _commits_of(writer, rounds), what="two rounds")
            stats = writer.stop()
        assert stats.errors == ()
        assert stats.conflicts <= 3, "a vacuum may hold a TRUNCATE up, nothing else can"
        assert {operation.name for operation in operations()} <= set(stats.operations)

        def untouched() -> list[object]:
            now = _writes(connection)
            return [table for table, count in before.items() if now[table] == count]

        # The server counts a session's writes when that session ends.
        wait_until(lambda: not untouched(), what=f"writes to all tables, also to {untouched()},")


def test_the_writer_keeps_its_rate_and_is_never_faster(source_cluster: Cluster, shop: str) -> None:
    with Writer(source_cluster.arguments(shop), rate=50) as writer:
        wait_until(lambda: _commits_of(writer, 1))
        first, started = writer.stats().committed, time.monotonic()
        wait_until(lambda: _commits_of(writer, first + 100))
        seconds = time.monotonic() - started
        committed = writer.stats().committed - first
    assert seconds > 1.8
    assert 25 * seconds <= committed <= 50 * seconds + 10, f"{committed} transactions in {seconds:.1f} s"


def test_two_writers_never_see_an_error_but_conflicts(source_cluster: Cluster, shop: str) -> None:
    writers = [Writer(source_cluster.arguments(shop), seed=seed, rate=500) for seed in (1, 2)]
    for writer in writers:
        writer.start()
    wait_until(lambda: all(_commits_of(writer, 300) for writer in writers))
    assert [writer.stop().errors for writer in writers] == [(), ()]


def test_the_writer_comes_back_after_a_restart_of_the_server() -> None:
    with public_folder("restart") as folder:
        cluster = Cluster(folder=folder / "server", major=16, settings=source_settings())
        cluster.create()
        cluster.start()
        try:
            with cluster.connect() as connection:
                load_shop(connection, 0.001)
            with Writer(cluster.arguments(), rate=200) as writer:
                wait_until(lambda: _commits_of(writer, 20))
                cluster.stop()
                wait_until(lambda: writer.stats().reconnects)
                cluster.start()
                again = writer.stats().committed + 20
                wait_until(lambda: _commits_of(writer, again))
                assert writer.stop().errors == ()
        finally:
            cluster.stop()


def test_a_statement_that_hangs_does_not_keep_stop_waiting(source_cluster: Cluster, shop: str) -> None:
    with source_cluster.connect(shop, autocommit=False) as blocker:
        blocker.execute('LOCK TABLE sales.customers, sales.orders, "Back Office"."Employees", public.settings')
        writer = Writer(source_cluster.arguments(shop), rate=1000).start()
        with source_cluster.connect() as watcher:
            wait_until(
                lambda: watcher.execute(
                    "SELECT 1 FROM pg_stat_activity WHERE datname = %s AND wait_event_type = 'Lock'", (shop,)
                ).fetchone()
            )
        stats = writer.stop(wait_seconds=0.2)
        blocker.rollback()
    assert stats.errors == ()


def test_the_writer_process_reads_its_login_from_a_file_and_reports_at_the_end(
    source_cluster: Cluster, tmp_path: Path
) -> None:
    with source_cluster.connect() as admin:
        admin.execute("CREATE DATABASE shop")
    try:
        with source_cluster.connect("shop") as connection:
            load_shop(connection, 0.001)
            state = tmp_path / "world.json"
            state.write_text(json.dumps({"source": {"port": source_cluster.port, "password": source_cluster.password}}))
            command = [sys.executable, "-m", "migrations_app.demo.writer", str(state)]
            with subprocess.Popen(command, cwd=_PROJECT, stdout=subprocess.PIPE) as process:
                wait_until(lambda: connection.execute("SELECT 1 FROM audit.changes WHERE action = 'INSERT'").fetchone())
                arguments = Path(f"/proc/{process.pid}/cmdline").read_text()
                process.send_signal(signal.SIGTERM)
                output, _ = process.communicate(timeout=20)
        stats = json.loads(output)
        assert process.returncode == 0
        assert stats["committed"] > 0
        assert stats["errors"] == []
        assert source_cluster.password not in arguments
    finally:
        with source_cluster.connect() as admin:
            admin.execute("DROP DATABASE shop WITH (FORCE)")


def test_somebody_who_reads_the_staging_table_for_long_does_not_stop_the_application(
    source_cluster: Cluster, shop: str
) -> None:
    with source_cluster.connect(shop, autocommit=False) as reader:
        reader.execute("SELECT count(*) FROM warehouse.inbound_staging")
        with Writer(source_cluster.arguments(shop), rate=1000) as writer:
            wait_until(lambda: writer.stats().conflicts >= 3)
            stats = writer.stop()
        reader.rollback()
    assert stats.errors == ()
    assert stats.slowest_seconds < 10
