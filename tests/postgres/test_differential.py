"""PostgreSQL's own logical replication as the other opinion: from the same changes both make the same rows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from migrations_app.demo.clusters import Cluster
from migrations_app.engine.lsn import parse_lsn
from tests.fakes import wait_until
from tests.folders import public_folder
from tests.postgres import batches_kit
from tests.postgres.sync_kit import Pair
from tests.postgres.test_sync_batches_random import TABLES, play

# Fixtures that stand in the kit.
pair = batches_kit.pair
small = batches_kit.small
batches = batches_kit.batches

SLOT = "native_opinion"


@pytest.fixture(scope="module")
def third_cluster() -> Iterator[Cluster]:
    """A server of its own for the native subscription."""
    with public_folder("third") as folder:
        cluster = Cluster(folder=folder / "server", major=18, settings={})
        cluster.create()
        cluster.start()
        yield cluster
        cluster.stop()


@pytest.fixture
def native(pair: Pair, third_cluster: Cluster) -> Iterator[Pair]:
    """The same source with a database of the third server, which a subscription fills from the same publication on."""
    pair.build(TABLES)
    name = pair.target_db
    login = pair.source.arguments(pair.source_db)
    uri = " ".join(f"{key}={login[key]}" for key in ("host", "port", "user", "password", "dbname"))
    with third_cluster.connect() as admin:
        admin.execute(f'CREATE DATABASE "{name}"'.encode())
    other = Pair(pair.source, third_cluster, pair.source_db, name, ports=pair.ports)
    other.at_target(TABLES)
    pair.at_source(f"SELECT pg_create_logical_replication_slot('{SLOT}', 'pgoutput')")
    other.at_target(
        f"CREATE SUBSCRIPTION native CONNECTION '{uri}' PUBLICATION {pair.state.publication}"
        f" WITH (create_slot = false, slot_name = '{SLOT}', copy_data = false)"
    )
    yield other
    for statement in ("DISABLE", "SET (slot_name = NONE)"):
        other.at_target(f"ALTER SUBSCRIPTION native {statement}")
    other.at_target("DROP SUBSCRIPTION native")
    _drop_slot(pair)


def _drop_slot(pair: Pair) -> None:
    def dropped() -> bool:
        try:
            pair.at_source(f"SELECT pg_drop_replication_slot('{SLOT}')")
        except psycopg.errors.ObjectInUse:
            return False
        return True

    wait_until(dropped, 20, "the native reader ending")


def _confirmed(pair: Pair) -> int:
    value: Any = pair.value(f"SELECT confirmed_flush_lsn::text FROM pg_replication_slots WHERE slot_name = '{SLOT}'")
    return parse_lsn(str(value))


@pytest.mark.parametrize("seed", [11, 12])
def test_random_changes_end_as_a_native_subscription_ends(pair: Pair, native: Pair, small: None, seed: int) -> None:
    print(f"seed {seed}")
    play(pair, seed, 120)
    until = pair.insert_lsn()
    pair.catch_up()
    wait_until(lambda: _confirmed(pair) >= until, 60, "the native subscription having everything")
    assert pair.rows("target") == native.rows("target") == pair.rows("source")
