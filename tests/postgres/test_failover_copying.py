"""A standby takes over from the source while rows are still copied."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import pytest

from migrations_app.demo.clusters import Cluster
from migrations_app.engine import keeping_step
from migrations_app.engine.errors import SlotLost
from migrations_app.engine.executor import Executor
from migrations_app.engine.lsn import parse_lsn
from migrations_app.engine.plan import Plan
from migrations_app.engine.ports import Ports, TableStatus
from migrations_app.engine.states import StepName
from tests.comparator import differences
from tests.fakes import FakeControl, FakeStore, fake_ports, wait_until
from tests.postgres import failover_kit
from tests.postgres.compare_kit import plan_for, server
from tests.postgres.failover_kit import NAME, SECONDS

pytestmark = pytest.mark.long

replicated = failover_kit.replicated  # a fixture that stands in the kit
_TABLES = """
CREATE TABLE copied (id serial PRIMARY KEY, v text);
CREATE TABLE waiting (id int PRIMARY KEY, v text);
INSERT INTO copied (v) SELECT md5(g::text) FROM generate_series(1, 500) g;
INSERT INTO waiting SELECT g, md5(g::text) FROM generate_series(1, 500) g;
"""


@dataclass
class Copying:
    """A migration of which one table is copied, and the other waits."""

    primary: Cluster
    standby: Cluster
    target: Cluster
    plan: Plan
    ports: Ports

    def at_source(self, *statements: str) -> None:
        with self.primary.connect(NAME) as connection:
            for statement in statements:
                connection.execute(statement.encode())

    @property
    def store(self) -> FakeStore:
        return cast(FakeStore, self.ports.store)

    def run(self, *steps: StepName) -> None:
        cast(FakeControl, self.ports.control).complete = True
        with Executor(self.plan, self.ports) as executor:
            for step in steps:
                assert executor.run(step).done

    def slot_is_there(self) -> bool:
        """Move the slot on, and say whether the standby has it for good by now.

        It takes only a slot that no transaction has come after, or one that moves. Nothing is copied yet, so the task
        may as well begin where it is now.
        """
        state = self.store.database(NAME)
        self.at_source("SELECT pg_log_standby_snapshot()")
        with self.primary.connect(NAME) as connection:
            move = "SELECT end_lsn::text FROM pg_replication_slot_advance(%s, pg_current_wal_lsn())"
            row = connection.execute(move, (state.slot,)).fetchone()
        assert row is not None
        self.store.save_database(replace(state, consistent_point=parse_lsn(str(row[0]))))
        with self.standby.connect() as connection:
            query = "SELECT count(*) FROM pg_replication_slots WHERE synced AND NOT temporary"
            return connection.execute(query).fetchone() == (1,)

    def fail_over(self) -> None:
        """Replay what there is on the standby, and let it take over."""
        with self.primary.connect() as here, self.standby.connect() as there:
            row = here.execute("SELECT pg_current_wal_lsn()::text").fetchone()
            caught = "SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn"
            wait_until(lambda: there.execute(caught, row).fetchone() == (True,), SECONDS, "the replay")
        self.primary.stop()
        with self.standby.connect() as connection:
            assert connection.execute("SELECT pg_promote()").fetchone() == (True,)
        self.primary = self.standby
        self.plan = replace(self.plan, epoch=self.plan.epoch + 1, source=server(self.standby))


@pytest.fixture
def copying(
    replicated: tuple[Cluster, Cluster],
    target_cluster: Cluster,
    target_db: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Copying:
    monkeypatch.setattr(keeping_step, "_SECONDS", 0)  # the test itself sees to it, and looks at the standby
    primary, standby = replicated
    plan = plan_for(
        server(primary), server(target_cluster), NAME, target_db, key="fa110e12", incremental=True, work_dir=tmp_path
    )
    made = Copying(primary, standby, target_cluster, plan, fake_ports())
    made.store.targets[NAME] = target_db
    made.at_source(_TABLES)
    made.run(StepName.SCHEMA)
    wait_until(made.slot_is_there, SECONDS, "the slot on the standby")
    made.run(StepName.COPY)
    table = made.store.table_rows[NAME, "public", "waiting"]
    made.store.save_tables(replace(table, status=TableStatus.WAITING, watermark=None))
    return made


def test_the_copy_goes_on_at_the_standby_that_took_over(copying: Copying) -> None:
    copying.at_source("UPDATE copied SET v = v || '.' WHERE id % 3 = 0", "DELETE FROM waiting WHERE id % 3 = 0")
    copying.fail_over()
    copying.at_source("UPDATE copied SET v = v || '!' WHERE id % 2 = 0", "DELETE FROM waiting WHERE id % 2 = 0")
    copying.run(StepName.COPY, StepName.INDEX)
    assert [code for _, code, _ in copying.store.events if code.startswith("SRC-FAILED")] == ["SRC-FAILEDOVER"]
    assert copying.store.database(NAME).timeline == 2
    watermark = {one.name: one.watermark for one in copying.store.table_rows.values()}
    assert (watermark["waiting"] or 0) > (watermark["copied"] or 0)
    copying.at_source("INSERT INTO copied (v) VALUES ('later')", "INSERT INTO waiting VALUES (1000, 'later')")
    copying.run(StepName.COMPLETE, StepName.CLEANUP)
    assert all(comparison.equal for comparison in copying.store.comparisons)
    assert copying.ports.ledger.items() == []
    with copying.primary.connect(NAME) as here, copying.target.connect(copying.plan.databases[0].target_name) as there:
        assert differences(here, there) == []


def test_a_standby_has_the_slot_of_a_busy_source_before_anything_is_copied(
    replicated: tuple[Cluster, Cluster], target_cluster: Cluster, target_db: str, tmp_path: Path
) -> None:
    primary, standby = replicated
    plan = plan_for(
        server(primary), server(target_cluster), NAME, target_db, key="fa110e13", incremental=True, work_dir=tmp_path
    )
    made = Copying(primary, standby, target_cluster, plan, fake_ports())
    made.store.targets[NAME] = target_db
    made.at_source(_TABLES)
    with writing(primary):
        made.run(StepName.SCHEMA)
        with standby.connect() as connection:
            query = "SELECT count(*) FROM pg_replication_slots WHERE slot_name = %s AND synced AND NOT temporary"
            assert connection.execute(query, (made.store.database(NAME).slot,)).fetchone() == (1,)
        made.run(StepName.COPY)
        table = made.store.table_rows[NAME, "public", "waiting"]
        made.store.save_tables(replace(table, status=TableStatus.WAITING, watermark=None))
    made.fail_over()
    made.at_source("UPDATE copied SET v = v || '!' WHERE id % 2 = 0", "DELETE FROM waiting WHERE id % 2 = 0")
    made.run(StepName.COPY, StepName.INDEX, StepName.COMPLETE, StepName.CLEANUP)
    assert all(comparison.equal for comparison in made.store.comparisons)
    assert made.ports.ledger.items() == []


@contextlib.contextmanager
def writing(source: Cluster) -> Iterator[None]:
    """Write small transactions to a table of the source all the time."""
    stop = threading.Event()

    def write() -> None:
        with source.connect(NAME) as connection:
            while not stop.is_set():
                connection.execute("UPDATE copied SET v = v || '.' WHERE id = 1")
                stop.wait(0.005)

    thread = threading.Thread(target=write)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def test_a_copy_does_not_go_on_where_the_slot_is_not(copying: Copying) -> None:
    copying.fail_over()
    logical = "FROM pg_replication_slots WHERE slot_type = 'logical'"
    copying.at_source(f"SELECT pg_drop_replication_slot(slot_name) {logical}")
    with pytest.raises(SlotLost, match="may be missing") as caught:
        copying.run(StepName.COPY)
    assert caught.value.code == "SRC-FAILOVER"
    assert copying.store.database(NAME).timeline == 1


def test_a_copy_that_holds_what_the_new_source_never_had_does_not_go_on(copying: Copying) -> None:
    copying.standby.stop()
    copying.at_source("SELECT pg_logical_emit_message(true, 'test', repeat('x', 100000))")
    copied = copying.store.table_rows[NAME, "public", "copied"]
    with copying.primary.connect() as connection:
        row = connection.execute("SELECT pg_current_wal_insert_lsn()::text").fetchone()
    assert row is not None
    copying.store.save_tables(replace(copied, watermark=parse_lsn(str(row[0]))))
    copying.primary.stop()
    copying.standby.start()
    with copying.standby.connect() as connection:
        assert connection.execute("SELECT pg_promote()").fetchone() == (True,)
    copying.plan = replace(copying.plan, epoch=2, source=server(copying.standby))
    with pytest.raises(SlotLost, match="changes that the new one never had"):
        copying.run(StepName.COPY)
