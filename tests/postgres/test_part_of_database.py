"""Of what concerns a whole database, a part of it takes along only what concerns that part."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from migrations_app.demo.clusters import Cluster
from migrations_app.engine.plan import Plan
from migrations_app.engine.selection import Selection
from tests.fakes import FakeStore, fake_ports
from tests.postgres.checks_kit import check
from tests.postgres.compare_kit import plan_for, run_steps, server
from tests.postgres.test_torture import told

SCRIPT = """
CREATE SCHEMA app; CREATE SCHEMA other;
CREATE TABLE app.t (id int PRIMARY KEY); CREATE TABLE app.u (id int); CREATE TABLE other.t (id int PRIMARY KEY);
CREATE FUNCTION app.watch() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END';
CREATE FUNCTION other.watch() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END';
CREATE EVENT TRIGGER of_app ON ddl_command_start EXECUTE FUNCTION app.watch();
CREATE EVENT TRIGGER of_other ON ddl_command_start EXECUTE FUNCTION other.watch();
COMMENT ON EVENT TRIGGER of_other IS 'watches';
ALTER DEFAULT PRIVILEGES IN SCHEMA app GRANT SELECT ON TABLES TO pg_monitor;
ALTER DEFAULT PRIVILEGES IN SCHEMA other GRANT SELECT ON TABLES TO pg_monitor;
ALTER DEFAULT PRIVILEGES GRANT USAGE ON SEQUENCES TO pg_monitor;
"""
TRIGGERS = "SELECT evtname::text FROM pg_event_trigger ORDER BY 1"
PRIVILEGES = (
    "SELECT coalesce(nspname, 'everywhere') FROM pg_default_acl LEFT JOIN pg_namespace n ON n.oid = defaclnamespace"
    " ORDER BY 1"
)


@pytest.fixture
def plan(source_cluster: Cluster, target_cluster: Cluster, source_db: str, target_db: str, tmp_path: Path) -> Plan:
    with source_cluster.connect(source_db) as connection:
        connection.execute(SCRIPT.encode())
    return plan_for(server(source_cluster), server(target_cluster), source_db, target_db, work_dir=tmp_path)


def choosing(plan: Plan, rules: Mapping[tuple[str, ...], bool]) -> Plan:
    (database,) = plan.databases
    chosen = {(database.source_name, *path): mode for path, mode in rules.items()}
    return replace(plan, selection=Selection(rules=chosen, targets=plan.selection.targets))  # type: ignore[arg-type]


def names(cluster: Cluster, plan: Plan, query: str) -> list[Any]:
    with cluster.connect(plan.databases[0].target_name) as connection:
        return [row[0] for row in connection.execute(query.encode()).fetchall()]


def event(store: FakeStore, code: str) -> str:
    return next((text for _, found, text in store.events if found == code), "")


@pytest.mark.parametrize(
    ("rules", "triggers", "privileges"),
    [
        ({(): True}, ["of_app", "of_other"], ["app", "everywhere", "other"]),
        ({(): True, ("app", "u"): False}, ["of_app", "of_other"], ["app", "everywhere", "other"]),
        ({(): True, ("other",): False}, ["of_app", "of_other"], ["app", "everywhere"]),
        ({("app",): True}, ["of_app"], ["app"]),
        ({("app",): True, ("app", "u"): False}, ["of_app"], ["app"]),
        ({("app", "t"): True}, [], ["app"]),
    ],
)
def test_event_triggers_and_default_privileges_are_those_of_what_was_selected(
    plan: Plan,
    target_cluster: Cluster,
    rules: Mapping[tuple[str, ...], bool],
    triggers: list[str],
    privileges: list[str],
) -> None:
    chosen = choosing(plan, rules)
    store = run_steps(chosen, fake_ports())
    assert names(target_cluster, plan, TRIGGERS) == triggers
    assert names(target_cluster, plan, PRIVILEGES) == privileges
    assert told(store) == []
    left = 5 - len(triggers) - len(privileges)
    text = event(store, "SUBSET-DATABASE")
    assert text.startswith(f"Left out of database {plan.databases[0].source_name}: {left} ") if left else not text


def test_those_that_are_left_out_are_named_with_their_statements(plan: Plan) -> None:
    ports = fake_ports()
    store = run_steps(choosing(plan, {("app",): True}), ports)
    text = event(store, "SUBSET-DATABASE")
    assert "EVENT TRIGGER of_other" in text
    assert "DEFAULT ACL other.DEFAULT PRIVILEGES FOR TABLES" in text
    assert "of_app" not in text


def test_the_check_counts_only_event_triggers_that_come(plan: Plan) -> None:
    assert check(plan, "event-triggers").found == "2 event triggers will be created last."
    assert check(choosing(plan, {("app",): True}), "event-triggers").found == "1 event trigger will be created last."
    assert check(choosing(plan, {("app", "t"): True}), "event-triggers").found == "There are no event triggers."


def test_foreign_keys_between_tables_of_others_are_nothing_that_a_task_leaves_out(
    plan: Plan, source_cluster: Cluster
) -> None:
    with source_cluster.connect(plan.databases[0].source_name) as connection:
        connection.execute(
            b"CREATE TABLE other.root (id int PRIMARY KEY) PARTITION BY LIST (id);"
            b"CREATE TABLE other.root_1 PARTITION OF other.root FOR VALUES IN (1);"
            b"CREATE TABLE other.child (id int REFERENCES other.t, r int REFERENCES other.root);"
            b"CREATE TABLE app.mine (id int REFERENCES other.t, r int REFERENCES other.root)"
        )
    chosen = choosing(plan, {("app", "t"): True, ("app", "mine"): True})
    store = run_steps(replace(chosen, selection=replace(chosen.selection, foreign_keys="without")), fake_ports())
    left = [(item.schema, item.name) for item in store.comparisons[-1].other if item.verdict == "left_out"]
    assert left == [("app", "constraint mine_id_fkey on mine"), ("app", "constraint mine_r_fkey on mine")]


def test_policies_and_rules_that_need_a_table_of_others_are_named_before_and_when_they_are_left_out(
    plan: Plan, source_cluster: Cluster
) -> None:
    with source_cluster.connect(plan.databases[0].source_name) as connection:
        connection.execute(
            b"ALTER TABLE app.t ENABLE ROW LEVEL SECURITY;"
            b"CREATE POLICY hides ON app.t AS RESTRICTIVE USING (id IN (SELECT id FROM other.t));"
            b"CREATE POLICY open ON app.t USING (true);"
            b"CREATE RULE follows AS ON DELETE TO app.t DO ALSO DELETE FROM other.t WHERE id = old.id;"
            b"CREATE POLICY theirs ON other.t USING (id IN (SELECT id FROM app.t))"
        )
    chosen = choosing(plan, {("app", "t"): True})
    found = check(chosen, "read-by-views").found
    assert "policy hides on app.t uses other.t" in found
    assert "rule follows on app.t uses other.t" in found
    assert "theirs" not in found
    text = event(run_steps(chosen, fake_ports()), "SUBSET-OBJECTS")
    assert "POLICY app.t hides" in text
    assert "RULE app.t follows" in text
    assert "theirs" not in text
    assert "open" not in text


def test_a_table_below_a_selected_one_does_not_come_along_for_a_default_that_names_that(
    plan: Plan, source_cluster: Cluster, target_cluster: Cluster
) -> None:
    with source_cluster.connect(plan.databases[0].source_name) as source:
        source.execute(
            b"ALTER TABLE app.t ADD about regclass DEFAULT 'app.t'::regclass;"
            b"CREATE TABLE other.below () INHERITS (app.t)"
        )
    store = run_steps(choosing(plan, {("app", "t"): True}), fake_ports())
    assert [one.equal for one in store.comparisons] == [True]
    made = "SELECT oid::regclass::text FROM pg_class WHERE relkind = 'r' AND oid::regclass::text ~ '^(app|other)'"
    assert names(target_cluster, plan, made) == ["app.t"]
    defaults = "SELECT pg_get_expr(adbin, adrelid) FROM pg_attrdef"
    assert names(target_cluster, plan, defaults) == ["'app.t'::regclass"]
