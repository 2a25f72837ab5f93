"""What tests of tables with other partitions on the target share: both sides, all steps, and what has to be equal."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, cast

import psycopg
import pytest

from migrations_app.demo.clusters import Cluster
from migrations_app.engine import checks
from migrations_app.engine.checks import CheckResult
from migrations_app.engine.cleaning import clean_up
from migrations_app.engine.plan import Plan
from migrations_app.engine.ports import Ports
from migrations_app.engine.states import StepName
from tests.fakes import FakeControl, FakeStore, fake_ports
from tests.postgres.compare_kit import plan_for, running, server
from tests.postgres.complete_kit import migrate

SALES = """
CREATE TABLE sales (id int NOT NULL, day date NOT NULL, what text, PRIMARY KEY (id, day)) PARTITION BY RANGE (day);
CREATE TABLE sales_20 PARTITION OF sales FOR VALUES FROM ('2020-01-01') TO ('2021-01-01');
CREATE TABLE sales_21 PARTITION OF sales FOR VALUES FROM ('2021-01-01') TO ('2022-01-01') PARTITION BY RANGE (id);
CREATE TABLE sales_21_low PARTITION OF sales_21 FOR VALUES FROM (MINVALUE) TO (50);
CREATE TABLE sales_21_high PARTITION OF sales_21 FOR VALUES FROM (50) TO (MAXVALUE);
CREATE TABLE sales_22 (what text, gone int, day date NOT NULL, id int NOT NULL, PRIMARY KEY (id, day));
ALTER TABLE sales_22 DROP COLUMN gone;
ALTER TABLE sales ATTACH PARTITION sales_22 FOR VALUES FROM ('2022-01-01') TO ('2023-01-01');
CREATE INDEX by_what ON sales (what);
CREATE TABLE items (id int PRIMARY KEY, what text);
CREATE TABLE plain (id int PRIMARY KEY, what text);
INSERT INTO sales SELECT g, '2020-01-01'::date + g * 10, 'row ' || g FROM generate_series(1, 100) g;
INSERT INTO items SELECT g, 'item ' || g FROM generate_series(1, 100) g;
INSERT INTO plain SELECT g, 'plain ' || g FROM generate_series(1, 10) g;
"""
ONE_TABLE = "CREATE TABLE sales (id int NOT NULL, day date NOT NULL, what text, PRIMARY KEY (id, day));"
BY_HASH = """
CREATE TABLE sales (id int NOT NULL, day date NOT NULL, what text, PRIMARY KEY (id, day)) PARTITION BY HASH (id);
CREATE TABLE sales_h0 PARTITION OF sales FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE sales_h1 PARTITION OF sales FOR VALUES WITH (MODULUS 2, REMAINDER 1);
"""
SAME_NAMES = """
CREATE TABLE sales (id int NOT NULL, day date NOT NULL, what text, PRIMARY KEY (id, day)) PARTITION BY RANGE (day);
CREATE TABLE sales_20 PARTITION OF sales FOR VALUES FROM ('2000-01-01') TO ('2022-06-01');
CREATE TABLE sales_22 PARTITION OF sales DEFAULT;
"""
GATHERED = {"one table": ONE_TABLE, "by hash": BY_HASH, "same names": SAME_NAMES}
ITEMS = """
CREATE TABLE items (id int PRIMARY KEY, what text) PARTITION BY RANGE (id);
CREATE TABLE items_low PARTITION OF items FOR VALUES FROM (MINVALUE) TO (60);
CREATE TABLE items_high PARTITION OF items FOR VALUES FROM (60) TO (MAXVALUE);
"""
OLD_ROWS = "INSERT INTO sales VALUES (1, '2020-02-02', 'old'), (2, '2022-08-08', 'old');"


def plan_over(source_cluster: Cluster, target_cluster: Cluster, source_db: str, target_db: str, work_dir: Any) -> Plan:
    """Fill the source and return a plan that uses what stands on the target as it is."""
    with source_cluster.connect(source_db) as connection:
        connection.execute(SALES.encode())
    made = plan_for(server(source_cluster), server(target_cluster), source_db, target_db, work_dir=work_dir)
    return replace(made, selection=replace(made.selection, existing="truncate"))


@pytest.fixture
def plan(source_cluster: Cluster, target_cluster: Cluster, source_db: str, target_db: str, tmp_path: Any) -> Plan:
    return plan_over(source_cluster, target_cluster, source_db, target_db, tmp_path)


@pytest.fixture
def ports(plan: Plan) -> Iterator[Ports]:
    ports = fake_ports()
    store = cast(FakeStore, ports.store)
    store.targets.update({one.source_name: one.target_name for one in plan.databases})
    yield ports
    with running(replace(plan, epoch=99), Ports(control=FakeControl(), ledger=ports.ledger, store=ports.store)) as run:
        clean_up(run, keep_target_objects=True)


def syncing(plan: Plan) -> Plan:
    return replace(plan, incremental=True)


def copy(plan: Plan, ports: Ports) -> None:
    migrate(plan, ports, StepName.SCHEMA, StepName.COPY, StepName.INDEX)


def complete(plan: Plan, ports: Ports) -> FakeStore:
    """Bring a copied task to its end, in which everything is proven equal."""
    cast(FakeControl, ports.control).complete = plan.incremental
    first = [StepName.SYNC] if plan.incremental else []
    later = replace(plan, epoch=plan.epoch + 1)
    migrate(later, ports, *first, StepName.COMPARE, StepName.COMPLETE, StepName.CLEANUP)
    store = cast(FakeStore, ports.store)
    assert store.comparisons[-1].equal
    assert ports.ledger.items() == []
    return store


def rows(connection: psycopg.Connection[Any], table: str) -> list[tuple[Any, ...]]:
    return connection.execute(f"SELECT * FROM {table} ORDER BY 1, 2".encode()).fetchall()


def tables(connection: psycopg.Connection[Any]) -> set[str]:
    found = connection.execute("SELECT relname FROM pg_class WHERE relkind IN ('r', 'p') AND relnamespace = 2200")
    return {str(row[0]) for row in found.fetchall()}


def looked(plan: Plan, code: str = "target-layouts") -> CheckResult:
    (result,) = checks.run_checks(plan, FakeControl(), report=lambda result: None, only=frozenset({code}))
    return result


def run(connection: psycopg.Connection[Any], *statements: str) -> None:
    for statement in statements:
        connection.execute(statement.encode())
