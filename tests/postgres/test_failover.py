"""A real standby takes over from the source: the sync goes on there when nothing can be missing, and never else."""

from __future__ import annotations

import contextlib
import os
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import pytest

from migrations_app.demo.clusters import Cluster, _unprivileged, source_settings
from migrations_app.engine import keeping_step
from migrations_app.engine.connect import Connection
from migrations_app.engine.errors import ConnectionLost, SlotLost
from migrations_app.engine.executor import Executor
from migrations_app.engine.failover import Offer
from migrations_app.engine.lsn import parse_lsn
from migrations_app.engine.plan import Plan
from migrations_app.engine.ports import Ports, TableState, TableStatus
from migrations_app.engine.snapshot import open_first
from migrations_app.engine.states import StepName
from migrations_app.engine.wording import say
from tests.comparator import differences
from tests.fakes import FakeControl, FakeStore, fake_ports, wait_until
from tests.folders import public_folder
from tests.postgres.compare_kit import plan_for, server
from tests.postgres.sync_kit import Pair

_SECONDS = 120
_TABLE = "CREATE TABLE notes (id int PRIMARY KEY, note text)"
_NAME = "shop"


@dataclass
class Standing:
    """A source with a standby that keeps failover slots in step, and a target."""

    primary: Cluster
    standby: Cluster
    pair: Pair

    def replayed(self) -> None:
        """Wait until the standby has everything that the primary has written."""
        until = self.pair.value("SELECT pg_current_wal_lsn()::text")
        with self.standby.connect() as connection:
            caught = "SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn"
            wait_until(lambda: connection.execute(caught, (until,)).fetchone() == (True,), _SECONDS, "the replay")

    def promote(self) -> None:
        """Let the standby take over; the primary is gone."""
        with self.standby.connect() as connection:
            assert connection.execute("SELECT pg_promote()").fetchone() == (True,)
        self.pair.source = self.standby

    def slot_is_in_step(self) -> bool:
        """Write, apply, and say whether the standby has the slot for good by now."""
        self.pair.at_source("SELECT pg_log_standby_snapshot()", "UPDATE notes SET note = note || '.' WHERE id = 1")
        self.pair.catch_up()
        with self.standby.connect() as connection:
            query = "SELECT synced AND NOT temporary FROM pg_replication_slots WHERE slot_name = %s"
            return connection.execute(query, (self.pair.state.slot,)).fetchone() == (True,)


def _copied(primary: Cluster, folder: Path) -> Cluster:
    """Return a standby of the primary, not started yet."""
    login = f"host=127.0.0.1 port={primary.port} user=postgres password={primary.password} dbname=postgres"
    settings = {
        **source_settings(),
        "primary_conninfo": login,
        "primary_slot_name": "standby",
        "hot_standby_feedback": "on",
        "sync_replication_slots": "on",
    }
    standby = Cluster(folder=folder, major=primary.major, password=primary.password, settings=settings)
    folder.mkdir()
    drop = _unprivileged()
    if drop:
        os.chown(folder, drop["user"], drop["group"])
    command = [
        str(primary.bin() / "pg_basebackup"),
        "-D",
        str(standby.data),
        "-d",
        login,
        "-c",
        "fast",
        "-S",
        "standby",
    ]
    subprocess.run(command, check=True, capture_output=True, cwd="/", timeout=120, **drop)
    (standby.data / "standby.signal").touch()
    return standby


def _opened(pair: Pair, **plan: bool) -> None:
    """Make equal, empty databases, and let the engine itself open publication and slot."""
    pair.at_source(_TABLE)
    pair.at_target(_TABLE)
    with pair.running(**plan) as run:
        open_first(run, pair.database).close()
    table = pair.tables()[0]
    point = pair.state.consistent_point
    pair.store.save_tables(
        TableState(database=pair.source_db, schema="public", name=table.name, oid=table.oid, watermark=point)
    )


@pytest.fixture
def replicated() -> Iterator[tuple[Cluster, Cluster]]:
    """A source with a standby that keeps failover slots in step."""
    with public_folder("failover") as folder:
        primary = Cluster(folder=folder / "primary", major=18, settings=source_settings())
        primary.create()
        primary.start()
        standby = None
        try:
            with primary.connect() as connection:
                connection.execute("SELECT pg_create_physical_replication_slot('standby', true)")
                connection.execute(f"CREATE DATABASE {_NAME}".encode())
            standby = _copied(primary, folder / "standby")
            standby.start()
            with primary.connect() as connection:
                worker = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE '%slotsync worker'"
                wait_until(lambda: connection.execute(worker).fetchone() == (1,), _SECONDS, "the standby's worker")
            yield primary, standby
        finally:
            for cluster in (standby, primary):
                if cluster:
                    cluster.stop()


