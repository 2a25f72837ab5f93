"""A table that stops the copy is dropped from the task: all others are copied, kept in sync and compared."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest

from migrations_app.demo.clusters import Cluster
from migrations_app.engine.cleaning import clean_up
from migrations_app.engine.errors import EngineError
from migrations_app.engine.executor import Executor
from migrations_app.engine.plan import Plan
from migrations_app.engine.ports import NEVER, Ports, TableStatus
from migrations_app.engine.states import StepName
from tests.fakes import FakeControl, FakeStore, fake_ports
from tests.postgres.compare_kit import plan_for, running, server

SCRIPT = """
CREATE FUNCTION f(int) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT $1';
CREATE TABLE t (id int PRIMARY KEY, v text);
CREATE UNIQUE INDEX t_f ON t (f(id));
CREATE TABLE child (id int PRIMARY KEY REFERENCES t);
CREATE TABLE other (id int PRIMARY KEY, v text);
INSERT INTO t SELECT g, 'v' FROM generate_series(1, 9) g;
INSERT INTO child SELECT g FROM generate_series(1, 9) g;
INSERT INTO other SELECT g, 'v' FROM generate_series(1, 9) g;
"""
HARM = {
    "its rows": ("ALTER TABLE t ADD CHECK (id < 5)", 0),
    "its index": ("CREATE OR REPLACE FUNCTION f(int) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT 1'", 9),
}
"""What is done to the target before the rows come, and how many of them there are in the end."""
LAST = {True: (StepName.COMPLETE,), False: (StepName.COMPARE, StepName.COMPLETE)}


@pytest.fixture
def plan(source_cluster: Cluster, target_cluster: Cluster, source_db: str, target_db: str, tmp_path: Path) -> Plan:
    with source_cluster.connect(source_db) as connection:
        connection.execute(SCRIPT.encode())
    ends = server(source_cluster), server(target_cluster)
    return plan_for(*ends, source_db, target_db, incremental=True, work_dir=tmp_path)


@pytest.fixture
def ports(plan: Plan) -> Iterator[Ports]:
    made = fake_ports()
    yield made
    with running(replace(plan, epoch=99), Ports(control=FakeControl(), ledger=made.ledger, store=made.store)) as run:
        clean_up(run, keep_target_objects=True)


def rows(cluster: Cluster, database: str, table: str) -> list[object]:
    with cluster.connect(database) as connection:
        return list(connection.execute(f"SELECT * FROM {table} ORDER BY 1".encode()).fetchall())


def drop(store: FakeStore, database: str, name: str) -> None:
    (state,) = [one for one in store.tables(database) if one.name == name]
    store.save_tables(replace(state, status=TableStatus.DROPPED, watermark=NEVER))


@pytest.mark.parametrize("incremental", [True, False], ids=["incremental", "full"])
@pytest.mark.parametrize("harm", HARM)
def test_all_others_go_on(
    harm: str, incremental: bool, plan: Plan, ports: Ports, source_cluster: Cluster, target_cluster: Cluster
) -> None:
    plan = replace(plan, incremental=incremental)
    (database,), store = plan.databases, cast(FakeStore, ports.store)
    with Executor(plan, ports) as executor:
        assert executor.run(StepName.SCHEMA).done
        with target_cluster.connect(database.target_name) as connection:
            connection.execute(HARM[harm][0].encode())
        with pytest.raises(EngineError) as caught:
            executor.run(StepName.COPY)
    assert not caught.value.retryable
    drop(store, database.source_name, "t")
    with Executor(replace(plan, epoch=2), ports) as executor:
        for step in (StepName.COPY, StepName.INDEX):
            assert executor.run(step).done
        if incremental:
            with source_cluster.connect(database.source_name) as connection:
                connection.execute("UPDATE t SET v = 'new'; UPDATE other SET v = 'new'; DELETE FROM child WHERE id = 1")
        cast(FakeControl, ports.control).complete = True
        for step in (*LAST[incremental], StepName.CLEANUP):
            assert executor.run(step).done
    assert len(rows(target_cluster, database.target_name, "t")) == HARM[harm][1], "its rows stay as they were"
    verdicts = {item.name: item.verdict for item in store.comparisons[-1].tables}
    assert verdicts == {"t": "left_out", "child": "equal", "other": "equal"}
    assert {one.name: one.status for one in store.tables(database.source_name)}["t"] is TableStatus.DROPPED
    for name in ("child", "other"):
        assert rows(target_cluster, database.target_name, name) == rows(source_cluster, database.source_name, name)
    assert [item for item in ports.ledger.items() if item.side == "source"] == []
