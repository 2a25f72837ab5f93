"""What was committed without waiting for the disk is on it before it counts as done."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from migrations_app.demo.clusters import Cluster
from migrations_app.engine.errors import TargetError
from migrations_app.engine.restore import make_durable

EMIT = "SELECT oid::regprocedure::text FROM pg_proc WHERE proname = 'pg_logical_emit_message'"
BEHIND = "SELECT pg_current_wal_flush_lsn() < %s::pg_lsn"


@pytest.fixture
def poor(target_cluster: Cluster, target_db: str) -> Iterator[Cluster]:
    """A target on which an ordinary account may not write messages into the log, as providers may arrange it."""
    with target_cluster.connect(target_db) as boss:
        boss.execute("CREATE ROLE poor LOGIN PASSWORD 'poor'")
        for (function,) in boss.execute(EMIT).fetchall():
            boss.execute(f"REVOKE EXECUTE ON FUNCTION {function} FROM PUBLIC".encode())
    yield target_cluster
    with target_cluster.connect(target_db) as boss:
        boss.execute("DROP OWNED BY poor")
        boss.execute("DROP ROLE poor")


def test_an_account_without_the_right_to_write_messages_waits_for_the_disk_too(poor: Cluster, target_db: str) -> None:
    with poor.connect(target_db) as boss, poor.connect(target_db, user="poor", password="poor") as connection:
        boss.execute("SET synchronous_commit = off; CREATE TABLE late AS SELECT g FROM generate_series(1, 10) g")
        ((written,),) = boss.execute("SELECT pg_current_wal_insert_lsn()::text").fetchall()
        make_durable(connection)
        assert boss.execute(BEHIND, (written,)).fetchall() == [(False,)]
        assert connection.execute("SELECT count(*) FROM pg_largeobject_metadata").fetchall() == [(0,)]


def test_a_server_that_cannot_flush_is_told(poor: Cluster, target_db: str) -> None:
    with poor.connect(target_db, user="poor", password="poor") as connection:
        connection.execute("SET default_transaction_read_only = on")
        with pytest.raises(TargetError, match="flushing its log"):
            make_durable(connection)
