"""The two servers of `make bench-sync`, and the workloads: a database, and the changes to it that wait in a slot."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import psycopg

from migrations_app.demo.clusters import Cluster, source_settings
from tests.bench import memory
from tests.bench.binaries import bench_binaries
from tests.fakes import fake_ports
from tests.postgres.sync_kit import Pair

_MARK = "CREATE TABLE mark (id int PRIMARY KEY)"


@dataclass(frozen=True)
class Workload:
    """A database, and changes to it. `goal`: rows a second against those of the native worker, None for no goal."""

    name: str
    setup: Callable[[Bench, Cluster, str, float], None]
    load: Callable[[Bench, str, float], None]
    goal: float | None = None


def sql(*statements: str) -> Callable[[Bench, Cluster, str, float], None]:
    """Make a database by these statements; {n} is the number of rows."""

    def run(bench: Bench, cluster: Cluster, name: str, scale: float) -> None:
        with cluster.connect(name) as connection:
            for statement in statements:
                connection.execute(statement.replace("{n}", str(int(100_000 * scale))))

    return run


def changes(*statements: str) -> Callable[[Bench, str, float], None]:
    """Change the source by these statements, each a transaction."""
    return lambda bench, name, scale: sql(*statements)(bench, bench.source, name, scale)


def pgbench_tables(bench: Bench, cluster: Cluster, name: str, scale: float) -> None:
    """Make pgbench's tables: the same rows each time."""
    bench.pgbench(cluster, name, "-i", "-s", "5", "-q")


def pgbench_run(transactions: int, *script: str) -> Callable[[Bench, str, float], None]:
    """Run so many transactions of pgbench."""
    return lambda bench, name, scale: bench.pgbench(
        bench.source,
        name,
        "-n",
        "-c",
        "4",
        "-t",
        str(int(transactions * scale / 4)),
        "--random-seed=7",
        *script,
        options="-c synchronous_commit=off",
    )


_BULK = "CREATE TABLE bulk (id bigint PRIMARY KEY, a int, b text, at timestamptz, f float8)"
_BULK_ROWS = (
    "INSERT INTO bulk SELECT g, g %% 1000, 'row ' || md5(g::text), timestamptz '2026-01-01' + g * interval '1 s',"
    " g / 7.0 FROM generate_series(1, 8 * {n}) g"
).replace("%%", "%")
_TINY = "DO $$ BEGIN FOR i IN 1..{n} LOOP INSERT INTO tiny VALUES (i, 0, 'x'); COMMIT; END LOOP; END $$"
_TINY_MORE = "DO $$ BEGIN FOR i IN 1..{n} LOOP UPDATE tiny SET n = n + 1 WHERE id = i; COMMIT; END LOOP; END $$"
_WIDE = (
    "CREATE TABLE wide (id int PRIMARY KEY, n int, doc jsonb, big text, note text);"
    "ALTER TABLE wide ALTER big SET STORAGE EXTERNAL"
)
_WIDE_ROWS = (
    "INSERT INTO wide SELECT g, 0, jsonb_build_object('n', g, 'k', md5(g::text)), repeat(md5(g::text), 100),"
    " repeat('n', 200) FROM generate_series(1, {n} / 4) g"
)

WORKLOADS = (
    Workload("tpcb", pgbench_tables, pgbench_run(80_000), 1.2),
    Workload("simple-update", pgbench_tables, pgbench_run(120_000, "-b", "simple-update"), 1.6),
    Workload("bulk-insert", sql(_BULK), changes(_BULK_ROWS), 1.0),
    Workload("bulk-update", sql(_BULK, _BULK_ROWS), changes("UPDATE bulk SET a = a + 1, f = f + 1"), 1.2),
    Workload("bulk-delete", sql(_BULK, _BULK_ROWS), changes("DELETE FROM bulk WHERE id % 2 = 0"), 1.4),
    Workload("tiny", sql("CREATE TABLE tiny (id int PRIMARY KEY, n int, v text)"), changes(_TINY, _TINY_MORE)),
    Workload("wide", sql(_WIDE, _WIDE_ROWS), changes("UPDATE wide SET n = n + 1", _WIDE_ROWS.replace("g, 0", "-g, 0"))),
)


def _cluster(folder: Path, major: int, settings: dict[str, str]) -> Cluster:
    return Cluster(folder, major, settings={**source_settings(), **settings}, binaries=bench_binaries(major))


class Bench:
    """Two servers."""

    def __init__(self, folder: Path, majors: tuple[int, int] = (16, 18)) -> None:
        self.folder = folder
        settings = {"shared_buffers": "1GB", "max_wal_size": "8GB", "checkpoint_timeout": "30min", "fsync": "on"}
        self.source = _cluster(folder / "source", majors[0], settings)
        self.target = _cluster(folder / "target", majors[1], settings)
        for cluster in (self.source, self.target):
            cluster.create()
            cluster.start()
        self._copies = 0

    def pgbench(self, cluster: Cluster, name: str, *arguments: str, options: str = "") -> None:
        """Run pgbench on a database."""
        subprocess.run(
            [cluster.bin() / "pgbench", *arguments, cluster.uri(name, with_password=False)],
            env={"PGPASSWORD": cluster.password, "PATH": "/usr/bin:/bin", "PGOPTIONS": options},
            check=True,
            capture_output=True,
        )

    def fresh(self, cluster: Cluster, name: str, template: str = "template0") -> None:
        """Make a database anew."""
        with cluster.connect() as connection:
            connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
            connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}" STRATEGY file_copy')

    def prepare(self, workload: Workload, scale: float) -> Pair:
        """Make the workload's databases, the slot, and all of its changes."""
        name = workload.name
        for cluster in (self.source, self.target):
            self.fresh(cluster, name)
            workload.setup(self, cluster, name, scale)
            with cluster.connect(name) as connection:
                connection.execute(_MARK)
                connection.execute("VACUUM ANALYZE")
        with self.target.connect() as connection:
            connection.execute("CHECKPOINT")
        pair = Pair(self.source, self.target, name, f"{name}_copy")
        pair.open_slot()
        workload.load(self, name, scale)
        pair.at_source("INSERT INTO mark VALUES (1)")
        return pair

    def copy(self, pair: Pair) -> Pair:
        """Return the same pair with a target and a slot of its own, both where they were before the changes."""
        self._copies += 1
        slot = f"bench_{self._copies}"
        self.fresh(self.target, pair.target_db, pair.source_db)
        pair.at_source(f"SELECT pg_copy_logical_replication_slot('{pair.state.slot}', '{slot}')")
        made = replace(pair, ports=fake_ports(), epoch=0)
        made.store.databases.update(pair.store.databases)
        made.store.table_rows.update(pair.store.table_rows)
        made.store.save_database(replace(pair.state, slot=slot))
        memory.occupy(self.folder)
        return made

    def drop(self, pair: Pair) -> None:
        """Drop the slot of a copy, once nobody reads it."""
        gone = f"SELECT pg_drop_replication_slot('{pair.state.slot}')"
        for _ in range(200):
            try:
                pair.at_source(gone)
                return
            except psycopg.errors.ObjectInUse:
                time.sleep(0.05)

    def stop(self) -> None:
        """Stop both."""
        self.source.stop()
        self.target.stop()
