"""Rows of any size: the memory that the copy needs for them, and what is said of those that cannot be sent."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from migrations_app.demo.clusters import Cluster
from migrations_app.engine.outcome import Run
from tests.postgres.copy_kit import execute
from tests.postgres.copy_worker import peak_bytes
from tests.postgres.engine_runs import make_plan, register_tables, running

MOST_BYTES = 200_000_000
"""What the engine may need at any moment, whatever the rows are."""


@pytest.fixture
def run(
    source_cluster: Cluster, target_cluster: Cluster, source_db: str, target_db: str, tmp_path: Path
) -> Iterator[Run]:
    with running(make_plan(source_cluster, target_cluster, [(source_db, target_db)], tmp_path)) as made:
        yield made


def _make(run: Run, source: Cluster, target: Cluster, schema: str, rows: str) -> None:
    database = run.plan.databases[0]
    execute(source, database.source_name, schema)
    execute(target, database.target_name, schema)
    execute(source, database.source_name, rows)
    register_tables(run, source)


def _lengths(cluster: Cluster, database: str, table: str) -> list[tuple[int, ...]]:
    with cluster.connect(database) as connection:
        return connection.execute(f"SELECT id, octet_length(v) FROM {table} ORDER BY 1".encode()).fetchall()  # type: ignore[return-value]


def test_a_value_that_is_small_only_while_it_is_compressed_does_not_pass_through_memory(
    run: Run, source_cluster: Cluster, target_cluster: Cluster, source_db: str, target_db: str
) -> None:
    tables = "".join(f"CREATE TABLE t{number} (id int, v text);" for number in range(12))
    rows = "INSERT INTO t5 VALUES (1, repeat('x', 150000000)); INSERT INTO t7 VALUES (1, 'y')"
    _make(run, source_cluster, target_cluster, tables, rows)
    assert peak_bytes(run) < MOST_BYTES
    assert _lengths(target_cluster, target_db, "t5") == [(1, 150_000_000)]
    assert _lengths(target_cluster, target_db, "t7") == [(1, 1)]


def test_large_objects_pass_in_pieces_that_fit_into_memory(
    run: Run, source_cluster: Cluster, target_cluster: Cluster, source_db: str, target_db: str
) -> None:
    made = "SELECT lo_from_bytea(70000 + n, convert_to(repeat('x', 3000000), 'UTF8')) FROM generate_series(1, 40) n"
    _make(run, source_cluster, target_cluster, "CREATE TABLE t (id int)", made)
    assert peak_bytes(run) < MOST_BYTES / 2  # other lanes work beside
    with target_cluster.connect(target_db) as connection:
        lengths = "SELECT count(*), sum(length(lo_get(oid))) FROM pg_largeobject_metadata"
        assert connection.execute(lengths).fetchone() == (40, 120_000_000)


_EXTERNAL = "CREATE TABLE t (id int, v bytea); ALTER TABLE t ALTER v SET STORAGE EXTERNAL"
_HUGE = {
    "bytea of 300 MB": (_EXTERNAL, "INSERT INTO t VALUES (1, convert_to(repeat('x', {bytes}), 'UTF8'))", 300_000_000),
    "bytea of 900 MB": (_EXTERNAL, "INSERT INTO t VALUES (1, convert_to(repeat('x', {bytes}), 'UTF8'))", 900_000_000),
    "text of 300 MB, compressed": (
        "CREATE TABLE t (id int, v text); CREATE TABLE u (id int)",
        "INSERT INTO t VALUES (1, repeat('x', {bytes}))",
        300_000_000,
    ),
}


@pytest.mark.long
@pytest.mark.parametrize(("schema", "rows", "size"), _HUGE.values(), ids=_HUGE)
def test_a_huge_row_does_not_make_the_copy_need_more_memory(
    run: Run, source_cluster: Cluster, target_cluster: Cluster, target_db: str, schema: str, rows: str, size: int
) -> None:
    _make(run, source_cluster, target_cluster, schema, rows.format(bytes=size))
    assert peak_bytes(run) < MOST_BYTES
    assert _lengths(target_cluster, target_db, "t") == [(1, size)]
