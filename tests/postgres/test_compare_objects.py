"""What stands around the rows is compared too: each missing or changed object is found, and named."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from migrations_app.demo.clusters import Cluster
from migrations_app.engine.ports import Comparison
from migrations_app.engine.selection import Selection
from tests.fakes import fake_ports
from tests.postgres.compare_kit import compare_now, plan_for, server

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
CREATE SEQUENCE s INCREMENT 5 CACHE 10;
CREATE TABLE part (k date NOT NULL, v int) PARTITION BY RANGE (k);
CREATE TABLE part_1 PARTITION OF part FOR VALUES FROM ('2020-01-01') TO ('2021-01-01');
CREATE INDEX on_root ON part (v);
SELECT lo_from_bytea(4001, '\\x00ff00');
"""

CHANGES = {
    "DROP INDEX partial": "index partial on t",
    "DROP INDEX partial; CREATE INDEX partial ON t (name) WHERE amount > 6": "index partial on t",
    "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'by_expression'::regclass": "index by_expression on t",
    "DROP INDEX of_mv": "index of_mv on mv",
    "DROP INDEX on_root": "index on_root on part",
    "ALTER TABLE t DROP CONSTRAINT t_amount_check": "constraint t_amount_check on t",
    "ALTER TABLE t DROP CONSTRAINT t_parent_fkey": "constraint t_parent_fkey on t",
    "ALTER TABLE t DROP CONSTRAINT t_parent_fkey; ALTER TABLE t ADD CONSTRAINT t_parent_fkey"
    " FOREIGN KEY (parent) REFERENCES parent NOT VALID": "constraint t_parent_fkey on t",
    "DROP TRIGGER before_row ON t": "trigger before_row on t",
    "DROP RULE quiet ON parent": "rule quiet on parent",
    "DROP POLICY p ON t": "policy p on t",
    "ALTER TABLE t DISABLE ROW LEVEL SECURITY": "row security t",
    "DROP VIEW v": "view v",
    "DROP MATERIALIZED VIEW mv": "materialized view mv",
    "DROP VIEW v; DROP FUNCTION double(int)": "function double(a integer)",
    "ALTER TYPE mood ADD VALUE 'late' BEFORE 'ok'": "enum mood",
    "ALTER DOMAIN positive DROP CONSTRAINT positive_check": "domain positive",
    "DROP TYPE pair": "composite type pair",
    "ALTER TABLE t ALTER name DROP NOT NULL": "column name on t",
    "ALTER TABLE t ALTER name DROP DEFAULT": "column name on t",
    "DROP SEQUENCE s": "sequence s",
    "ALTER SEQUENCE s INCREMENT 6": "sequence s",
    "ALTER TABLE part DETACH PARTITION part_1": "table part_1",
    "SELECT lo_put(4001, 1, '\\xfe')": "large object 4001",
    "SELECT lo_unlink(4001)": "large object 4001",
}


@pytest.fixture
def compare(
    source_cluster: Cluster, target_cluster: Cluster, source_db: str, target_db: str
) -> Callable[[str], Comparison]:
    def run(change: str) -> Comparison:
        for cluster, name, text in (
            (source_cluster, source_db, SCRIPT),
            (target_cluster, target_db, SCRIPT + ";" + change),
        ):
            with cluster.connect(name) as connection:
                connection.execute(text.encode())
        return compare_now(plan_for(server(source_cluster), server(target_cluster), source_db, target_db))

    return run


def differing(comparison: Comparison) -> list[str]:
    return [item.name for item in comparison.other if item.verdict != "equal"]


def test_equal_objects_of_two_versions_raise_no_alarm(compare: Callable[[str], Comparison]) -> None:
    comparison = compare("")
    assert [(item.name, item.reason) for item in comparison.other if item.verdict != "equal"] == []
    kinds = {item.name.split(" × ")[-1] for item in comparison.other}
    assert {"index", "constraint", "trigger", "rule", "policy", "view", "function", "enum", "large objects"} <= kinds


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_object_is_found_and_named(compare: Callable[[str], Comparison], change: str) -> None:
    comparison = compare(change)
    assert CHANGES[change] in differing(comparison)
    assert not comparison.equal


def test_more_objects_on_the_target_are_nobodys_business(compare: Callable[[str], Comparison]) -> None:
    extra = "CREATE TABLE theirs (a int); CREATE INDEX theirs_2 ON t (amount); SELECT lo_from_bytea(4002, '\\x01')"
    assert compare(extra).equal


def test_what_is_not_selected_is_not_asked_for(
    source_cluster: Cluster, target_cluster: Cluster, source_db: str, target_db: str
) -> None:
    with source_cluster.connect(source_db) as connection:
        connection.execute(SCRIPT.encode())
    with target_cluster.connect(target_db) as connection:
        connection.execute(
            "CREATE TABLE parent (id int PRIMARY KEY); CREATE RULE quiet AS ON DELETE TO parent DO NOTHING"
        )
    plan = plan_for(server(source_cluster), server(target_cluster), source_db, target_db)
    selection = Selection(rules={(source_db, "public", "parent"): True}, targets={source_db: target_db})
    comparison = compare_now(replace(plan, selection=selection))
    assert comparison.equal
    assert [item.name for item in comparison.tables] == ["parent"]


def test_what_complete_makes_is_not_asked_for_during_the_sync(
    source_cluster: Cluster, target_cluster: Cluster, source_db: str, target_db: str
) -> None:
    without = "ALTER TABLE t DISABLE ROW LEVEL SECURITY; DROP POLICY p ON t; SELECT lo_unlink(4001)"
    for cluster, name, text in (
        (source_cluster, source_db, SCRIPT),
        (target_cluster, target_db, SCRIPT + ";" + without),
    ):
        with cluster.connect(name) as connection:
            connection.execute(text.encode())
    plan = plan_for(server(source_cluster), server(target_cluster), source_db, target_db)
    assert compare_now(replace(plan, incremental=True), fake_ports()).equal
    assert not compare_now(plan, fake_ports()).equal
