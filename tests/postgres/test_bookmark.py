"""The bookmark row and the preparation of the target around it."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import Any

import psycopg
import pytest

from migrations_app.demo.clusters import Cluster
from migrations_app.engine.connect import Sessions
from migrations_app.engine.errors import LeaseLost, PlanError, TargetError
from migrations_app.engine.outcome import Run
from migrations_app.engine.plan import Side
from migrations_app.engine.ports import Kind, LedgerItem
from migrations_app.engine.replication import bookmark
from migrations_app.engine.replication.prepare import prepare_target
from migrations_app.engine.silencing import restore_statement
from tests.postgres.sync_kit import Pair


@pytest.fixture
def pair(source_cluster: Cluster, target_cluster: Cluster, source_db: str, target_db: str) -> Pair:
    return Pair(source_cluster, target_cluster, source_db, target_db)


def prepare(pair: Pair) -> None:
    with pair.running() as run:
        prepare_target(run, pair.database)


def test_a_new_row_stands_where_it_was_put(target_cluster: Cluster, target_db: str) -> None:
    with target_cluster.connect(target_db) as connection:
        bookmark.create(connection)
        bookmark.create(connection)
        bookmark.reset(connection, "aa", 77, 3)
        assert bookmark.read(connection, "aa") == (77, 3, 0)
        assert bookmark.read(connection, "bb") is None


def test_nothing_is_read_where_no_bookmark_was_made(target_cluster: Cluster, target_db: str) -> None:
    with target_cluster.connect(target_db) as connection:
        assert bookmark.read(connection, "aa") is None
        assert bookmark.remove(connection, "aa") is True


def test_only_a_newer_or_the_same_epoch_may_claim(target_cluster: Cluster, target_db: str) -> None:
    with target_cluster.connect(target_db) as connection:
        bookmark.create(connection)
        bookmark.reset(connection, "aa", 77, 3)
        assert bookmark.claim(connection, "aa", 3) == 77
        assert bookmark.claim(connection, "aa", 5) == 77
        with pytest.raises(LeaseLost):
            bookmark.claim(connection, "aa", 4)


@pytest.mark.parametrize(("lsn", "epoch"), [("0/4D", 4), ("0/4E", 5)])
def test_a_batch_of_another_epoch_or_position_fails_as_a_whole(
    target_cluster: Cluster, target_db: str, lsn: str, epoch: int
) -> None:
    with target_cluster.connect(target_db) as connection:
        bookmark.create(connection)
        bookmark.reset(connection, "aa", 0x4D, 5)
        with pytest.raises(psycopg.errors.DivisionByZero):
            claim(connection, lsn, epoch)
        claim(connection, "0/4D", 5)


def claim(
    connection: psycopg.Connection[Any],
    lsn: str,
    epoch: int,
    process: int | None = None,
    place: str | None = None,
    sql: bytes = bookmark.CLAIM_SQL,
) -> None:
    given = {"1": lsn, "2": str(epoch), "3": "aa", "4": str(process) if process else None, "5": place}
    assert connection.execute(_filled(sql, given)).rowcount == 1


def move(connection: psycopg.Connection[Any], lsn: str, place: str | None = None) -> str:
    row = connection.execute(_filled(bookmark.MOVE_SQL, {"1": lsn, "2": "aa", "3": place})).fetchone()
    assert row is not None
    return str(row[0])


def _filled(text: bytes, values: dict[str, str | None]) -> bytes:
    for number, value in values.items():
        text = text.replace(b"$" + number.encode(), b"NULL" if value is None else f"'{value}'".encode())
    return text


def test_a_batch_that_comes_to_another_process_fails_as_a_whole(target_cluster: Cluster, target_db: str) -> None:
    with target_cluster.connect(target_db) as connection:
        bookmark.create(connection)
        bookmark.reset(connection, "aa", 0x4D, 5)
        pid = connection.info.backend_pid
        with pytest.raises(psycopg.Error) as caught:
            claim(connection, "0/4D", 5, pid + 1)
        assert caught.value.sqlstate == bookmark.ELSEWHERE
        claim(connection, "0/4D", 5, pid)


def test_the_schema_goes_with_the_last_task(target_cluster: Cluster, target_db: str) -> None:
    with target_cluster.connect(target_db) as connection:
        bookmark.create(connection)
        bookmark.reset(connection, "aa", 77, 3)
        bookmark.reset(connection, "bb", 78, 1)
        assert bookmark.remove(connection, "aa") is False
        assert bookmark.read(connection, "bb") == (78, 1, 0)
        assert bookmark.remove(connection, "bb") is True
        assert connection.execute("SELECT to_regnamespace('towpath')").fetchone() == (None,)


def test_two_tasks_may_create_it_at_the_same_time(target_cluster: Cluster, target_db: str) -> None:
    errors: list[BaseException] = []
    barrier = threading.Barrier(4)

    def create() -> None:
        try:
            with target_cluster.connect(target_db) as connection:
                barrier.wait()
                bookmark.create(connection)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=create) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []


def test_preparing_writes_the_ledger_before_it_makes_anything(pair: Pair) -> None:
    pair.build("CREATE TABLE t (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY)")
    prepare(pair)
    kinds = {item.kind for item in pair.ledger.items(Side.TARGET, pair.target_db)}
    assert kinds == {Kind.BOOKMARK, Kind.IDENTITY_STATE}
    assert pair.state.bookmark == pair.state.consistent_point


def test_preparing_again_does_not_set_the_bookmark_back(pair: Pair) -> None:
    pair.build("CREATE TABLE t (id int PRIMARY KEY)")
    pair.at_source("INSERT INTO t VALUES (1)")
    position = pair.catch_up()
    prepare(pair)
    with pair.target.connect(pair.target_db) as connection:
        found = bookmark.read(connection, pair.key)
    assert found is not None
    assert found.lsn == position


def test_a_database_without_a_slot_is_not_prepared(pair: Pair) -> None:
    with pytest.raises(PlanError):
        prepare(pair)


NOISY = (
    'CREATE TABLE "t 1" (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, n int GENERATED ALWAYS AS IDENTITY);'
    "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';"
    'CREATE TRIGGER "a %s" AFTER INSERT ON "t 1" FOR EACH ROW EXECUTE FUNCTION f();'
    'ALTER TABLE "t 1" ENABLE ALWAYS TRIGGER "a %s";'
    'CREATE TRIGGER r AFTER INSERT ON "t 1" FOR EACH ROW EXECUTE FUNCTION f();'
    'ALTER TABLE "t 1" ENABLE REPLICA TRIGGER r;'
    'CREATE TRIGGER o AFTER INSERT ON "t 1" FOR EACH ROW EXECUTE FUNCTION f();'
    'CREATE RULE ru AS ON INSERT TO "t 1" DO ALSO SELECT 1; ALTER TABLE "t 1" ENABLE ALWAYS RULE ru;'
)
STATES = (
    "SELECT (SELECT string_agg(tgname || tgenabled::text, ',' ORDER BY tgname) FROM pg_trigger WHERE NOT tgisinternal)"
    " || (SELECT string_agg(rulename || ev_enabled::text, ',') FROM pg_rewrite WHERE rulename = 'ru')"
    " || (SELECT string_agg(attname || attidentity::text, ',' ORDER BY attnum)"
    " FROM pg_attribute WHERE attidentity <> '')"
)


@pytest.mark.parametrize(("replica_role", "during"), [(True, "a %sD,oO,rDruDidd,nd"), (False, "a %sD,oD,rDruDidd,nd")])
def test_states_are_changed_and_can_be_put_back(pair: Pair, replica_role: bool, during: str) -> None:
    pair.build(NOISY)
    before = pair.value(STATES, "target")
    pair.store.save_database(replace(pair.state, replica_role=replica_role))
    prepare(pair)
    prepare(pair)
    assert pair.value(STATES, "target") == during
    with pair.target.connect(pair.target_db) as connection:
        for item in pair.ledger.items(Side.TARGET):
            if item.kind is not Kind.BOOKMARK:
                connection.execute(restore_statement(item).encode())
    assert pair.value(STATES, "target") == before


def test_identity_of_a_partitioned_table_is_changed_at_its_root(pair: Pair) -> None:
    table = "CREATE TABLE m (id int GENERATED ALWAYS AS IDENTITY, k int) PARTITION BY LIST (k)"
    pair.build(table + "; CREATE TABLE m1 PARTITION OF m FOR VALUES IN (1); ALTER TABLE m1 REPLICA IDENTITY FULL")
    pair.at_source("INSERT INTO m (k) VALUES (1), (1)", "UPDATE m SET k = k")
    pair.catch_up()
    assert pair.rows("target") == pair.rows("source")
    assert (
        pair.value(
            "SELECT attidentity::text FROM pg_attribute WHERE attrelid = 'm'::regclass AND attname = 'id'", "target"
        )
        == "d"
    )


def test_an_account_without_rights_is_told_what_it_needs(pair: Pair) -> None:
    pair.build("CREATE TABLE t (id int PRIMARY KEY)")
    pair.at_target("DROP ROLE IF EXISTS weak", "CREATE ROLE weak LOGIN PASSWORD 'weak'")
    try:
        pair.epoch += 1
        plan = pair.plan()
        plan = replace(plan, target=replace(plan.target, user="weak", password="weak"))
        with Sessions(plan, pair.control) as sessions, pytest.raises(TargetError) as caught:
            prepare_target(Run(plan=plan, ports=pair.ports, sessions=sessions), pair.database)
        assert caught.value.code == "DST-PRIVILEGE"
    finally:
        pair.at_target("DROP ROLE weak")


def test_restoring_knows_every_state() -> None:
    item = LedgerItem(
        side=Side.TARGET,
        database="d",
        kind=Kind.TRIGGER_STATE,
        schema='s"',
        name="t.x",
        detail={"what": "trigger", "table": "t", "name": "x", "was": "R"},
    )
    assert restore_statement(item) == 'ALTER TABLE "s"""."t" ENABLE REPLICA TRIGGER "x"'
