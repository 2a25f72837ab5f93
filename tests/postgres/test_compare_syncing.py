"""The comparison finds source and target equal while the application writes, or says where they are not."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from migrations_app.demo.clusters import Cluster
from migrations_app.engine.cleaning import clean_up
from migrations_app.engine.executor import Executor
from migrations_app.engine.outcome import Run
from migrations_app.engine.plan import Plan
from migrations_app.engine.ports import Comparison, Ports
from migrations_app.engine.states import StepName
from tests.fakes import FakeStore, fake_ports
from tests.postgres.compare_kit import Writer, begin_sync, plan_for, running, server

SCHEMA = """
CREATE TABLE accounts (id int PRIMARY KEY, balance numeric NOT NULL, note text);
CREATE TABLE log (at timestamptz, what text);
CREATE TABLE staging (id bigint PRIMARY KEY, payload text);
CREATE TABLE big (id int PRIMARY KEY, payload text);
CREATE UNLOGGED TABLE scratch (a int);
"""
ROWS = """
INSERT INTO accounts SELECT g, 100, 'n' || g FROM generate_series(1, 500) g;
INSERT INTO big SELECT g, repeat(md5(g::text), 5) FROM generate_series(1, 60000) g;
INSERT INTO scratch VALUES (1);
"""


def transfer(connection: psycopg.Connection[Any], number: int) -> None:
    a, b = number % 500 + 1, (number * 7) % 500 + 1
    connection.execute("UPDATE accounts SET balance = balance - 1, note = %s WHERE id = %s", (f"t{number}", a))
    connection.execute("UPDATE accounts SET balance = balance + 1 WHERE id = %s", (b,))
    connection.execute("INSERT INTO log VALUES (now(), %s)", (f"transfer {number}",))
    if number % 11 == 0:
        connection.execute("DELETE FROM log WHERE what = %s", (f"transfer {number - 5}",))


def truncate_often(connection: psycopg.Connection[Any], number: int) -> None:
    if number % 5 == 4:
        connection.execute("TRUNCATE staging")
    connection.execute("INSERT INTO staging SELECT %s * 100 + g, 'x' FROM generate_series(1, 50) g", (number,))


@pytest.fixture
def plan(source_cluster: Cluster, target_cluster: Cluster, source_db: str, target_db: str, tmp_path: Path) -> Plan:
    return plan_for(
        server(source_cluster), server(target_cluster), source_db, target_db, incremental=True, work_dir=tmp_path
    )


@pytest.fixture
def ports() -> Ports:
    return fake_ports()


@pytest.fixture
def syncing(
    plan: Plan, ports: Ports, source_cluster: Cluster, target_cluster: Cluster, source_db: str, target_db: str
) -> Iterator[Run]:
    for cluster, name, script in ((source_cluster, source_db, SCHEMA + ROWS), (target_cluster, target_db, SCHEMA)):
        with cluster.connect(name) as connection:
            connection.execute(script)
    with running(plan, ports) as run:
        begin_sync(run)
        yield run
    with running(plan, fake_ports()) as run:
        clean_up(run, keep_target_objects=True)


def compared(plan: Plan, ports: Ports) -> Comparison:
    assert isinstance(ports.store, FakeStore)
    with Executor(plan, ports) as executor:
        assert executor.run(StepName.COMPARE).done
    return ports.store.comparisons[-1]


def unequal(comparison: Comparison) -> list[tuple[str, str, str]]:
    everything = (*comparison.tables, *comparison.other)
    return [(item.name, item.verdict, item.reason) for item in everything if item.verdict != "equal"]


@pytest.mark.long
def test_a_written_source_is_equal_at_each_consistent_point(
    plan: Plan, ports: Ports, syncing: Run, source_cluster: Cluster, source_db: str
) -> None:
    with Writer(source_cluster, source_db, transfer) as one, Writer(source_cluster, source_db, truncate_often) as two:
        comparisons = [compared(plan, ports) for _ in range(5)]
    assert [unequal(comparison) for comparison in comparisons] == [[]] * 5
    assert min(one.commits, two.commits) > 50
    points = [comparison.lsn for comparison in comparisons]
    assert None not in points
    assert points == sorted(points)  # type: ignore[type-var]
    names = {item.name for item in comparisons[-1].tables}
    assert names == {"accounts", "big", "log", "staging"}


def test_a_comparison_names_the_tables_that_only_complete_compares(plan: Plan, ports: Ports, syncing: Run) -> None:
    assert compared(plan, ports).equal
    assert isinstance(ports.store, FakeStore)
    (told,) = [text for _, code, text in ports.store.events if code == "CMP-EQUAL"]
    assert told.endswith("Complete copies and compares them: public.scratch.")


def test_a_comparison_knows_how_many_changes_it_has_seen(
    plan: Plan, ports: Ports, syncing: Run, source_cluster: Cluster, source_db: str
) -> None:
    first = compared(plan, ports)
    with source_cluster.connect(source_db) as source:
        source.execute("DELETE FROM accounts WHERE id IN (1, 2, 3)")
    second = compared(plan, ports)
    assert first.rows_applied is not None
    assert second.rows_applied == first.rows_applied + 3
    assert isinstance(ports.store, FakeStore)
    assert ports.store.database(source_db).rows_applied == second.rows_applied


def test_a_write_on_the_target_is_found_while_the_source_is_written(
    plan: Plan,
    ports: Ports,
    syncing: Run,
    source_cluster: Cluster,
    source_db: str,
    target_cluster: Cluster,
    target_db: str,
) -> None:
    with target_cluster.connect(target_db) as connection:
        connection.execute("UPDATE big SET payload = payload || ' ' WHERE id = 4711")
    with Writer(source_cluster, source_db, transfer):
        comparison = compared(plan, ports)
    assert unequal(comparison) == [("big", "differs", "1 different")]
    [big] = [item for item in comparison.tables if item.name == "big"]
    assert big.sample_keys == ("id=4711 (different)",)
    assert isinstance(ports.store, FakeStore)
    [text] = [text for _, code, text in ports.store.events if code == "CMP-DIFF"]
    assert "public.big" in text
    assert "id=4711" in text


def test_a_table_made_after_the_start_is_told_and_not_compared(
    plan: Plan, ports: Ports, syncing: Run, source_cluster: Cluster, source_db: str
) -> None:
    with source_cluster.connect(source_db) as connection:
        connection.execute("CREATE TABLE later (a int PRIMARY KEY)")
    assert unequal(compared(plan, ports)) == []
    assert isinstance(ports.store, FakeStore)
    assert any(code == "CMP-NEWTABLE" and "public.later" in text for _, code, text in ports.store.events)


def test_nothing_of_the_comparison_stays_on_the_source(
    plan: Plan, ports: Ports, syncing: Run, source_cluster: Cluster, source_db: str
) -> None:
    compared(plan, ports)
    with source_cluster.connect(source_db) as connection:
        rows = connection.execute(
            "SELECT temporary, active FROM pg_replication_slots WHERE database = current_database()"
        ).fetchall()
    assert rows == [(False, False)]
