"""`make bench-sync`: how fast a backlog of changes reaches the target, by the product and by a native subscription.

Nothing here passes or fails; figures are for reading. Each workload has a database of its own, whose changes are made
once. Both consumers then drain them in turns, each from a copy of the same slot into a copy of the same target. CPU
seconds are those of our process, of the source's WAL sender and of the session that applies on the target, and hold
still where the clock does not, on a machine with other work. Contents are compared after each run.
"""

from __future__ import annotations

import argparse
import pickle
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple, cast

import psycopg

from migrations_app.demo.clusters import Cluster, source_settings, wheel_bin
from tests.fakes import fake_ports
from tests.postgres.sync_kit import Pair

Connection = psycopg.Connection[Any]
_TICK = 100  # /proc counts CPU in hundredths of a second
_MARK = "CREATE TABLE mark (id int PRIMARY KEY)"


@dataclass(frozen=True)
class Workload:
    """A database, and changes to it. `rows`: how many the stream carries at scale 1, roughly."""

    name: str
    setup: Callable[[Bench, Cluster, str, float], None]
    load: Callable[[Bench, str, float], None]


class Drained(NamedTuple):
    """One run: wall seconds; CPU seconds of client, source, target; largest memory of the client in MB."""

    seconds: float
    client: float
    source: float
    target: float
    memory: float


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


def pgbench_run(*script: str) -> Callable[[Bench, str, float], None]:
    """Run transactions of pgbench."""
    return lambda bench, name, scale: bench.pgbench(
        bench.source, name, "-n", "-c", "4", "-t", str(int(7_500 * scale)), "--random-seed=7", *script
    )


_BULK = "CREATE TABLE bulk (id bigint PRIMARY KEY, a int, b text, at timestamptz, f float8)"
_BULK_ROWS = (
    "INSERT INTO bulk SELECT g, g %% 1000, 'row ' || md5(g::text), timestamptz '2026-01-01' + g * interval '1 s',"
    " g / 7.0 FROM generate_series(1, 4 * {n}) g"
).replace("%%", "%")
_TINY = "DO $$ BEGIN FOR i IN 1..{n} / 2 LOOP INSERT INTO tiny VALUES (i, 0, 'x'); COMMIT; END LOOP; END $$"
_TINY_MORE = "DO $$ BEGIN FOR i IN 1..{n} / 2 LOOP UPDATE tiny SET n = n + 1 WHERE id = i; COMMIT; END LOOP; END $$"
_WIDE = (
    "CREATE TABLE wide (id int PRIMARY KEY, n int, doc jsonb, big text, note text);"
    "ALTER TABLE wide ALTER big SET STORAGE EXTERNAL"
)
_WIDE_ROWS = (
    "INSERT INTO wide SELECT g, 0, jsonb_build_object('n', g, 'k', md5(g::text)), repeat(md5(g::text), 100),"
    " repeat('n', 200) FROM generate_series(1, {n} / 10) g"
)

WORKLOADS = (
    Workload("tpcb", pgbench_tables, pgbench_run()),
    Workload("simple-update", pgbench_tables, pgbench_run("-b", "simple-update")),
    Workload("bulk-insert", sql(_BULK), changes(_BULK_ROWS)),
    Workload("bulk-update", sql(_BULK, _BULK_ROWS), changes("UPDATE bulk SET a = a + 1, f = f + 1")),
    Workload("bulk-delete", sql(_BULK, _BULK_ROWS), changes("DELETE FROM bulk WHERE id % 2 = 0")),
    Workload("tiny", sql("CREATE TABLE tiny (id int PRIMARY KEY, n int, v text)"), changes(_TINY, _TINY_MORE)),
    Workload("wide", sql(_WIDE, _WIDE_ROWS), changes("UPDATE wide SET n = n + 1", _WIDE_ROWS.replace("g, 0", "-g, 0"))),
)


