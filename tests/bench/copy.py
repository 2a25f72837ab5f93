"""`make bench-copy`: the full migration against its peers, alternating, with medians and the CPU of everybody.

Each workload is migrated from one server to another on this machine by pgcopydb, `pg_dump -Fd -j | pg_restore -j`,
`pg_dump | psql` and `task run --mode full`, with its comparison and without (the peers do not compare). The floor is a
server that reads the rows from binary files of its own and builds the same indexes. After every run the target is
looked at: indexes, proved constraints, tables, rows. Nothing here passes or fails; figures are for reading.

The databases are deleted at the end. pgcopydb is installed with apt-get when it is missing and root asks; another one
is measured with `--pgcopydb PATH`.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from .binaries import DEBIAN_MAJOR, MAJORS, majors
from .field import JOBS, Field
from .meter import Cost, measured, median
from .workloads import WORKLOADS, fingerprint

# Wall time of ours / of the peer, and of the data part / of the floor's: what is aimed at on two quiet cores.
GOALS = {
    "pgbench": {"pgcopydb": 0.88, "dump|psql": 0.93},
    "wide": {"pgcopydb": 0.62, "dump|psql": 0.72},
    "many": {"pgcopydb": 0.20, "dump|psql": 0.70},
    "narrow": {"pgcopydb": 0.65, "dump|psql": 0.78},
}
_OURS, _COMPARED = "ours", "ours+compare"


@dataclass
class Runs:
    """What was measured of one tool on one workload."""

    costs: list[Cost] = field(default_factory=list)
    data: list[float] = field(default_factory=list)
    """Seconds from the first COPY to the last commit of rows, by the target's log."""
    steps: list[dict[str, float]] = field(default_factory=list)


def run_pgcopydb(there: Field) -> None:
    """Run `pgcopydb clone`."""
    work = there.folder / "pgcopydb"
    shutil.rmtree(work, ignore_errors=True)
    ends = ["--source", there.uri(there.source), "--target", there.uri(there.target)]
    jobs = ["--table-jobs", str(JOBS), "--index-jobs", str(JOBS)]
    there.call(there.pgcopydb, "clone", *ends, *jobs, "--dir", work)
    shutil.rmtree(work, ignore_errors=True)


def run_directory(there: Field) -> None:
    """Run `pg_dump -Fd -j`, then `pg_restore -j`."""
    work = there.folder / "dump"
    shutil.rmtree(work, ignore_errors=True)
    source, target = there.uri(there.source), there.uri(there.target)
    there.call(there.tools / "pg_dump", "-Fd", "-Z0", f"-j{JOBS}", "-f", work, source)
    there.call(there.tools / "pg_restore", f"-j{JOBS}", "-d", target, work)
    shutil.rmtree(work, ignore_errors=True)


def run_pipe(there: Field) -> None:
    """Run `pg_dump | psql`."""
    environment = there.environment()
    dump = subprocess.Popen([there.tools / "pg_dump", there.uri(there.source)], stdout=subprocess.PIPE, env=environment)
    restore = [there.tools / "psql", "-qX", "-v", "ON_ERROR_STOP=1", there.uri(there.target)]
    subprocess.run(restore, stdin=dump.stdout, stdout=subprocess.DEVNULL, env=environment, check=True)
    if dump.wait():
        raise RuntimeError("pg_dump failed")


def run_ours(there: Field, *more: str) -> dict[str, float]:
    """Run `task run --mode full`; return the seconds of its steps."""
    arguments = ["task", "run", *there.ends(), "--mode", "full", "--json", "--jobs", str(JOBS), *more]
    done = there.installation.manage(*arguments, timeout=7200)
    if done.returncode:
        raise RuntimeError(f"task run ended with {done.returncode}:\n{done.stderr}\n{done.stdout[-2000:]}")
    return {step["name"]: step["seconds"] for step in json.loads(done.stdout)["steps"] if step["seconds"] is not None}


class Floor:
    """What the target's server needs alone: rows from binary files that it reads itself, then the same indexes."""

    def __init__(self, there: Field) -> None:
        self.there = there
        folder = there.source.folder / "rows"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(mode=0o755)
        shutil.chown(folder, user=there.source.data.owner(), group=there.source.data.group())
        with there.source.connect("bench") as connection:
            names = "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
            self.files = {name: folder / f"{name}.bin" for (name,) in connection.execute(names).fetchall()}
            for name, file in self.files.items():
                connection.execute(f"COPY public.\"{name}\" TO '{file}' (FORMAT binary)")
        self.archive = there.folder / "schema.dump"
        source = there.uri(there.source)
        there.call(there.tools / "pg_dump", "-Fc", "-Z0", "--schema-only", "-f", self.archive, source)

    def prepare(self) -> None:
        """Make the empty tables; not part of the measured time."""
        self._restore("--section=pre-data")

    def run(self) -> None:
        """Read the files, build the indexes."""
        with self.there.target.connect("bench") as connection:
            for name, file in self.files.items():
                connection.execute(f"COPY public.\"{name}\" FROM '{file}' (FORMAT binary)")
        self._restore("--section=post-data", PGOPTIONS="-c maintenance_work_mem=512MB")

    def _restore(self, *more: str, **environment: str) -> None:
        target = self.there.uri(self.there.target)
        self.there.call(self.there.tools / "pg_restore", f"-j{JOBS}", *more, "-d", target, self.archive, **environment)


