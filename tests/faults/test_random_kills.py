"""Kills and cancels at random moments, many of them. A failure prints the seed that repeats it.

TOWPATH_FAULTS: how many random runs of each kind (20). TOWPATH_SEED: the first seed; the others follow it.
"""

from __future__ import annotations

import os
import random
import signal
import time

import pytest

from migrations_app.demo.writer import Writer
from tests.acceptance.kit import ENDED, Migration, Refused, World, ends_well, finish, until_taken_over
from tests.acceptance.places import slow_structures
from tests.fakes import wait_until

RUNS = int(os.environ.get("TOWPATH_FAULTS", "20"))
FIRST = int(os.environ.get("TOWPATH_SEED", "1"))
RECOVERY_SECONDS = 30
CANCEL_SECONDS = 30
SEEDS = range(FIRST, FIRST + RUNS)


def _chance(seed: int) -> random.Random:
    return random.Random(seed)  # noqa: S311 - moments, no secrets


def _moment(chance: random.Random, longest: float) -> None:
    time.sleep(chance.uniform(0, longest))


def _kill_whoever_works(migration: Migration) -> float | None:
    """Kill the worker that holds the task now; None when nobody does. Returns the seconds until another one went on."""
    worker, epoch = str(migration.column("worker")), migration.epoch
    if not worker:
        return None
    try:
        os.kill(int(worker.split(":")[1]), signal.SIGKILL)
    except ProcessLookupError:
        return None
    return until_taken_over(migration, epoch)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_task_survives_kills_at_random_moments(migration: Migration, writer: Writer, seed: int) -> None:
    chance = _chance(seed)
    migration.start()
    for _ in range(chance.randrange(2, 6)):
        _moment(chance, 2.5)
        seconds = _kill_whoever_works(migration)
        assert seconds is None or seconds < RECOVERY_SECONDS, f"seed {seed}"
    migration.until("ready", seconds=120)
    assert writer.stop().errors == ()
    migration.press("complete_task")
    _moment(chance, 1.5)
    if migration.status not in ENDED and chance.random() < 0.7:
        _kill_whoever_works(migration)
    if migration.until("completed", "ready", seconds=120) == "ready":
        migration.complete()
    ends_well(migration)


@pytest.mark.parametrize("step", ["schema", "index"])
@pytest.mark.parametrize("seed", SEEDS)
def test_a_short_step_survives_kill_after_kill(migration: Migration, writer: Writer, seed: int, step: str) -> None:
    chance = _chance(seed)
    migration.check()
    with slow_structures(migration.target):
        migration.press("start_task")
        migration.until_step(step)
        for _ in range(4):
            _moment(chance, 2.0 if step == "schema" else 0.3)
            if migration.step != step:
                break
            seconds = _kill_whoever_works(migration)
            assert seconds is None or seconds < RECOVERY_SECONDS, f"seed {seed}"
        migration.until("ready", seconds=120)
    finish(migration, writer)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_task_cancelled_at_a_random_moment_leaves_nothing(migration: Migration, writer: Writer, seed: int) -> None:
    chance = _chance(seed)
    migration.start()
    _moment(chance, 8)
    if chance.random() < 0.3:
        worker = str(migration.column("worker"))
        if worker:
            os.kill(int(worker.split(":")[1]), signal.SIGKILL)
    if migration.status == "ready" and chance.random() < 0.5:
        migration.press("complete_task")
        _moment(chance, 1)
    began = time.monotonic()
    try:
        migration.press("cancel_task")
    except Refused:
        migration.until("completed")  # past the point of no return: then it must end
    else:
        migration.until("cancelled", "completed", seconds=CANCEL_SECONDS)
        assert time.monotonic() - began < CANCEL_SECONDS, f"seed {seed}"
    writer.stop()


@pytest.mark.parametrize("seed", SEEDS[: max(1, RUNS // 4)])
def test_whole_clusters_killed_at_random_moments_come_back(
    world: World, migration: Migration, writer: Writer, seed: int
) -> None:
    chance = _chance(seed)
    migration.start()
    for _ in range(3):
        _moment(chance, 3)
        clusters = wait_until(world.clusters, 60, "clusters to kill")
        os.kill(clusters[chance.choice(sorted(clusters))], signal.SIGKILL)
    wait_until(lambda: len(world.clusters()) == 3, 90, "all clusters being back")
    migration.until("ready", seconds=120)
    finish(migration, writer)
