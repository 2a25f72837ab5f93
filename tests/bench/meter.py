"""Measures a run: wall time, CPU seconds of client, source and target, and how busy everybody else kept the machine."""

from __future__ import annotations

import os
import resource
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from migrations_app.demo.clusters import Cluster

TICK = os.sysconf("SC_CLK_TCK")


@dataclass
class Cost:
    """What one run took, in seconds. `others` is the CPU time of everything else on the machine meanwhile."""

    wall: float = 0.0
    client: float = 0.0
    source: float = 0.0
    target: float = 0.0
    others: float = 0.0

    @property
    def cpu(self) -> float:
        """CPU seconds of client and servers together."""
        return self.client + self.source + self.target

    @property
    def load(self) -> float:
        """Cores that others kept busy, on average."""
        return self.others / self.wall if self.wall else 0.0


def _fields(pid: int | str) -> list[str]:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def server_seconds(cluster: Cluster) -> float:
    """Return the CPU seconds that a server has used: itself, its children that live, and those that have ended.

    A child that ends is in none of the two figures, or in both, when it is reaped between two looks; so they count only
    when nobody was reaped meanwhile.
    """
    assert cluster.process is not None
    postmaster = cluster.process.pid
    reaped = _fields(postmaster)[13:15]
    while True:
        living = _living_ticks(postmaster)
        fields = _fields(postmaster)
        if fields[13:15] == reaped:
            return (living + sum(map(int, fields[11:15]))) / TICK
        reaped = fields[13:15]


def _living_ticks(postmaster: int) -> int:
    ticks = 0
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            fields = _fields(entry)
            if fields and int(fields[1]) == postmaster:
                ticks += int(fields[11]) + int(fields[12])
    return ticks


def client_seconds() -> float:
    """Return the CPU seconds of the children that were waited for, with theirs."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def busy_seconds() -> float:
    """Return the CPU seconds that the whole machine has worked since it was started."""
    fields = [int(value) for value in Path("/proc/stat").read_text().splitlines()[0].split()[1:]]
    return (sum(fields[:8]) - fields[3] - fields[4]) / TICK


@contextmanager
def measured(source: Cluster, target: Cluster) -> Iterator[Cost]:
    """Measure what runs in the block. The client is what the block starts as child processes and waits for."""
    cost = Cost()
    own = time.process_time()
    before = client_seconds(), server_seconds(source), server_seconds(target), busy_seconds()
    started = time.monotonic()
    yield cost
    cost.wall = time.monotonic() - started
    cost.client = client_seconds() - before[0]
    cost.source = server_seconds(source) - before[1]
    cost.target = server_seconds(target) - before[2]
    cost.others = max(0.0, busy_seconds() - before[3] - cost.cpu - (time.process_time() - own))


def median(costs: list[Cost]) -> Cost:
    """Return the medians of each figure."""
    return Cost(
        **{
            name: statistics.median(getattr(cost, name) for cost in costs)
            for name in ("wall", "client", "source", "target", "others")
        }
    )