_LINE = re.compile(r"^([0-9.]+) \d+ LOG:  duration: ([0-9.]+) ms  (?:statement|execute [^:]*): (.*)$")


def statements(log: Path, offset: int) -> list[tuple[float, float, str]]:
    """Return (begin, end, text) of the statements that the server has logged since `offset`."""
    with log.open(errors="replace") as file:
        file.seek(offset)
        found = [match for line in file if (match := _LINE.match(line))]
    return [(float(it[1]) - float(it[2]) / 1000, float(it[1]), it[3]) for it in found]


def data_seconds(lines: list[tuple[float, float, str]]) -> float:
    """Return the seconds from the beginning of the first COPY to its last commit."""
    copies = [line for line in lines if line[2].startswith("COPY")]
    if not copies:
        return 0.0
    begin, last = min(line[0] for line in copies), max(line[1] for line in copies)
    commits = [line[1] for line in lines if line[2] == "COMMIT" and line[0] <= last + 0.05]
    return max([last, *commits]) - begin


def once(there: Field, tool: str, work: Callable[[], dict[str, float] | None], runs: Runs, trace: bool) -> None:
    """Measure one run of one tool, and see that the target holds what the source has."""
    offset = there.target.log.stat().st_size
    with measured(there.source, there.target) as cost:
        steps = work()
    with there.target.connect("bench") as connection:
        made = fingerprint(connection)
    if made != there.wanted:
        raise RuntimeError(f"{tool} made {made} instead of {there.wanted} (indexes, constraints, tables, rows)")
    lines = statements(there.target.log, offset)
    runs.costs.append(cost)
    runs.data.append(data_seconds(lines))
    runs.steps.append(steps or {})
    print(f"  {tool:13}{_line(cost)}", flush=True)
    if trace and lines:
        begin = min(line[0] for line in lines)
        for start, end, text in sorted(lines):
            if end - start >= 0.1:
                print(f"      {start - begin:7.2f} – {end - begin:7.2f}  {text[:90]}")


def measure(there: Field, options: argparse.Namespace, workload: str) -> dict[str, Runs]:
    """Run all tools on one workload in turns, each round beginning with another one."""
    there.fill(workload, options.scale)
    floor = Floor(there)
    work: dict[str, Callable[[], dict[str, float] | None]] = {
        "pgcopydb": lambda: run_pgcopydb(there),
        "dump -Fd -j": lambda: run_directory(there),
        "dump|psql": lambda: run_pipe(there),
        _OURS: lambda: run_ours(there, "--no-compare"),
        _COMPARED: lambda: run_ours(there),
        "floor": floor.run,
    }
    chosen = [name for name in work if not options.tools or name in options.tools]
    if not there.pgcopydb:
        chosen = [name for name in chosen if name != "pgcopydb"]
    runs = {name: Runs() for name in chosen}
    for number in range(options.rounds):
        print(f"{workload}, round {number + 1} of {options.rounds}", flush=True)
        for name in chosen[number % len(chosen) :] + chosen[: number % len(chosen)]:
            there.fresh(there.target)
            if name == "floor":
                floor.prepare()
            try:
                once(there, name, work[name], runs[name], options.trace)
            except (RuntimeError, subprocess.CalledProcessError) as error:
                print(f"  {name:13} FAILED: {error}", flush=True)
    there.tidy()
    return {name: found for name, found in runs.items() if found.costs}


def growth(there: Field, scale: float, factors: tuple[int, ...] = (1, 2, 4)) -> None:
    """Migrate the narrow table at several sizes and print how the cost of a row changes."""
    costs = []
    for factor in factors:
        there.fill("narrow", scale * factor)
        there.fresh(there.target)
        with measured(there.source, there.target) as cost:
            run_ours(there, "--no-compare")
        costs.append(cost)
        print(f"  narrow x {factor:<4}{_line(cost)}", flush=True)
    # The fixed part is what the two smallest have in common; what is left must grow with the rows.
    for name in ("wall", "cpu"):
        one, two, most = (getattr(cost, name) for cost in costs)
        linear = one + (two - one) * (factors[2] - 1)
        print(
            f"  growth of {name}: {most:.2f} s at x {factors[2]}, {linear:.2f} s would be linear: {most / linear:.2f}"
        )


def many_tables(there: Field, count: int) -> None:
    """Migrate very many small tables and print how long each phase takes."""
    there.fill("many", count / 1000)
    there.fresh(there.target)
    with measured(there.source, there.target) as cost:
        steps = run_ours(there, "--no-compare")
    query = "SELECT julianday(created_at), julianday(checked_at) FROM migrations_app_migrationtask ORDER BY created_at"
    created, checked = there.installation.query(query)[-1]
    print(f"  {count} tables {_line(cost)}")
    print(f"  check {86400 * (checked - created):.2f} s, " + ", ".join(f"{k} {v:.2f} s" for k, v in steps.items()))
    with measured(there.source, there.target) as listing:
        there.installation.manage("task", "list")
    print(f"  task list {listing.wall:.2f} s", flush=True)


