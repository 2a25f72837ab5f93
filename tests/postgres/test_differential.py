"""PostgreSQL's own logical replication as the other opinion: from the same changes both make the same rows.

All that an application may do to rows is tried on every kind of table: what both follow is the same stream.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Collection, Iterator
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings

from migrations_app.demo.clusters import Cluster
from migrations_app.engine.lsn import parse_lsn
from migrations_app.engine.replication.pipeline import Pipeline
from tests.fakes import wait_until
from tests.folders import public_folder
from tests.postgres import batches_kit, stream_runs
from tests.postgres.random_streams import KINDS, PARTED, Stream, streams
from tests.postgres.stream_kit import Stage, Undecodable
from tests.postgres.stream_model import Model
from tests.postgres.stream_record import Record
from tests.postgres.stream_runs import MANY, SEED
from tests.postgres.sync_kit import Pair, force_path
from tests.postgres.test_sync_batches_random import TABLES, play

# Fixtures that stand elsewhere.
pair = batches_kit.pair
small = batches_kit.small
stage = stream_runs.stage
path = stream_runs.path

SLOT = "native_opinion"
NO_EQUALITY = ("json", "point")  # a subscription cannot find rows by all columns where one is of such a type
STATEMENTS = {
    "INSERT": r"INSERT (?!.*SELECT)",
    "INSERT of many rows": r"INSERT .* SELECT",
    "INSERT or else UPDATE": r"INSERT .* DO UPDATE",
    "COPY": r"COPY",
    "UPDATE": r"UPDATE",
    "UPDATE of a key": r"UPDATE \S+ SET (id|a|b|n|slug) = (?!\1)",
    "DELETE": r"DELETE",
    "TRUNCATE": r"TRUNCATE (?!.*(RESTART|CASCADE))",
    "TRUNCATE RESTART IDENTITY": r"TRUNCATE .*RESTART",
    "TRUNCATE CASCADE": r"TRUNCATE .*CASCADE",
    "TRUNCATE of several tables": r"TRUNCATE .*,",
    "SAVEPOINT that is rolled back": r"ROLLBACK TO",
}
LEAF = {"a write to a partition itself": r"(INSERT INTO|UPDATE|DELETE FROM|TRUNCATE) \w+_\d"}


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


def done(record: Record) -> set[str]:
    """Return by name what an application did to rows, and committed."""
    statements = [one for step in record.steps if step.word == "commit" for one in step.statements]
    known = {**STATEMENTS, **LEAF}
    return {name for name, words in known.items() if any(re.match(words, one) for one in statements)}


def compare_with_native(
    stage: Stage, third: Cluster, count: int, *, number: int = SEED, kinds: Collection[str] = tuple(KINDS)
) -> set[str]:
    """Play so many random streams to both, as far as a subscription can follow: it knows no change of a table.

    Returns what was done to rows in them.
    """
    print(f"seed {number}, {count} streams over {', '.join(kinds)}")
    seen: set[str] = set()

    @seed(number)
    @settings(
        max_examples=count,
        deadline=None,
        database=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    @given(streams(ddl=False, without=NO_EQUALITY, kinds=tuple(kinds)))
    def one(stream: Stream) -> None:
        with stage.play(stream.options) as player:
            setup = Model(stream.shapes).setup()
            player.set_up(setup)
            pair = player.pair
            with contextlib.suppress(Undecodable), subscribed(pair, third, "; ".join(setup)) as native:
                player.through(stream)
                player.finish()
                until = pair.insert_lsn()
                wait_until(lambda: _confirmed(pair) >= until, 60, "the native subscription having everything")
                assert pair.rows("target") == native.rows("target")
        seen.update(done(player.record))

    one()
    return seen


@pytest.fixture
def copied(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """What was written to the target by COPY, as the batch path does with runs of inserts."""
    seen: list[bytes] = []
    real = Pipeline.copy

    def copy(self: Pipeline, sql: bytes, *rest: Any) -> Iterator[None]:
        seen.append(sql)
        return real(self, sql, *rest)

    monkeypatch.setattr(Pipeline, "copy", copy)
    return seen


@pytest.mark.long
def test_random_streams_end_as_a_native_subscription_ends(stage: Stage, path: str, third_cluster: Cluster) -> None:
    compare_with_native(stage, third_cluster, 3)


@pytest.mark.long
def test_many_random_streams_end_as_a_native_subscription_ends(
    stage: Stage, path: str, third_cluster: Cluster, copied: list[bytes]
) -> None:
    seen = compare_with_native(stage, third_cluster, MANY // 3)
    assert seen == {*STATEMENTS, *LEAF}
    assert bool(copied) == (path == "batches")


@pytest.mark.long
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_table_ends_as_a_native_subscription_ends(
    stage: Stage, path: str, third_cluster: Cluster, copied: list[bytes], kind: str
) -> None:
    seen = compare_with_native(stage, third_cluster, MANY // 10, number=SEED + 2, kinds=[kind])
    wanted = {"INSERT", "INSERT of many rows", "TRUNCATE", *(LEAF if kind in PARTED else ())}
    wanted |= set() if kind == "none" else {"UPDATE", "UPDATE of a key", "DELETE"}
    assert wanted - seen == set()
    assert bool(copied) == (path == "batches")
