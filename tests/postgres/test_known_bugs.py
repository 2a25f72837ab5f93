"""Bugs that other tools had, one test for each: what they lost or broke arrives here.

docs/proofs.md lists all of them under D25; those that other files show already stand there by the names of their tests.
Names in brackets are pgcopydb's commits; the second half follows PostgreSQL's own `100_bugs.pl`.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import cast
from unittest.mock import MagicMock

import pytest

from migrations_app.demo.clusters import Cluster
from migrations_app.engine.executor import Executor
from migrations_app.engine.replication.intake import Intake
from migrations_app.engine.states import StepName, steps_for
from tests.comparator import differences
from tests.fakes import FakeControl, FakeStore, fake_ports
from tests.postgres.compare_kit import plan_for, server
from tests.postgres.sync_kit import Pair, force_path

_MD5 = ("md5(text)", "md5(bytea)")


@pytest.fixture(params=["rows", "batches"])
def pair(
    request: pytest.FixtureRequest,
    source_cluster: Cluster,
    target_cluster: Cluster,
    source_db: str,
    target_db: str,
    monkeypatch: pytest.MonkeyPatch,
) -> Pair:
    force_path(monkeypatch, request.param)
    return Pair(source_cluster, target_cluster, source_db, target_db)


def test_bits_beyond_eight_and_up_to_64_pass_the_sync_whole(pair: Pair) -> None:
    """[bff56733]"""
    pair.build("CREATE TABLE t (id int PRIMARY KEY, v varbit, b bit(33), n bit varying(64)[])")
    bits = "(1::bigint << 62 | 5)::bit(64)::varbit"
    pair.at_source(
        f"INSERT INTO t SELECT g, substring({bits} from 1 for g), B'1'::bit(33), ARRAY[B'1'::varbit, NULL, {bits}]"
        " FROM generate_series(0, 64) g",
        "UPDATE t SET v = v || B'000000001' WHERE id BETWEEN 1 AND 55; UPDATE t SET v = B'' WHERE id = 60",
        "DELETE FROM t WHERE v = B''",
    )
    pair.catch_up()
    pair.assert_equal()


def test_truncate_only_of_a_parent_leaves_its_children_full(pair: Pair) -> None:
    """[d6da53f5]"""
    pair.build("CREATE TABLE p (id int PRIMARY KEY); CREATE TABLE c (PRIMARY KEY (id)) INHERITS (p)")
    pair.at_source(
        "INSERT INTO p VALUES (1); INSERT INTO c VALUES (2)",
        "TRUNCATE ONLY p",
        "INSERT INTO p VALUES (3)",
    )
    pair.catch_up()
    assert pair.rows("target") == {"public.p": ["(3)"], "public.c": ["(2)"]}


def test_truncate_of_a_parent_empties_its_children(pair: Pair) -> None:
    """[d6da53f5]"""
    pair.build("CREATE TABLE p (id int PRIMARY KEY); CREATE TABLE c (PRIMARY KEY (id)) INHERITS (p)")
    pair.at_source("INSERT INTO p VALUES (1); INSERT INTO c VALUES (2)", "TRUNCATE p", "INSERT INTO c VALUES (4)")
    pair.catch_up()
    assert pair.rows("target") == {"public.p": [], "public.c": ["(4)"]}


def test_quotes_at_the_end_of_a_value_are_part_of_it(pair: Pair) -> None:
    """[17b23389, 98426927]"""
    pair.build("CREATE TABLE t (k text PRIMARY KEY, v text)")
    pair.at_source(
        "INSERT INTO t VALUES ('''', ''''''), ('a''', 'null'), ('null', NULL), ('NULL', '''null''')",
        "UPDATE t SET v = v || '''' WHERE v IS NOT NULL; UPDATE t SET k = 'b''''' WHERE k = 'null'",
        "DELETE FROM t WHERE k = ''''",
    )
    pair.catch_up()
    pair.assert_equal()


def test_rows_with_null_in_what_identifies_them_are_found(pair: Pair) -> None:
    """[688117f8]"""
    pair.build("CREATE TABLE t (a int, b text, c json); ALTER TABLE t REPLICA IDENTITY FULL")
    pair.at_source(
        "INSERT INTO t VALUES (NULL, NULL, NULL), (1, NULL, '{}'), (NULL, 'x', NULL)",
        "UPDATE t SET b = 'found' WHERE a = 1; UPDATE t SET a = 7 WHERE b = 'x'; DELETE FROM t WHERE a IS NULL",
    )
    pair.catch_up()
    pair.assert_equal()


@pytest.mark.parametrize("pair", ["rows"], indirect=True)
def test_a_keepalive_without_a_time_is_a_keepalive(pair: Pair) -> None:
    """[1fab2039]"""
    applier, stream = MagicMock(due=10, foldings={}, end=0, in_transaction=False), MagicMock()
    intake = Intake(applier, stream)
    body = b"k" + struct.pack("!QqB", 4711, 0, 1)
    intake.feed(b"d" + struct.pack("!I", len(body) + 4) + body)
    assert intake.work(None, None) is False
    applier.reached.assert_called_once_with(4711)
    stream.heard.assert_called_once_with(4711, urgent=True)


@pytest.fixture
def without_md5(source_cluster: Cluster, target_cluster: Cluster, source_db: str, target_db: str) -> None:
    """Databases where nothing is called md5, as little as under FIPS."""
    for cluster, name in ((source_cluster, source_db), (target_cluster, target_db)):
        with cluster.connect(name) as connection:
            for function in _MD5:
                connection.execute(f"ALTER FUNCTION pg_catalog.{function} RENAME TO forbidden".encode())


def test_a_whole_migration_asks_newer_servers_for_no_md5(
    without_md5: None, source_cluster: Cluster, target_cluster: Cluster, source_db: str, target_db: str, tmp_path: Path
) -> None:
    """[2aa62e58]"""
    plan = plan_for(
        server(source_cluster), server(target_cluster), source_db, target_db, work_dir=tmp_path, incremental=True
    )
    ports = fake_ports()
    cast(FakeControl, ports.control).complete = True
    store = cast(FakeStore, ports.store)
    store.targets[source_db] = target_db
    with source_cluster.connect(source_db) as source, target_cluster.connect(target_db) as target:
        source.execute(
            "CREATE TABLE t (id int PRIMARY KEY, v text, f float8); SELECT lo_from_bytea(4711, '\\x01');"
            "INSERT INTO t SELECT g, 'v' || g, g / 3.0 FROM generate_series(1, 500) g"
        )
        with Executor(plan, ports) as executor:
            for step in steps_for(incremental=True):
                if step is not StepName.CHECK:
                    assert executor.run(step).done
        assert store.comparisons
        assert all(one.equal for one in store.comparisons)
        assert differences(source, target) == []


def test_many_large_changes_both_ways_do_not_block_each_other(pair: Pair) -> None:
    """[36ab63c7]: what we send and what the target answers fill both lines at once."""
    pair.build("CREATE TABLE t (id int PRIMARY KEY, v text)")
    pair.at_source(
        "INSERT INTO t SELECT g, repeat('x', 3000) FROM generate_series(1, 4000) g",
        "UPDATE t SET v = repeat('y', 3000)",
        "DELETE FROM t WHERE id % 2 = 0",
    )
    pair.catch_up()
    pair.assert_equal()


@pytest.mark.parametrize("pair", ["rows"], indirect=True)
def test_an_exclusion_constraint_has_one_index(pair: Pair, tmp_path: Path) -> None:
    """[79a1da60]"""
    pair.at_source("CREATE TABLE t (during int4range, CONSTRAINT apart EXCLUDE USING gist (during WITH &&))")
    pair.at_source("INSERT INTO t VALUES ('[1,3)'), ('[5,6)')")
    ports = fake_ports()
    cast(FakeStore, ports.store).targets[pair.source_db] = pair.target_db
    plan = plan_for(server(pair.source), server(pair.target), pair.source_db, pair.target_db, work_dir=tmp_path)
    with Executor(plan, ports) as executor:
        for step in steps_for(incremental=False):
            if step is not StepName.CHECK:
                assert executor.run(step).done
    assert pair.value("SELECT array_agg(indexname::text) FROM pg_indexes WHERE tablename = 't'", "target") == ["apart"]


# PostgreSQL's own


def test_functions_of_an_index_find_their_names_while_rows_are_applied(pair: Pair) -> None:
    pair.build(
        "CREATE FUNCTION double(x int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT x * 2';"
        "CREATE FUNCTION quadruple(x int) RETURNS int LANGUAGE sql IMMUTABLE SET search_path = public"
        " AS 'SELECT double(double(x))';"
        "CREATE TABLE t (id int PRIMARY KEY, v int); CREATE INDEX ON t (quadruple(v)) WHERE quadruple(v) > 8"
    )
    pair.at_source("INSERT INTO t SELECT g, g FROM generate_series(1, 20) g", "UPDATE t SET v = v + 1")
    pair.catch_up()
    pair.assert_equal()


def test_a_refreshed_materialized_view_is_no_change_of_rows(pair: Pair) -> None:
    pair.build(
        "CREATE TABLE t (id int PRIMARY KEY); CREATE MATERIALIZED VIEW m AS SELECT id FROM t;"
        "CREATE UNIQUE INDEX ON m (id)"
    )
    pair.at_source(
        "INSERT INTO t VALUES (1)",
        "REFRESH MATERIALIZED VIEW m",
        "INSERT INTO t VALUES (2)",
        "REFRESH MATERIALIZED VIEW CONCURRENTLY m",
    )
    pair.catch_up()
    pair.assert_equal()


def test_temporary_and_unlogged_rows_of_the_same_transaction_are_passed_by(pair: Pair) -> None:
    pair.build("CREATE TABLE t (id int PRIMARY KEY); CREATE UNLOGGED TABLE u (id int PRIMARY KEY)")
    pair.at_source(
        "BEGIN; CREATE TEMP TABLE x AS SELECT 1 AS id; INSERT INTO u VALUES (1); INSERT INTO t VALUES (1);"
        " CREATE TEMP TABLE y (LIKE t INCLUDING ALL); INSERT INTO y TABLE x; INSERT INTO t VALUES (2); DROP TABLE x;"
        " COMMIT"
    )
    pair.catch_up()
    assert pair.rows("target")["public.t"] == ["(1)", "(2)"]


def test_rows_are_found_by_all_columns_though_some_were_dropped(pair: Pair) -> None:
    pair.build(
        "CREATE TABLE t (gone int, a int, more text, b text); ALTER TABLE t DROP COLUMN gone;"
        "ALTER TABLE t DROP COLUMN more; ALTER TABLE t REPLICA IDENTITY FULL",
        target="CREATE TABLE t (b text, x int, a int); ALTER TABLE t DROP COLUMN x",
    )
    pair.at_source(
        "INSERT INTO t VALUES (1, 'a'), (2, 'b')", "UPDATE t SET a = 3 WHERE b = 'a'; DELETE FROM t WHERE a = 2"
    )
    pair.catch_up()
    pair.assert_equal()


def test_rows_are_found_by_all_columns_though_some_are_generated(pair: Pair) -> None:
    pair.build(
        "CREATE TABLE t (a int, twice int GENERATED ALWAYS AS (a * 2) STORED, b text);"
        "ALTER TABLE t REPLICA IDENTITY FULL"
    )
    pair.at_source("INSERT INTO t VALUES (1, DEFAULT, 'a'), (2, DEFAULT, NULL)", "UPDATE t SET a = 5 WHERE b IS NULL")
    pair.catch_up()
    pair.assert_equal()


def test_a_row_whose_composite_value_lost_an_attribute_is_found(pair: Pair) -> None:
    pair.build(
        "CREATE TYPE c AS (x int, y text, z int); CREATE TABLE t (id int, v c); ALTER TABLE t REPLICA IDENTITY FULL;"
        "INSERT INTO t VALUES (1, ROW(1, 'a', 2)), (2, NULL); ALTER TYPE c DROP ATTRIBUTE y"
    )
    pair.at_source(
        "UPDATE t SET id = 3 WHERE id = 1; DELETE FROM t WHERE id = 2", "INSERT INTO t VALUES (4, ROW(5, 6))"
    )
    pair.catch_up()
    pair.assert_equal()
