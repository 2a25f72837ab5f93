"""What tests of a sync in trouble share: one table on both sides, and the error that ends the sync."""

from __future__ import annotations

import pytest

from migrations_app.demo.clusters import Cluster
from migrations_app.engine.errors import (
    EngineError,
)
from tests.postgres.sync_kit import Pair

TABLE = "CREATE TABLE t (id int PRIMARY KEY, v text)"


@pytest.fixture
def pair(source_cluster: Cluster, target_cluster: Cluster, source_db: str, target_db: str) -> Pair:
    return Pair(source_cluster, target_cluster, source_db, target_db)


def failure(pair: Pair, kind: type[EngineError]) -> EngineError:
    with pytest.raises(kind) as caught:
        pair.catch_up()
    return caught.value


def count(pair: Pair) -> int:
    return int(pair.value("SELECT count(*) FROM t", "target"))
