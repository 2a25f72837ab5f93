"""The console's own database put back from an older backup, while its target went on: the target's position counts."""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from migrations_app.demo.clusters import Cluster
from migrations_app.demo.writer import Writer
from tests.acceptance.kit import Migration, World, finish, open_world, until_taken_over
from tests.fakes import wait_until
from tests.faults.conftest import Record

CODE = "RUN-EPOCH"


@pytest.fixture(scope="module")
def world(
    source_cluster: Cluster, target_cluster: Cluster, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    """An installation of these tests alone, because its database is put back."""
    with open_world(source_cluster, target_cluster, tmp_path_factory.mktemp("older")) as opened:
        yield opened


@contextlib.contextmanager
def stopped(world: World) -> Iterator[None]:
    """Hold the whole product down for the time of the block."""
    world.up.send_signal(signal.SIGTERM)
    assert world.up.wait(40) == 0
    try:
        yield
    finally:
        world.start()


def copied(one: Path, other: Path) -> None:
    """Make the second database what the first one is, also under those who have it open."""
    with contextlib.closing(sqlite3.connect(one)) as source, contextlib.closing(sqlite3.connect(other)) as target:
        source.backup(target)


def told(migration: Migration, code: str) -> list[str]:
    return [text for found, text in migration.events() if found == code]


@pytest.mark.fault("A14", "the console's database put back to before many slices of a sync")
def test_a_sync_goes_on_from_the_targets_position_and_says_so_once(
    world: World, migration: Migration, writer: Writer, tmp_path: Path, record_property: Record
) -> None:
    database, backup = world.installation.data / "console.sqlite3", tmp_path / "backup"
    migration.start()
    migration.until("ready")
    with stopped(world):
        copied(database, backup)
    for _ in range(4):
        worker, epoch = migration.until_step("sync"), migration.epoch
        os.kill(worker, signal.SIGKILL)
        until_taken_over(migration, epoch)
    migration.until("ready")
    later = migration.epoch
    known = writer.stats().committed + 40
    wait_until(lambda: writer.stats().committed > known, 30, "more transactions")
    with stopped(world):
        copied(backup, database)
        assert migration.epoch < later
    wait_until(lambda: told(migration, CODE), 60, "the older epoch being told")
    wait_until(lambda: migration.epoch > later, 30, "a later epoch than the target's")
    migration.until("ready")
    assert migration.epoch < later + 5, "claimed again and again"
    record_property("seen", told(migration, CODE)[0])
    finish(migration, writer)
    assert len(told(migration, CODE)) == 1


@pytest.mark.fault("A14", "the console's database put back to the midst of the copy, when the target is in sync")
def test_a_target_in_sync_is_not_copied_onto(
    world: World, migration: Migration, writer: Writer, tmp_path: Path, record_property: Record
) -> None:
    database, backup, newest = world.installation.data / "console.sqlite3", tmp_path / "backup", tmp_path / "newest"
    migration.start()
    migration.until_step("copy")
    wait_until(lambda: any(mark is not None for mark in migration.copied().values()), 30, "a table that was copied")
    with stopped(world):
        assert migration.step == "copy"
        copied(database, backup)
    migration.until("ready")
    known = writer.stats().committed + 40
    wait_until(lambda: writer.stats().committed > known, 30, "more transactions")
    with stopped(world):
        copied(database, newest)
        copied(backup, database)
    migration.until("failed", seconds=90)
    record_property("seen", f"{migration.column('error_code')}: {migration.column('error_message')}")
    assert migration.column("error_code") == "DST-AHEAD"
    assert "newer backup" in str(migration.column("error_hint"))
    with stopped(world):
        copied(newest, database)
    finish(migration, writer)
