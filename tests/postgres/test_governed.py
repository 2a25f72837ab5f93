"""A look at slots of a real server whose max_slot_wal_keep_size is small: from room enough to a lost slot."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from migrations_app.demo.clusters import Cluster, source_settings
from migrations_app.engine.errors import ConnectFailed
from migrations_app.engine.replication.governed import SlotsLook, look_at, standing
from migrations_app.engine.replication.governor import Bound, Kept, Level, Limits, judge
from tests.fakes import wait_until
from tests.folders import public_folder
from tests.postgres.engine_runs import server

_SLOT, _OTHER = "towpath_0badcafe_1", "towpath_0badcafe_2"


@pytest.fixture
def tight() -> Iterator[Cluster]:
    """A server that keeps 64 MB of WAL for a slot."""
    settings = {**source_settings(), "max_slot_wal_keep_size": "64MB", "max_wal_size": "64MB", "min_wal_size": "32MB"}
    with public_folder("tight") as folder:
        cluster = Cluster(folder=folder / "server", major=16, settings=settings)
        cluster.create()
        cluster.start()
        try:
            with cluster.connect() as connection:
                connection.execute("CREATE TABLE filler (t text)")
                connection.execute("SELECT pg_create_logical_replication_slot(%s, 'pgoutput')", (_SLOT,))
            yield cluster
        finally:
            cluster.stop()


def _write(connection: psycopg.Connection[tuple[object, ...]]) -> None:
    """Write about 6 MB of WAL."""
    connection.execute("INSERT INTO filler SELECT repeat('x', 500) FROM generate_series(1, 10000)")


def _judged(seen: SlotsLook) -> tuple[Level, Bound]:
    limits = Limits(safe_bytes=seen.safe_bytes, wal_status=seen.wal_status)
    judged = judge([Kept(at=0, kept_bytes=seen.kept_bytes or 0)], limits)
    return judged.level, judged.bound


def test_the_source_s_own_limit_is_warned_of_before_the_slot_is_lost(tight: Cluster) -> None:
    look = look_at(server(tight), [_SLOT])
    assert _judged(look) == (Level.NORMAL, Bound.SLOT)
    told = [_judged(look)[0]]

    def lost() -> bool:
        nonlocal look
        _write(connection)
        connection.execute("CHECKPOINT")
        look = look_at(server(tight), [_SLOT])
        if look.kept_bytes is not None:
            told.append(_judged(look)[0])
        return look.wal_status == "lost"

    with tight.connect() as connection:
        wait_until(lost, 120, "the loss of the slot")
    assert Level.WARNING in told
    assert told[-1] is Level.ALARM
    assert look == SlotsLook(kept_bytes=None, safe_bytes=None, wal_status="lost")


def test_of_several_slots_the_one_that_holds_back_most_counts(tight: Cluster) -> None:
    with tight.connect() as connection:
        _write(connection)
        connection.execute("SELECT pg_create_logical_replication_slot(%s, 'pgoutput')", (_OTHER,))
    first, second = look_at(server(tight), [_SLOT]), look_at(server(tight), [_OTHER])
    both = look_at(server(tight), [_OTHER, _SLOT])
    assert first.kept_bytes is not None
    assert second.kept_bytes is not None
    assert both.kept_bytes == max(first.kept_bytes, second.kept_bytes) >= 5_000_000


def test_all_wal_of_the_disk_is_counted_for_whoever_may_ask(tight: Cluster) -> None:
    with tight.connect() as connection:
        connection.execute("CREATE ROLE plain LOGIN PASSWORD 'plain'")
        _write(connection)
    seen = look_at(server(tight), [_SLOT])
    assert (seen.wal_bytes or 0) >= (seen.kept_bytes or 0) > 5_000_000
    assert look_at(server(tight, "plain", "plain"), [_SLOT]).wal_bytes is None


def test_slots_that_are_not_there_keep_nothing(tight: Cluster) -> None:
    assert look_at(server(tight), ["towpath_0badcafe_9"]).kept_bytes is None


def test_a_server_that_is_away_is_told_as_such(tight: Cluster) -> None:
    tight.stop()
    with pytest.raises(ConnectFailed):
        look_at(server(tight), [_SLOT])


def test_the_words_name_the_source_s_setting(tight: Cluster) -> None:
    seen = look_at(server(tight), [_SLOT])
    limits = Limits(safe_bytes=seen.safe_bytes)
    judged = judge([Kept(at=0, kept_bytes=0), Kept(at=100, kept_bytes=40_000_000)], limits)
    assert "max_slot_wal_keep_size of the source" in standing(judged)
    assert "the slot is lost in" in standing(judged)
