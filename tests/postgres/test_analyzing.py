"""Statistics for the planner of the target: rough ones before the indexes, full ones at the end, parents included."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from migrations_app.demo.clusters import Cluster
from migrations_app.engine import index_lanes, indexes
from migrations_app.engine.outcome import Run
from migrations_app.engine.plan import DatabasePlan
from migrations_app.engine.steps import copy, index, schema
from migrations_app.engine.toc import Entry
from tests.fakes import wait_until
from tests.postgres.engine_runs import make_plan, running

SCRIPT = """
CREATE TABLE plain (id int PRIMARY KEY, other int, more text);
INSERT INTO plain SELECT n, n % 700, n FROM generate_series(1, 5000) n;
CREATE INDEX ON plain (other); CREATE INDEX ON plain (more);
CREATE TABLE thorough (id int PRIMARY KEY, other int);
ALTER TABLE thorough ALTER other SET STATISTICS 500;
INSERT INTO thorough SELECT n, n FROM generate_series(1, 5000) n; CREATE INDEX ON thorough (other);
CREATE TABLE measured (at int, v int) PARTITION BY RANGE (at);
CREATE TABLE measured_1 PARTITION OF measured FOR VALUES FROM (0) TO (1000);
CREATE TABLE measured_2 PARTITION OF measured FOR VALUES FROM (1000) TO (2000) PARTITION BY RANGE (v);
CREATE TABLE measured_2_1 PARTITION OF measured_2 FOR VALUES FROM (0) TO (100000);
INSERT INTO measured SELECT n, n FROM generate_series(0, 1999) n;
CREATE TABLE parent (id int); CREATE TABLE child () INHERITS (parent);
INSERT INTO child SELECT generate_series(1, 1000);
CREATE MATERIALIZED VIEW totals AS SELECT other, count(*) AS number FROM plain GROUP BY other;
CREATE MATERIALIZED VIEW unfilled AS SELECT 1 AS one WITH NO DATA;
"""


@pytest.fixture
def run(source_cluster: Cluster, target_cluster: Cluster, source_db: str, target_db: str, tmp_path: Path) -> Any:
    with source_cluster.connect(source_db) as connection:
        connection.execute(SCRIPT.encode())
    plan = make_plan(source_cluster, target_cluster, [(source_db, target_db)], tmp_path, incremental=False)
    with running(plan) as made:
        yield made


@pytest.fixture
def target(target_cluster: Cluster, target_db: str) -> Iterator[psycopg.Connection[Any]]:
    with target_cluster.connect(target_db) as connection:
        yield connection


@pytest.fixture
def large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Treat every table as a large one."""
    monkeypatch.setattr(index_lanes, "SMALL_TABLE_BYTES", -1)
    monkeypatch.setattr(indexes, "SMALL_TABLE_BYTES", -1)
    monkeypatch.setattr(index_lanes, "_TOGETHER_BYTES", -1)


def bounds(target: psycopg.Connection[Any], table: str, column: str, *, inherited: bool = False) -> int | None:
    """Return how many bounds the histogram of a column has, None without statistics."""
    row = target.execute(
        "SELECT coalesce(array_length(histogram_bounds::text::text[], 1), 0) FROM pg_stats"
        " WHERE schemaname = 'public' AND tablename = %s AND attname = %s AND inherited = %s",
        (table, column, inherited),
    ).fetchone()
    return row[0] if row else None


def analyzed(target: psycopg.Connection[Any], table: str) -> Callable[[], int]:
    """Return a function for how often a table was analyzed."""

    def ask() -> int:
        row = target.execute("SELECT analyze_count FROM pg_stat_user_tables WHERE relname = %s", (table,)).fetchone()
        return int(row[0]) if row else 0

    return ask


@pytest.mark.usefixtures("large")
def test_a_large_table_has_rough_statistics_before_its_first_index_and_full_ones_at_the_end(
    run: Run, target: psycopg.Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    early: list[int | None] = []
    original = index_lanes.build_apart

    def noted(run: Run, database: DatabasePlan, entry: Entry, connection: Any, *, last: bool) -> None:
        if b"plain" in entry.definition:
            early.append(bounds(target, "plain", "id"))
        original(run, database, entry, connection, last=last)

    monkeypatch.setattr(index_lanes, "build_apart", noted)
    schema.run(run)
    copy.run(run)
    assert len(early) == 3
    assert all(number in (2, 11) for number in early), early
    assert bounds(target, "plain", "id") == 101
    wait_until(lambda: analyzed(target, "plain")() >= 2, what="the count of the statistics")


@pytest.mark.usefixtures("large")
def test_a_table_that_asks_for_more_statistics_is_not_read_three_times_for_them(
    run: Run, target: psycopg.Connection[Any]
) -> None:
    schema.run(run)
    copy.run(run)
    run.sessions.close()
    wait_until(lambda: analyzed(target, "plain")() >= 2, what="the count of the statistics")
    assert bounds(target, "thorough", "other") == 501
    assert analyzed(target, "thorough")() == 1


def test_a_small_table_is_analyzed_once(run: Run, target: psycopg.Connection[Any]) -> None:
    schema.run(run)
    copy.run(run)
    run.sessions.close()
    wait_until(lambda: analyzed(target, "plain")() == 1, what="the count of the statistics")
    assert bounds(target, "plain", "id") == 101


def test_parents_and_materialized_views_have_statistics_of_their_own(run: Run, target: psycopg.Connection[Any]) -> None:
    schema.run(run)
    copy.run(run)
    index.run(run)
    assert bounds(target, "measured", "at", inherited=True) == 101
    assert bounds(target, "measured_2", "at", inherited=True) == 101
    assert bounds(target, "parent", "id", inherited=True) == 101
    assert bounds(target, "totals", "other") == 101
    assert bounds(target, "measured_2_1", "v") == 101


@pytest.mark.usefixtures("large")
def test_before_18_partitions_get_their_statistics_with_those_of_the_whole(
    source_cluster: Cluster, source_db: str, tmp_path: Path
) -> None:
    there = f"{source_db}_16"
    with source_cluster.connect() as connection:
        connection.execute(f'CREATE DATABASE "{there}"'.encode())
    try:
        with source_cluster.connect(source_db) as connection:
            connection.execute(SCRIPT.encode())
        plan = make_plan(source_cluster, source_cluster, [(source_db, there)], tmp_path, incremental=False)
        with running(plan) as run, source_cluster.connect(there) as target:
            schema.run(run)
            copy.run(run)
            assert bounds(target, "measured_1", "at") in (11, 2)
            index.run(run)
            assert bounds(target, "measured_1", "at") == 101
            assert bounds(target, "measured", "at", inherited=True) == 101
            assert bounds(target, "parent", "id", inherited=True) == 101
    finally:
        with source_cluster.connect() as connection:
            connection.execute(f'DROP DATABASE "{there}" WITH (FORCE)'.encode())
