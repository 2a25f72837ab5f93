"""Twenty syncs on four workers: how far each target is behind while 2,000 rows a second change together, and the
memory of the workers. Figures are for reading; the exit code says whether the promise of five seconds was kept.
"""

from __future__ import annotations

import contextlib
import os
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import psycopg

from migrations_app.demo.clusters import Cluster, source_settings
from tests.acceptance.kit import Migration, World, open_world
from tests.acceptance.places import Place, database_pair
from tests.fakes import wait_until

TASKS, WORKERS, ROWS_A_SECOND = 20, 4, 2_000
PROMISED_SECONDS, PROMISED_MB = 5.0, 100
_TRANSACTIONS_A_SECOND = 10  # of each task
_LOOK_SECONDS = 0.25
_SETTLE_SECONDS = 10.0
_TABLE = "CREATE TABLE t (id bigserial PRIMARY KEY, at timestamptz NOT NULL DEFAULT clock_timestamp(), v text)"


class Behind(NamedTuple):
    """Ages in seconds of the newest row that each target had, at each look: median, 95 of 100, worst."""

    middle: float
    most: float
    worst: float


class Load:
    """Writes to all sources at one rate, in one thread per source, until `stop`."""

    def __init__(self, sources: list[Place]) -> None:
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._write, args=(source,)) for source in sources]
        self.rows = 0
        self._lock = threading.Lock()

    def start(self) -> Load:
        """Begin to write."""
        for thread in self._threads:
            thread.start()
        return self

    def stop(self) -> None:
        """End after the transactions at hand."""
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _write(self, source: Place) -> None:
        rows = ROWS_A_SECOND // TASKS // _TRANSACTIONS_A_SECOND
        due = time.monotonic()
        with source.connect() as connection:
            while not self._over.wait(max(0.0, due - time.monotonic())):
                connection.execute("INSERT INTO t (v) SELECT md5(g::text) FROM generate_series(1, %s) g", (rows,))
                due += 1 / _TRANSACTIONS_A_SECOND
                with self._lock:
                    self.rows += rows


def look(targets: list[Place], seconds: float) -> list[Behind]:
    """Look at all targets for so long; return how far each was behind."""
    with contextlib.ExitStack() as stack:
        sessions: list[psycopg.Connection[Any]] = [stack.enter_context(target.connect()) for target in targets]
        ages: list[list[float]] = [[] for _ in targets]
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            for session, found in zip(sessions, ages, strict=True):
                row = session.execute(
                    "SELECT extract(epoch FROM clock_timestamp() - at)::float8 FROM t ORDER BY id DESC LIMIT 1"
                ).fetchone()
                found.append(row[0] if row else seconds)
            time.sleep(_LOOK_SECONDS)
    return [Behind(statistics.median(one), sorted(one)[int(len(one) * 0.95)], max(one)) for one in ages]


def _workers(world: World) -> list[int]:
    query = "SELECT DISTINCT pid FROM migrations_app_workerbeat WHERE cluster = 'sync'"
    return [int(pid) for (pid,) in world.installation.query(query)]


def memory_mb(world: World) -> list[float]:
    """Return the most memory that each sync worker ever took, in MB."""
    found = []
    for pid in _workers(world):
        with contextlib.suppress(OSError):
            lines = Path(f"/proc/{pid}/status").read_text().splitlines()
            found += [int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM")]
    return found


class Spent(NamedTuple):
    """What the slices of all tasks have cost so far. `logins`: of both servers, whoever they were for."""

    slices: int
    cpu_seconds: float
    logins: int


def spent(world: World) -> Spent:
    """Return how many slices there were, and the CPU that the sync workers have used, their children's included."""
    ticks = 0
    for pid in _workers(world):
        with contextlib.suppress(OSError):
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            ticks += sum(int(field) for field in fields[11:15])
    ((epochs,),) = world.installation.query("SELECT sum(epoch) FROM migrations_app_migrationtask")
    logins = 0
    for cluster in (world.source, world.target):
        with cluster.connect() as connection:
            row = connection.execute("SELECT sum(sessions) FROM pg_stat_database").fetchone()
            logins += int(row[0]) if row else 0
    return Spent(int(epochs), ticks / os.sysconf("SC_CLK_TCK"), logins)


@contextlib.contextmanager
def _servers(folder: Path) -> Iterator[tuple[Cluster, Cluster]]:
    more = {"max_connections": "400", "max_wal_senders": "100", "max_replication_slots": "100"}
    with contextlib.ExitStack() as stack:
        made = []
        for name, major in (("source", 16), ("target", 18)):
            cluster = Cluster(folder=folder / name, major=major, settings={**source_settings(), **more})
            cluster.create()
            cluster.start()
            stack.callback(cluster.stop)
            made.append(cluster)
        yield made[0], made[1]


def measure(seconds: float) -> bool:
    """Run it for so many seconds and print what was seen. True: every target was less than five seconds behind."""
    with tempfile.TemporaryDirectory(prefix="towpath-bench-") as name:
        Path(name).chmod(0o755)
        workers = {"TOWPATH_SYNC_WORKERS": str(WORKERS), "TOWPATH_COPY_JOBS": "1", "TOWPATH_MIGRATION_SLOTS": "4"}
        with (
            _servers(Path(name)) as (source, target),
            open_world(source, target, Path(name) / "console", **workers) as world,
            contextlib.ExitStack() as stack,
        ):
            pairs = [stack.enter_context(database_pair(world, _TABLE, make_target=True)) for _ in range(TASKS)]
            tasks = [stack.enter_context(contextlib.closing(Migration(world, *pair))) for pair in pairs]
            for task in tasks:
                task.start()
            for task in tasks:
                task.until("ready", seconds=300)
            load = Load([source for source, _ in pairs]).start()
            try:
                time.sleep(_SETTLE_SECONDS)
                before, began, bill = load.rows, time.monotonic(), spent(world)
                behind = look([target for _, target in pairs], seconds)
                rate = (load.rows - before) / (time.monotonic() - began)
                bill = Spent(*(now - then for now, then in zip(spent(world), bill, strict=True)))
            finally:
                load.stop()
            wait_until(lambda: _counts(pairs, 0) == _counts(pairs, 1), 120, "every row on its target")
            return _show(behind, rate, memory_mb(world), bill)


def _counts(pairs: list[tuple[Place, Place]], side: int) -> list[int]:
    return [pair[side].value("SELECT count(*) FROM t") for pair in pairs]


def _show(behind: list[Behind], rate: float, memory: list[float], bill: Spent) -> bool:
    most, worst = max(one.most for one in behind), max(one.worst for one in behind)
    print(f"{TASKS} tasks on {WORKERS} workers, {rate:.0f} rows/s together")
    print(
        f"seconds behind: median {statistics.median(one.middle for one in behind):.1f}, "
        f"p95 of the worst task {most:.1f}, worst moment {worst:.1f} (promised: {PROMISED_SECONDS:.0f})"
    )
    slices = max(bill.slices, 1)
    print(
        f"{bill.slices} slices, each {1000 * bill.cpu_seconds / slices:.0f} ms of CPU and "
        f"{bill.logins / slices:.1f} logins at the two servers"
    )
    print(f"memory of a worker: at most {max(memory, default=0):.0f} MB (promised: {PROMISED_MB})")
    return most < PROMISED_SECONDS and max(memory, default=0) < PROMISED_MB
