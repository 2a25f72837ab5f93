"""What tests of the copy step share: a database with rows of every kind, and how both sides are looked at."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from migrations_app.demo.clusters import Cluster
from migrations_app.engine import copy_plan, index_lanes
from migrations_app.engine.outcome import Run
from migrations_app.engine.plan import DatabasePlan
from migrations_app.engine.ports import TableStatus
from tests.postgres.engine_runs import make_plan, register_tables, running

SCHEMA = """
CREATE TABLE orders (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, note text, at timestamptz, n numeric,
                     twice int GENERATED ALWAYS AS (3) STORED);
CREATE TABLE "od d %s "" \\ {}" ("co""l %s" text, "select" int);
CREATE TABLE empty_one (a int);
CREATE TABLE no_columns ();
CREATE TYPE mood AS ENUM ('happy', 'sad');
CREATE TABLE moods (m mood, j jsonb, b bytea, a int[]);
CREATE UNLOGGED TABLE scratch (id int);
CREATE TABLE root (id int, v text) PARTITION BY RANGE (id);
CREATE TABLE root_low PARTITION OF root FOR VALUES FROM (0) TO (50);
CREATE TABLE root_rest PARTITION OF root DEFAULT;
CREATE TABLE parent (id int); CREATE TABLE child (extra text) INHERITS (parent);
"""
ROWS = """
INSERT INTO orders (note, at, n) SELECT 'note ' || n, '2020-01-01'::timestamptz + n * interval '1 s', n / 7.0
  FROM generate_series(1, 5000) n;
INSERT INTO "od d %s "" \\ {}" VALUES (E'tab\\t new\\nline \\\\ N', 1), (NULL, NULL), ('\\N', 2);
INSERT INTO no_columns DEFAULT VALUES; INSERT INTO no_columns DEFAULT VALUES;
INSERT INTO moods VALUES ('sad', '{"a": [1, null]}', '\\x00ff', '{1,NULL,3}'), (NULL, NULL, NULL, NULL);
INSERT INTO scratch VALUES (1), (2);
INSERT INTO root SELECT n, 'v' || n FROM generate_series(1, 100) n;
INSERT INTO parent VALUES (1); INSERT INTO child VALUES (2, 'c');
"""


@pytest.fixture(autouse=True)
def built(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Stand in for the builder of indexes, which needs an archive; remembers the tables that it was given."""
    names: list[str] = []

    def build(run: Run, database: DatabasePlan, table: Any, session: Any) -> None:
        names.append(table.name)
        session.execute("SELECT 1")

    stand_in(monkeypatch, build)
    return names


def in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the copy cut tables of a few pages, as it does with large ones."""
    monkeypatch.setattr(copy_plan, "_SMALL_TABLE_BYTES", 1000)
    monkeypatch.setattr(copy_plan, "part_size", lambda total, jobs: 50_000)


def stand_in(monkeypatch: pytest.MonkeyPatch, build: Callable[[Run, DatabasePlan, Any, Any], None]) -> None:
    """Let the index lanes call `build` for each table, also for those that are built together."""

    def build_all(run: Run, database: DatabasePlan, tables: Any, session: Any) -> None:
        for table in tables:
            build(run, database, table, session)

    monkeypatch.setattr(index_lanes, "build_table", build)
    monkeypatch.setattr(index_lanes, "build_tables", build_all)


@pytest.fixture
def run(
    source_cluster: Cluster, target_cluster: Cluster, source_db: str, target_db: str, tmp_path: Path
) -> Iterator[Run]:
    execute(source_cluster, source_db, SCHEMA)
    execute(target_cluster, target_db, SCHEMA)
    execute(source_cluster, source_db, ROWS)
    with running(make_plan(source_cluster, target_cluster, [(source_db, target_db)], tmp_path)) as made:
        register_tables(made, source_cluster)
        yield made


def execute(cluster: Cluster, database: str, text: str) -> None:
    with cluster.connect(database) as connection:
        connection.execute(text.encode())


def contents(cluster: Cluster, database: str) -> dict[str, list[str]]:
    with cluster.connect(database) as connection:
        names = connection.execute(
            "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
        ).fetchall()
        found = {}
        for (name,) in names:
            quoted = '"' + name.replace('"', '""') + '"'
            rows = connection.execute(f"SELECT q::text FROM ONLY {quoted} q ORDER BY 1".encode()).fetchall()
            found[name] = [row[0] for row in rows]
        return found


def assert_equal(source: Cluster, source_db: str, target: Cluster, target_db: str) -> None:
    left, right = contents(source, source_db), contents(target, target_db)
    assert left == right
    assert any(left.values())


def states(run: Run) -> set[TableStatus]:
    return {state.status for state in run.ports.store.tables(run.plan.databases[0].source_name)}