def _line(cost: Cost) -> str:
    return (
        f"{cost.wall:8.2f} s   CPU {cost.client:6.2f} client {cost.source:6.2f} source {cost.target:6.2f} target"
        f"   others {cost.load:4.2f} cores"
    )


def report(workload: str, runs: dict[str, Runs]) -> None:
    """Print medians, ratios and goals of one workload."""
    medians = {name: median(found.costs) for name, found in runs.items()}
    print(f"\n{workload}: medians of {max(len(found.costs) for found in runs.values())} rounds")
    for name, cost in medians.items():
        print(f"  {name:13}{_line(cost)}")
    for name in (_OURS, _COMPARED):
        if name not in medians:
            continue
        ours = medians[name]
        for peer in ("pgcopydb", "dump -Fd -j", "dump|psql", "floor"):
            if peer in medians:
                goal = GOALS[workload].get(peer) if name == _OURS else None
                aimed = f"   (goal {goal})" if goal else ""
                ratios = ours.wall / medians[peer].wall, ours.cpu / medians[peer].cpu
                print(f"  {name} / {peer}: wall {ratios[0]:.2f}, CPU {ratios[1]:.2f}{aimed}")
        cores = os.cpu_count() or 1
        print(f"  {name}: wall / (CPU / {cores} cores) {ours.wall / (ours.cpu / cores):.2f}   (goal 1.3)")
        print(f"  {name}: client's share of the CPU {100 * ours.client / ours.cpu:.0f} %   (goal 10 %)")
        steps = {
            step: sorted(s[step] for s in runs[name].steps)[len(runs[name].steps) // 2] for step in runs[name].steps[0]
        }
        print(f"  {name}: steps " + ", ".join(f"{step} {seconds:.2f} s" for step, seconds in steps.items()))
    if _OURS in runs and "floor" in runs:
        ours_data, floor_data = (sorted(runs[name].data)[len(runs[name].data) // 2] for name in (_OURS, "floor"))
        if floor_data:
            print(
                f"  data part {ours_data:.2f} s, floor {floor_data:.2f} s:"
                f" {ours_data / floor_data:.2f}   (goal 1.25, narrow)"
            )
    print(flush=True)


def find_pgcopydb(path: str) -> str:
    """Return the pgcopydb to measure, installed when root may; empty, with a loud word, when there is none."""
    found = path or shutil.which("pgcopydb")
    if not found and os.geteuid() == 0 and shutil.which("apt-get"):
        subprocess.run(["apt-get", "install", "-y", "-q", "pgcopydb"], capture_output=True)
        found = shutil.which("pgcopydb")
    if not found:
        print("NOT MEASURED: pgcopydb is missing (apt-get install pgcopydb, or --pgcopydb PATH)")
        return ""
    version = subprocess.run([found, "--version"], capture_output=True, text=True)
    print((version.stdout + version.stderr).strip().splitlines()[-1] + f" at {found}")
    return found


def main() -> int:
    """Run the measurements that were asked for."""
    parser = argparse.ArgumentParser(prog="make bench-copy", description=__doc__)
    parser.add_argument("--scale", type=float, default=1.0, help="1 = the sizes that the goals are written for")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--majors", type=majors, default=(16, 18), metavar="S,T", help=f"both servers, {MAJORS}")
    parser.add_argument("--pgcopydb", default="", metavar="PATH", help="another pgcopydb than the one on the path")
    parser.add_argument("--tools", type=lambda text: text.split(","), default=[], help="only these, joined by commas")
    parser.add_argument(
        "--tls", action="store_true", help=f"all with sslmode=require, Debian's {DEBIAN_MAJOR} on both sides"
    )
    parser.add_argument(
        "--ssh", action="store_true", help="both servers behind an SSH host: sshd here, the peers by `ssh -L`"
    )
    parser.add_argument("--trace", action="store_true", help="show the target's statements of 0.1 s and longer")
    parser.add_argument("--growth", action="store_true", help="only the narrow table at 1, 2 and 4 times the scale")
    parser.add_argument("--tables", type=int, default=0, metavar="N", help="only so many small tables, phase by phase")
    parser.add_argument("workloads", nargs="*", default=[*WORKLOADS], help=f"of {', '.join(WORKLOADS)}")
    options = parser.parse_args()
    versions = (DEBIAN_MAJOR, DEBIAN_MAJOR) if options.tls else options.majors
    with tempfile.TemporaryDirectory(prefix="towpath-bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        there = Field(folder, versions, find_pgcopydb(options.pgcopydb), tls=options.tls, ssh=options.ssh)
        print(f"PostgreSQL {versions[0]} to {versions[1]}, scale {options.scale}, {os.cpu_count()} cores", flush=True)
        try:
            if options.growth:
                growth(there, options.scale)
            if options.tables:
                many_tables(there, options.tables)
            for workload in [] if options.growth or options.tables else options.workloads:
                report(workload, measure(there, options, workload))
        finally:
            there.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
