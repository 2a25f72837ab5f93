"""A standby of the target that lagged behind takes over while rows are copied: what it never had is copied again."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import psycopg
import pytest

from migrations_app.demo.clusters import Cluster
from migrations_app.engine.copying import Lane
from migrations_app.engine.errors import TargetError
from migrations_app.engine.executor import Executor
from migrations_app.engine.plan import Plan
from migrations_app.engine.ports import TableStatus
from migrations_app.engine.states import StepName
from migrations_app.engine.target_history import TookOver
from tests.fakes import FakeStore, fake_ports, wait_until
from tests.faults.proxy import fault_proxy
from tests.postgres import failover_kit
from tests.postgres.compare_kit import plan_for, server
from tests.postgres.failover_kit import NAME, SECONDS

pytestmark = pytest.mark.long

replicated = failover_kit.replicated  # a fixture that stands in the kit
TABLES = ("kept", "lost", "waiting", "nothing")
_TABLES = """
CREATE TABLE kept (id int PRIMARY KEY, v text); CREATE TABLE lost (id int PRIMARY KEY, v text);
CREATE TABLE waiting (id int PRIMARY KEY, v text); CREATE TABLE nothing (id int PRIMARY KEY);
INSERT INTO kept SELECT g, md5(g::text) FROM generate_series(1, 500) g;
INSERT INTO lost SELECT * FROM kept; INSERT INTO waiting SELECT * FROM kept;
"""


class Failover:
    """A migration whose target has a standby."""

    def __init__(self, plan: Plan, primary: Cluster, standby: Cluster) -> None:
        self.plan, self.ports, self.primary, self.standby = plan, fake_ports(), primary, standby
        self.store.targets[plan.databases[0].source_name] = NAME

    @property
    def store(self) -> FakeStore:
        return cast(FakeStore, self.ports.store)

    @property
    def source_name(self) -> str:
        return self.plan.databases[0].source_name

    def run(self, *steps: StepName) -> None:
        with Executor(self.plan, self.ports) as executor:
            for step in steps:
                assert executor.run(step).done

    def again(self, name: str) -> None:
        """Note a table as not copied."""
        table = self.store.table_rows[self.source_name, "public", name]
        self.store.save_tables(replace(table, status=TableStatus.WAITING, watermark=None))

    def lag(self) -> None:
        """Let the standby catch up, and never again."""
        with self.primary.connect() as here, self.standby.connect() as there:
            row = here.execute("SELECT pg_current_wal_lsn()::text").fetchone()
            caught = "SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn"
            wait_until(lambda: there.execute(caught, row).fetchone() == (True,), SECONDS, "the replay")
            wait_until(lambda: self._cut_off(here), SECONDS, "the end of the slot")

    @staticmethod
    def _cut_off(primary: psycopg.Connection[Any]) -> bool:
        """Take the slot away that the standby streams from; says whether it is gone."""
        slot = "pg_replication_slots WHERE slot_name = 'standby'"
        primary.execute(f"SELECT pg_terminate_backend(active_pid) FROM {slot} AND active".encode())
        with contextlib.suppress(psycopg.errors.ObjectInUse):
            primary.execute(f"SELECT pg_drop_replication_slot(slot_name) FROM {slot} AND NOT active".encode())
        return primary.execute(f"SELECT count(*) FROM {slot}".encode()).fetchone() == (0,)

    def take_over(self) -> None:
        self.primary.stop()
        with self.standby.connect() as connection:
            assert connection.execute("SELECT pg_promote()").fetchone() == (True,)

    def to_standby(self) -> None:
        self.take_over()
        self.plan = replace(self.plan, epoch=self.plan.epoch + 1, target=server(self.standby))

    def counts(self) -> list[int]:
        with self.standby.connect(NAME) as connection:
            rows = [connection.execute(f"SELECT count(*) FROM {name}".encode()).fetchone() for name in TABLES]
        return [int(row[0]) for row in rows if row]

    def told(self) -> list[str]:
        return [text for _, code, text in self.store.events if code == "COPY-AGAIN"]


@pytest.fixture
def failover(
    request: pytest.FixtureRequest,
    replicated: tuple[Cluster, Cluster],
    source_cluster: Cluster,
    source_db: str,
    tmp_path: Path,
) -> Failover:
    with source_cluster.connect(source_db) as connection:
        connection.execute(_TABLES.encode())
    plan = plan_for(
        server(source_cluster), server(replicated[0]), source_db, NAME, incremental=request.param, work_dir=tmp_path
    )
    return Failover(plan, *replicated)


def lagging(failover: Failover) -> None:
    """Copy everything, `lost` and `waiting` behind what the standby gets."""
    failover.run(StepName.SCHEMA, StepName.COPY)
    with failover.primary.connect(NAME) as connection:
        connection.execute("TRUNCATE lost, waiting")
    failover.again("lost")
    failover.again("waiting")
    failover.lag()
    with Executor(replace(failover.plan, incremental=True), failover.ports) as executor:
        executor.run(StepName.COPY)


@pytest.mark.parametrize("failover", [True], indirect=True)
def test_tables_that_a_standby_never_had_are_copied_again(failover: Failover) -> None:
    lagging(failover)
    failover.again("waiting")
    failover.to_standby()
    failover.run(StepName.COPY, StepName.INDEX)
    assert failover.counts() == [500, 500, 500, 0]
    (told,) = failover.told()
    assert "It lacks rows that were copied: 1 table, public.lost." in told


@pytest.mark.parametrize("failover", [True], indirect=True)
def test_after_the_copy_it_is_told_instead(failover: Failover) -> None:
    lagging(failover)
    failover.to_standby()
    for step in (StepName.INDEX, StepName.SYNC):
        with Executor(failover.plan, failover.ports) as executor, pytest.raises(TargetError) as refused:
            executor.run(step)
        assert refused.value.code == "DST-FAILOVER"
        assert "public.lost, public.waiting" in refused.value.message


@pytest.mark.parametrize("failover", [True], indirect=True)
def test_after_the_copy_unlogged_tables_do_not_count(failover: Failover, source_cluster: Cluster) -> None:
    with source_cluster.connect(failover.source_name) as source:
        source.execute("CREATE UNLOGGED TABLE cache AS SELECT 1 AS id")
    failover.run(StepName.SCHEMA, StepName.COPY)
    failover.lag()
    failover.to_standby()
    failover.run(StepName.INDEX)
    assert len(failover.told()) == 1


@pytest.mark.parametrize("failover", [False], indirect=True)
def test_without_a_sync_a_table_that_lacks_rows_can_be_copied_again(failover: Failover) -> None:
    failover.run(StepName.SCHEMA, StepName.COPY, StepName.INDEX)
    lost = failover.store.table_rows[failover.source_name, "public", "lost"]
    with failover.primary.connect(NAME) as connection:
        connection.execute("DELETE FROM lost WHERE id > 400")
    failover.lag()
    failover.to_standby()
    with Executor(failover.plan, failover.ports) as executor, pytest.raises(TargetError) as refused:
        executor.run(StepName.COMPARE)
    assert refused.value.code == "DST-FAILOVER"
    assert "Press Copy again at the tables" in refused.value.hint
    failover.store.asked_again[failover.source_name] = [(lost.schema, lost.name)]
    failover.run(StepName.COMPARE)
    assert failover.counts() == [500, 500, 500, 0]
    assert all(one.equal for one in failover.store.comparisons)


@pytest.mark.parametrize("failover", [True], indirect=True)
def test_a_standby_that_has_everything_goes_on(failover: Failover) -> None:
    failover.run(StepName.SCHEMA, StepName.COPY)
    failover.again("waiting")
    failover.lag()
    failover.to_standby()
    failover.run(StepName.COPY, StepName.INDEX)
    assert failover.counts() == [500, 500, 500, 0]
    (told,) = failover.told()
    assert "All its tables have the rows that were copied. Its large objects, indexes and keys were not" in told


@pytest.mark.parametrize("failover", [False, True], indirect=True, ids=["without sync", "with sync"])
def test_in_the_midst_of_a_copy_nothing_goes_on_before_it_is_counted(
    failover: Failover, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, seen = Lane.copy_whole, list[str]()
    failover.run(StepName.SCHEMA)
    failover.lag()
    with fault_proxy(failover.primary.port) as proxy:
        failover.plan = replace(
            failover.plan, copy_jobs=1, target=replace(failover.plan.target, port=proxy.port), retry_seconds=60
        )

        def copy_whole(lane: Lane, works: Any) -> None:
            if len(seen) == 1:
                failover.take_over()
                proxy.server_port = failover.standby.port
            seen.append(works[0].label)
            real(lane, works)

        monkeypatch.setattr(Lane, "copy_whole", copy_whole)
        if failover.plan.incremental:  # the next run looks; without sync this one does, which has the snapshot
            with pytest.raises(TookOver):
                failover.run(StepName.COPY)
            failover.plan = replace(failover.plan, epoch=2)
        failover.run(StepName.COPY)
    assert failover.counts() == [500, 500, 500, 0]
    (told,) = failover.told()
    assert "It lacks rows" in told
