"""One table is copied once more while the sync of the others goes on, and then stands at exactly the same place."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, cast

import psycopg
import pytest

from migrations_app.demo.clusters import Cluster
from migrations_app.engine import copying
from migrations_app.engine.cleaning import clean_up
from migrations_app.engine.comparing.follower import Follower
from migrations_app.engine.errors import ConflictError, SchemaChanged
from migrations_app.engine.executor import Executor
from migrations_app.engine.plan import Knobs, Plan
from migrations_app.engine.ports import NEVER, Ports, TableState, TableStatus
from migrations_app.engine.snapshot import Snapshot
from migrations_app.engine.states import StepName
from migrations_app.engine.steps import recopy
from migrations_app.engine.table_work import TableWork
from tests.fakes import FakeControl, FakeStore, fake_ports, wait_until
from tests.postgres.compare_kit import Writer, plan_for, running, server

SCRIPT = """
CREATE TABLE broken (id int PRIMARY KEY, n int NOT NULL DEFAULT 0);
CREATE TABLE child (id serial PRIMARY KEY, broken int REFERENCES broken);
CREATE TABLE other (id int PRIMARY KEY, n int NOT NULL DEFAULT 0);
CREATE TABLE keyless (v int);
INSERT INTO broken SELECT generate_series(1, 500); INSERT INTO child (broken) SELECT generate_series(1, 500);
INSERT INTO other SELECT generate_series(1, 100); INSERT INTO keyless SELECT generate_series(1, 50);
"""


def work(connection: psycopg.Connection[Any], number: int) -> None:
    connection.execute("UPDATE broken SET n = n + 1 WHERE id = %s", (number % 500 + 1,))
    connection.execute("UPDATE other SET n = n + 1 WHERE id = %s", (number % 100 + 1,))
    connection.execute("INSERT INTO broken VALUES (%s)", (1000 + number,))
    connection.execute("INSERT INTO keyless VALUES (%s)", (number,))


@pytest.fixture
def plan(source_cluster: Cluster, target_cluster: Cluster, source_db: str, target_db: str, tmp_path: Any) -> Plan:
    with source_cluster.connect(source_db) as connection:
        connection.execute(SCRIPT.encode())
    return plan_for(
        server(source_cluster), server(target_cluster), source_db, target_db, incremental=True, work_dir=tmp_path
    )


@pytest.fixture
def ports(plan: Plan) -> Iterator[Ports]:
    ports = fake_ports()
    yield ports
    with running(replace(plan, epoch=99), Ports(control=FakeControl(), ledger=ports.ledger, store=ports.store)) as run:
        clean_up(run, keep_target_objects=True)


def begin(plan: Plan, ports: Ports) -> None:
    with Executor(plan, ports) as executor:
        for step in (StepName.SCHEMA, StepName.COPY, StepName.INDEX):
            assert executor.run(step).done


def ask(plan: Plan, ports: Ports, *names: str) -> FakeStore:
    store = cast(FakeStore, ports.store)
    store.asked_again[plan.databases[0].source_name] = [("public", name) for name in names]
    return store


def damage(cluster: Cluster, plan: Plan) -> None:
    with cluster.connect(plan.databases[0].target_name) as connection:
        connection.execute(
            "SET session_replication_role = replica; DELETE FROM broken WHERE id % 3 = 0;"
            " INSERT INTO broken VALUES (-1); UPDATE broken SET n = 7 WHERE id < 20; DELETE FROM keyless"
        )


def complete(plan: Plan, ports: Ports) -> FakeStore:
    with Executor(plan, ports) as executor:
        for step in (StepName.COMPLETE, StepName.CLEANUP):
            assert executor.run(step).done
    store = cast(FakeStore, ports.store)
    assert all(comparison.equal for comparison in store.comparisons)
    assert ports.ledger.items() == []
    return store


def test_a_damaged_table_is_mended_under_load_while_the_others_stay_in_sync(
    plan: Plan, ports: Ports, source_cluster: Cluster, target_cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin(plan, ports)
    damage(target_cluster, plan)
    (database,) = plan.databases
    store, real = ask(plan, ports, "broken", "keyless"), copying.Lane.copy_over
    moved: list[bool] = []

    def slow(lane: copying.Lane, table: TableWork) -> None:
        real(lane, table)
        with source_cluster.connect(database.source_name) as source:
            source.execute("INSERT INTO other VALUES (%s)", (10_000 + len(moved),))
        with target_cluster.connect(database.target_name) as target:
            asked = "SELECT count(*) FROM other WHERE id = %s"
            arrived = (10_000 + len(moved),)
            wait_until(lambda: target.execute(asked, arrived).fetchone() == (1,), what="the sync of the others")
        moved.append(True)

    monkeypatch.setattr(copying.Lane, "copy_over", slow)
    with Writer(source_cluster, database.source_name, work) as writer:
        wait_until(lambda: writer.commits > 20)
        with Executor(plan, ports) as executor:
            assert executor.recopy().done
        at = writer.commits
        wait_until(lambda: writer.commits > at + 20)
        writer.stop()
    assert moved == [True, True]
    assert store.recopies(database.source_name) == []
    states = {state.name: state for state in store.tables(database.source_name)}
    assert states["broken"].status is TableStatus.DONE
    assert (states["other"].watermark or 0) < (states["broken"].watermark or 0) < NEVER
    complete(plan, ports)


def test_a_copy_that_is_ahead_of_the_sync_of_the_others_takes_no_change_twice(
    plan: Plan, ports: Ports, source_cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin(plan, ports)
    ask(plan, ports, "keyless", "broken")
    with source_cluster.connect(plan.databases[0].source_name) as source:
        source.execute("INSERT INTO keyless VALUES (777); INSERT INTO broken VALUES (777)")
    with monkeypatch.context() as behind, Executor(plan, ports) as executor:
        behind.setattr(Follower, "resume", lambda _: None)
        executor.recopy()
    complete(plan, ports)


WIDE_ROWS = 20_000


@pytest.fixture
def slow_line(plan: Plan, ports: Ports, source_cluster: Cluster) -> FakeControl:
    """A table of more bytes than the line holds, copied once at full speed; from now on the copy has to take its time.

    Returns what ends that.
    """
    with source_cluster.connect(plan.databases[0].source_name) as source:
        source.execute("CREATE TABLE wide (v int PRIMARY KEY, note text)")
        source.execute("INSERT INTO wide SELECT n, repeat('x', 1000) FROM generate_series(1, %s) n", (WIDE_ROWS,))
    begin(plan, ports)
    control = cast(FakeControl, ports.control)
    control.turned = Knobs(copy_jobs=1, index_jobs=1, bytes_per_second=6_000_000)
    return control


@pytest.mark.long
def test_the_row_of_the_table_and_the_step_show_how_far_the_copy_is(
    plan: Plan, ports: Ports, slow_line: FakeControl, monkeypatch: pytest.MonkeyPatch
) -> None:
    (database,) = plan.databases
    store = ask(plan, ports, "wide")
    shown: list[TableState] = []
    monkeypatch.setattr(FakeStore, "table_progress", lambda _, state: shown.append(state))
    with Executor(plan, ports) as executor:
        assert executor.recopy().done
    (final,) = [state for state in store.tables(database.source_name) if state.name == "wide"]
    assert (final.status, final.rows_done) == (TableStatus.DONE, WIDE_ROWS)
    assert {state.name for state in shown} == {"wide"}
    assert any(0 < state.bytes_done < final.bytes_done for state in shown)
    assert any(0 < state.rows_done < WIDE_ROWS for state in shown), [state.rows_done for state in shown]
    told = [step for step in store.steps if step[2] == "copying public.wide again"]
    assert any(0 < done < total for done, total, _ in told)
    assert store.steps[-1][2] == "bringing public.wide up to date"
    assert all(done <= total for done, total, _ in store.steps)


@pytest.mark.long
def test_an_application_that_wants_the_table_for_itself_goes_first(
    plan: Plan, ports: Ports, source_cluster: Cluster, slow_line: FakeControl
) -> None:
    (database,) = plan.databases
    store = ask(plan, ports, "wide")
    waited: list[float] = []

    def shut_out() -> None:
        with source_cluster.connect(database.source_name) as source:
            reading = "SELECT FROM pg_stat_activity WHERE query ~ '^COPY .*wide' AND state = 'active'"
            wait_until(lambda: source.execute(reading).fetchall(), what="the copy of the table")
            began = time.monotonic()
            source.execute("BEGIN; LOCK TABLE wide; COMMIT")
            waited.append(time.monotonic() - began)
        slow_line.turned = None

    thread = threading.Thread(target=shut_out, daemon=True)
    thread.start()
    with Executor(plan, ports) as executor:
        assert executor.recopy().done
    thread.join()
    assert waited[0] < 2.5
    assert "COPY-GAVEWAY" in [code for _, code, _ in store.events]
    complete(plan, ports)


class Died(BaseException):
    """Stands for the death of the process."""


@pytest.mark.sample(2)
@pytest.mark.parametrize("point", ["copy_over", "_fill", "_meet", "recopied"])
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_a_worker_that_died_is_followed_by_one_that_begins_the_table_anew(
    plan: Plan,
    ports: Ports,
    source_cluster: Cluster,
    target_cluster: Cluster,
    monkeypatch: pytest.MonkeyPatch,
    point: str,
    after: bool,
) -> None:
    begin(plan, ports)
    damage(target_cluster, plan)
    store = ask(plan, ports, "broken")
    place: Any = {"copy_over": copying.Lane, "recopied": FakeStore}.get(point, recopy.OneTable)
    real = getattr(place, point)

    def dying(*arguments: Any, **named: Any) -> Any:
        if after:
            real(*arguments, **named)
        raise Died

    with source_cluster.connect(plan.databases[0].source_name) as connection:
        with monkeypatch.context() as patched:
            patched.setattr(place, point, dying)
            with Executor(plan, ports) as executor, pytest.raises(Died):
                executor.recopy()
        connection.execute("INSERT INTO broken VALUES (5000); UPDATE broken SET n = n + 1 WHERE id = 3")
    again = replace(plan, epoch=2)
    if store.recopies(plan.databases[0].source_name):
        with Executor(again, ports) as executor:
            executor.recopy()
    with target_cluster.connect(plan.databases[0].target_name) as connection:
        connection.execute("DELETE FROM keyless; INSERT INTO keyless SELECT generate_series(1, 50)")
    complete(again, ports)


@pytest.mark.long
def test_a_table_whose_changes_stopped_the_sync_is_mended(
    plan: Plan, ports: Ports, source_cluster: Cluster, target_cluster: Cluster
) -> None:
    begin(plan, ports)
    damage(target_cluster, plan)
    control = cast(FakeControl, ports.control)
    with source_cluster.connect(plan.databases[0].source_name) as source:
        source.execute("UPDATE broken SET n = 8 WHERE id = 3; INSERT INTO other VALUES (777)")
    control.complete = True  # ends the slice once it has caught up
    with Executor(plan, ports) as executor, pytest.raises(ConflictError):
        executor.run(StepName.COMPLETE)
    ask(plan, ports, "broken", "keyless")
    again = replace(plan, epoch=2)
    with Executor(again, ports) as executor:
        executor.recopy()
    complete(again, ports)


def test_a_copy_does_not_wait_for_a_table_that_the_failed_sync_of_the_others_has_emptied(
    plan: Plan, ports: Ports, source_cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill = recopy.OneTable._fill

    def after_the_failure(table: recopy.OneTable, snapshot: Snapshot, *, held: bool) -> None:
        wait_until(table._main.arrived, what="the failure of the sync")
        fill(table, snapshot, held=held)

    monkeypatch.setattr(recopy.OneTable, "_fill", after_the_failure)
    begin(plan, ports)
    with source_cluster.connect(plan.databases[0].source_name) as source:
        source.execute("ALTER TABLE other ADD COLUMN c int")
        source.execute("BEGIN; TRUNCATE keyless; INSERT INTO other VALUES (777); COMMIT")
    ask(plan, ports, "broken")
    ended = threading.Timer(40, cast(FakeControl, ports.control).pause)
    ended.start()
    try:
        with Executor(plan, ports) as executor, pytest.raises(SchemaChanged):
            executor.recopy()
    finally:
        ended.cancel()


@pytest.mark.long
def test_a_table_to_which_a_foreign_key_leads_takes_new_columns(
    plan: Plan, ports: Ports, source_cluster: Cluster, target_cluster: Cluster
) -> None:
    begin(plan, ports)
    with source_cluster.connect(plan.databases[0].source_name) as source:
        source.execute("ALTER TABLE broken ADD COLUMN more text; UPDATE broken SET more = 'x' WHERE id = 3")
    ask(plan, ports, "broken")
    with Executor(plan, ports) as executor:
        assert executor.recopy().done
    complete(plan, ports)
    with target_cluster.connect(plan.databases[0].target_name) as target:
        assert target.execute("SELECT id FROM broken WHERE more = 'x'").fetchall() == [(3,)]


@pytest.mark.long
def test_where_foreign_keys_act_new_columns_take_no_rows_of_other_tables_with_them(
    plan: Plan, ports: Ports, source_cluster: Cluster, target_cluster: Cluster
) -> None:
    begin(plan, ports)
    with source_cluster.connect(plan.databases[0].source_name) as source:
        source.execute("ALTER TABLE broken ADD COLUMN more text")
    store = ask(plan, ports, "broken")
    store.save_database(replace(store.database(plan.databases[0].source_name), replica_role=False))
    with target_cluster.connect(plan.databases[0].target_name) as target:
        target.execute(
            "ALTER TABLE child DROP CONSTRAINT child_broken_fkey,"
            " ADD FOREIGN KEY (broken) REFERENCES broken ON DELETE CASCADE"
        )
        with pytest.raises(SchemaChanged, match="foreign key"), Executor(plan, ports) as executor:
            executor.recopy()
        assert target.execute("SELECT count(*) FROM child").fetchone() == (500,)


@pytest.mark.parametrize("action", ["CASCADE", "SET NULL"])
def test_where_foreign_keys_act_no_rows_of_other_tables_go_with_those_that_are_copied_again(
    plan: Plan, ports: Ports, target_cluster: Cluster, action: str
) -> None:
    begin(plan, ports)
    store, (database,) = ask(plan, ports, "broken"), plan.databases
    store.save_database(replace(store.database(database.source_name), replica_role=False))
    with a_mover(target_cluster, database.target_name) as user, target_cluster.connect(database.target_name) as target:
        target.execute(
            "ALTER TABLE child DROP CONSTRAINT child_broken_fkey,"
            f" ADD CONSTRAINT acts FOREIGN KEY (broken) REFERENCES broken ON DELETE {action}"
        )
        mover = replace(plan, target=replace(plan.target, user=user, password=user))
        with pytest.raises(ConflictError, match=r"public\.child \(acts\)"), Executor(mover, ports) as executor:
            executor.recopy()
        assert target.execute("SELECT count(*) FROM child WHERE broken IS NOT NULL").fetchone() == (500,)
        target.execute("ALTER TABLE child DROP CONSTRAINT acts")
        with Executor(replace(mover, epoch=2), ports) as executor:
            assert executor.recopy().done


@contextlib.contextmanager
def a_mover(cluster: Cluster, database: str) -> Iterator[str]:
    """An account that has the rights of the owner, but may not keep foreign keys from acting."""
    with cluster.connect() as boss:
        boss.execute("CREATE ROLE recopy_mover LOGIN PASSWORD 'recopy_mover' IN ROLE postgres")
        try:
            yield "recopy_mover"
        finally:
            boss.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'recopy_mover'")
            with cluster.connect(database) as there:
                there.execute("REASSIGN OWNED BY recopy_mover TO postgres; DROP OWNED BY recopy_mover")
            boss.execute("REVOKE postgres FROM recopy_mover; DROP ROLE recopy_mover")


def test_a_sync_slice_ends_when_a_table_is_asked_for(plan: Plan, ports: Ports) -> None:
    begin(plan, ports)
    control = cast(FakeControl, ports.control)
    with Executor(plan, ports) as executor:
        ended = threading.Event()

        def run() -> None:
            assert not executor.run(StepName.SYNC).done
            ended.set()

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        control.recopy = True
        assert ended.wait(30)
        thread.join()


@pytest.mark.long
def test_a_table_that_is_emptied_before_each_copy_is_locked_from_its_snapshot_on(
    plan: Plan, ports: Ports, source_cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin(plan, ports)
    store, real, emptied = ask(plan, ports, "keyless"), recopy.work_on, []

    def emptied_first(*arguments: Any) -> TableWork:
        with source_cluster.connect(plan.databases[0].source_name) as source:
            source.execute("SET lock_timeout = '100ms'")
            with contextlib.suppress(psycopg.errors.LockNotAvailable):
                source.execute("TRUNCATE keyless; INSERT INTO keyless VALUES (1)")
                emptied.append(True)
        return real(*arguments)

    monkeypatch.setattr(recopy, "work_on", emptied_first)
    with Executor(plan, ports) as executor:
        assert executor.recopy().done
    assert len(emptied) == 3
    assert [code for _, code, _ in store.events if code == "COPY-LOCKED"] == ["COPY-LOCKED"]
    complete(plan, ports)
