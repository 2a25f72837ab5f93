"""Kills in places that are hard to hit, frozen workers, and messages that come twice."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator

import pytest

from migrations_app.demo.writer import Writer
from tests.acceptance.kit import Migration, World, chance, ends_well, finish, kill, kill_at, until_taken_over
from tests.fakes import wait_until
from tests.installation import alive, descendants

RECOVERY_SECONDS = 30


@contextlib.contextmanager
def held_up(migration: Migration) -> Iterator[None]:
    """Let the clean-up wait for a lock that it needs on the source: it is over sooner than anybody can look."""
    with migration.source.connect() as holder, holder.transaction():
        holder.execute("LOCK TABLE pg_catalog.pg_publication IN SHARE MODE")
        yield


@pytest.mark.parametrize("step", ["compare", "complete", "cleanup"])
def test_a_worker_killed_in_each_step_of_complete_is_replaced(migration: Migration, writer: Writer, step: str) -> None:
    migration.start()
    migration.until("ready")
    writer.stop()
    with held_up(migration) if step == "cleanup" else contextlib.nullcontext():
        migration.press("complete_task")
        assert kill_at(migration, step, 0.0) < RECOVERY_SECONDS
    if migration.until("completed", "ready") == "ready":
        migration.complete()
    ends_well(migration)


def test_a_cluster_that_is_killed_while_it_copies_comes_back(
    world: World, migration: Migration, writer: Writer
) -> None:
    migration.start()
    worker = migration.until_step("copy")
    main = world.clusters()["migrate"]
    family = [main, *descendants(main)]
    assert worker in family
    epoch = migration.epoch
    os.kill(main, signal.SIGKILL)
    assert until_taken_over(migration, epoch) < RECOVERY_SECONDS
    assert not [pid for pid in family if alive(pid)]
    finish(migration, writer)


# A copy has a single worker: another one comes when the supervisor has found its cluster silent for a minute.
@pytest.mark.parametrize(("step", "seconds"), [("copy", 120), ("sync", RECOVERY_SECONDS)])
def test_a_frozen_worker_that_wakes_up_after_being_replaced_changes_nothing(
    migration: Migration, writer: Writer, step: str, seconds: float
) -> None:
    migration.start()
    if step == "sync":
        migration.until("ready")
    frozen = migration.until_step(step)
    epoch = migration.epoch
    os.kill(frozen, signal.SIGSTOP)
    try:
        until_taken_over(migration, epoch, seconds)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(frozen, signal.SIGCONT)
    finish(migration, writer)


def test_a_message_that_is_delivered_twice_is_worked_off_once(
    world: World, migration: Migration, writer: Writer
) -> None:
    migration.start()
    migration.until_step("copy")
    epoch = migration.epoch
    twice = f"queue.wake('migrate'); queue.wake('sync', '{migration.id}')"
    world.operator.do(f"from migrations_app import queue\nfor _ in range(3): {twice}")
    wait_until(lambda: world.installation.query("SELECT count(*) FROM django_q_ormq") == [(0,)], 60, "all being taken")
    assert migration.epoch == epoch or migration.step != "copy"
    finish(migration, writer)
    assert [code for code, _ in migration.events()].count("TASK-RUNNING") == 1


def test_idle_workers_that_are_killed_are_replaced_and_the_task_goes_on(
    world: World, migration: Migration, writer: Writer
) -> None:
    migration.start()
    busy = migration.until_step("copy")
    for (pid,) in world.installation.query("SELECT pid FROM migrations_app_workerbeat WHERE cluster = 'sync'"):
        if pid != busy and alive(pid):
            kill(pid)
    finish(migration, writer)


@pytest.mark.parametrize("longest", [0.2, 0.5, 1.0])
@pytest.mark.parametrize("step", ["schema", "copy", "sync"])
def test_a_worker_killed_early_or_late_in_a_step_is_replaced(
    migration: Migration, writer: Writer, step: str, longest: float
) -> None:
    migration.start()
    if step == "sync":
        migration.until("ready")
    assert kill_at(migration, step, chance(f"{step} {longest}", longest / 2)) < RECOVERY_SECONDS
    finish(migration, writer)
