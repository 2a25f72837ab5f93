"""What tests of changed tables share: both sides, how the sync stops, and leave for a change."""

from __future__ import annotations

from dataclasses import replace

import pytest

from migrations_app.demo.clusters import Cluster
from migrations_app.engine.drift import Drift, Leave
from migrations_app.engine.errors import SchemaChanged
from migrations_app.engine.ports import NEVER, Store, TableState, TableStatus
from tests.postgres.sync_kit import Pair

TABLE = "CREATE TABLE t (id int PRIMARY KEY, v text); CREATE TABLE other (id int PRIMARY KEY)"
ROOT = (
    "CREATE TABLE p (id int PRIMARY KEY) PARTITION BY RANGE (id);"
    " CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (100)"
)
ROWS = "INSERT INTO t SELECT g, g::text FROM generate_series(1, 100) g"
START = 'ALTER TABLE "public"."t" '


@pytest.fixture
def pair(source_cluster: Cluster, target_cluster: Cluster, source_db: str, target_db: str) -> Pair:
    return Pair(source_cluster, target_cluster, source_db, target_db)


def stopped(pair: Pair) -> Drift:
    with pytest.raises(SchemaChanged) as caught:
        pair.catch_up()
    assert caught.value.drift is not None
    assert (caught.value.code, caught.value.drift.database) == ("SRC-DDL", pair.source_db)
    return caught.value.drift


def leave(drift: Drift, number: int = 1) -> Leave:
    return Leave(number=number, schema=drift.schema, name=drift.name, digest=drift.digest, lsn=drift.lsn)


def allow(pair: Pair, drift: Drift) -> None:
    pair.store.may_change.setdefault(pair.source_db, []).append(leave(drift))


def columns(pair: Pair, table: str = "t") -> str:
    """What the target's table looks like, and which of its rows are there."""
    return str(
        pair.value(
            "SELECT string_agg(attname || ' ' || format_type(atttypid, atttypmod), ', ' ORDER BY attnum)"
            f" FROM pg_attribute WHERE attrelid = '{table}'::regclass AND attnum > 0 AND NOT attisdropped",
            "target",
        )
    )


def dropped(pair: Pair, name: str) -> list[TableState]:
    """The states of a table after Drop from task."""
    known = [one for one in pair.store.tables(pair.source_db) if one.name == name]
    return [replace(one, status=TableStatus.DROPPED, watermark=NEVER) for one in known]


def drop(store: Store, drift: Drift) -> None:
    """Press Drop from task."""
    known = [one for one in store.tables(drift.database) if (one.schema, one.name) == (drift.schema, drift.name)]
    store.save_tables(*(replace(one, status=TableStatus.DROPPED, watermark=NEVER) for one in known))
