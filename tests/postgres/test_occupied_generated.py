"""Generated columns of tables that stand on the target: the check and the comparison are of one mind about them."""

from __future__ import annotations

from typing import Any

import pytest

from migrations_app.demo.clusters import Cluster
from migrations_app.engine import checks
from migrations_app.engine.checks import CheckResult, CheckStatus
from migrations_app.engine.plan import Plan
from tests.fakes import FakeControl
from tests.postgres.compare_kit import plan_for, server
from tests.postgres.occupied_kit import choose, migrate

COMPUTED = ", up text GENERATED ALWAYS AS (upper(v)) STORED"
VIRTUAL = COMPUTED.replace("STORED", "VIRTUAL")


@pytest.fixture
def plan(source_cluster: Cluster, target_cluster: Cluster, source_db: str, target_db: str, tmp_path: Any) -> Plan:
    return plan_for(server(source_cluster), server(target_cluster), source_db, target_db, work_dir=tmp_path)


def make(plan: Plan, source: Cluster, target: Cluster, here: str, there: str) -> None:
    """Make a table with two rows on the source, without any on the target."""
    (database,) = plan.databases
    with source.connect(database.source_name) as connection:
        connection.execute(f"CREATE TABLE t (id int PRIMARY KEY, v text{here})".encode())
        connection.execute(b"INSERT INTO t (id, v) VALUES (1, 'a'), (2, NULL)")
    with target.connect(database.target_name) as connection:
        connection.execute(f"CREATE TABLE t (id int PRIMARY KEY, v text{there})".encode())


def look(plan: Plan) -> CheckResult:
    only = frozenset({"target-conflicts"})
    (result,) = checks.run_checks(plan, FakeControl(), report=lambda result: None, only=only)
    return result


@pytest.mark.parametrize(
    ("here", "there", "found"),
    [
        ("", COMPUTED, "public.t (with up text GENERATED)"),
        (COMPUTED, "", "public.t (without up text GENERATED)"),
        (COMPUTED, ", up text", "public.t (up is text instead of text GENERATED)"),
        (", up text", COMPUTED, "public.t (up is text GENERATED instead of text)"),
        (COMPUTED, VIRTUAL, "public.t (up is text GENERATED VIRTUAL instead of text GENERATED)"),
    ],
)
def test_a_table_that_one_side_computes_more_of_cannot_take_the_rows(
    plan: Plan, source_cluster: Cluster, target_cluster: Cluster, here: str, there: str, found: str
) -> None:
    make(plan, source_cluster, target_cluster, here, there)
    result = look(choose(plan, "keep"))
    assert result.status is CheckStatus.FAILED
    assert found in result.found


def test_a_table_whose_column_both_sides_compute_takes_the_rows(
    plan: Plan, source_cluster: Cluster, target_cluster: Cluster
) -> None:
    make(plan, source_cluster, target_cluster, COMPUTED, COMPUTED)
    chosen = choose(plan, "keep")
    assert look(chosen).status is CheckStatus.WARNING
    migrate(chosen)
