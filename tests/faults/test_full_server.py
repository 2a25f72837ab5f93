"""A source without a free connection for longer than the retry window."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import psycopg
import pytest

from migrations_app.demo.clusters import Cluster
from tests.acceptance.kit import Migration, World, ends_well, open_world
from tests.fakes import wait_until
from tests.faults.conftest import Record


@pytest.fixture(scope="module")
def world(
    breakable_source: Cluster, target_cluster: Cluster, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    """An installation that gives a source up after a minute, the shortest that can be set."""
    folder = tmp_path_factory.mktemp("full")
    with open_world(breakable_source, target_cluster, folder, TOWPATH_RETRY_WINDOW="1") as opened:
        yield opened


@pytest.mark.fault("B8", "every connection of the source used up for longer than the window of one minute; then Retry")
def test_a_source_that_stays_full_fails_the_task_which_keeps_everything(
    world: World, migration: Migration, record_property: Record
) -> None:
    migration.start()
    migration.until("ready")
    with contextlib.ExitStack() as held, world.source.connect() as boss:

        def given_up() -> bool:
            with contextlib.suppress(psycopg.OperationalError):
                while True:
                    held.enter_context(world.source.connect())
            boss.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'towpath:%'"
            )
            return migration.status == "failed"

        wait_until(given_up, 240, "the window being over")
        slots = boss.execute("SELECT count(*) FROM pg_replication_slots WHERE slot_name ~ 'towpath'").fetchone()
    record_property("seen", f"{migration.column('error_code')}: {migration.column('error_message')}")
    assert migration.column("error_code") == "CONNECT-FULL"
    assert migration.column("error_hint")
    assert slots == (1,)
    migration.press("retry_task")
    migration.complete()
    ends_well(migration)
