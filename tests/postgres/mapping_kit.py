"""What tests of other names and of structure alone share: plans, all steps at once, and a small application."""

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
from migrations_app.engine.selection import Selection
from migrations_app.engine.states import StepName
from tests.fakes import FakeControl, FakeStore, fake_ports
from tests.postgres.compare_kit import plan_for, running, server

ODD = 'we ird "sch%ema'
HOSTILE = "Ü.n'\"%s\\ $x$ --"
FULL = (StepName.SCHEMA, StepName.COPY, StepName.INDEX, StepName.COMPARE, StepName.COMPLETE, StepName.CLEANUP)
SYNC = (StepName.SCHEMA, StepName.COPY, StepName.INDEX)


@pytest.fixture
def ports() -> Ports:
    return fake_ports()


def execute(connection: psycopg.Connection[Any], text: str) -> list[Any]:
    cursor = connection.execute(text.encode())
    return [row[0] for row in cursor.fetchall()] if cursor.description else []


def plan_of(source: Cluster, target: Cluster, names: tuple[str, str], folder: Path, **more: Any) -> Plan:
    """Return a plan that moves a whole database; `schemas` says which schemas get other names."""
    schemas = more.pop("schemas", {})
    selection = Selection(
        rules={(names[0],): True, **more.pop("rules", {})},
        targets={names[0]: names[1]},
        schema_targets={(names[0], old): new for old, new in schemas.items()},
        foreign_keys=more.pop("foreign_keys", "require"),
    )
    return plan_for(server(source), server(target), *names, selection=selection, work_dir=folder, **more)


def migrate(plan: Plan, ports: Ports, *steps: StepName) -> None:
    with Executor(plan, ports) as executor:
        for step in steps:
            assert executor.run(step).done, step


def store_of(ports: Ports) -> FakeStore:
    assert isinstance(ports.store, FakeStore)
    return ports.store


def told(ports: Ports) -> dict[str, str]:
    return {code: text for _, code, text in store_of(ports).events}


def rename(connection: psycopg.Connection[Any], schemas: dict[str, str]) -> None:
    def quoted(name: str) -> str:
        return '"' + name.replace('"', '""') + '"'

    for number, old in enumerate(schemas):
        execute(connection, f"ALTER SCHEMA {quoted(old)} RENAME TO towpath_test_{number}")
    for number, new in enumerate(schemas.values()):
        execute(connection, f"ALTER SCHEMA towpath_test_{number} RENAME TO {quoted(new)}")


APP = """
CREATE TYPE mood AS ENUM ('ok', 'sad');
CREATE TABLE customers (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text NOT NULL, m mood DEFAULT 'ok');
CREATE TABLE orders (id bigserial PRIMARY KEY, customer int NOT NULL REFERENCES customers, m mood[]);
CREATE TABLE loose (a int, m mood);
CREATE UNLOGGED TABLE cache (k text PRIMARY KEY);
CREATE TABLE part (id int PRIMARY KEY, t text) PARTITION BY LIST (id);
CREATE TABLE part_1 PARTITION OF part FOR VALUES IN (1);
CREATE TABLE part_d PARTITION OF part DEFAULT;
CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$
  BEGIN INSERT INTO public.loose VALUES (-1, 'sad'); RETURN NEW; END $$;
CREATE FUNCTION is_ok(m mood, VARIADIC more mood[]) RETURNS boolean RETURN m = 'ok';
CREATE AGGREGATE best(mood) (SFUNC = enum_larger, STYPE = mood);
CREATE TRIGGER touched AFTER INSERT ON orders FOR EACH ROW EXECUTE FUNCTION touch();
ALTER TABLE orders ENABLE ALWAYS TRIGGER touched;
CREATE MATERIALIZED VIEW per_customer AS SELECT customer, count(*) FROM orders GROUP BY 1;
INSERT INTO customers (name) SELECT 'c' || g FROM generate_series(1, 20) g;
INSERT INTO orders (customer, m) SELECT g % 20 + 1, '{ok,sad}' FROM generate_series(1, 200) g;
INSERT INTO part SELECT g, 'x' FROM generate_series(1, 9) g;
INSERT INTO cache VALUES ('a');
REFRESH MATERIALIZED VIEW per_customer;
"""
LATER = """
INSERT INTO orders (customer, m) VALUES (3, '{sad}'), (4, NULL);
UPDATE customers SET name = 'x', m = 'sad' WHERE id = 3;
DELETE FROM orders WHERE id = 5;
UPDATE loose SET m = 'ok'; DELETE FROM loose WHERE a = 2;
TRUNCATE part_1;
UPDATE part SET t = 'y' WHERE id = 3;
INSERT INTO cache VALUES ('b');
"""


@pytest.fixture
def app(source_cluster: Cluster, source_db: str, ports: Ports, plans: list[Plan]) -> Iterator[psycopg.Connection[Any]]:
    with source_cluster.connect(source_db) as source:
        execute(source, APP)
        yield source
    for plan in plans:
        free = Ports(control=FakeControl(), ledger=ports.ledger, store=ports.store)
        with running(plan, free) as run:
            clean_up(run, keep_target_objects=True)


@pytest.fixture
def plans() -> list[Plan]:
    """Plans whose slots have to go whatever happens."""
    return []


@pytest.fixture
def target(target_cluster: Cluster, target_db: str) -> Iterator[psycopg.Connection[Any]]:
    with target_cluster.connect(target_db) as connection:
        yield connection
