"""A worker that gets no memory: it ends, nothing is lost or doubled, and the next one goes on."""

from __future__ import annotations

import pickle
import re
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.conftest import Record
from tests.postgres import sync_faults_kit
from tests.postgres.sync_faults_kit import TABLE
from tests.postgres.sync_kit import Pair

# Fixtures that stand in the kit.
pair = sync_faults_kit.pair

MORE = 24 << 20
"""Bytes that the worker gets beyond what it has when it has begun to sync."""


@pytest.fixture
def worker() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(
        [sys.executable, "-m", "tests.postgres.sync_worker", "rows"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=Path(__file__).parents[2],
    ) as process:
        yield process
        process.kill()


@pytest.mark.fault("A16", "a worker of the sync that gets 24 MB, and rows of 60 MB")
def test_a_worker_without_memory_ends_and_the_next_one_goes_on(
    pair: Pair, worker: subprocess.Popen[bytes], record_property: Record
) -> None:
    pair.build(TABLE)
    pair.at_source("INSERT INTO t VALUES (0, 'before')")
    pair.catch_up()
    pair.epoch += 1
    assert worker.stdin
    assert worker.stdout
    pickle.dump((pair.plan(), pair.store.databases, pair.store.table_rows), worker.stdin)
    worker.stdin.flush()
    assert worker.stdout.readline() == b"syncing\n"
    status = Path(f"/proc/{worker.pid}/status").read_text()
    (size,) = re.findall(r"VmSize:\s+(\d+)", status)
    limit = int(size) * 1024 + MORE
    resource.prlimit(worker.pid, resource.RLIMIT_AS, (limit, limit))
    pair.at_source("INSERT INTO t SELECT g, repeat(md5(g::text), 1900000) FROM generate_series(1, 3) g")
    _, said = worker.communicate(timeout=120)
    assert worker.returncode != 0
    assert re.search(r"MemoryError|out of memory|Cannot allocate memory", said.decode()), said.decode()[-2000:]
    record_property("seen", said.decode().strip().splitlines()[-1])
    pair.catch_up()
    pair.assert_equal()
