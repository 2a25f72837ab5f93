"""Random schemas and rows arrive: whatever combination comes up, nothing is told and the oracle finds nothing.

`TOWPATH_SCHEMA_SEED=5 pytest tests/postgres/test_random_schemas.py` makes the schema of one seed again.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, cast

import pytest

from migrations_app.demo.clusters import Cluster
from migrations_app.engine.executor import Executor
from migrations_app.engine.states import StepName, steps_for
from tests.comparator import differences
from tests.fakes import FakeControl, FakeStore, fake_ports
from tests.postgres.compare_kit import plan_for, server
from tests.postgres.random_schemas import Schema, run_all

_GIVEN = os.environ.get("TOWPATH_SCHEMA_SEED")
SEEDS = [int(_GIVEN)] if _GIVEN else list(range(1, 41))


@pytest.mark.sample(2)
@pytest.mark.parametrize("seed", SEEDS)
def test_a_random_schema_arrives_with_its_rows(
    source_cluster: Cluster, target_cluster: Cluster, source_db: str, target_db: str, tmp_path: Path, seed: int
) -> None:
    print(f"TOWPATH_SCHEMA_SEED={seed}")
    schema, ports = Schema(seed), fake_ports()
    store = cast(FakeStore, ports.store)
    cast(FakeControl, ports.control).complete = True
    store.targets[source_db] = target_db
    synced = seed % 2 == 0
    plan = plan_for(
        server(source_cluster), server(target_cluster), source_db, target_db, work_dir=tmp_path, incremental=synced
    )
    with source_cluster.connect(source_db) as source, target_cluster.connect(target_db) as target:
        for statement in schema.statements():
            source.execute(statement.encode())
        assert run_all(source, schema.rows()) > 0
        with Executor(plan, ports) as executor:
            for step in steps_for(incremental=synced):
                if step is StepName.INDEX and synced:
                    assert run_all(source, schema.changes(300)) > 0
                if step is not StepName.CHECK:
                    assert executor.run(step).done
        refresh(source)
        assert [(note.title, note.what) for notes in store.notes.values() for note in notes] == []
        assert differences(source, target, rights=True) == []
    assert ports.ledger.items() == []


def refresh(connection: Any) -> None:
    """Fill materialized views anew, as the end of a migration does on the target."""
    for (name,) in connection.execute("SELECT oid::regclass::text FROM pg_class WHERE relkind = 'm'").fetchall():
        connection.execute(f"REFRESH MATERIALIZED VIEW {name}")
