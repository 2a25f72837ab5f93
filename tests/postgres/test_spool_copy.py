"""Changes go into the spool while rows are still copied: the source is relieved, and nothing is lost or doubled."""

from __future__ import annotations

import contextlib
import errno
import pickle
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from migrations_app.demo.clusters import Cluster
from migrations_app.engine.connect import Sessions
from migrations_app.engine.errors import SlotLost
from migrations_app.engine.executor import Executor
from migrations_app.engine.lsn import parse_lsn
from migrations_app.engine.outcome import Run
from migrations_app.engine.plan import Plan
from migrations_app.engine.ports import Ports, SpoolState
from migrations_app.engine.replication import beside
from migrations_app.engine.states import StepName
from tests.comparator import differences
from tests.fakes import FakeControl, FakeStore, fake_ports, wait_until
from tests.postgres.compare_kit import Writer, plan_for, server

TABLES = """
CREATE TABLE t (id serial PRIMARY KEY, v text);
CREATE TABLE keyless (v int, w text);
ALTER TABLE keyless REPLICA IDENTITY FULL;
CREATE TABLE late (id int PRIMARY KEY, v text);
INSERT INTO t (v) SELECT md5(g::text) FROM generate_series(1, 2000) g;
INSERT INTO keyless SELECT g, 'x' FROM generate_series(1, 50) g;
INSERT INTO late SELECT g, 'x' FROM generate_series(1, 500) g;
"""


class Copying:
    """A migration with a slot, of which nothing is copied yet."""

    def __init__(self, source: Cluster, target: Cluster, plan: Plan) -> None:
        self.source, self.target, self.plan = source, target, plan
        self.ports: Ports = fake_ports()
        (self.database,) = plan.databases
        self.store.targets[self.database.source_name] = self.database.target_name

    @property
    def store(self) -> FakeStore:
        return cast(FakeStore, self.ports.store)

    @property
    def codes(self) -> list[str]:
        """What has been told so far."""
        return [code for _, code, _ in self.store.events]

    @property
    def control(self) -> FakeControl:
        return cast(FakeControl, self.ports.control)

    def run(self, *steps: StepName) -> None:
        self.plan = replace(self.plan, epoch=self.plan.epoch + 1)
        with Executor(self.plan, self.ports) as executor:
            for step in steps:
                assert executor.run(step).done

    def at_source(self, *statements: str) -> Any:
        with self.source.connect(self.database.source_name) as connection:
            for statement in statements:
                cursor = connection.execute(statement.encode())
            row = cursor.fetchone() if cursor.description else None
            return row[0] if row else None

    @property
    def slot(self) -> str:
        return self.store.database(self.database.source_name).slot

    def confirmed(self) -> int:
        query = f"SELECT confirmed_flush_lsn::text FROM pg_replication_slots WHERE slot_name = '{self.slot}'"
        return parse_lsn(str(self.at_source(query)))

    def until_confirmed(self) -> None:
        """Wait until the source has been told to forget everything that is committed on it now."""
        self.at_source("INSERT INTO late VALUES ((SELECT max(id) + 1 FROM late), 'mark')")
        wanted = parse_lsn(str(self.at_source("SELECT pg_current_wal_insert_lsn()::text")))
        self.at_source("SELECT pg_logical_emit_message(true, 'test', 'flush')")
        wait_until(lambda: self.confirmed() >= wanted, 60, "the source forgetting what is in the spool")

    @contextlib.contextmanager
    def held(self, table: str = "late") -> Iterator[None]:
        """Keep the copy from a table of the target for as long as the block runs."""
        with self.target.connect(self.database.target_name) as connection, connection.transaction():
            connection.execute(f"LOCK TABLE {table}".encode())
            yield

    @contextlib.contextmanager
    def at_work(self, *steps: StepName) -> Iterator[None]:
        """Run steps in the background, which must be over when the block has ended what held them up."""
        failures: list[BaseException] = []

        def work() -> None:
            try:
                self.run(*steps)
            except BaseException as error:
                failures.append(error)

        thread = threading.Thread(target=work)
        thread.start()
        try:
            yield
        except BaseException:
            self.control.cancel()
            raise
        finally:
            thread.join(120)
        assert not thread.is_alive(), "the steps go on without an end"
        assert failures == []

    def finish(self) -> None:
        """Apply the rest, complete, and have both sides compared by what shares no code with us."""
        self.control.spool = False
        self.control.complete = True
        self.run(StepName.COMPLETE, StepName.CLEANUP)
        assert all(comparison.equal for comparison in self.store.comparisons)
        assert self.ports.ledger.items() == []
        assert not list((self.plan.work_dir / "spool").glob("*/*"))
        name = self.database
        with self.source.connect(name.source_name) as here, self.target.connect(name.target_name) as there:
            assert differences(here, there) == []


