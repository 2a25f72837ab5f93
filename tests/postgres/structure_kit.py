"""What tests of the comparison of structures share: one database on both sides, with a change on the target."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from migrations_app.demo.clusters import Cluster
from migrations_app.engine.plan import Plan
from migrations_app.engine.ports import Note
from tests.postgres.compare_kit import plan_for, server, structure_now

SCRIPT = """
CREATE TYPE mood AS ENUM ('sad', 'ok');
CREATE DOMAIN positive AS int CHECK (VALUE > 0);
CREATE TYPE pair AS (a int, b text);
CREATE FUNCTION double(a int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT a * 2';
CREATE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
CREATE TABLE parent (id int PRIMARY KEY);
CREATE TABLE t (
  id bigint PRIMARY KEY, parent int REFERENCES parent, name text NOT NULL DEFAULT 'x',
  amount numeric(10,2) CHECK (amount > 0), m mood, d positive, UNIQUE (name, amount), EXCLUDE (id WITH =)
);
CREATE INDEX partial ON t (name) WHERE amount > 5;
CREATE INDEX by_expression ON t (lower(name) DESC NULLS LAST, (amount + 1));
CREATE TRIGGER before_row BEFORE INSERT OR UPDATE OF name ON t
  FOR EACH ROW WHEN (NEW.id > 5) EXECUTE FUNCTION nothing();
CREATE RULE quiet AS ON DELETE TO parent DO INSTEAD NOTHING;
CREATE VIEW v AS SELECT id, double(parent) AS twice FROM t;
CREATE MATERIALIZED VIEW mv AS SELECT count(*) AS n FROM t;
CREATE INDEX of_mv ON mv (n);
ALTER TABLE t ENABLE ROW LEVEL SECURITY;
CREATE POLICY p ON t USING (amount > 1);
CREATE STATISTICS together ON name, amount FROM t;
COMMENT ON CONSTRAINT positive_check ON DOMAIN positive IS 'above all';
COMMENT ON TABLE t IS 'a table'; COMMENT ON COLUMN t.name IS 'a name'; CREATE SCHEMA empty;
CREATE SEQUENCE s INCREMENT 5 CACHE 10;
CREATE TABLE part (k date NOT NULL, v int) PARTITION BY RANGE (k);
CREATE TABLE part_1 PARTITION OF part FOR VALUES FROM ('2020-01-01') TO ('2021-01-01');
CREATE INDEX on_root ON part (v);
SELECT lo_from_bytea(4001, '\\x00ff00');
"""


Look = Callable[[str], list[Note]]


@pytest.fixture
def plan(source_cluster: Cluster, target_cluster: Cluster, source_db: str, target_db: str, tmp_path: Path) -> Plan:
    return plan_for(server(source_cluster), server(target_cluster), source_db, target_db, work_dir=tmp_path)


@pytest.fixture
def make(source_cluster: Cluster, target_cluster: Cluster, source_db: str, target_db: str) -> Callable[[str], None]:
    def run(change: str) -> None:
        for cluster, name, text in (
            (source_cluster, source_db, SCRIPT),
            (target_cluster, target_db, SCRIPT + ";" + change),
        ):
            with cluster.connect(name) as connection:
                connection.execute(text.encode())

    return run


@pytest.fixture
def look(make: Callable[[str], None], plan: Plan) -> Look:
    def run(change: str) -> list[Note]:
        make(change)
        return structure_now(plan)

    return run


def titles(notes: list[Note]) -> list[str]:
    return [note.title.replace("public.", "") for note in notes]
