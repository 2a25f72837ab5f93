"""Checks of tables that are added during a sync wait for the rows, as those of the first copy do."""

from __future__ import annotations

from typing import Any, cast

import pytest

from migrations_app.demo.clusters import Cluster
from migrations_app.engine.executor import Executor
from migrations_app.engine.plan import Plan
from migrations_app.engine.ports import Ports
from migrations_app.engine.states import StepName
from tests.fakes import FakeStore
from tests.postgres import adding_kit
from tests.postgres.adding_kit import add, at, begin, complete, look
from tests.postgres.compare_kit import plan_for, server
from tests.postgres.test_torture import told

ports = adding_kit.ports  # a fixture that stands in the kit

READING = """
CREATE TABLE zz_lookup (id int PRIMARY KEY);
CREATE FUNCTION known(int) RETURNS bool LANGUAGE sql AS 'SELECT EXISTS (SELECT FROM public.zz_lookup WHERE id = $1)';
CREATE DOMAIN looked_up AS int CONSTRAINT reads CHECK (known(VALUE));
CREATE TABLE reader (id int PRIMARY KEY CONSTRAINT reads CHECK (known(id)), l looked_up);
CREATE TABLE tree (id int PRIMARY KEY, CONSTRAINT reads CHECK (known(id))) PARTITION BY RANGE (id);
CREATE TABLE tree_1 PARTITION OF tree DEFAULT;
INSERT INTO zz_lookup VALUES (1), (2); INSERT INTO reader VALUES (1, 2); INSERT INTO tree VALUES (2);
"""
PASSING = """
CREATE DOMAIN fresh AS timestamptz CHECK (VALUE > now());
CREATE TABLE tokens (id int PRIMARY KEY, expires timestamptz CHECK (expires > now()), f fresh);
CREATE TABLE born (day date PRIMARY KEY CHECK (day <= CURRENT_DATE));
INSERT INTO tokens VALUES (1, now() + interval '1 ms', now() + interval '1 ms'); INSERT INTO born VALUES ('2000-01-01');
"""
CHECKS = "SELECT conname::text, convalidated FROM pg_constraint WHERE contype = 'c' AND oid >= 16384 ORDER BY 1"


@pytest.fixture
def plan(source_cluster: Cluster, target_cluster: Cluster, source_db: str, target_db: str, tmp_path: Any) -> Plan:
    at(source_cluster, source_db, "CREATE TABLE old (id int PRIMARY KEY)")
    return plan_for(
        server(source_cluster), server(target_cluster), source_db, target_db, incremental=True, work_dir=tmp_path
    )


def added(plan: Plan, ports: Ports, cluster: Cluster, *scripts: str) -> None:
    """Have these new tables added to a task in its sync, those of each script after the other ones."""
    begin(plan, ports)
    for script in scripts:
        at(cluster, plan.databases[0].source_name, script)
    look(plan, ports)
    add(plan, ports)
    with Executor(plan, ports) as executor:
        assert executor.recopy().done


@pytest.mark.long
def test_those_that_read_tables_which_are_added_later_let_the_rows_in_and_are_proved(
    plan: Plan, ports: Ports, source_cluster: Cluster, target_cluster: Cluster
) -> None:
    added(plan, ports, source_cluster, READING)
    complete(plan, ports, source_cluster, target_cluster)
    with target_cluster.connect(plan.databases[0].target_name) as there:
        found = there.execute("SELECT count(*), bool_and(convalidated) FROM pg_constraint WHERE conname = 'reads'")
        assert found.fetchone() == (4, True)


def test_those_that_tell_the_time_let_old_rows_in_and_are_told(
    plan: Plan, ports: Ports, source_cluster: Cluster, target_cluster: Cluster
) -> None:
    added(plan, ports, source_cluster, PASSING)
    with Executor(plan, ports) as executor:
        for step in (StepName.COMPLETE, StepName.CLEANUP):
            assert executor.run(step).done
    with target_cluster.connect(plan.databases[0].target_name) as there:
        assert there.execute("SELECT id FROM tokens").fetchall() == [(1,)]
        assert there.execute(CHECKS).fetchall() == [
            ("born_day_check", True),
            ("fresh_check", False),
            ("tokens_expires_check", False),
        ]
    titles = {title for title, _, _ in told(cast(FakeStore, ports.store))}
    assert titles == {"constraint tokens_expires_check on public.tokens", "domain public.fresh"}