@pytest.fixture
def standing(
    replicated: tuple[Cluster, Cluster], target_cluster: Cluster, target_db: str, monkeypatch: pytest.MonkeyPatch
) -> Standing:
    monkeypatch.setattr(keeping_step, "_SECONDS", 0)  # the test itself sees to it, and looks at the standby
    primary, standby = replicated
    pair = Pair(primary, target_cluster, _NAME, target_db)
    _opened(pair)
    pair.at_source("INSERT INTO notes VALUES (1, 'first')")
    made = Standing(primary, standby, pair)
    wait_until(made.slot_is_in_step, _SECONDS, "the slot on the standby")
    return made


def test_the_sync_goes_on_at_the_standby_that_took_over(standing: Standing) -> None:
    pair = standing.pair
    assert pair.value(f"SELECT failover FROM pg_replication_slots WHERE slot_name = '{pair.state.slot}'") is True
    assert "SRC-FAILOVERSLOT" in [event[1] for event in pair.store.events]
    pair.at_source("INSERT INTO notes SELECT g, 'not applied yet' FROM generate_series(2, 500) g")
    standing.replayed()
    standing.primary.stop()
    standing.promote()
    pair.at_source("INSERT INTO notes VALUES (1000, 'after')", "DELETE FROM notes WHERE id = 2")
    pair.catch_up()
    pair.assert_equal()
    assert pair.state.timeline == 2
    assert "SRC-FAILEDOVER" in [event[1] for event in pair.store.events]
    pair.at_source("INSERT INTO notes VALUES (1001, 'later')")
    pair.catch_up()
    pair.assert_equal()


def test_without_its_slot_changes_may_be_missing(standing: Standing) -> None:
    pair = standing.pair
    standing.replayed()
    standing.primary.stop()
    standing.promote()
    pair.at_source(f"SELECT pg_drop_replication_slot('{pair.state.slot}')")
    with pytest.raises(SlotLost, match="may be missing") as caught:
        pair.catch_up()
    assert caught.value.code == "SRC-FAILOVER"
    assert "Restart with new copy" in caught.value.hint
    assert pair.state.timeline == 1


def test_a_slot_that_is_ahead_of_the_target_is_refused(standing: Standing) -> None:
    pair = standing.pair
    standing.replayed()
    standing.primary.stop()
    standing.promote()
    pair.at_source("INSERT INTO notes VALUES (7, 'skipped')")
    pair.at_source(f"SELECT pg_replication_slot_advance('{pair.state.slot}', pg_current_wal_lsn())")
    with pytest.raises(SlotLost, match=r"begins at .* may be missing"):
        pair.catch_up()


def test_a_target_that_holds_what_the_new_source_never_had_is_refused(standing: Standing) -> None:
    pair = standing.pair
    standing.replayed()
    standing.standby.stop()
    pair.at_source("INSERT INTO notes VALUES (8, 'never replicated')")
    pair.catch_up()
    standing.primary.stop()
    standing.standby.start()
    standing.promote()
    with pytest.raises(SlotLost, match="changes that the new one never had") as caught:
        pair.catch_up()
    assert caught.value.code == "SRC-FAILOVER"


@pytest.mark.parametrize("asked", [False, True])
def test_without_such_a_standby_a_failover_slot_is_made_only_when_asked_for(
    target_cluster: Cluster, target_db: str, source_db: str, source_cluster: Cluster, asked: bool
) -> None:
    """The target's cluster is an 18 without any standby, so it serves as the source here."""
    pair = Pair(target_cluster, source_cluster, target_db, source_db)
    _opened(pair, failover_slots=asked)
    failover = pair.value(f"SELECT failover FROM pg_replication_slots WHERE slot_name = '{pair.state.slot}'")
    pair.at_source(f"SELECT pg_drop_replication_slot('{pair.state.slot}')")
    assert failover is asked
    assert "SRC-FAILOVERSLOT" not in [event[1] for event in pair.store.events]


