"""A full migration reads a standby as it reads a primary, but for what no standby has: rows of unlogged tables."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest

from migrations_app.demo.clusters import Cluster
from migrations_app.engine.executor import Executor
from migrations_app.engine.plan import Plan
from migrations_app.engine.states import StepName, steps_for
from tests.fakes import FakeControl, FakeStore, fake_ports
from tests.folders import public_folder
from tests.postgres.checks_kit import check
from tests.postgres.compare_kit import plan_for, server

VOLATILE = """
CREATE TABLE kept (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, v text); INSERT INTO kept (v) VALUES ('a'), ('b');
CREATE UNLOGGED TABLE cache (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY); CREATE UNLOGGED SEQUENCE numbers;
"""


@pytest.fixture(scope="module")
def standby() -> Iterator[Cluster]:
    """A server that waits for a primary for ever, after it has been one."""
    with public_folder("standby") as folder:
        cluster = Cluster(folder=folder / "server", major=16, settings={"max_connections": "100"})
        cluster.create()
        cluster.start()
        with cluster.connect() as connection:
            connection.execute(VOLATILE.encode())
        cluster.stop()
        (cluster.data / "standby.signal").touch()
        cluster.start()
        yield cluster
        cluster.stop()


@pytest.fixture
def plan(standby: Cluster, target_cluster: Cluster, target_db: str, tmp_path: Path) -> Plan:
    return plan_for(server(standby), server(target_cluster), "postgres", target_db, work_dir=tmp_path)


def bare(plan: Plan) -> Plan:
    rules = {**plan.selection.rules, ("postgres", "public", "cache"): "structure"}
    return replace(plan, selection=replace(plan.selection, rules=rules))  # type: ignore[arg-type]


def test_rows_that_no_standby_has_are_refused_by_the_check(plan: Plan) -> None:
    result = check(plan, "source-primary")
    assert result.status == "failed"
    assert result.found.endswith("unlogged tables: public.cache.")
    assert check(bare(plan), "source-primary").status == "warning"


def test_everything_else_arrives(plan: Plan, target_cluster: Cluster) -> None:
    ports = fake_ports()
    store = cast(FakeStore, ports.store)
    cast(FakeControl, ports.control).complete = True
    store.targets["postgres"] = plan.databases[0].target_name
    with Executor(bare(plan), ports) as executor:
        for step in steps_for(incremental=False):
            if step is not StepName.CHECK:
                assert executor.run(step).done
    [told] = [text for _, code, text in store.events if code == "SEQUENCES-UNREAD"]
    assert told == "Sequences of the source cannot be read: public.cache_id_seq, public.numbers"
    with target_cluster.connect(plan.databases[0].target_name) as connection:
        assert connection.execute("SELECT id, v FROM kept ORDER BY 1").fetchall() == [(1, "a"), (2, "b")]
        assert connection.execute("SELECT last_value FROM kept_id_seq").fetchone() == (2,)
