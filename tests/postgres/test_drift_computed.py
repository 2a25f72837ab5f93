"""Generated columns are computed on each side: what the source computes otherwise is told by the look alone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import pytest

from migrations_app.demo.clusters import Cluster
from migrations_app.engine.executor import Executor
from migrations_app.engine.plan import Plan
from migrations_app.engine.ports import Ports
from migrations_app.engine.replication import columns_look, polling
from migrations_app.engine.replication.polling import Poll
from migrations_app.engine.replication.session import SyncSession
from migrations_app.engine.shapes import with_expressions
from migrations_app.engine.states import StepName
from tests.fakes import FakeControl, FakeStore
from tests.postgres import drift_kit, test_recopy
from tests.postgres.sync_kit import Pair

# Fixtures that stand elsewhere.
pair = drift_kit.pair
plan = test_recopy.plan
ports = test_recopy.ports

TABLE = (
    "CREATE TABLE t (id int PRIMARY KEY, v int, g int GENERATED ALWAYS AS (v * 2) STORED,"
    " h int GENERATED ALWAYS AS (v + 1) STORED)"
)
ANEW = "ALTER TABLE t DROP COLUMN g, ADD COLUMN g int GENERATED ALWAYS AS (v * 3) STORED"


def looked(pair: Pair) -> list[str]:
    return [message for _, code, message in pair.look() if code == "SRC-DDL"]


def computed(pair: Pair, side: str) -> Any:
    return pair.value("SELECT string_agg(g || '/' || h, ' ' ORDER BY id) FROM t", side)


@pytest.fixture
def newer(target_cluster: Cluster, target_db: str, source_db: str) -> Iterator[Pair]:
    """Both databases on the newer server."""
    with target_cluster.connect() as connection:
        connection.execute(f"CREATE DATABASE {source_db}".encode())
        pair = Pair(target_cluster, target_cluster, source_db, target_db)
        yield pair
        pair.at_source(f"SELECT pg_drop_replication_slot('{pair.state.slot}')")
        connection.execute(f"DROP DATABASE {source_db} WITH (FORCE)".encode())


def test_a_column_that_is_computed_otherwise_is_told_until_the_target_computes_the_same(pair: Pair) -> None:
    pair.build(TABLE, "INSERT INTO t VALUES (1, 10)")
    assert looked(pair) == []
    pair.at_source(ANEW)
    (said,) = looked(pair)
    assert "column g is GENERATED ALWAYS AS ((v * 3)) on the source" in said
    assert "GENERATED ALWAYS AS ((v * 2)) on the target" in said
    assert "column h" not in said
    assert looked(pair) == []
    statements = said.split("To run on the target: ")[1].rstrip(".").split("; ALTER")
    pair.at_target(*(one if at == 0 else f"ALTER{one}" for at, one in enumerate(statements)))
    assert looked(pair) == []
    assert list(pair.state.told_drift) == []
    pair.at_source("UPDATE t SET v = 20")
    pair.catch_up()
    assert computed(pair, "target") == computed(pair, "source") == "60/21"
    pair.at_source("ALTER TABLE t ADD more int; ALTER TABLE t DROP more")
    assert looked(pair) == []


def test_what_was_made_anew_as_it_was_is_not_told(pair: Pair) -> None:
    pair.build(TABLE)
    pair.at_source(ANEW.replace("* 3", "* 2"))
    assert looked(pair) == []


def test_an_expression_that_was_set_is_told_with_what_sets_it(newer: Pair) -> None:
    newer.build(TABLE, "INSERT INTO t VALUES (1, 10)")
    assert looked(newer) == []
    newer.at_source("ALTER TABLE t ALTER COLUMN g SET EXPRESSION AS (v * 3)")
    (said,) = looked(newer)
    assert 'ALTER TABLE "public"."t" ALTER COLUMN "g" SET EXPRESSION AS ((v * 3))' in said
    newer.at_target("ALTER TABLE t ALTER COLUMN g SET EXPRESSION AS (v * 3)")
    assert looked(newer) == []
    assert list(newer.state.told_drift) == []


def test_partitions_whose_table_computes_otherwise_are_one_warning(pair: Pair) -> None:
    pair.build(
        "CREATE TABLE t (id int PRIMARY KEY, v int, g int GENERATED ALWAYS AS (v * 2) STORED) PARTITION BY RANGE (id)",
        "CREATE TABLE t1 PARTITION OF t FOR VALUES FROM (0) TO (10)",
        "CREATE TABLE t2 PARTITION OF t FOR VALUES FROM (10) TO (20)",
    )
    pair.at_source(ANEW)
    (said,) = looked(pair)
    assert 'ALTER TABLE "public"."t" ALTER COLUMN "g" SET EXPRESSION AS ((v * 3))' in said


OWN = "g int GENERATED ALWAYS AS (v * {}) STORED"
PARTED = (
    f"CREATE TABLE t (id int PRIMARY KEY, v int, {OWN.format(2)}) PARTITION BY RANGE (id)",
    "CREATE TABLE t1 PARTITION OF t FOR VALUES FROM (0) TO (10)",
    "CREATE TABLE t2 PARTITION OF t FOR VALUES FROM (10) TO (20)",
    "INSERT INTO t (id, v) VALUES (1, 1), (11, 1)",
)
APART = (
    f"ALTER TABLE t DETACH PARTITION t1; ALTER TABLE t1 DROP g; ALTER TABLE t1 ADD {OWN.format(3)};"
    " ALTER TABLE t ATTACH PARTITION t1 FOR VALUES FROM (0) TO (10)"
)
HEIR = (
    f"CREATE TABLE t (id int PRIMARY KEY, v int, {OWN.format(2)})",
    f"CREATE TABLE t1 ({OWN.format(5)}, PRIMARY KEY (id)) INHERITS (t)",
    "INSERT INTO t (id, v) VALUES (1, 1); INSERT INTO t1 (id, v) VALUES (11, 1)",
)
APART_FROM_HEIR = (
    f"ALTER TABLE t1 NO INHERIT t; ALTER TABLE t DROP g; ALTER TABLE t ADD {OWN.format(3)}; ALTER TABLE t1 INHERIT t"
)


@pytest.mark.parametrize(
    ("made", "ddl", "table"), [(PARTED, APART, "t1"), (HEIR, APART_FROM_HEIR, "t")], ids=["partition", "heir"]
)
def test_what_others_compute_by_themselves_is_not_changed_along(
    pair: Pair, made: tuple[str, ...], ddl: str, table: str
) -> None:
    pair.build(*made)
    assert looked(pair) == []
    pair.at_source(ddl)
    (said,) = looked(pair)
    statement = f'ALTER TABLE ONLY "public"."{table}" ALTER COLUMN "g" SET EXPRESSION AS ((v * 3))'
    assert f"To run on the target: {statement}." in said
    pair.at_target(statement)
    assert looked(pair) == []
    rows = "SELECT array_agg(id || '/' || g ORDER BY id) FROM t"
    assert pair.value(rows, "target") == pair.value(rows)


def test_a_table_that_somebody_keeps_locked_is_told_of_without_its_expression(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("migrations_app.engine.replication.polling._SECONDS", 0.0)
    pair.build(TABLE)
    pair.at_source(ANEW)
    with pair.running() as run, SyncSession(run, pair.database) as session:
        poll = Poll(run, pair.database, session.watch)
        with pair.target.connect(pair.target_db) as other, other.transaction():
            other.execute("LOCK TABLE t")
            state = poll.look(pair.state)
        poll.look(state)
    first, second = [message for _, code, message in pair.store.events if code == "SRC-DDL"]
    assert "column g is GENERATED ALWAYS AS ((v * 3)) on the source and GENERATED ALWAYS AS (...) on" in first
    assert "No statement is certain" in first
    assert "column g is GENERATED ALWAYS AS ((v * 3)) on the source and GENERATED ALWAYS AS ((v * 2)) on" in second


def test_a_generated_column_that_came_is_told_with_what_it_is_computed_from(pair: Pair) -> None:
    pair.build("CREATE TABLE t (id int PRIMARY KEY, v int)")
    pair.at_source("ALTER TABLE t ADD g int GENERATED ALWAYS AS (v * 2) STORED")
    (said,) = looked(pair)
    assert 'ADD COLUMN "g" integer GENERATED ALWAYS AS ((v * 2)) STORED' in said
    assert "column g is integer GENERATED ALWAYS AS ((v * 2)) STORED on the source" in said


def test_what_is_computed_otherwise_is_told_also_after_the_table_was_copied_again(
    plan: Plan, ports: Ports, source_cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(polling, "_SECONDS", 0.0)
    with source_cluster.connect(plan.databases[0].source_name) as source:
        source.execute(TABLE.encode())
        test_recopy.begin(plan, ports)
        source.execute(b"ALTER TABLE t ADD x int NOT NULL DEFAULT 7")
        source.execute(ANEW.encode())
    store = test_recopy.ask(plan, ports, "t")
    with Executor(plan, ports) as executor:
        assert executor.recopy().done
        cast(FakeControl, ports.control).yields = True
        executor.run(StepName.SYNC)
        executor.run(StepName.SYNC)
    (said,) = told(store)
    assert "column g is GENERATED ALWAYS AS ((v * 3)) on the source" in said
    assert "Indexes and constraints" not in said


def test_what_changed_in_locked_tables_is_told_without_statements_and_after_one_wait_for_a_lock(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(polling, "_SECONDS", 0.0)
    pair.build(TABLE, TABLE.replace("TABLE t", "TABLE u"))
    pair.at_source(ANEW, ANEW.replace("TABLE t", "TABLE u"))
    asked: list[str] = []

    def counted(connection: Any, shape: Any) -> Any:
        asked.append(shape.place[1])
        return with_expressions(connection, shape)

    monkeypatch.setattr(columns_look, "with_expressions", counted)
    with pair.running() as run, SyncSession(run, pair.database) as session:
        poll = Poll(run, pair.database, session.watch)
        with pair.target.connect(pair.target_db) as other, other.transaction():
            other.execute("LOCK TABLE t, u")
            state = poll.look(pair.state)
        assert len(asked) == 3  # both on the source, one on the target
        first = told(pair.store)
        poll.look(state)
    assert len(first) == 2
    assert not [one for one in first if "To run on the target" in one or "(...)" not in one]
    second = told(pair.store)[len(first) :]
    assert len([one for one in second if "To run on the target" in one and "(...)" not in one]) == 2


def told(store: FakeStore) -> list[str]:
    return [message for _, code, message in store.events if code == "SRC-DDL"]
