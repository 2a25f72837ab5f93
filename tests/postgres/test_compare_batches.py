"""Small tables are read many at a time; what such a batch cannot tell is found out table by table."""

from __future__ import annotations

from collections import deque
from typing import Any

import psycopg
import pytest

from migrations_app.demo.clusters import Cluster
from migrations_app.engine.comparing import tables
from migrations_app.engine.comparing.batches import _UNMOVED, take
from migrations_app.engine.comparing.hashing import Shape
from migrations_app.engine.plan import Plan
from tests.postgres.compare_kit import compare_now, plan_for, server

SCRIPT = """
DO $$ BEGIN FOR i IN 10..79 LOOP
  EXECUTE format('CREATE TABLE t%s (id int PRIMARY KEY, v text)', i);
  EXECUTE format('INSERT INTO t%s SELECT g, g FROM generate_series(1, %s) g', i, i);
END LOOP; END $$;
CREATE TABLE "no ""columns" (); INSERT INTO "no ""columns" DEFAULT VALUES;
"""


@pytest.fixture
def plan(source_cluster: Cluster, target_cluster: Cluster, source_db: str, target_db: str) -> Plan:
    for cluster, name in ((source_cluster, source_db), (target_cluster, target_db)):
        with cluster.connect(name) as connection:
            connection.execute(SCRIPT.encode())
    return plan_for(server(source_cluster), server(target_cluster), source_db, target_db)


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Names of the tables that were read by a statement of their own."""
    names: set[str] = set()
    original = tables.digest

    def digest(connection: Any, shape: Shape, dialect: Any) -> Any:
        names.add(shape.name)
        return original(connection, shape, dialect)

    monkeypatch.setattr(tables, "digest", digest)
    return names


@pytest.fixture
def target(target_cluster: Cluster, target_db: str, plan: Plan) -> Any:
    with target_cluster.connect(target_db) as connection:
        yield connection


def test_equal_tables_are_read_together_and_counted_one_by_one(plan: Plan, alone: set[str]) -> None:
    comparison = compare_now(plan)
    assert comparison.equal
    told = {item.name: (item.source_rows, item.target_rows) for item in comparison.tables}
    assert told == {f"t{number}": (number, number) for number in range(10, 80)} | {'no "columns': (1, 1)}
    assert alone == set()


def test_a_table_that_differs_is_looked_at_by_itself(
    plan: Plan, alone: set[str], target: psycopg.Connection[Any]
) -> None:
    target.execute("UPDATE t33 SET v = 'other' WHERE id = 7")
    comparison = compare_now(plan)
    [found] = [item for item in comparison.tables if item.verdict != "equal"]
    assert (found.name, found.verdict, found.sample_keys) == ("t33", "differs", ("id=7 (different)",))
    assert alone == {"t33"}


def test_a_table_of_another_shape_and_one_that_is_locked_keep_no_other_from_being_compared(
    plan: Plan, target: psycopg.Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("migrations_app.engine.compare._ROUNDS", 1)
    target.execute("ALTER TABLE t44 RENAME COLUMN v TO w")
    with target.transaction():
        target.execute("LOCK TABLE t45 IN ACCESS EXCLUSIVE MODE")
        verdicts = {item.name: item.verdict for item in compare_now(plan).tables if item.verdict != "equal"}
    assert verdicts == {"t44": "differs", "t45": "not_compared"}


def test_a_batch_ends_where_a_large_table_comes() -> None:
    queue = deque([9, 1, 2, 8, 3])
    taken = []
    while queue:
        taken.append(take(queue, lambda size: size < 5))
    assert taken == [[9], [1, 2], [8], [3]]


def test_a_batch_finds_its_tables_by_the_index_of_the_catalog_however_many_there_are(
    source_cluster: Cluster, target_cluster: Cluster
) -> None:
    for cluster in (source_cluster, target_cluster):
        with cluster.connect() as connection:
            connection.execute("SET enable_seqscan = off")  # as the planner decides where relations are many
            rows = connection.execute("EXPLAIN " + _UNMOVED, (["public"] * 3, ["a", "b", "c"])).fetchall()
        plan = "\n".join(str(row[0]) for row in rows)
        assert "Index Cond: (relname = " in plan, plan
