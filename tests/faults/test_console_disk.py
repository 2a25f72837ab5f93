"""The disk of the console's own database full while a worker copies."""

from __future__ import annotations

import pytest

from migrations_app.demo.clusters import Cluster
from tests.acceptance.kit import Migration, ends_well, open_world
from tests.acceptance.places import database_pair, slow_copy
from tests.fakes import wait_until
from tests.faults.conftest import Record
from tests.faults.server_kit import fill_up, small_disk

OURS = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name ~ '^towpath'"


@pytest.mark.fault("A15", "the disk of the console's own SQLite full in the copy, then given room")
def test_a_console_whose_own_disk_is_full_goes_on_when_it_has_room(
    source_cluster: Cluster, target_cluster: Cluster, record_property: Record
) -> None:
    with (
        small_disk(48) as disk,
        open_world(source_cluster, target_cluster, disk / "console") as world,
        database_pair(world, slow_copy, make_target=True) as places,
    ):
        migration = Migration(world, *places)
        migration.start()
        migration.until_step("copy")
        wait_until(lambda: migration.target.value(OURS), 30, "sessions of the copy")
        epoch = migration.epoch
        with fill_up(disk):
            wait_until(lambda: migration.target.value(OURS) == 0, 60, "the run ending")
            assert migration.step == "copy"
        migration.until("ready", seconds=120)
        assert migration.epoch > epoch
        record_property("seen", str(migration.events()[-2:]))
        migration.complete()
        ends_well(migration)
        migration.close()