class Bench:
    """Two servers."""

    def __init__(self, folder: Path) -> None:
        settings = {"shared_buffers": "1GB", "max_wal_size": "8GB", "checkpoint_timeout": "30min", "fsync": "on"}
        self.source = Cluster(folder=folder / "source", major=16, settings={**source_settings(), **settings})
        self.target = Cluster(folder=folder / "target", major=18, settings={**source_settings(), **settings})
        for cluster in (self.source, self.target):
            cluster.create()
            cluster.start()
        self._copies = 0

    def pgbench(self, cluster: Cluster, name: str, *arguments: str) -> None:
        """Run pgbench on a database."""
        subprocess.run(
            [wheel_bin(18) / "pgbench", *arguments, cluster.uri(name, with_password=False)],
            env={"PGPASSWORD": cluster.password, "PATH": "/usr/bin:/bin"},
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


def cpu(pid: int) -> float:
    """Return the CPU seconds of a process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / _TICK


def memory(pid: int) -> float:
    """Return the largest resident memory of a process in MB."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


def until_marked(pair: Pair, started: float) -> float:
    """Wait for the last change; return seconds since `started`."""
    with pair.target.connect(pair.target_db) as connection:
        while connection.execute("SELECT FROM mark").fetchone() is None:
            time.sleep(0.005)
            if time.monotonic() - started > 1800:
                raise SystemExit("the changes did not arrive within half an hour")
    return time.monotonic() - started


def worker(pair: Pair) -> subprocess.Popen[bytes]:
    """Start our consumer; it has imported everything and waits for a line when this returns."""
    pair.epoch += 1
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.bench.sync_worker"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdin is not None
    assert process.stdout is not None
    pickle.dump((pair.plan(), pair.store.databases, pair.store.table_rows), process.stdin)
    process.stdin.flush()
    process.stdout.readline()
    return process


def by_us(pair: Pair) -> Drained:
    """Drain with the product's engine in a process of its own."""
    process = worker(pair)
    assert process.stdin is not None
    before = cpu(process.pid)
    started = time.monotonic()
    process.stdin.write(b"go\n")
    process.stdin.flush()
    seconds = until_marked(pair, started)
    walsender = pair.value(f"SELECT active_pid FROM pg_replication_slots WHERE slot_name = '{pair.state.slot}'")
    busiest = (
        "SELECT pid FROM pg_stat_activity WHERE application_name LIKE 'towpath%'"
        " AND datname = current_database() ORDER BY backend_start DESC LIMIT 1"
    )
    applying = pair.value(busiest, "target")
    found = Drained(seconds, cpu(process.pid) - before, cpu(walsender), cpu(applying), memory(process.pid))
    process.terminate()
    process.wait()
    process.stdin.close()
    cast(Any, process.stdout).close()
    return found


def subscribe(pair: Pair) -> None:
    """Make a subscription that is not enabled yet.

    Without streaming of open transactions, as before version 18: one worker applies what is committed, as we do.
    """
    source = pair.source
    line = f"host=127.0.0.1 port={source.port} user=postgres password={source.password} dbname={pair.source_db}"
    pair.at_target(
        f"CREATE SUBSCRIPTION native CONNECTION '{line}' PUBLICATION \"{pair.state.publication}\""
        f" WITH (create_slot = false, slot_name = '{pair.state.slot}', enabled = false, copy_data = false,"
        " streaming = off)"
    )


def by_native(pair: Pair) -> Drained:
    """Drain with a subscription."""
    subscribe(pair)
    started = time.monotonic()
    pair.at_target("ALTER SUBSCRIPTION native ENABLE")
    seconds = until_marked(pair, started)
    walsender = pair.value(f"SELECT active_pid FROM pg_replication_slots WHERE slot_name = '{pair.state.slot}'")
    applying = pair.value("SELECT pid FROM pg_stat_subscription WHERE subname = 'native'", "target")
    found = Drained(seconds, 0.0, cpu(walsender), cpu(applying), 0.0)
    unsubscribe(pair)
    return found


def unsubscribe(pair: Pair) -> None:
    """Drop the subscription without its slot."""
    pair.at_target(
        "ALTER SUBSCRIPTION native DISABLE",
        "ALTER SUBSCRIPTION native SET (slot_name = NONE)",
        "DROP SUBSCRIPTION native",
    )


def equal(pair: Pair) -> bool:
    """Compare count and hash of every table."""
    for table in pair.tables():
        query = f'SELECT (count(*), sum(hashtextextended(t::text, 0)))::text FROM "{table.schema}"."{table.name}" t'
        if pair.value(query) != pair.value(query, "target"):
            return False
    return True


def drain(
    bench: Bench, workload: Workload, scale: float, rounds: int, consumers: list[str]
) -> dict[str, list[Drained]]:
    """Drain one workload by each consumer in turns."""
    pair = bench.prepare(workload, scale)
    runs: dict[str, list[Drained]] = {name: [] for name in consumers}
    ways = {"ours": by_us, "native": by_native}
    for number in range(rounds):
        for name in consumers if number % 2 == 0 else reversed(consumers):
            copy = bench.copy(pair)
            runs[name].append(ways[name](copy))
            if not equal(copy):
                print(f"{workload.name}: {name} left OTHER CONTENTS than the source has")
            bench.drop(copy)
    pair.at_source(f"SELECT pg_drop_replication_slot('{pair.state.slot}')")
    return runs


def show(name: str, runs: dict[str, list[Drained]]) -> None:
    """Print medians of one workload, and the ratio."""
    middle = {
        who: Drained(*(statistics.median(values) for values in zip(*found, strict=True)))
        for who, found in runs.items()
        if found
    }
    for who, one in middle.items():
        print(
            f"{name:14} {who:7} {one.seconds:7.2f} s   CPU client {one.client:5.2f} source {one.source:5.2f}"
            f" target {one.target:5.2f} = {one.client + one.source + one.target:5.2f}"
            + (f"   memory {one.memory:.0f} MB" if one.memory else "")
            + f"   {[round(run.seconds, 2) for run in runs[who]]}"
        )
    if len(middle) == 2:
        ours, native = middle["ours"], middle["native"]
        pairs = [b.seconds / a.seconds for a, b in zip(runs["ours"], runs["native"], strict=True)]
        work = (native.source + native.target) / (ours.client + ours.source + ours.target)
        print(
            f"{name:14} speed against native {native.seconds / ours.seconds:5.2f}"
            f"   pairs {[round(value, 2) for value in pairs]}   CPU {work:5.2f}",
            flush=True,
        )


def lag(bench: Bench, who: str, seconds: int) -> None:
    """Measure how long a commit takes to be seen on the target while pgbench makes 500 transactions a second."""
    pair = bench.prepare(replace(WORKLOADS[0], load=lambda *_: None), 1)
    pair.at_source("DELETE FROM mark")
    copy = bench.copy(pair)
    process = None
    if who == "ours":
        process = worker(copy)
        cast(Any, process.stdin).write(b"go\n")
        cast(Any, process.stdin).flush()
    else:
        subscribe(copy)
        copy.at_target("ALTER SUBSCRIPTION native ENABLE")
    load = threading.Thread(
        target=bench.pgbench,
        args=(bench.source, pair.source_db, "-n", "-c", "4", "-R", "500", "-T", str(seconds)),
    )
    load.start()
    found = _probe(copy, seconds - 2)
    load.join()
    if process is not None:
        process.terminate()
        process.wait()
    else:
        unsubscribe(copy)
    bench.drop(copy)
    pair.at_source(f"SELECT pg_drop_replication_slot('{pair.state.slot}')")
    cuts = statistics.quantiles(found, n=100)
    print(
        f"lag at 500 tx/s {who:7} p50 {cuts[49] * 1000:5.1f} ms   p95 {cuts[94] * 1000:5.1f}"
        f"   p99 {cuts[98] * 1000:5.1f}   ({len(found)} probes)",
        flush=True,
    )


def _probe(pair: Pair, seconds: int) -> list[float]:
    found = []
    with (
        pair.source.connect(pair.source_db) as source,
        pair.target.connect(pair.target_db) as target,
    ):
        ends = time.monotonic() + seconds
        number = 0
        while time.monotonic() < ends:
            number += 1
            source.execute("INSERT INTO mark VALUES (%s)", (number,))
            sent = time.monotonic()
            while target.execute("SELECT FROM mark WHERE id = %s", (number,)).fetchone() is None:
                time.sleep(0.0005)
            found.append(time.monotonic() - sent)
            time.sleep(0.05)
    return found[10:]


def main() -> int:
    """Run the measurements that were asked for."""
    parser = argparse.ArgumentParser(prog="make bench-sync", description=__doc__)
    parser.add_argument("--scale", type=float, default=1.0, help="1 = 100,000 to 400,000 changes of each kind")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", choices=["ours", "native"])
    parser.add_argument("--lag", type=int, default=20, metavar="SECONDS", help="0: leave it out")
    parser.add_argument("workloads", nargs="*", help=f"of {', '.join(one.name for one in WORKLOADS)}")
    options = parser.parse_args()
    consumers = [options.only] if options.only else ["ours", "native"]
    totals: dict[str, float] = dict.fromkeys(consumers, 0.0)
    with tempfile.TemporaryDirectory(prefix="towpath-bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        bench = Bench(folder)
        try:
            for workload in WORKLOADS:
                if not options.workloads or workload.name in options.workloads:
                    runs = drain(bench, workload, options.scale, options.rounds, consumers)
                    show(workload.name, runs)
                    for who, found in runs.items():
                        totals[who] += statistics.median(run.seconds for run in found)
            if len(totals) == 2 and totals["ours"]:
                print(f"whole mix      speed against native {totals['native'] / totals['ours']:5.2f}")
            for who in consumers if options.lag else []:
                lag(bench, who, options.lag)
        finally:
            bench.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
