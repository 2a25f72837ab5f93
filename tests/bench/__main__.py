"""`make bench`: prints medians of alternating runs. Nothing here passes or fails; figures are for reading.

Each shape is migrated by `task run --mode full` and by `pg_dump | psql`, in turns, into a fresh database; then a
backlog of changes is drained by the sync. Times are wall seconds of the whole process. Last come first paint and
expansions of the object tree with 50,000 tables and with 2,000 schemas, in milliseconds (`tests.bench.console`).
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg

from migrations_app.demo.clusters import Cluster, source_settings, wheel_bin
from tests.installation import Installation

Connection = psycopg.Connection[Any]


def narrow(connection: Connection, scale: float) -> None:
    """Ten million rows of four small columns."""
    connection.execute("CREATE TABLE narrow (id bigint PRIMARY KEY, a int NOT NULL, b float8, at timestamptz)")
    connection.execute(
        "INSERT INTO narrow SELECT i, i %% 1000, i / 7.0, timestamptz '2026-01-01' + i * interval '1 s'"
        " FROM generate_series(1, %s) i",
        (int(10_000_000 * scale),),
    )


def wide(connection: Connection, scale: float) -> None:
    """Two million rows of about 450 bytes with three indexes."""
    connection.execute(
        "CREATE TABLE wide (id bigint PRIMARY KEY, name text, body text, doc jsonb, price numeric, day date, tag text)"
    )
    connection.execute(
        "INSERT INTO wide SELECT i, 'name ' || i, repeat(md5(i::text), 9),"
        " jsonb_build_object('n', i, 'k', md5(i::text)),"
        " i * 1.01, date '2020-01-01' + (i %% 2000)::int, 't' || i %% 500 FROM generate_series(1, %s) i",
        (int(2_000_000 * scale),),
    )
    for column in ("name", "day", "tag"):
        connection.execute(f"CREATE INDEX wide_{column} ON wide ({column})")


def many(connection: Connection, scale: float) -> None:
    """A thousand small tables with a key and an index each."""
    for number in range(int(1000 * scale)):
        connection.execute(
            f"CREATE TABLE many_{number} (id int PRIMARY KEY, t text);"
            f"INSERT INTO many_{number} SELECT i, md5(i::text) FROM generate_series(1, 100) i;"
            f"CREATE INDEX ON many_{number} (t)"
        )


SHAPES: dict[str, Callable[[Connection, float], None]] = {"narrow": narrow, "wide": wide, "many": many}


class Bench:
    """Two servers and an installation."""

    def __init__(self, folder: Path) -> None:
        settings = {"shared_buffers": "1GB", "max_wal_size": "8GB", "checkpoint_timeout": "30min", "fsync": "on"}
        locks = {"max_locks_per_transaction": "256"}
        self.source = Cluster(folder=folder / "source", major=16, settings={**source_settings(), **settings, **locks})
        self.target = Cluster(
            folder=folder / "target", major=18, settings={**settings, **locks, "max_wal_senders": "0"}
        )
        for cluster in (self.source, self.target):
            cluster.create()
            cluster.start()
        data = folder / "data"
        data.mkdir()
        self.installation = Installation(data, TOWPATH_LOG_LEVEL="ERROR")
        self.installation.migrate()

    def fresh(self, cluster: Cluster, name: str) -> None:
        """Make an empty database of this name."""
        with cluster.connect() as connection:
            connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
            connection.execute(f'CREATE DATABASE "{name}"')

    def product(self, name: str, *more: str) -> tuple[float, dict[str, Any]]:
        """Migrate with the product; return wall seconds and its report."""
        command = ["task", "run", "--source", self.source.uri(name), "--target", self.target.uri(name), "--json", *more]
        started = time.monotonic()
        done = self.installation.manage(*command, timeout=3600)
        seconds = time.monotonic() - started
        if done.returncode:
            raise SystemExit(f"task run ended with {done.returncode}:\n{done.stderr}\n{done.stdout[-2000:]}")
        return seconds, json.loads(done.stdout)

    def plain(self, name: str) -> float:
        """Migrate with pg_dump | psql; return wall seconds."""
        tools = wheel_bin(18)
        secrets = {"PGPASSWORD": self.source.password}, {"PGPASSWORD": self.target.password}
        started = time.monotonic()
        dump = subprocess.Popen(
            [tools / "pg_dump", self.source.uri(name, with_password=False)],
            stdout=subprocess.PIPE,
            env={**os.environ, **secrets[0]},
        )
        subprocess.run(
            [tools / "psql", "-qX", "-v", "ON_ERROR_STOP=1", self.target.uri(name, with_password=False)],
            stdin=dump.stdout,
            stdout=subprocess.DEVNULL,
            env={**os.environ, **secrets[1]},
            check=True,
        )
        if dump.wait():
            raise SystemExit("pg_dump failed")
        return time.monotonic() - started

    def stop(self) -> None:
        """Stop everything."""
        self.installation.stop()
        self.source.stop()
        self.target.stop()


def full_copy(bench: Bench, shape: str, scale: float, rounds: int) -> None:
    """Time one shape with both tools in turns."""
    bench.fresh(bench.source, shape)
    with bench.source.connect(shape) as connection:
        SHAPES[shape](connection, scale)
        connection.execute("VACUUM ANALYZE")
    ours, plain, steps = [], [], {}
    for _ in range(rounds):
        bench.fresh(bench.target, shape)
        seconds, report = bench.product(shape, "--mode", "full")
        ours.append(seconds)
        steps = {step["name"]: step["seconds"] for step in report["steps"]}
        bench.fresh(bench.target, shape)
        plain.append(bench.plain(shape))
    print(f"{shape:8} towpath {statistics.median(ours):7.2f} s {[round(value, 2) for value in ours]}")
    print(f"{'':8} pg_dump|psql {statistics.median(plain):7.2f} s {[round(value, 2) for value in plain]}")
    print(f"{'':8} steps of the last run, comparison included: {steps}")


def sync_drain(bench: Bench, changes: int) -> None:
    """Time how fast a backlog of changes reaches the target, Complete with its comparison included."""
    bench.fresh(bench.source, "drain")
    bench.fresh(bench.target, "drain")
    with bench.source.connect("drain") as connection:
        connection.execute("CREATE TABLE t (id bigint PRIMARY KEY, n int, s text)")
        connection.execute("INSERT INTO t SELECT i, 0, md5(i::text) FROM generate_series(1, %s) i", (changes,))
    task = bench.installation.start(
        "task",
        "run",
        "--source",
        bench.source.uri("drain"),
        "--target",
        bench.target.uri("drain"),
        "--mode",
        "full+sync",
    )
    _until_ready(bench)
    with bench.source.connect("drain") as connection:
        started = time.monotonic()
        for low in range(0, changes, 20):
            connection.execute("UPDATE t SET n = n + 1 WHERE id > %s AND id <= %s", (low, low + 20))
        written = time.monotonic() - started
    with bench.target.connect("drain") as connection:
        while connection.execute("SELECT count(*) FROM t WHERE n = 1").fetchone() != (changes,):
            time.sleep(0.05)
    arrived = time.monotonic() - started
    task.terminate()
    task.wait(30)
    print(
        f"sync     {changes:,} updates in {changes // 20:,} transactions: "
        f"written in {written:.1f} s, arrived after {arrived:.1f} s"
        f" = {changes / arrived:,.0f} changes/s"
    )
    bench.installation.manage(
        "task",
        "cancel",
        bench.installation.query("SELECT id FROM migrations_app_migrationtask ORDER BY created_at DESC")[0][0],
    )


def _until_ready(bench: Bench) -> None:
    deadline = time.monotonic() + 120
    while bench.installation.query("SELECT count(*) FROM migrations_app_migrationtask WHERE status = 'ready'") != [
        (1,)
    ]:
        if time.monotonic() > deadline:
            raise SystemExit(f"the task did not get in sync:\n{bench.installation.logs()[-2000:]}")
        time.sleep(0.1)


def main() -> int:
    """Run the measurements that were asked for."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--scale", type=float, default=1.0, help="1 = 10 million narrow rows, 2 million wide ones")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--changes", type=int, default=200_000)
    parser.add_argument(
        "shapes", nargs="*", default=[*SHAPES, "sync", "trees"], help=f"of {', '.join(SHAPES)}, sync, trees"
    )
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="towpath-bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        bench = Bench(folder)
        try:
            for shape in options.shapes:
                if shape == "sync":
                    sync_drain(bench, options.changes)
                elif shape == "trees":
                    sys.stdout.flush()
                    subprocess.run([sys.executable, "-m", "tests.bench.console", "--trees"], check=True)
                else:
                    full_copy(bench, shape, options.scale, options.rounds)
        finally:
            bench.stop()
    largest = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    print(
        f"memory   largest child process, servers with their 1 GB of shared buffers included: {largest / 1024:.0f} MB"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
