"""Tables that are added to a syncing task, or copied again, from sources whose streams are of different kinds."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, cast

import psycopg
import pytest

from migrations_app.demo.clusters import Cluster
from migrations_app.engine.cleaning import clean_up
from migrations_app.engine.executor import Executor
from migrations_app.engine.plan import Plan
from migrations_app.engine.ports import Ports
from tests.fakes import FakeControl, FakeStore, fake_ports, wait_until
from tests.matrix.conftest import Servers
from tests.postgres.adding_kit import add, at, begin, complete, look
from tests.postgres.compare_kit import Writer, plan_for, running, server
from tests.servers import why_unavailable

pytestmark = pytest.mark.matrix

SCRIPT = (
    "CREATE TABLE old (id int PRIMARY KEY, n int NOT NULL DEFAULT 0); INSERT INTO old SELECT generate_series(1, 99)"
)
NEW = """
CREATE TABLE bills (id serial PRIMARY KEY, old int REFERENCES old, n int, t text DEFAULT 'x');
CREATE TABLE keyless (v int, t text);
INSERT INTO bills (old, n) SELECT g, g FROM generate_series(1, 99) g;
INSERT INTO keyless SELECT g, repeat('x', 50) FROM generate_series(1, 99) g;
"""
PARTED = (
    "CREATE TABLE m (id int NOT NULL, v text) PARTITION BY LIST (id); CREATE TABLE m1 PARTITION OF m FOR VALUES IN (1)"
)
LATER = """
CREATE TABLE m2 PARTITION OF m FOR VALUES IN (2, 3, 4) PARTITION BY RANGE (id);
CREATE TABLE m23 PARTITION OF m2 FOR VALUES FROM (2) TO (9);
INSERT INTO m VALUES (1, 'x'), (2, 'y'), (3, 'z');
"""


@pytest.fixture(params=["9.4", "9.6", "10", "12", "18"])
def source(request: pytest.FixtureRequest, versions: Servers) -> Cluster:
    if reason := why_unavailable(request.param):
        pytest.skip(reason)
    return versions.of(request.param, "source")


@pytest.fixture
def plan(source: Cluster, target_cluster: Cluster, target_db: str, tmp_path: Any) -> Iterator[Plan]:
    name = f"adding_{uuid.uuid4().hex[:8]}"
    with source.connect() as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
    with source.connect(name) as connection:
        connection.execute(SCRIPT.encode())
    yield plan_for(server(source), server(target_cluster), name, target_db, incremental=True, work_dir=tmp_path)
    with source.connect() as connection:
        connection.execute(f"DROP DATABASE {name}".encode())


@pytest.fixture
def ports(plan: Plan) -> Iterator[Ports]:
    ports = fake_ports()
    yield ports
    with running(replace(plan, epoch=99), Ports(control=FakeControl(), ledger=ports.ledger, store=ports.store)) as run:
        clean_up(run, keep_target_objects=True)


def work(connection: psycopg.Connection[Any], number: int) -> None:
    connection.execute("UPDATE old SET n = n + 1 WHERE id = %s", (number % 99 + 1,))
    connection.execute("INSERT INTO bills (old, n) VALUES (%s, %s)", (number % 99 + 1, number))
    connection.execute("UPDATE bills SET n = n + 1 WHERE id = %s", (number % 99 + 1,))
    connection.execute("INSERT INTO keyless VALUES (%s)", (number,))
    connection.execute("DELETE FROM keyless WHERE v = %s", (number // 2,))
    if number % 40 == 39:
        connection.execute("TRUNCATE keyless")


def test_new_tables_are_added_and_a_table_is_copied_again_under_a_writer(
    plan: Plan, ports: Ports, source: Cluster, target_cluster: Cluster
) -> None:
    begin(plan, ports)
    (database,) = plan.databases
    at(source, database.source_name, NEW)
    assert sorted(look(plan, ports)) == [("public", "bills"), ("public", "keyless")]
    add(plan, ports)
    at(target_cluster, database.target_name, "UPDATE old SET n = -1 WHERE id < 10")
    cast(FakeStore, ports.store).asked_again[database.source_name] = [("public", "old")]
    with Writer(source, database.source_name, work) as writer:
        wait_until(lambda: writer.commits > 60)
        with Executor(plan, ports) as executor:
            assert executor.recopy().done
        before = writer.commits
        wait_until(lambda: writer.commits > before + 60)
        writer.stop()
    complete(plan, ports, source, target_cluster)


@pytest.mark.parametrize(
    ("source", "key"),
    [("10", ""), ("12", ""), ("12", " PRIMARY KEY"), ("18", ""), ("18", " PRIMARY KEY")],
    indirect=["source"],
)
def test_new_partitions_that_are_partitioned_are_followed_whatever_the_publication_lists(
    plan: Plan, ports: Ports, source: Cluster, target_cluster: Cluster, key: str
) -> None:
    plan = replace(plan, selection=replace(plan.selection, follow="additions"))
    (database,) = plan.databases
    at(source, database.source_name, PARTED.format(key=key))
    begin(plan, ports)
    at(source, database.source_name, LATER)
    look(plan, ports)
    with Executor(plan, ports) as executor:
        executor.recopy()
    at(source, database.source_name, "INSERT INTO m VALUES (4, 'later')", "UPDATE m SET v = v || '!' WHERE id > 1")
    complete(plan, ports, source, target_cluster)


def test_sequences_are_followed_while_the_sync_runs(
    plan: Plan, ports: Ports, source: Cluster, target_cluster: Cluster
) -> None:
    (database,) = plan.databases
    at(source, database.source_name, "CREATE SEQUENCE counter; CREATE SEQUENCE idle; CREATE TABLE n (id serial)")
    begin(plan, ports)
    at(source, database.source_name, "SELECT setval('counter', 41)", "INSERT INTO n SELECT FROM generate_series(1, 9)")
    look(plan, ports)
    with target_cluster.connect(database.target_name) as target:
        values = "SELECT (SELECT last_value FROM counter), (SELECT last_value FROM n_id_seq), is_called FROM idle"
        assert target.execute(values).fetchone() == (41, 9, False)
    complete(plan, ports, source, target_cluster)
