"""Transactions in two phases around the beginning of a sync: each is applied once."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any, cast

import pytest

from migrations_app.demo.clusters import Cluster
from migrations_app.engine import slots
from migrations_app.engine.executor import Executor
from migrations_app.engine.plan import Plan
from migrations_app.engine.states import StepName, steps_for
from tests.comparator import differences
from tests.fakes import FakeControl, FakeStore, fake_ports, wait_until
from tests.postgres.compare_kit import plan_for, server
from tests.postgres.sync_kit import Pair

TABLE = "CREATE TABLE t (id int PRIMARY KEY, v text)"


@pytest.fixture
def plan(source_cluster: Cluster, target_cluster: Cluster, source_db: str, target_db: str, tmp_path: Path) -> Plan:
    with source_cluster.connect(source_db) as connection:
        connection.execute(TABLE)
    return plan_for(
        server(source_cluster), server(target_cluster), source_db, target_db, work_dir=tmp_path, incremental=True
    )


def test_what_was_prepared_before_the_slot_and_committed_after_is_applied_once(
    plan: Plan, source_cluster: Cluster, target_cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slots, "_TRY_SECONDS", 1)
    (database,) = plan.databases
    ports = fake_ports()
    store = cast(FakeStore, ports.store)
    store.targets[database.source_name] = database.target_name
    cast(FakeControl, ports.control).complete = True
    with source_cluster.connect(database.source_name) as source:
        source.execute("BEGIN; INSERT INTO t VALUES (1, 'prepared before'); PREPARE TRANSACTION 'before the slot'")
        worker = threading.Thread(target=run_all, args=(plan, ports))
        worker.start()
        try:
            waited = wait_until(lambda: [one for one in store.events if one[1] == "SRC-OLDTX"], what="the event")
        finally:
            source.execute("COMMIT PREPARED 'before the slot'")
            worker.join(60)
        assert "before the slot" in waited[0][2]
        with target_cluster.connect(database.target_name) as target:
            assert target.execute("SELECT id, v FROM t").fetchall() == [(1, "prepared before")]
            assert differences(source, target) == []


def run_all(plan: Plan, ports: Any) -> None:
    with Executor(plan, ports) as executor:
        for step in steps_for(incremental=True):
            if step is not StepName.CHECK:
                assert executor.run(step).done


def test_what_is_prepared_while_the_sync_runs_arrives_when_it_commits(
    source_cluster: Cluster, target_cluster: Cluster, source_db: str, target_db: str
) -> None:
    pair = Pair(source_cluster, target_cluster, source_db, target_db)
    pair.build(TABLE)
    pair.at_source("BEGIN; INSERT INTO t VALUES (1, 'prepared'); UPDATE t SET v = 'x'; PREPARE TRANSACTION 'in sync'")
    pair.at_source("INSERT INTO t VALUES (2, 'meanwhile')")
    pair.catch_up()
    assert pair.rows("target")["public.t"] == ["(2,meanwhile)"]
    pair.at_source("COMMIT PREPARED 'in sync'")
    pair.catch_up()
    pair.assert_equal()


def test_what_was_prepared_and_rolled_back_never_arrives(
    source_cluster: Cluster, target_cluster: Cluster, source_db: str, target_db: str
) -> None:
    pair = Pair(source_cluster, target_cluster, source_db, target_db)
    pair.build(TABLE)
    pair.at_source("BEGIN; INSERT INTO t VALUES (1, 'never'); PREPARE TRANSACTION 'given up'")
    pair.at_source("ROLLBACK PREPARED 'given up'", "INSERT INTO t VALUES (3, 'after')")
    pair.catch_up()
    assert pair.rows("target")["public.t"] == ["(3,after)"]
