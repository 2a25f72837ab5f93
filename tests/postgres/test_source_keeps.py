"""How much WAL the source keeps for us is measured by sessions that are open anyway: in the copy and in the sync."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from migrations_app.demo.clusters import Cluster
from migrations_app.engine.lookout import Lookout
from migrations_app.engine.ports import DatabaseState
from migrations_app.engine.replication.lag import SourceWatch
from tests.fakes import FakeStore, wait_until
from tests.postgres.engine_runs import fakes, make_plan, running

ONE_MEGABYTE = 1_000_000


@pytest.fixture
def kept_slot(source_cluster: Cluster, source_db: str) -> str:
    """A slot that keeps more than a megabyte."""
    name = f"keeps_{source_db}"
    with source_cluster.connect(source_db) as connection:
        connection.execute("SELECT pg_create_logical_replication_slot(%s, 'pgoutput')", (name,))
        connection.execute("CREATE TABLE filler AS SELECT repeat('x', 500) AS t FROM generate_series(1, 4000)")
    return name  # the fixture source_db drops slots of its database


def test_the_sync_tells_what_the_source_keeps(source_cluster: Cluster, source_db: str, kept_slot: str) -> None:
    store = FakeStore()
    watch = SourceWatch(cast(Any, source_cluster.connect(source_db)), kept_slot, cast(Any, store), lambda: None)
    watch.start()
    try:
        wait_until(lambda: store.kept, what="a measurement")
    finally:
        watch.close()
    assert store.kept[0] > ONE_MEGABYTE


def test_the_copy_tells_what_the_source_keeps(
    source_cluster: Cluster, target_cluster: Cluster, source_db: str, kept_slot: str, tmp_path: Path
) -> None:
    plan = make_plan(source_cluster, target_cluster, [(source_db, source_db)], tmp_path)
    with running(plan) as run:
        store = fakes(run.ports)[1]
        store.save_database(DatabaseState(source_name=source_db, target_name=source_db, slot=kept_slot))
        lane = SimpleNamespace(reading=1, sending=1, turn=1, give_way=lambda turn: None)
        lookout = Lookout(run, lambda: [cast(Any, lane)])
        lookout.start()
        try:
            wait_until(lambda: store.kept, what="a measurement")
        finally:
            lookout.stop()
    assert store.kept[0] > ONE_MEGABYTE
