"""Rows of any size: the memory that the copy needs for them, and what is said of those that cannot be sent."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from migrations_app.demo.clusters import Cluster
from migrations_app.engine import row_sizes
from migrations_app.engine.connect import server_error
from migrations_app.engine.errors import SourceError
from migrations_app.engine.outcome import Run
from migrations_app.engine.plan import Side
from migrations_app.engine.relay import Relay
from migrations_app.engine.steps import copy
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


@pytest.mark.long
def test_a_value_that_is_small_only_while_it_is_compressed_does_not_pass_through_memory(
    run: Run, source_cluster: Cluster, target_cluster: Cluster, source_db: str, target_db: str
) -> None:
    tables = "".join(f"CREATE TABLE t{number} (id int, v text);" for number in range(12))
    rows = "INSERT INTO t5 VALUES (1, repeat('x', 150000000)); INSERT INTO t7 VALUES (1, 'y')"
    _make(run, source_cluster, target_cluster, tables, rows)
    assert peak_bytes(run) < MOST_BYTES
    assert _lengths(target_cluster, target_db, "t5") == [(1, 150_000_000)]
    assert _lengths(target_cluster, target_db, "t7") == [(1, 1)]


@pytest.mark.long
def test_large_objects_pass_in_pieces_that_fit_into_memory(
    run: Run, source_cluster: Cluster, target_cluster: Cluster, source_db: str, target_db: str
) -> None:
    made = "SELECT lo_from_bytea(70000 + n, convert_to(repeat('x', 3000000), 'UTF8')) FROM generate_series(1, 40) n"
    _make(run, source_cluster, target_cluster, "CREATE TABLE t (id int)", made)
    assert peak_bytes(run) < MOST_BYTES / 2  # other lanes work beside
    with target_cluster.connect(target_db) as connection:
        lengths = "SELECT count(*), sum(length(lo_get(oid))) FROM pg_largeobject_metadata"
        assert connection.execute(lengths).fetchone() == (40, 120_000_000)


_REFUSED = "The source reported an error while copying public.t: invalid memory alloc request size 1200000003 (XX000)"


@pytest.mark.parametrize("key", ["PRIMARY KEY", ""], ids=["with a key", "without a key"])
def test_a_row_that_a_server_cannot_hold_is_named_when_its_copy_fails(
    run: Run, source_cluster: Cluster, target_cluster: Cluster, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    rows = "INSERT INTO t SELECT i, repeat('x', i * 400) FROM generate_series(1, 3) i"
    _make(run, source_cluster, target_cluster, f"CREATE TABLE t (id int {key}, v text)", rows)
    monkeypatch.setattr(row_sizes, "MOST_BYTES", 1000)

    def fails(*_: object) -> None:
        raise server_error("XX000", "invalid memory alloc request size 1200000003", Side.SOURCE, "copying public.t")

    monkeypatch.setattr(Relay, "copy", fails)
    with pytest.raises(SourceError) as caught:
        copy.run(run)
    told = caught.value
    assert told.code == "ROW-TOOBIG"
    assert told.message.startswith(f"A row of public.t ({'3' if key else '0,3'}) takes 0 MB.")
    assert told.message.endswith(_REFUSED)
    assert told.public_message.startswith("A row of public.t takes")


def test_another_internal_error_is_not_taken_for_a_large_row(
    run: Run, source_cluster: Cluster, target_cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    _make(run, source_cluster, target_cluster, "CREATE TABLE t (id int)", "INSERT INTO t VALUES (1)")

    def fails(*_: object) -> None:
        raise server_error("XX000", "cache lookup failed for type 7", Side.SOURCE, "copying public.t")

    monkeypatch.setattr(Relay, "copy", fails)
    with pytest.raises(SourceError) as caught:
        copy.run(run)
    assert caught.value.code == "SRC-ERROR"


@pytest.mark.long
def test_a_row_that_is_too_large_as_text_is_refused_with_its_key(
    source_cluster: Cluster, target_cluster: Cluster, tmp_path: Path
) -> None:
    made = "CREATE DATABASE latin_rows ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0"
    with source_cluster.connect() as source, target_cluster.connect() as target:
        for one in (source, target):
            one.execute(made.encode())
        try:
            with running(make_plan(source_cluster, target_cluster, [("latin_rows", "latin_rows")], tmp_path)) as run:
                schema = "CREATE TABLE t (id int PRIMARY KEY, v bytea)"
                rows = "INSERT INTO t VALUES (7, convert_to(repeat('x', 600000000), 'LATIN1'))"
                _make(run, source_cluster, target_cluster, schema, rows)
                with pytest.raises(SourceError, match=r"A row of public\.t \(7\) takes 1200 MB") as caught:
                    copy.run(run)
                assert caught.value.code == "ROW-TOOBIG"
        finally:
            drop = "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE database = 'latin_rows'"
            source.execute(drop)
            for one in (source, target):
                one.execute("DROP DATABASE latin_rows WITH (FORCE)")


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
