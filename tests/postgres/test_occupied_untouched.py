"""A table, view or domain of the target that nobody has selected stays exactly as it is, whatever the source's has."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import psycopg
import pytest

from migrations_app.demo.clusters import Cluster
from migrations_app.engine.plan import Plan
from migrations_app.engine.selection import Selection
from tests.postgres.compare_kit import plan_for, server
from tests.postgres.occupied_kit import choose, migrate

STRUCTURE = """
CREATE SCHEMA other; CREATE DOMAIN amount AS int; CREATE TABLE apart (id int);
CREATE TABLE base (id int PRIMARY KEY, v text);
CREATE TABLE special (extra text, n amount, PRIMARY KEY (id)) INHERITS (base);
CREATE TABLE whole (id int NOT NULL, v text) PARTITION BY RANGE (id);
CREATE TABLE part PARTITION OF whole FOR VALUES FROM (0) TO (1000);
CREATE TABLE mine (id int PRIMARY KEY, n int, w whole, p part);
CREATE VIEW other.seen AS SELECT id FROM base;
CREATE MATERIALIZED VIEW other.filled AS SELECT count(*) AS n FROM apart;
CREATE MATERIALIZED VIEW other.empty AS SELECT count(*) AS n FROM apart WITH NO DATA;
"""
SOURCES_OWN = """
CREATE FUNCTION silent() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
CREATE TRIGGER t BEFORE INSERT ON base FOR EACH ROW EXECUTE FUNCTION silent();
CREATE TRIGGER t INSTEAD OF INSERT ON other.seen FOR EACH ROW EXECUTE FUNCTION silent();
CREATE INDEX by_v ON base (v); COMMENT ON INDEX by_v IS 'from the source'; CREATE STATISTICS twos ON id, v FROM base;
ALTER TABLE base ADD CONSTRAINT known CHECK (id > 0) NOT VALID, ADD CONSTRAINT refers FOREIGN KEY (id) REFERENCES mine;
ALTER DOMAIN amount ADD CONSTRAINT positive CHECK (VALUE > 0) NOT VALID;
ALTER TABLE base ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY; CREATE POLICY p ON base USING (id < 0);
CREATE RULE r AS ON DELETE TO base DO INSTEAD NOTHING; CREATE UNIQUE INDEX one ON other.filled (n);
CREATE INDEX whole_v ON whole (v);
CREATE TRIGGER t AFTER INSERT ON mine FOR EACH ROW EXECUTE FUNCTION silent(); CREATE INDEX mine_n ON mine (n);
CREATE POLICY p ON mine USING (EXISTS (SELECT FROM base)); ALTER TABLE mine ENABLE ROW LEVEL SECURITY;
INSERT INTO mine VALUES (2, 2), (3, 3); INSERT INTO special VALUES (2, 'a', 'b'); INSERT INTO apart VALUES (1);
REFRESH MATERIALIZED VIEW other.filled; REFRESH MATERIALIZED VIEW other.empty;
"""
TARGETS_OWN = "INSERT INTO base VALUES (77, 'x');"
CHECKED = (
    "ALTER TABLE apart ADD CONSTRAINT c CHECK (id > 0){0}; ALTER DOMAIN amount ADD CONSTRAINT c CHECK (VALUE > 0){0}"
)
FACTS = """
SELECT concat_ws(' ', 'trigger', tgrelid::regclass, tgname) FROM pg_trigger WHERE NOT tgisinternal
UNION ALL SELECT concat_ws(' ', 'rule', ev_class::regclass, rulename) FROM pg_rewrite WHERE ev_class >= 16384
UNION ALL SELECT concat_ws(' ', 'policy', polrelid::regclass, polname) FROM pg_policy
UNION ALL SELECT concat_ws(' ', 'index', indrelid::regclass, indexrelid::regclass) FROM pg_index
 WHERE indrelid >= 16384 AND indrelid::regclass::text !~ '^pg_toast'
UNION ALL SELECT concat_ws(' ', 'constraint', conrelid::regclass, contypid::regtype, conname, convalidated)
 FROM pg_constraint WHERE connamespace = 'public'::regnamespace AND contype <> 'n'
UNION ALL SELECT concat_ws(' ', 'statistics', stxrelid::regclass, stxname) FROM pg_statistic_ext
UNION ALL SELECT concat_ws(' ', 'relation', oid::regclass, relrowsecurity, relforcerowsecurity, relispopulated)
 FROM pg_class WHERE oid >= 16384 AND relkind IN ('r', 'p', 'v', 'm') AND relnamespace::regnamespace::text !~ '^pg_'
"""
LONG = partial(pytest.param, marks=pytest.mark.long)
BOTH_WAYS = pytest.mark.parametrize("incremental", [False, LONG(True)], ids=["once", "synced"])
NOT_OURS = ("base", "whole", "part", "other.", "amount")


@pytest.fixture
def plan(source_cluster: Cluster, target_cluster: Cluster, source_db: str, target_db: str, tmp_path: Any) -> Plan:
    """Selected are two tables; one inherits, the other holds rows of others; what they need is on both sides."""
    with source_cluster.connect(source_db) as connection:
        connection.execute((STRUCTURE + SOURCES_OWN).encode())
    with target_cluster.connect(target_db) as connection:
        connection.execute((STRUCTURE + TARGETS_OWN).encode())
        connection.execute("REFRESH MATERIALIZED VIEW other.filled")
    rules = {(source_db, "public", name): True for name in ("special", "mine")}
    selection = Selection(rules=rules, targets={source_db: target_db})  # type: ignore[arg-type]
    near, far = server(source_cluster), server(target_cluster)
    return plan_for(near, far, source_db, target_db, selection=selection, work_dir=tmp_path)


def facts(connection: psycopg.Connection[Any]) -> set[str]:
    """Return what hangs on which relation or domain, and how it is."""
    return {str(row[0]) for row in connection.execute(FACTS.encode()).fetchall()}


def not_ours(connection: psycopg.Connection[Any]) -> set[str]:
    """Return the facts about what nobody has selected."""
    return {one for one in facts(connection) if one.split()[1].startswith(NOT_OURS)}


@BOTH_WAYS
@pytest.mark.parametrize("policy", ["keep", LONG("truncate"), LONG("recreate")])
def test_nothing_is_made_on_what_nobody_has_selected(
    plan: Plan, target_cluster: Cluster, policy: str, incremental: bool
) -> None:
    with target_cluster.connect(plan.databases[0].target_name) as target:
        before = not_ours(target)
        migrate(replace(choose(plan, policy), incremental=incremental))
        assert not_ours(target) == before
        assert target.execute("SELECT n FROM other.filled").fetchone() == (0,)
        made = {"trigger mine t", "index mine mine_n", "policy mine p", "relation mine t f t"}
        assert made <= facts(target)


@BOTH_WAYS
def test_a_check_of_what_nobody_has_selected_is_not_proved(
    plan: Plan, source_cluster: Cluster, target_cluster: Cluster, incremental: bool
) -> None:
    (database,) = plan.databases
    more = "; ALTER TABLE mine ADD CONSTRAINT c CHECK (n > 0){0}"
    with source_cluster.connect(database.source_name) as source:
        source.execute((CHECKED + more).format("").encode())
    with target_cluster.connect(database.target_name) as target:
        target.execute((CHECKED + more).format(" NOT VALID").encode())
        migrate(replace(choose(plan, "keep"), incremental=incremental))
        proved = "SELECT conrelid::regclass::text FROM pg_constraint WHERE conname = 'c' AND convalidated"
        assert target.execute(proved).fetchall() == [("mine",)]
