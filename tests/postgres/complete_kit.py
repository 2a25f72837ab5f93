"""What tests of Complete share: a shop on both sides, all steps up to the sync, and what has to be equal in the end."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from migrations_app.demo.clusters import Cluster
from migrations_app.engine.cleaning import clean_up
from migrations_app.engine.executor import Executor
from migrations_app.engine.plan import Plan
from migrations_app.engine.ports import Ports
from migrations_app.engine.states import StepName
from tests.fakes import FakeControl, fake_ports
from tests.postgres.compare_kit import plan_for, running, server

SHOP = """
CREATE TABLE customers (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text NOT NULL, total numeric DEFAULT 0);
CREATE TABLE orders (id bigserial PRIMARY KEY, customer int NOT NULL REFERENCES customers,
  amount numeric CHECK (amount > 0));
CREATE TABLE events (at timestamptz DEFAULT now(), what text);
CREATE TABLE audit (id int PRIMARY KEY, what text);
CREATE UNLOGGED TABLE cache (k text PRIMARY KEY, v text);
CREATE SEQUENCE "odd %s seq" INCREMENT BY -3 MINVALUE -1000 MAXVALUE -1 START -1;
CREATE SEQUENCE never;
CREATE FUNCTION count_order() RETURNS trigger LANGUAGE plpgsql AS $$
  BEGIN UPDATE public.customers SET total = total + NEW.amount WHERE id = NEW.customer; RETURN NEW; END $$;
CREATE TRIGGER ordered AFTER INSERT ON orders FOR EACH ROW EXECUTE FUNCTION count_order();
CREATE TRIGGER always AFTER DELETE ON orders FOR EACH ROW EXECUTE FUNCTION count_order();
ALTER TABLE orders ENABLE ALWAYS TRIGGER always;
CREATE VIEW big AS SELECT * FROM orders WHERE amount > 50;
CREATE MATERIALIZED VIEW totals AS SELECT customer, sum(amount) FROM orders GROUP BY 1;
CREATE MATERIALIZED VIEW totals_2 AS SELECT * FROM totals;
CREATE INDEX big_orders ON orders (amount) WHERE amount > 50;
INSERT INTO customers (name) SELECT 'c' || g FROM generate_series(1, 100) g;
INSERT INTO orders (customer, amount) SELECT g % 100 + 1, g % 90 + 1 FROM generate_series(1, 3000) g;
INSERT INTO cache VALUES ('a', '1');
SELECT nextval('"odd %s seq"'), nextval('"odd %s seq"');
SELECT lo_from_bytea(90001, '\\x0102030405');
REFRESH MATERIALIZED VIEW totals;
"""


def order(connection: psycopg.Connection[Any], number: int) -> None:
    connection.execute("INSERT INTO orders (customer, amount) VALUES (%s, %s)", (number % 100 + 1, number % 80 + 1))
    connection.execute("INSERT INTO events (what) VALUES ('order')")
    if number % 7 == 0:
        connection.execute("UPDATE customers SET name = name || '.' WHERE id = %s", (number % 100 + 1,))


@pytest.fixture
def plan(source_cluster: Cluster, target_cluster: Cluster, source_db: str, target_db: str, tmp_path: Path) -> Plan:
    with source_cluster.connect(source_db) as connection:
        connection.execute(SHOP.encode())
    return plan_for(
        server(source_cluster), server(target_cluster), source_db, target_db, incremental=True, work_dir=tmp_path
    )


@pytest.fixture
def ports(plan: Plan) -> Iterator[Ports]:
    ports = fake_ports()
    yield ports
    with running(plan, Ports(control=FakeControl(), ledger=ports.ledger, store=ports.store)) as run:
        clean_up(run, keep_target_objects=True)


@pytest.fixture
def source(source_cluster: Cluster, source_db: str) -> Iterator[psycopg.Connection[Any]]:
    with source_cluster.connect(source_db) as connection:
        yield connection


@pytest.fixture
def target(target_cluster: Cluster, target_db: str) -> Iterator[psycopg.Connection[Any]]:
    with target_cluster.connect(target_db) as connection:
        yield connection


def migrate(plan: Plan, ports: Ports, *steps: StepName) -> None:
    with Executor(plan, ports) as executor:
        for step in steps:
            assert executor.run(step).done


def begin(plan: Plan, ports: Ports) -> None:
    migrate(plan, ports, StepName.SCHEMA, StepName.COPY, StepName.INDEX)


def rows(connection: psycopg.Connection[Any], query: str) -> list[tuple[Any, ...]]:
    return connection.execute(query.encode()).fetchall()


STATE = [
    "SELECT * FROM customers ORDER BY 1",
    "SELECT * FROM orders ORDER BY 1",
    "SELECT * FROM events ORDER BY 1",
    "SELECT * FROM cache ORDER BY 1",
    "SELECT last_value, is_called FROM orders_id_seq",
    "SELECT last_value, is_called FROM customers_id_seq",
    'SELECT last_value, is_called FROM "odd %s seq"',
    "SELECT last_value, is_called FROM never",
    "SELECT lo_get(90001)",
    "SELECT tgname, tgenabled::text FROM pg_trigger WHERE NOT tgisinternal ORDER BY 1",
    "SELECT attidentity::text FROM pg_attribute WHERE attrelid = 'customers'::regclass AND attname = 'id'",
    "SELECT conname, convalidated FROM pg_constraint WHERE contype IN ('p', 'f', 'c') AND conrelid <> 0 ORDER BY 1",
]


def assert_same(source: psycopg.Connection[Any], target: psycopg.Connection[Any]) -> None:
    for query in STATE:
        assert rows(source, query) == rows(target, query), query
