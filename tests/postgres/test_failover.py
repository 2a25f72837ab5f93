"""A real standby takes over from the source: the sync goes on there when nothing can be missing, and never else."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from migrations_app.demo.clusters import Cluster, _unprivileged, source_settings
from migrations_app.engine.errors import SlotLost
from migrations_app.engine.ports import TableState
from migrations_app.engine.snapshot import open_first
from tests.fakes import wait_until
from tests.folders import public_folder
from tests.postgres.sync_kit import Pair

_SECONDS = 120
_TABLE = "CREATE TABLE notes (id int PRIMARY KEY, note text)"
_NAME = "shop"


@dataclass
class Standing:
    """A source with a standby that keeps failover slots in step, and a target."""

    primary: Cluster
    standby: Cluster
    pair: Pair

    def replayed(self) -> None:
        """Wait until the standby has everything that the primary has written."""
        until = self.pair.value("SELECT pg_current_wal_lsn()::text")
        with self.standby.connect() as connection:
            caught = "SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn"
            wait_until(lambda: connection.execute(caught, (until,)).fetchone() == (True,), _SECONDS, "the replay")

    def promote(self) -> None:
        """Let the standby take over; the primary is gone."""
        with self.standby.connect() as connection:
            assert connection.execute("SELECT pg_promote()").fetchone() == (True,)
        self.pair.source = self.standby

    def slot_is_in_step(self) -> bool:
        """Write, apply, and say whether the standby has the slot for good by now."""
        self.pair.at_source("SELECT pg_log_standby_snapshot()", "UPDATE notes SET note = note || '.' WHERE id = 1")
        self.pair.catch_up()
        with self.standby.connect() as connection:
            query = "SELECT synced AND NOT temporary FROM pg_replication_slots WHERE slot_name = %s"
            return connection.execute(query, (self.pair.state.slot,)).fetchone() == (True,)


def _copied(primary: Cluster, folder: Path) -> Cluster:
    """Return a standby of the primary, not started yet."""
    login = f"host=127.0.0.1 port={primary.port} user=postgres password={primary.password} dbname=postgres"
    settings = {
        **source_settings(),
        "primary_conninfo": login,
        "primary_slot_name": "standby",
        "hot_standby_feedback": "on",
        "sync_replication_slots": "on",
    }
    standby = Cluster(folder=folder, major=primary.major, password=primary.password, settings=settings)
    folder.mkdir()
    drop = _unprivileged()
    if drop:
        os.chown(folder, drop["user"], drop["group"])
    command = [
        str(primary.bin() / "pg_basebackup"),
        "-D",
        str(standby.data),
        "-d",
        login,
        "-c",
        "fast",
        "-S",
        "standby",
    ]
    subprocess.run(command, check=True, capture_output=True, cwd="/", timeout=120, **drop)
    (standby.data / "standby.signal").touch()
    return standby


def _opened(pair: Pair, **plan: bool) -> None:
    """Make equal, empty databases, and let the engine itself open publication and slot."""
    pair.at_source(_TABLE)
    pair.at_target(_TABLE)
    with pair.running(**plan) as run:
        open_first(run, pair.database).close()
    table = pair.tables()[0]
    point = pair.state.consistent_point
    pair.store.save_tables(
        TableState(database=pair.source_db, schema="public", name=table.name, oid=table.oid, watermark=point)
    )


@pytest.fixture
def standing(target_cluster: Cluster, target_db: str) -> Iterator[Standing]:
    with public_folder("failover") as folder:
        primary = Cluster(folder=folder / "primary", major=18, settings=source_settings())
        primary.create()
        primary.start()
        standby = None
        try:
            with primary.connect() as connection:
                connection.execute("SELECT pg_create_physical_replication_slot('standby', true)")
                connection.execute(f"CREATE DATABASE {_NAME}".encode())
            standby = _copied(primary, folder / "standby")
            standby.start()
            with primary.connect() as connection:
                worker = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE '%slotsync worker'"
                wait_until(lambda: connection.execute(worker).fetchone() == (1,), _SECONDS, "the standby's worker")
            pair = Pair(primary, target_cluster, _NAME, target_db)
            _opened(pair)
            pair.at_source("INSERT INTO notes VALUES (1, 'first')")
            made = Standing(primary, standby, pair)
            wait_until(made.slot_is_in_step, _SECONDS, "the slot on the standby")
            yield made
        finally:
            for cluster in (standby, primary):
                if cluster:
                    cluster.stop()


def test_the_sync_goes_on_at_the_standby_that_took_over(standing: Standing) -> None:
    pair = standing.pair
    assert pair.value(f"SELECT failover FROM pg_replication_slots WHERE slot_name = '{pair.state.slot}'") is True
    assert "SRC-FAILOVERSLOT" in [event[1] for event in pair.store.events]
    pair.at_source("INSERT INTO notes SELECT g, 'not applied yet' FROM generate_series(2, 500) g")
    standing.replayed()
    standing.primary.stop()
    standing.promote()
    pair.at_source("INSERT INTO notes VALUES (1000, 'after')", "DELETE FROM notes WHERE id = 2")
    pair.catch_up()
    pair.assert_equal()
    assert pair.state.timeline == 2
    assert "SRC-FAILEDOVER" in [event[1] for event in pair.store.events]
    pair.at_source("INSERT INTO notes VALUES (1001, 'later')")
    pair.catch_up()
    pair.assert_equal()


def test_without_its_slot_changes_may_be_missing(standing: Standing) -> None:
    pair = standing.pair
    standing.replayed()
    standing.primary.stop()
    standing.promote()
    pair.at_source(f"SELECT pg_drop_replication_slot('{pair.state.slot}')")
    with pytest.raises(SlotLost, match="may be missing") as caught:
        pair.catch_up()
    assert caught.value.code == "SRC-FAILOVER"
    assert "Restart with new copy" in caught.value.hint
    assert pair.state.timeline == 1


def test_a_slot_that_is_ahead_of_the_target_is_refused(standing: Standing) -> None:
    pair = standing.pair
    standing.replayed()
    standing.primary.stop()
    standing.promote()
    pair.at_source("INSERT INTO notes VALUES (7, 'skipped')")
    pair.at_source(f"SELECT pg_replication_slot_advance('{pair.state.slot}', pg_current_wal_lsn())")
    with pytest.raises(SlotLost, match=r"begins at .* may be missing"):
        pair.catch_up()


def test_a_target_that_holds_what_the_new_source_never_had_is_refused(standing: Standing) -> None:
    pair = standing.pair
    standing.replayed()
    standing.standby.stop()
    pair.at_source("INSERT INTO notes VALUES (8, 'never replicated')")
    pair.catch_up()
    standing.primary.stop()
    standing.standby.start()
    standing.promote()
    with pytest.raises(SlotLost, match="changes that the new one never had") as caught:
        pair.catch_up()
    assert caught.value.code == "SRC-FAILOVER"


@pytest.mark.parametrize("asked", [False, True])
def test_without_such_a_standby_a_failover_slot_is_made_only_when_asked_for(
    target_cluster: Cluster, target_db: str, source_db: str, source_cluster: Cluster, asked: bool
) -> None:
    """The target's cluster is an 18 without any standby, so it serves as the source here."""
    pair = Pair(target_cluster, source_cluster, target_db, source_db)
    _opened(pair, failover_slots=asked)
    failover = pair.value(f"SELECT failover FROM pg_replication_slots WHERE slot_name = '{pair.state.slot}'")
    pair.at_source(f"SELECT pg_drop_replication_slot('{pair.state.slot}')")
    assert failover is asked
    assert "SRC-FAILOVERSLOT" not in [event[1] for event in pair.store.events]
