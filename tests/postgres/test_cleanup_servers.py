"""Clean-up removes exactly what is ours, whatever state it is in, and says what it could not remove."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

from migrations_app.demo.clusters import Cluster, free_port
from migrations_app.engine.cleaning import clean_up, side
from migrations_app.engine.errors import ConnectionLost
from migrations_app.engine.executor import Executor
from migrations_app.engine.names import quote
from migrations_app.engine.plan import Plan, Side
from migrations_app.engine.ports import Kind, LedgerItem, Ports
from migrations_app.engine.replication import bookmark
from migrations_app.engine.states import StepName
from tests.fakes import FakeLedger, FakeStore, fake_ports, wait_until
from tests.postgres.compare_kit import plan_for, running, server

KEY = "0badcafe"


@pytest.fixture
def plan(source_cluster: Cluster, target_cluster: Cluster, source_db: str, target_db: str, tmp_path: Path) -> Plan:
    return plan_for(
        server(source_cluster),
        server(target_cluster),
        source_db,
        target_db,
        epoch=3,
        incremental=True,
        work_dir=tmp_path,
    )


@pytest.fixture
def ports() -> Ports:
    return fake_ports()


@pytest.fixture
def source(source_cluster: Cluster, source_db: str) -> Iterator[psycopg.Connection]:
    with source_cluster.connect(source_db) as connection:
        yield connection


@pytest.fixture
def target(target_cluster: Cluster, target_db: str) -> Iterator[psycopg.Connection]:
    with target_cluster.connect(target_db) as connection:
        yield connection


def item(plan: Plan, kind: Kind, name: str, /, schema: str = "", side: Side = Side.SOURCE, **detail: str) -> LedgerItem:
    database = plan.databases[0].source_name if side is Side.SOURCE else plan.databases[0].target_name
    return LedgerItem(side=side, database=database, kind=kind, schema=schema, name=name, detail=detail)


def make_slot(source: psycopg.Connection, plan: Plan) -> str:
    name = f"towpath_{plan.key}_{time.monotonic_ns() % 10**9}"
    source.execute("SELECT pg_create_logical_replication_slot(%s, 'pgoutput')", (name,))
    return name


def slots(source: psycopg.Connection) -> list[str]:
    rows = source.execute(
        "SELECT slot_name FROM pg_replication_slots WHERE database = current_database() ORDER BY 1"
    ).fetchall()
    return [row[0] for row in rows]


def identity_of(source: psycopg.Connection, table: str) -> str:
    row = source.execute("SELECT relreplident::text FROM pg_class WHERE relname = %s", (table,)).fetchone()
    assert row
    return str(row[0])


def cleaned(plan: Plan, ports: Ports) -> list[LedgerItem]:
    with running(plan, ports) as run:
        return clean_up(run, keep_target_objects=True)


def left_event(ports: Ports) -> str:
    assert isinstance(ports.store, FakeStore)
    return " ".join(text for _, code, text in ports.store.events if code == "CANCEL-LEFT")


@pytest.mark.parametrize("database", ["there", "missing"])
def test_what_is_not_found_on_another_server_stays_listed(
    plan: Plan, ports: Ports, source: psycopg.Connection, database: str
) -> None:
    (moved,) = plan.databases
    if database == "missing":
        moved = replace(moved, source_name="not_here")
        plan = replace(plan, databases=(moved,))
    state = ports.store.database(moved.source_name)
    ports.store.save_database(replace(state, system_id="7000000000000000001"))
    slot = item(plan, Kind.SLOT, f"towpath_{KEY}_1")
    ports.ledger.intend(slot)
    assert cleaned(plan, ports) == [slot]
    assert ports.ledger.items() == [slot]
    assert "another server than the one that the migration started with" in left_event(ports)


def test_a_server_that_does_not_tell_who_it_is_is_cleaned_up_all_the_same(
    plan: Plan, ports: Ports, source: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    def silent(_: object) -> str:
        raise psycopg.errors.QueryCanceled("canceling statement due to statement timeout")

    monkeypatch.setattr(side, "read_system_id", silent)
    state = ports.store.database(plan.databases[0].source_name)
    ports.store.save_database(replace(state, system_id="7000000000000000001"))
    ports.ledger.intend(item(plan, Kind.SLOT, make_slot(source, plan)))
    assert cleaned(plan, ports) == []
    assert (slots(source), ports.ledger.items()) == ([], [])


def test_everything_on_the_source_goes_and_strangers_stay(plan: Plan, ports: Ports, source: psycopg.Connection) -> None:
    source.execute("CREATE TABLE t (a int); CREATE TABLE u (a int); ALTER TABLE t REPLICA IDENTITY FULL")
    source.execute("ALTER TABLE u REPLICA IDENTITY FULL")
    slot = make_slot(source, plan)
    stranger = f"towpath_ffffffff_{time.monotonic_ns() % 10**9}"
    source.execute("SELECT pg_create_logical_replication_slot(%s, 'pgoutput')", (stranger,))
    source.execute(f"CREATE PUBLICATION towpath_{KEY}_1; CREATE PUBLICATION mine")
    ports.ledger.intend(
        item(plan, Kind.REPLICA_IDENTITY, "t", "public", was="n"),
        item(plan, Kind.PUBLICATION, f"towpath_{KEY}_1"),
        item(plan, Kind.SLOT, slot),
    )
    assert cleaned(plan, ports) == []
    assert slots(source) == [stranger]
    assert source.execute("SELECT pubname::text FROM pg_publication").fetchall() == [("mine",)]
    assert (identity_of(source, "t"), identity_of(source, "u")) == ("n", "f")
    assert ports.ledger.items() == []


def test_a_table_that_another_task_still_publishes_keeps_its_identity_and_takes_the_updates_of_the_application(
    plan: Plan, ports: Ports, source: psycopg.Connection
) -> None:
    source.execute("CREATE TABLE t (a int); INSERT INTO t VALUES (1); ALTER TABLE t REPLICA IDENTITY FULL")
    source.execute("CREATE TABLE p (a int) PARTITION BY LIST (a); CREATE TABLE p1 PARTITION OF p FOR VALUES IN (1)")
    source.execute("INSERT INTO p VALUES (1); ALTER TABLE p1 REPLICA IDENTITY FULL")
    for key in (KEY, "ffffffff"):
        source.execute(f"CREATE PUBLICATION towpath_{key}_1 FOR TABLE t, p")
    ports.ledger.intend(
        item(plan, Kind.PUBLICATION, f"towpath_{KEY}_1"),
        item(plan, Kind.REPLICA_IDENTITY, "t", "public", was="d"),
        item(plan, Kind.REPLICA_IDENTITY, "p1", "public", was="d"),
    )
    assert {one.name for one in cleaned(plan, ports)} == {"t", "p1"}
    source.execute("UPDATE t SET a = 2; DELETE FROM p1")
    source.execute("DROP PUBLICATION towpath_ffffffff_1")
    assert cleaned(plan, ports) == []
    assert (identity_of(source, "t"), identity_of(source, "p1")) == ("d", "d")


def test_cleaning_twice_is_harmless(plan: Plan, ports: Ports, source: psycopg.Connection) -> None:
    ports.ledger.intend(item(plan, Kind.SLOT, make_slot(source, plan)))
    assert cleaned(plan, ports) == []
    assert cleaned(plan, ports) == []
    assert slots(source) == []


def test_a_slot_that_is_gone_already_is_crossed_off(plan: Plan, ports: Ports) -> None:
    ports.ledger.intend(item(plan, Kind.SLOT, f"towpath_{KEY}_1"), item(plan, Kind.PUBLICATION, f"towpath_{KEY}_1"))
    assert cleaned(plan, ports) == []
    assert ports.ledger.items() == []


def test_a_slot_and_publication_that_nobody_recorded_are_found_by_name(
    plan: Plan, ports: Ports, source: psycopg.Connection
) -> None:
    make_slot(source, plan)
    source.execute(f"CREATE PUBLICATION towpath_{KEY}_77")
    assert cleaned(plan, ports) == []
    assert slots(source) == []
    assert source.execute("SELECT count(*) FROM pg_publication").fetchone() == (0,)


def test_an_active_slot_is_dropped_after_its_walsender_was_ended(
    plan: Plan, ports: Ports, source: psycopg.Connection, source_cluster: Cluster, source_db: str
) -> None:
    slot = make_slot(source, plan)
    source.execute(f"CREATE PUBLICATION towpath_{KEY}_1")
    ports.ledger.intend(item(plan, Kind.SLOT, slot))
    reader = psycopg.connect(**source_cluster.arguments(source_db), replication="database", autocommit=True)
    reader.execute(
        f"START_REPLICATION SLOT {slot} LOGICAL 0/0 (proto_version '1', publication_names 'towpath_{KEY}_1')".encode()
    )
    wait_until(
        lambda: (
            source.execute("SELECT active FROM pg_replication_slots WHERE slot_name = %s", (slot,)).fetchone()
            == (True,)
        )
    )
    assert cleaned(plan, ports) == []
    assert slots(source) == []
    reader.close()


def test_what_may_not_be_removed_is_left_with_the_sql(
    plan: Plan, ports: Ports, source: psycopg.Connection, source_db: str
) -> None:
    role = f"r_{source_db}"
    source.execute("CREATE TABLE t (a int); ALTER TABLE t REPLICA IDENTITY FULL")
    source.execute(f"CREATE PUBLICATION towpath_{KEY}_1 FOR TABLE t")
    slot = make_slot(source, plan)
    source.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'pw'")
    ports.ledger.intend(
        item(plan, Kind.REPLICA_IDENTITY, "t", "public", was="n"),
        item(plan, Kind.PUBLICATION, f"towpath_{KEY}_1"),
        item(plan, Kind.SLOT, slot),
    )
    try:
        left = cleaned(replace(plan, source=replace(plan.source, user=role, password="pw")), ports)
    finally:
        source.execute(f"DROP ROLE {role}")
    assert {one.kind for one in left} == {Kind.SLOT, Kind.PUBLICATION, Kind.REPLICA_IDENTITY}
    assert len(ports.ledger.items()) == 3
    told = left_event(ports)
    assert f"SELECT pg_drop_replication_slot('{slot}')" in told
    assert f'DROP PUBLICATION IF EXISTS "towpath_{KEY}_1"' in told
    assert 'ALTER TABLE ONLY "public"."t" REPLICA IDENTITY NOTHING' in told
    assert identity_of(source, "t") == "f"  # without it the application's updates would fail


def test_a_source_that_is_down_is_told_and_the_target_is_cleaned(
    plan: Plan, ports: Ports, target: psycopg.Connection
) -> None:
    slot = f"towpath_{KEY}_1"
    bookmark.create(target)
    bookmark.reset(target, KEY, 1, 1)
    ports.ledger.intend(item(plan, Kind.SLOT, slot), item(plan, Kind.BOOKMARK, "towpath", side=Side.TARGET))
    began = time.monotonic()
    left = cleaned(replace(plan, source=replace(plan.source, port=free_port())), ports)
    assert time.monotonic() - began < 15
    assert [one.kind for one in left] == [Kind.SLOT]
    assert f"SELECT pg_drop_replication_slot('{slot}')" in left_event(ports)
    assert target.execute("SELECT to_regnamespace('towpath')").fetchone() == (None,)


@pytest.mark.long
def test_a_source_that_never_answers_costs_one_timeout_for_all_its_databases(
    plan: Plan, ports: Ports, target: psycopg.Connection
) -> None:
    bookmark.create(target)
    bookmark.reset(target, KEY, 1, 1)
    ports.ledger.intend(item(plan, Kind.BOOKMARK, "towpath", side=Side.TARGET))
    for number in range(8):
        name = f"db {number}"
        ports.ledger.intend(LedgerItem(side=Side.SOURCE, database=name, kind=Kind.SLOT, name=f"towpath_{KEY}_{number}"))
    with socket.create_server(("127.0.0.1", 0)) as silent:
        mute = replace(plan.source, port=silent.getsockname()[1])
        began = time.monotonic()
        left = cleaned(replace(plan, source=mute), ports)
    assert time.monotonic() - began < 15
    assert len(left) == 8
    assert target.execute("SELECT to_regnamespace('towpath')").fetchone() == (None,)


def test_a_database_that_was_dropped_has_taken_everything_with_it(plan: Plan, ports: Ports) -> None:
    gone = LedgerItem(side=Side.SOURCE, database="no such database", kind=Kind.SLOT, name=f"towpath_{KEY}_1")
    ports.ledger.intend(gone)
    assert cleaned(plan, ports) == []
    assert ports.ledger.items() == []


@pytest.mark.long
def test_a_locked_table_keeps_its_identity_and_is_listed(
    plan: Plan, ports: Ports, source: psycopg.Connection, source_cluster: Cluster, source_db: str
) -> None:
    source.execute("CREATE TABLE t (a int); ALTER TABLE t REPLICA IDENTITY FULL")
    ports.ledger.intend(item(plan, Kind.REPLICA_IDENTITY, "t", "public", was="d"))
    with source_cluster.connect(source_db, autocommit=False) as reader:
        reader.execute("SELECT FROM t")
        assert [one.name for one in cleaned(plan, ports)] == ["t"]
    assert cleaned(plan, ports) == []
    assert identity_of(source, "t") == "d"


@pytest.mark.long
def test_many_locked_tables_cost_no_more_than_a_few(
    plan: Plan,
    ports: Ports,
    source: psycopg.Connection,
    source_cluster: Cluster,
    source_db: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(side, "_WAITING_SECONDS", 2.0)
    names = [f"t{number}" for number in range(20)]
    with source_cluster.connect(source_db, autocommit=False) as reader:
        for name in names:
            source.execute(f"CREATE TABLE {name} (a int); ALTER TABLE {name} REPLICA IDENTITY FULL".encode())
            ports.ledger.intend(item(plan, Kind.REPLICA_IDENTITY, name, "public", was="d"))
            reader.execute(f"SELECT FROM {name}".encode())
        began = time.monotonic()
        left = cleaned(plan, ports)
    assert time.monotonic() - began < 25  # one after the other they would take 140
    assert sorted(one.name for one in left) == sorted(names)


def test_an_identity_that_somebody_changed_since_is_left_alone(
    plan: Plan, ports: Ports, source: psycopg.Connection
) -> None:
    source.execute("CREATE TABLE t (a int PRIMARY KEY); ALTER TABLE t REPLICA IDENTITY USING INDEX t_pkey")
    ports.ledger.intend(item(plan, Kind.REPLICA_IDENTITY, "t", "public", was="n"))
    assert cleaned(plan, ports) == []
    assert identity_of(source, "t") == "i"


def test_another_tasks_bookmark_stays(plan: Plan, ports: Ports, target: psycopg.Connection) -> None:
    bookmark.create(target)
    bookmark.reset(target, KEY, 1, 1)
    bookmark.reset(target, "ffffffff", 1, 1)
    ports.ledger.intend(item(plan, Kind.BOOKMARK, "towpath", side=Side.TARGET))
    assert cleaned(plan, ports) == []
    assert target.execute("SELECT task FROM towpath.bookmark").fetchall() == [("ffffffff",)]


def test_trigger_and_identity_states_come_back(plan: Plan, ports: Ports, target: psycopg.Connection) -> None:
    target.execute("CREATE TABLE t (id int GENERATED BY DEFAULT AS IDENTITY)")
    target.execute("CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'")
    target.execute(
        "CREATE TRIGGER g BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION f(); ALTER TABLE t DISABLE TRIGGER g"
    )
    ports.ledger.intend(
        item(plan, Kind.IDENTITY_STATE, "t.id", "public", Side.TARGET, what="identity", table="t", name="id", was="a"),
        item(plan, Kind.TRIGGER_STATE, "t.g", "public", Side.TARGET, what="trigger", table="t", name="g", was="A"),
        item(plan, Kind.TRIGGER_STATE, "x.g", "public", Side.TARGET, what="trigger", table="x", name="g", was="A"),
    )
    assert cleaned(plan, ports) == []
    assert target.execute("SELECT tgenabled::text FROM pg_trigger WHERE tgname = 'g'").fetchone() == ("A",)
    row = target.execute("SELECT attidentity::text FROM pg_attribute WHERE attrelid = 't'::regclass AND attname = 'id'")
    assert row.fetchone() == ("a",)


def test_cancel_keeps_target_objects_in_the_ledger_and_the_last_step_crosses_them_off(
    plan: Plan, ports: Ports, target: psycopg.Connection
) -> None:
    target.execute("CREATE TABLE ours (a int)")
    ports.ledger.intend(item(plan, Kind.TABLE, "ours", "public", Side.TARGET))
    with Executor(plan, ports) as executor:
        assert executor.cancelled() == []
        assert [one.name for one in ports.ledger.items()] == ["ours"]
        assert executor.run(StepName.CLEANUP).done
    assert ports.ledger.items() == []
    assert target.execute("SELECT to_regclass('ours')").fetchone() != (None,)


def test_the_last_step_is_tried_again_while_a_server_is_down(plan: Plan, ports: Ports) -> None:
    ports.ledger.intend(item(plan, Kind.SLOT, f"towpath_{KEY}_1"))
    down = replace(plan, source=replace(plan.source, port=free_port()))
    with Executor(down, ports) as executor, pytest.raises(ConnectionLost) as caught:
        executor.run(StepName.CLEANUP)
    assert caught.value.retryable


def test_files_outside_the_tasks_folder_are_never_removed(plan: Plan, ports: Ports, tmp_path: Path) -> None:
    inside, outside = plan.work_dir / "task" / "dump", tmp_path / "precious"
    inside.parent.mkdir()
    inside.write_text("x")
    outside.write_text("x")
    ports.ledger.intend(item(plan, Kind.FILE, str(inside)), item(plan, Kind.FILE, str(outside)))
    left = cleaned(replace(plan, work_dir=plan.work_dir / "task"), ports)
    assert [one.name for one in left] == [str(outside)]
    assert outside.exists()
    assert not inside.exists()


def test_odd_names_are_quoted(plan: Plan, ports: Ports, source: psycopg.Connection) -> None:
    name = 'a "b" %s;--'
    source.execute(f"CREATE TABLE {quote(name)} (a int); ALTER TABLE {quote(name)} REPLICA IDENTITY FULL".encode())
    ports.ledger.intend(item(plan, Kind.REPLICA_IDENTITY, name, "public", was="n"))
    assert cleaned(plan, ports) == []
    assert identity_of(source, name) == "n"


def test_sessions_of_older_runs_are_ended(plan: Plan, ports: Ports, source_cluster: Cluster, source_db: str) -> None:
    old = psycopg.connect(**source_cluster.arguments(source_db), application_name=f"towpath:{KEY}:2", autocommit=True)
    assert isinstance(ports.ledger, FakeLedger)
    assert cleaned(plan, ports) == []
    with pytest.raises(psycopg.OperationalError):
        old.execute("SELECT 1")
    old.close()
