"""Kill after kill in the sync, at random moments: from the first connection of a worker to its last commit.

TOWPATH_SOAK: how many kills (1,000). TOWPATH_SEED: what decides the moments.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.conftest import SEED, Record
from tests.faults.soak_worker import FOR_GOOD
from tests.postgres import sync_faults_kit
from tests.postgres.sync_kit import Pair
from tests.postgres.test_sync_kills import BAG, Writing

# Fixtures that stand in the kit.
pair = sync_faults_kit.pair

KILLS = int(os.environ.get("TOWPATH_SOAK", "1000"))
AT_ONCE = 100
"""So many kills with the application writing, then everything is compared."""


class Forks:
    """The process that forks workers."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.soak_worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=Path(__file__).parents[2],
        )

    def killed_after(self, seconds: float, pair: Pair, path: str) -> int:
        """Start a worker, kill it after that time, and return its exit code."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        pair.epoch += 1
        pickle.dump((pair.plan(), pair.store.databases, pair.store.table_rows, path), self._process.stdin)
        self._process.stdin.flush()
        pid = int(self._process.stdout.readline())
        time.sleep(seconds)
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        return int(self._process.stdout.readline())

    def close(self) -> None:
        """End it."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(30)
        self._process.stdout.close()


@pytest.fixture
def forks() -> Iterator[Forks]:
    made = Forks()
    yield made
    made.close()


@pytest.mark.fault("A5", f"soak: {KILLS} times kill -9 of the sync's worker at random moments")
def test_kill_after_kill_loses_and_doubles_nothing(pair: Pair, forks: Forks, record_property: Record) -> None:
    dice = random.Random(SEED)  # noqa: S311 - no secret
    ends: Counter[int] = Counter()
    pair.build(BAG)
    pair.catch_up()
    began = time.monotonic()
    pair.catch_up()
    longest = max(0.6, 3 * (time.monotonic() - began))  # on a busy machine a worker needs longer to begin
    for first in range(0, KILLS, AT_ONCE):
        writing = Writing()
        writing.start(pair)
        for number in range(first, min(first + AT_ONCE, KILLS)):
            if dice.random() < 0.1:  # so that some kills hit the middle of a large one
                low = 10_000_000 + number * 1000
                pair.at_source(f"INSERT INTO t SELECT g, 'large' FROM generate_series({low}, {low + 999}) g")
            ends[forks.killed_after(dice.uniform(0.05, longest), pair, dice.choice(["rows", "batches"]))] += 1
        writing.stop()
        assert sync_faults_kit.count(pair) > 0, "no worker lived long enough to apply anything"
        pair.catch_up()
        pair.assert_equal()
        pair.at_source("TRUNCATE t, bag")  # or comparing it would take longer each time
    assert not ends[FOR_GOOD]
    assert ends[-signal.SIGKILL] > KILLS * 0.9
    record_property("seen", f"{ends[-signal.SIGKILL]} killed, {KILLS - ends[-signal.SIGKILL]} ended before, all equal")
