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
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, cast

import psycopg

from tests.bench import sync_pgcopydb, twenty
from tests.bench.binaries import MAJORS, majors
from tests.bench.sync_servers import WORKLOADS, Bench, Workload
from tests.postgres.sync_kit import Pair

Connection = psycopg.Connection[Any]
_TICK = 100  # /proc counts CPU in hundredths of a second


class Drained(NamedTuple):
    """One run: wall seconds, and after how many the source began to send; CPU seconds of client, source, target;
    largest memory of the client in MB.
    """

    seconds: float
    start: float
    client: float
    source: float
    target: float
    memory: float


def cpu(pid: int) -> float:
    """Return the CPU seconds of a process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / _TICK


def memory(pid: int) -> float:
    """Return the largest resident memory of a process in MB."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


def until_marked(pair: Pair, started: float) -> tuple[float, float]:
    """Wait for the last change; return when it was there and when the slot was taken, in seconds since `started`."""
    taken = f"SELECT FROM pg_replication_slots WHERE slot_name = '{pair.state.slot}' AND active"
    with pair.source.connect(pair.source_db) as connection:
        began = _until(connection, taken, started)
    with pair.target.connect(pair.target_db) as connection:
        return _until(connection, "SELECT FROM mark", started), began


def _until(connection: Connection, query: str, started: float) -> float:
    while connection.execute(query.encode()).fetchone() is None:
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
    seconds, began = until_marked(pair, started)
    walsender = pair.value(f"SELECT active_pid FROM pg_replication_slots WHERE slot_name = '{pair.state.slot}'")
    busiest = (
        "SELECT pid FROM pg_stat_activity WHERE application_name LIKE 'towpath%'"
        " AND datname = current_database() ORDER BY backend_start DESC LIMIT 1"
    )
    applying = pair.value(busiest, "target")
    found = Drained(seconds, began, cpu(process.pid) - before, cpu(walsender), cpu(applying), memory(process.pid))
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
    seconds, began = until_marked(pair, started)
    walsender = pair.value(f"SELECT active_pid FROM pg_replication_slots WHERE slot_name = '{pair.state.slot}'")
    applying = pair.value("SELECT pid FROM pg_stat_subscription WHERE subname = 'native'", "target")
    found = Drained(seconds, began, 0.0, cpu(walsender), cpu(applying), 0.0)
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


def show(name: str, runs: dict[str, list[Drained]], goal: float | None) -> None:
    """Print medians of one workload, and the ratio beside its goal."""
    middle = {
        who: Drained(*(statistics.median(values) for values in zip(*found, strict=True)))
        for who, found in runs.items()
        if found
    }
    for who, one in middle.items():
        print(
            f"{name:14} {who:7} {one.seconds:7.2f} s ({one.start:.2f} before the first byte)"
            f"   CPU client {one.client:5.2f} source {one.source:5.2f}"
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
            + (f" (goal {goal})" if goal else "")
            + f"   pairs {[round(value, 2) for value in pairs]}   CPU {work:5.2f}",
            flush=True,
        )


def growth(bench: Bench, scale: float) -> None:
    """Print what our process takes for a backlog of one, ten and a hundred times the size (aimed at: the same)."""
    for factor in (0.01, 0.1, 1.0):
        one = drain(bench, WORKLOADS[1], scale * factor, 1, ["ours"])["ours"][0]
        print(f"backlog x {factor * 100:3.0f}   {one.seconds:7.2f} s   memory {one.memory:.0f} MB", flush=True)


def huge(bench: Bench, rows: int) -> None:
    """Print what our process takes for one transaction of so many rows (aimed at: less than 512 MB)."""
    one = drain(bench, WORKLOADS[2], rows / 800_000, 1, ["ours"])["ours"][0]
    print(
        f"one transaction of {rows:,} rows   {one.seconds:7.2f} s   CPU client {one.client:.2f} source {one.source:.2f}"
        f" target {one.target:.2f}   memory {one.memory:.0f} MB (goal < 512)",
        flush=True,
    )


def third(bench: Bench, workloads: list[Workload], scale: float) -> None:
    """Let pgcopydb follow drain each workload once, or print why it does not."""
    try:
        sync_pgcopydb.probe(bench)
    except sync_pgcopydb.CannotRun as reason:
        print(f"pgcopydb follow is left out: {reason}", flush=True)
        return
    for workload in workloads:
        try:
            print(f"{workload.name:14} pgcopydb {sync_pgcopydb.drain(bench, workload, scale):7.2f} s", flush=True)
        except sync_pgcopydb.CannotRun as reason:
            print(f"{workload.name:14} pgcopydb follow did not do it: {reason}", flush=True)


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


def mix(bench: Bench, options: argparse.Namespace, consumers: list[str]) -> None:
    """Drain all workloads that were asked for, and measure the lag."""
    totals: dict[str, float] = dict.fromkeys(consumers, 0.0)
    workloads = [one for one in WORKLOADS if not options.workloads or one.name in options.workloads]
    for workload in workloads:
        runs = drain(bench, workload, options.scale, options.rounds, consumers)
        show(workload.name, runs, workload.goal)
        for who, found in runs.items():
            totals[who] += statistics.median(run.seconds for run in found)
    if len(totals) == 2 and totals["ours"]:
        print(f"whole mix      speed against native {totals['native'] / totals['ours']:5.2f} (goal 1.25)")
    if not options.only:
        third(bench, workloads, options.scale)
    for who in consumers if options.lag else []:
        lag(bench, who, options.lag)
    if options.lag:
        print("lag at 500 tx/s aimed at: p95 10 ms, and 1.5 times native's")


def main() -> int:
    """Run the measurements that were asked for."""
    parser = argparse.ArgumentParser(prog="make bench-sync", description=__doc__)
    parser.add_argument("--scale", type=float, default=1.0, help="1 = 200,000 to 800,000 changes of each kind")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--majors", type=majors, default=(16, 18), metavar="S,T", help=f"both servers, {MAJORS}")
    parser.add_argument("--only", choices=["ours", "native"])
    parser.add_argument("--lag", type=int, default=20, metavar="SECONDS", help="0: leave it out")
    parser.add_argument("--growth", action="store_true", help="instead: memory with backlogs of 1, 10 and 100 times")
    parser.add_argument(
        "--huge", type=int, nargs="?", const=10_000_000, metavar="ROWS", help="instead: one transaction"
    )
    parser.add_argument("--twenty", type=int, metavar="SECONDS", help="instead: twenty syncs on four workers")
    parser.add_argument("workloads", nargs="*", help=f"of {', '.join(one.name for one in WORKLOADS)}")
    options = parser.parse_args()
    if options.twenty:
        return 0 if twenty.measure(options.twenty) else 1
    consumers = [options.only] if options.only else ["ours", "native"]
    with tempfile.TemporaryDirectory(prefix="towpath-bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        bench = Bench(folder, options.majors)
        try:
            if options.growth:
                growth(bench, options.scale)
            if options.huge:
                huge(bench, options.huge)
            if not options.growth and not options.huge:
                mix(bench, options, consumers)
        finally:
            bench.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
