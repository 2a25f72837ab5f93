"""A worker that is killed at any moment is replaced within 30 seconds, and the target still ends equal."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from migrations_app.demo.shop import load_shop
from migrations_app.demo.writer import Writer
from tests.acceptance.kit import Migration, World, chance, ends_well, finish, kill_at, until_taken_over
from tests.acceptance.places import Place, database_pair, slow_copy, slow_structures
from tests.fakes import wait_until
from tests.installation import alive, descendants

RECOVERY_SECONDS = 30


def _fill(connection: psycopg.Connection[Any]) -> None:
    load_shop(connection, 0.01)
    slow_copy(connection)


@pytest.fixture
def pair(world: World) -> Iterator[tuple[Place, Place]]:
    with database_pair(world, _fill, make_target=True) as places:
        yield places


@pytest.fixture
def migration(world: World, pair: tuple[Place, Place]) -> Iterator[Migration]:
    made = Migration(world, *pair)
    yield made
    made.close()


@pytest.fixture
def writer(pair: tuple[Place, Place]) -> Iterator[Writer]:
    source, _ = pair
    with Writer(source.cluster.arguments(source.name), seed=2, rate=40) as started:
        yield started


@pytest.mark.long
@pytest.mark.parametrize(("step", "longest"), [("schema", 0.8), ("copy", 1.5), ("index", 0.4)])
def test_a_worker_killed_before_the_sync_is_replaced(
    migration: Migration, writer: Writer, step: str, longest: float
) -> None:
    migration.check()
    with slow_structures(migration.target):
        migration.press("start_task")
        assert kill_at(migration, step, chance(step, longest)) < RECOVERY_SECONDS
        migration.until("ready")
    finish(migration, writer)


def test_a_worker_killed_again_and_again_in_the_sync_is_replaced(migration: Migration, writer: Writer) -> None:
    migration.start()
    migration.until("ready")
    for number in range(3):
        committed = writer.stats().committed + 10
        wait_until(lambda wanted=committed: writer.stats().committed > wanted, 30, "more transactions")
        assert kill_at(migration, "sync", chance(f"sync {number}", 0.7)) < RECOVERY_SECONDS
    finish(migration, writer)


@pytest.mark.long
def test_a_worker_killed_while_it_copies_a_table_again_is_replaced(migration: Migration, writer: Writer) -> None:
    migration.start()
    migration.until("ready")
    target = migration.target
    target.run("SET session_replication_role = replica; DELETE FROM slow.more WHERE id % 2 = 0")
    begun = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND query ~ '^COPY .*more'"
    migration.press("recopy_table", database=migration.source.name, schema="slow", name="more")
    wait_until(lambda: target.value(begun), 30, "the second copy of the table")
    assert kill_at(migration, "sync", 0) < RECOVERY_SECONDS
    assert "RECOPY-DONE" not in [code for code, _ in migration.events()]
    wait_until(lambda: "RECOPY-DONE" in [code for code, _ in migration.events()], 60, "the end of the second copy")
    assert target.value("SELECT count(*) FROM slow.more") == 300
    finish(migration, writer)


@pytest.mark.long
def test_a_worker_killed_while_it_adds_a_new_table_is_replaced(migration: Migration, writer: Writer) -> None:
    migration.start()
    migration.until("ready")
    source, target = migration.source, migration.target
    source.run(
        "CREATE TABLE slow.later (LIKE slow.more INCLUDING ALL)", "INSERT INTO slow.later SELECT * FROM slow.more"
    )
    source.identities["slow.later"] = "d"
    wait_until(lambda: "SRC-NEWTABLE" in [code for code, _ in migration.events()], 90, "the question about the table")
    migration.press("add_new_table", database=source.name, schema="slow", name="later")
    begun = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND query ~ '^COPY .*later'"
    wait_until(lambda: target.value(begun), 30, "the copy of the table")
    assert kill_at(migration, "sync", 0) < RECOVERY_SECONDS
    assert "TABLE-ADDED" not in [code for code, _ in migration.events()]
    wait_until(lambda: "TABLE-ADDED" in [code for code, _ in migration.events()], 60, "the end of the addition")
    assert target.value("SELECT count(*) FROM slow.later") == 300
    finish(migration, writer)


@pytest.mark.long
@pytest.mark.parametrize("step", ["complete"])
def test_a_worker_killed_in_complete_is_replaced(migration: Migration, writer: Writer, step: str) -> None:
    migration.start()
    migration.until("ready")
    writer.stop()
    migration.press("complete_task")
    assert kill_at(migration, step, chance(step, 0.3)) < RECOVERY_SECONDS
    if migration.until("completed", "ready") == "ready":
        migration.complete()
    ends_well(migration)


@pytest.mark.long
def test_a_whole_cluster_that_is_killed_comes_back(world: World, migration: Migration, writer: Writer) -> None:
    migration.start()
    worker = migration.until_step("sync")
    main = world.clusters()["sync"]
    family = [main, *descendants(main)]
    assert worker in family
    epoch = migration.epoch
    os.kill(main, signal.SIGKILL)
    assert until_taken_over(migration, epoch) < RECOVERY_SECONDS
    assert not [pid for pid in family if alive(pid)]
    finish(migration, writer)