@pytest.fixture
def copying(
    source_cluster: Cluster,
    target_cluster: Cluster,
    source_db: str,
    target_db: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Copying:
    monkeypatch.setattr(beside, "_LOOK_SECONDS", 0.05)
    plan = plan_for(
        server(source_cluster),
        server(target_cluster),
        source_db,
        target_db,
        incremental=True,
        work_dir=tmp_path,
        spool_free_bytes=1,
    )
    made = Copying(source_cluster, target_cluster, plan)
    made.at_source(TABLES)
    made.run(StepName.SCHEMA)
    return made


def change(connection: Any, number: int) -> None:
    connection.execute("INSERT INTO t (v) VALUES (%s)", (str(number),))
    connection.execute("UPDATE t SET v = v || '.' WHERE id = %s", (number % 2000 + 1,))
    connection.execute("DELETE FROM t WHERE id = %s", (number * 7 % 2000 + 1,))
    connection.execute("UPDATE keyless SET w = w || '.' WHERE v = %s", (number % 50 + 1,))
    connection.execute("UPDATE late SET v = v || '.' WHERE id = %s", (number % 500 + 1,))


def test_the_source_is_relieved_while_tables_wait_to_be_copied(copying: Copying) -> None:
    copying.control.spool = True
    with Writer(copying.source, copying.database.source_name, change) as writer:
        with copying.at_work(StepName.COPY), copying.held():
            wait_until(lambda: writer.commits > 50, what="changes")
            copying.until_confirmed()
            known = copying.store.spools
            wait_until(lambda: known[copying.database.source_name].size > 0, what="the size being told")
        copying.run(StepName.INDEX)
        writer.stop()
    assert "SPOOL-BEGUN" in [code for _, code, _ in copying.store.events]
    copying.finish()


def test_nothing_is_spooled_unless_it_is_wanted(copying: Copying) -> None:
    copying.run(StepName.COPY, StepName.INDEX)
    assert copying.store.spool(copying.database.source_name) is None
    copying.finish()


def test_receiving_that_is_wanted_no_longer_ends_and_the_slot_is_free(copying: Copying) -> None:
    copying.control.spool = True
    active = f"SELECT active FROM pg_replication_slots WHERE slot_name = '{copying.slot}'"
    with copying.at_work(StepName.COPY), copying.held():
        wait_until(lambda: copying.at_source(active), what="the receiving")
        copying.control.spool = False
        wait_until(lambda: not copying.at_source(active), what="its end")
        copying.at_source("DELETE FROM t WHERE id < 100")
        copying.control.spool = True
        copying.until_confirmed()
    copying.run(StepName.INDEX)
    copying.finish()


@pytest.mark.long
def test_a_spool_without_room_is_told_and_leaves_the_copy_alone(copying: Copying) -> None:
    copying.plan = replace(copying.plan, spool_bytes=6_000_000)
    copying.control.spool = True
    with copying.at_work(StepName.COPY), copying.held():
        copying.until_confirmed()
        copying.at_source("UPDATE late SET v = repeat(md5(id::text), 400)")
        wait_until(lambda: "SPOOL-FULL" in [code for _, code, _ in copying.store.events], 60, "the full spool")
    copying.run(StepName.INDEX)
    copying.finish()


@pytest.mark.long
def test_a_full_spool_is_told_once_and_not_opened_again_during_the_copy(
    copying: Copying, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[bool] = []
    wanted = copying.control.spool_wanted
    monkeypatch.setattr(copying.control, "spool_wanted", lambda: looks.append(True) or wanted())
    copying.plan = replace(copying.plan, spool_bytes=6_000_000)
    copying.control.spool = True
    with copying.at_work(StepName.COPY), copying.held():
        copying.until_confirmed()
        copying.at_source("UPDATE late SET v = repeat(md5(id::text), 400)")
        wait_until(lambda: "SPOOL-FULL" in copying.codes, 60, "the full spool")
        seen = len(looks)
        wait_until(lambda: len(looks) > seen + 20, 60, "looks at whether to receive again")
        assert copying.codes.count("SPOOL-FULL") == 1
    copying.run(StepName.INDEX)
    copying.finish()


@pytest.mark.long
def test_a_spool_that_cannot_be_read_is_told_and_tried_again(copying: Copying, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(beside, "_AGAIN_SECONDS", 0.05)
    unreadable = copying.plan.work_dir / "spool" / copying.slot / "000000000001-00000001.spool"
    unreadable.mkdir(parents=True)
    copying.control.spool = True
    with copying.at_work(StepName.COPY), copying.held():
        wait_until(lambda: "SPOOL-FILES" in copying.codes, 60, "the warning")
        unreadable.rmdir()
        copying.until_confirmed()
        assert copying.codes.count("SPOOL-FILES") == 1
    copying.run(StepName.INDEX)
    copying.finish()


def test_a_session_that_cannot_be_closed_leaves_none_of_the_others_open(
    copying: Copying, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Failing:
        def __exit__(self, *_: object) -> None:
            closed.append(self)
            raise OSError(errno.EIO, "broken", "/spool")

    closed: list[Failing] = []
    with Sessions(copying.plan, copying.control) as sessions:
        receiving = beside.Beside(Run(plan=copying.plan, ports=copying.ports, sessions=sessions))
        monkeypatch.setattr(receiving, "_open", {"a": Failing(), "b": Failing()})
        with receiving:
            pass
    assert len(closed) == 2
    assert [text for _, code, text in copying.store.events if code == "SPOOL-FILES" and "broken" in text]


def test_a_spool_that_another_machine_has_is_never_gone_on_with_here(copying: Copying) -> None:
    copying.control.spool = True
    with copying.at_work(StepName.COPY), copying.held():
        copying.until_confirmed()
    for file in (copying.plan.work_dir / "spool").glob("*/*"):
        file.unlink()
    with copying.at_work(StepName.INDEX):
        pass
    copying.control.spool = False
    with pytest.raises(SlotLost) as caught:
        copying.run(StepName.SYNC)
    assert caught.value.code == "SPOOL-GONE"


@contextlib.contextmanager
def worker(copying: Copying) -> Iterator[None]:
    """A worker that has begun to copy; killed at the end of the block."""
    copying.plan = replace(copying.plan, epoch=copying.plan.epoch + 1)
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.postgres.spool_copy_worker"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[2],
    )
    assert process.stdin is not None
    assert process.stdout is not None
    pickle.dump((copying.plan, copying.store, copying.ports.ledger.items()), process.stdin)
    process.stdin.close()
    try:
        assert process.stdout.readline() == b"copying\n"
        yield
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.mark.long
def test_a_copy_that_is_killed_goes_on_with_what_it_had_spooled(copying: Copying) -> None:
    copying.control.spool = True
    with Writer(copying.source, copying.database.source_name, change) as writer:
        for _ in range(3):
            with copying.held(), worker(copying):
                copying.until_confirmed()
            copying.store.save_spool(copying.database.source_name, SpoolState(ends=0, size=0))
        with copying.at_work(StepName.COPY), copying.held():
            before = writer.commits
            wait_until(lambda: writer.commits > before + 50, what="changes")
            copying.until_confirmed()
        copying.run(StepName.INDEX)
        writer.stop()
    copying.finish()
