"""The policy *spool* with real workers: a target that stands still, killed workers, and Complete at the end."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from migrations_app.engine.lsn import parse_lsn
from tests.acceptance.kit import Migration, World, ends_well, kill
from tests.acceptance.places import Place, database_pair
from tests.acceptance.test_pause_others import codes, locked
from tests.fakes import wait_until

_BUDGET = 2_000_000
_NOTES = """
CREATE TABLE public.notes (id int PRIMARY KEY, note text);
INSERT INTO public.notes SELECT g, 'n' FROM generate_series(1, 200) g;
"""
_CONFIRMED = "SELECT confirmed_flush_lsn::text FROM pg_replication_slots WHERE database = current_database()"


@pytest.fixture
def migration(world: World) -> Iterator[Migration]:
    with database_pair(world, _NOTES, make_target=True) as (source, target):
        made = Migration(world, source, target)
        yield made
        made.close()


def look(migration: Migration) -> None:
    """Have the source looked at within seconds."""
    migration.press("set_wal_budget", budget_bytes=_BUDGET, policy="spool", disk_bytes=None)


def grow(source: Place, first: int) -> None:
    source.run(f"INSERT INTO public.notes SELECT g, repeat('x', 400) FROM generate_series({first}, {first + 9000}) g")


def until_forgotten(source: Place) -> None:
    """Wait until the source has been told to forget everything that is committed on it now."""
    wanted = parse_lsn(str(source.value("SELECT pg_current_wal_insert_lsn()::text")))
    source.run("SELECT pg_logical_emit_message(true, 'test', 'flush')")
    wait_until(lambda: parse_lsn(str(source.value(_CONFIRMED))) >= wanted, 60, "the source being relieved")


def kill_the_worker(migration: Migration) -> None:
    kill(migration.until_step("sync"))


def spools(world: World, migration: Migration) -> list[Path]:
    return list(world.installation.folder.glob(f"**/work/{migration.id}/spool/*/*.spool"))


@pytest.mark.long
def test_a_source_is_relieved_through_kills_and_the_task_completes(world: World, migration: Migration) -> None:
    migration.start()
    migration.until("ready")
    with locked(migration.target):
        grow(migration.source, 1000)
        look(migration)
        wait_until(lambda: "SPOOL-BEGUN" in codes(migration), 60, "the spool")
        until_forgotten(migration.source)
        kill_the_worker(migration)
        grow(migration.source, 20_000)
        until_forgotten(migration.source)
        wait_until(lambda: migration.status == "running", 60, "the task being told as behind")
        assert spools(world, migration)
        assert migration.target.value("SELECT count(*) FROM pg_locks WHERE NOT granted") <= 1
    with contextlib.suppress(AssertionError):
        kill_the_worker(migration)  # while the spool is being applied
    grow(migration.source, 40_000)

    def relieved() -> bool:
        migration.source.run("SELECT pg_catalog.pg_log_standby_snapshot()")
        look(migration)
        return "SPOOL-DRAINED" in codes(migration)

    wait_until(relieved, 120, "the end of the spool")
    assert not spools(world, migration)
    migration.complete(seconds=120)
    ends_well(migration)


@pytest.mark.long
def test_complete_drains_the_spool_first(world: World, migration: Migration) -> None:
    migration.start()
    migration.until("ready")
    with locked(migration.target):
        grow(migration.source, 1000)
        look(migration)
        wait_until(lambda: spools(world, migration), 60, "the spool")
        until_forgotten(migration.source)
    migration.until("running", "ready")
    grow(migration.source, 20_000)
    migration.complete(seconds=120)
    ends_well(migration)
    wait_until(lambda: not spools(world, migration), 30, "the spool being removed")


@pytest.mark.long
def test_cancel_removes_the_spool(world: World, migration: Migration) -> None:
    migration.start()
    migration.until("ready")
    with locked(migration.target):
        grow(migration.source, 1000)
        look(migration)
        wait_until(lambda: spools(world, migration), 60, "the spool")
        migration.press("cancel_task")
        migration.until("cancelled", seconds=90)
    wait_until(lambda: not spools(world, migration), 30, "the spool being removed")
