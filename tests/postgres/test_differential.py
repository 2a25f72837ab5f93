"""PostgreSQL's own logical replication as the other opinion: from the same changes both make the same rows."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings

from migrations_app.demo.clusters import Cluster
from migrations_app.engine.lsn import parse_lsn
from tests.fakes import wait_until
from tests.folders import public_folder
from tests.postgres import batches_kit, test_random_streams
from tests.postgres.random_streams import Stream, streams
from tests.postgres.stream_kit import Stage
from tests.postgres.stream_model import Model
from tests.postgres.sync_kit import Pair, force_path
from tests.postgres.test_random_streams import MANY, SEED
from tests.postgres.test_sync_batches_random import TABLES, play

# Fixtures that stand elsewhere.
pair = batches_kit.pair
small = batches_kit.small
stage = test_random_streams.stage
path = test_random_streams.path

SLOT = "native_opinion"
NO_EQUALITY = ("json", "point")  # a subscription cannot find rows by all columns where one is of such a type


@pytest.fixture
def batches(monkeypatch: pytest.MonkeyPatch) -> None:
    force_path(monkeypatch, "batches")


@pytest.fixture(scope="module")
def third_cluster() -> Iterator[Cluster]:
    """A server of its own for the native subscription."""
    with public_folder("third") as folder:
        cluster = Cluster(folder=folder / "server", major=18, settings={})
        cluster.create()
        cluster.start()
        yield cluster
        cluster.stop()


@contextlib.contextmanager
def subscribed(pair: Pair, third: Cluster, tables: str) -> Iterator[Pair]:
    """The same source with a database of the third server, which a subscription fills from the same publication on."""
    name = f"{pair.target_db}_{pair.key}"
    login = pair.source.arguments(pair.source_db)
    uri = " ".join(f"{key}={login[key]}" for key in ("host", "port", "user", "password", "dbname"))
    with third.connect() as admin:
        admin.execute(f'CREATE DATABASE "{name}"'.encode())
    other = Pair(pair.source, third, pair.source_db, name, ports=pair.ports)
    other.at_target(tables)
    pair.at_source(f"SELECT pg_create_logical_replication_slot('{SLOT}', 'pgoutput')")
    other.at_target(
        f"CREATE SUBSCRIPTION native CONNECTION '{uri}' PUBLICATION {pair.state.publication}"
        f" WITH (create_slot = false, slot_name = '{SLOT}', copy_data = false)"
    )
    try:
        yield other
    finally:
        for statement in ("DISABLE", "SET (slot_name = NONE)"):
            other.at_target(f"ALTER SUBSCRIPTION native {statement}")
        other.at_target("DROP SUBSCRIPTION native")
        _drop_slot(pair)
        with third.connect() as admin:
            admin.execute(f'DROP DATABASE "{name}" WITH (FORCE)'.encode())


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


@pytest.mark.usefixtures("small", "batches")
@pytest.mark.parametrize("number", [11, 12])
def test_random_changes_end_as_a_native_subscription_ends(pair: Pair, third_cluster: Cluster, number: int) -> None:
    print(f"seed {number}")
    pair.build(TABLES)
    with subscribed(pair, third_cluster, TABLES) as native:
        play(pair, number, 120)
        until = pair.insert_lsn()
        pair.catch_up()
        wait_until(lambda: _confirmed(pair) >= until, 60, "the native subscription having everything")
        assert pair.rows("target") == native.rows("target") == pair.rows("source")


def compare_with_native(stage: Stage, third: Cluster, count: int) -> None:
    """Play so many random streams to both, as far as a subscription can follow: it knows no change of a table."""
    print(f"seed {SEED}, {count} streams")

    @seed(SEED)
    @settings(
        max_examples=count,
        database=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    @given(streams(ddl=False, without=NO_EQUALITY))
    def one(stream: Stream) -> None:
        with stage.play(stream.options) as player:
            setup = Model(stream.shapes).setup()
            player.set_up(setup)
            pair = player.pair
            with subscribed(pair, third, "; ".join(setup)) as native:
                player.through(stream)
                player.finish()
                until = pair.insert_lsn()
                wait_until(lambda: _confirmed(pair) >= until, 60, "the native subscription having everything")
                assert pair.rows("target") == native.rows("target")

    one()


def test_random_streams_end_as_a_native_subscription_ends(stage: Stage, path: str, third_cluster: Cluster) -> None:
    compare_with_native(stage, third_cluster, 3)


@pytest.mark.long
def test_many_random_streams_end_as_a_native_subscription_ends(stage: Stage, path: str, third_cluster: Cluster) -> None:
    compare_with_native(stage, third_cluster, MANY // 3)
