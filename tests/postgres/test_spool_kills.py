"""Workers that are killed while they fill a spool, or while they empty it: nothing is lost, nothing comes twice."""

from __future__ import annotations

import contextlib
import os
import pickle
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from migrations_app.engine.ports import SpoolState
from tests.fakes import wait_until
from tests.postgres import spool_kit
from tests.postgres.spool_kit import SpoolPair, standing_still
from tests.postgres.test_sync_kills import BAG, Writing
from tests.postgres.test_sync_kills import own_cluster as _own_cluster
from tests.postgres.test_sync_kills import writing as _writing

SEED = int(os.environ.get("TOWPATH_SEED", "1"))

# Fixtures that stand elsewhere.
pair = spool_kit.pair
writing = _writing
own_cluster = _own_cluster


@contextlib.contextmanager
def worker(pair: SpoolPair, *arguments: str) -> Iterator[None]:
    """A worker that has begun to sync; killed at the end of the block."""
    pair.epoch += 100  # it counts on by itself
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.postgres.spool_worker", *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[2],
    )
    assert process.stdin is not None
    assert process.stdout is not None
    pickle.dump((pair.plan(), pair.store.databases, pair.store.table_rows, pair.store.spools), process.stdin)
    process.stdin.close()
    try:
        assert process.stdout.readline() == b"syncing\n"
        yield
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
        pair.epoch += 100


def remember(pair: SpoolPair) -> None:
    """Know what the row says before anything is received: there is a spool on this machine."""
    pair.store.save_spool(pair.source_db, SpoolState(ends=0, size=0))


@pytest.mark.long
@pytest.mark.parametrize("rounds", [2, pytest.param(8, marks=pytest.mark.slow)])
def test_kills_while_the_spool_is_filled_and_while_it_is_emptied(
    pair: SpoolPair, writing: Writing, rounds: int
) -> None:
    pair.build(BAG)
    pair.catch_up()
    remember(pair)
    writing.start(pair)
    print(f"TOWPATH_SEED={SEED}")
    dice = random.Random(f"{SEED} {rounds}")  # noqa: S311 - no secret
    for number in range(rounds):
        first = (number + 1) * 1_000_000
        with standing_still(pair):
            for _ in range(2):
                with worker(pair, "receiving"):
                    pair.at_source(f"INSERT INTO t SELECT g, 'large' FROM generate_series({first}, {first + 3000}) g")
                    first += 10_000
                    time.sleep(dice.uniform(0, 1))
        with worker(pair, *(["receiving"] if number % 2 else [])):
            time.sleep(dice.uniform(0, 1))
    writing.stop()
    pair.settle()
    pair.assert_equal()
    assert not pair.folder.exists()


@pytest.mark.slow
def test_a_target_that_is_away_relieves_the_source_all_the_same(
    own_cluster: object, source_cluster: object, source_db: str, tmp_path: Path, writing: Writing
) -> None:
    pair = SpoolPair(source_cluster, own_cluster, source_db, "shop")  # type: ignore[arg-type]
    pair.work_dir = tmp_path
    pair.build(BAG)
    pair.catch_up()
    pair.target.stop()
    try:
        writing.start(pair)
        pair.control.spool = True
        with spool_kit.working(pair) as failures:
            pair.until_confirmed()
            assert failures == []
            assert "SPOOL-HOLDS" in [code for _, code, _ in pair.store.events]
            wait_until(lambda: (pair.state.lag_bytes or 0) > 0, 30, "the lag being told")
    finally:
        pair.target.start()
    writing.stop()
    pair.settle()
    pair.assert_equal()