def test_a_run_that_ends_while_the_slot_moves_is_followed_by_one_with_a_new_slot(
    target_cluster: Cluster, target_db: str, source_db: str, source_cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The target's cluster serves as the source; that no standby takes the slot does not matter here."""
    monkeypatch.setattr(keeping_step, "_SECONDS", 0)
    monkeypatch.setattr(keeping_step, "offer", lambda _: Offer(possible=True, kept=True))
    real = keeping_step._move_on
    pair = Pair(target_cluster, source_cluster, target_db, source_db)

    def dies(connection: Connection, slot: str) -> None:
        pair.at_source("SELECT pg_logical_emit_message(true, 'test', 'between', true)")
        real(connection, slot)
        raise ConnectionLost(say("cut"))

    monkeypatch.setattr(keeping_step, "_move_on", dies)
    with pytest.raises(ConnectionLost):
        _opened(pair, failover_slots=True)
    assert pair.state.consistent_point is None
    monkeypatch.setattr(keeping_step, "_move_on", real)
    with pair.running(failover_slots=True) as run:
        snapshot = open_first(run, pair.database)
        snapshot.close()
    slots = "FROM pg_replication_slots WHERE database = current_database() AND NOT temporary"
    confirmed = parse_lsn(pair.value(f"SELECT confirmed_flush_lsn::text {slots}"))
    assert pair.value(f"SELECT count(*) {slots}") == 1
    assert pair.store.databases[pair.source_db].consistent_point == confirmed
    assert confirmed <= (snapshot.lsn or 0)
    assert ("warning", "SRC-FAILOVERSLOT") in [event[:2] for event in pair.store.events]
    pair.at_source(f"SELECT pg_drop_replication_slot('{pair.state.slot}')")


# While rows are still copied

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
        with self.primary.connect(_NAME) as connection:
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
        state = self.store.database(_NAME)
        self.at_source("SELECT pg_log_standby_snapshot()")
        with self.primary.connect(_NAME) as connection:
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
            wait_until(lambda: there.execute(caught, row).fetchone() == (True,), _SECONDS, "the replay")
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
    monkeypatch.setattr(keeping_step, "_SECONDS", 0)  # as above
    primary, standby = replicated
    plan = plan_for(
        server(primary), server(target_cluster), _NAME, target_db, key="fa110e12", incremental=True, work_dir=tmp_path
    )
    made = Copying(primary, standby, target_cluster, plan, fake_ports())
    made.store.targets[_NAME] = target_db
    made.at_source(_TABLES)
    made.run(StepName.SCHEMA)
    wait_until(made.slot_is_there, _SECONDS, "the slot on the standby")
    made.run(StepName.COPY)
    table = made.store.table_rows[_NAME, "public", "waiting"]
    made.store.save_tables(replace(table, status=TableStatus.WAITING, watermark=None))
    return made


def test_the_copy_goes_on_at_the_standby_that_took_over(copying: Copying) -> None:
    copying.at_source("UPDATE copied SET v = v || '.' WHERE id % 3 = 0", "DELETE FROM waiting WHERE id % 3 = 0")
    copying.fail_over()
    copying.at_source("UPDATE copied SET v = v || '!' WHERE id % 2 = 0", "DELETE FROM waiting WHERE id % 2 = 0")
    copying.run(StepName.COPY, StepName.INDEX)
    assert [code for _, code, _ in copying.store.events if code.startswith("SRC-FAILED")] == ["SRC-FAILEDOVER"]
    assert copying.store.database(_NAME).timeline == 2
    watermark = {one.name: one.watermark for one in copying.store.table_rows.values()}
    assert (watermark["waiting"] or 0) > (watermark["copied"] or 0)
    copying.at_source("INSERT INTO copied (v) VALUES ('later')", "INSERT INTO waiting VALUES (1000, 'later')")
    copying.run(StepName.COMPLETE, StepName.CLEANUP)
    assert all(comparison.equal for comparison in copying.store.comparisons)
    assert copying.ports.ledger.items() == []
    with copying.primary.connect(_NAME) as here, copying.target.connect(copying.plan.databases[0].target_name) as there:
        assert differences(here, there) == []


@pytest.mark.long
def test_a_standby_has_the_slot_of_a_busy_source_before_anything_is_copied(
    replicated: tuple[Cluster, Cluster], target_cluster: Cluster, target_db: str, tmp_path: Path
) -> None:
    primary, standby = replicated
    plan = plan_for(
        server(primary), server(target_cluster), _NAME, target_db, key="fa110e13", incremental=True, work_dir=tmp_path
    )
    made = Copying(primary, standby, target_cluster, plan, fake_ports())
    made.store.targets[_NAME] = target_db
    made.at_source(_TABLES)
    with writing(primary):
        made.run(StepName.SCHEMA)
        with standby.connect() as connection:
            query = "SELECT count(*) FROM pg_replication_slots WHERE slot_name = %s AND synced AND NOT temporary"
            assert connection.execute(query, (made.store.database(_NAME).slot,)).fetchone() == (1,)
        made.run(StepName.COPY)
        table = made.store.table_rows[_NAME, "public", "waiting"]
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
        with source.connect(_NAME) as connection:
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
    assert copying.store.database(_NAME).timeline == 1


def test_a_copy_that_holds_what_the_new_source_never_had_does_not_go_on(copying: Copying) -> None:
    copying.standby.stop()
    copying.at_source("SELECT pg_logical_emit_message(true, 'test', repeat('x', 100000))")
    copied = copying.store.table_rows[_NAME, "public", "copied"]
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
