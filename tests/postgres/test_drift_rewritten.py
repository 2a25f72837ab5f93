"""A column came with a default that is gone again: rows of before hold that value, and the catalog may tell no more."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from dataclasses import replace

import pytest

from migrations_app.demo.clusters import Cluster
from migrations_app.engine.drift import Doubt
from migrations_app.engine.replication import polling
from migrations_app.engine.replication.session import SyncSession
from migrations_app.engine.selection import Selection
from tests.postgres import drift_kit
from tests.postgres.drift_kit import ROWS, TABLE, allow, stopped
from tests.postgres.sync_kit import Pair, force_path
from tests.servers import Server, started

# A fixture that stands in the kit.
pair = drift_kit.pair

DROPPED = "ALTER TABLE {0} ADD c int DEFAULT 5; ALTER TABLE {0} ALTER c DROP DEFAULT"
ADDED = DROPPED.format("t")
REWRITES = {
    "VACUUM FULL": (ADDED, "VACUUM FULL t"),
    "CLUSTER": (ADDED, "CLUSTER t USING t_pkey"),
    "another column's type": (
        ADDED,
        "ALTER TABLE t ALTER v TYPE varchar(10) USING v || ''",
        "ALTER TABLE t ALTER v TYPE text",
    ),
    "a computed default": ("ALTER TABLE t ADD c int DEFAULT trunc(random() + 5); ALTER TABLE t ALTER c DROP DEFAULT",),
    "a domain's default": (
        "CREATE DOMAIN five AS int DEFAULT 5 CHECK (VALUE > 0); ALTER TABLE t ADD c five",
        "ALTER TABLE t ALTER c TYPE int",
    ),
}
LATER = "INSERT INTO t VALUES (200, 'later', 7)"


@pytest.fixture
def following(pair: Pair) -> Pair:
    pair.selection = replace(pair.selection, follow="additions")
    return pair


@pytest.mark.parametrize("path", ["rows", "batches"])
@pytest.mark.parametrize("how", REWRITES)
def test_a_table_that_was_written_anew_since_gives_no_column_by_itself(
    how: str, path: str, following: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    force_path(monkeypatch, path)
    following.build(TABLE, ROWS)
    following.at_source(*REWRITES[how], LATER)
    drift = stopped(following)
    assert (drift.doubt, drift.statements, drift.harmless) == (Doubt.VALUES, (), False)
    assert following.value("SELECT count(*) FROM t", "target") == 100


@pytest.mark.parametrize("change", ["VACUUM FULL t", "TRUNCATE other", "ANALYZE t", "CREATE INDEX ON t (v)"])
def test_a_column_is_added_by_itself_where_no_row_was_written_anew_after_it(following: Pair, change: str) -> None:
    following.build(TABLE, ROWS)
    following.at_source(change)
    assert [code for _, code, _ in following.look() if code != "SYNC-READY"] == []
    following.at_source("ALTER TABLE t ADD c int", LATER)
    following.catch_up()
    following.assert_equal()


def test_what_the_catalog_remembers_is_applied_as_before(pair: Pair) -> None:
    pair.build(TABLE, ROWS)
    pair.at_source(ADDED, LATER)
    drift = stopped(pair)
    assert not drift.harmless
    allow(pair, drift)
    pair.catch_up()
    pair.assert_equal()


@pytest.mark.parametrize("parts", [1, 2])
def test_a_look_beside_the_stream_does_not_take_a_rewritten_table_for_known(following: Pair, parts: int) -> None:
    following.build(TABLE, ROWS)
    following.at_source(*REWRITES["VACUUM FULL"])
    for _ in range(parts):
        following.look()
    following.at_source(LATER)
    assert stopped(following).doubt is Doubt.VALUES


PARTED = (
    "CREATE TABLE m (id int PRIMARY KEY, v text) PARTITION BY RANGE (id);"
    " CREATE TABLE m1 PARTITION OF m FOR VALUES FROM (0) TO (50);"
    " CREATE TABLE m2 PARTITION OF m FOR VALUES FROM (50) TO (100);"
    " INSERT INTO m SELECT g, g FROM generate_series(1, 99) g"
)


@pytest.mark.parametrize("first", [7, 77])
@pytest.mark.parametrize("rewritten", ["m1", "m2"])
def test_no_partition_alone_tells_what_rows_of_before_hold(following: Pair, rewritten: str, first: int) -> None:
    following.build(PARTED)
    following.at_source(DROPPED.format("m"), f"VACUUM FULL {rewritten}", f"UPDATE m SET c = 7 WHERE id = {first}")
    drift = stopped(following)
    assert (drift.doubt, drift.statements) == (Doubt.VALUES, ())
    following.at_target(DROPPED.format("m"))
    following.catch_up()
    following.assert_equal()


def test_a_new_partition_does_not_tell_what_rows_of_the_others_hold(following: Pair) -> None:
    following.build(PARTED)
    following.at_source(DROPPED.format("m"), "CREATE TABLE m3 PARTITION OF m FOR VALUES FROM (100) TO (200)")
    following.at_source("INSERT INTO m VALUES (177, 'later', 7)")
    drift = stopped(following)
    assert (drift.doubt, drift.statements) == (Doubt.VALUES, ())
    following.at_target(DROPPED.format("m"))
    following.catch_up()
    following.assert_equal()


def test_partitions_get_a_column_by_themselves_where_none_was_written_anew(following: Pair) -> None:
    following.build(PARTED)
    following.at_source("ALTER TABLE m ADD c int", "UPDATE m SET c = id WHERE id % 7 = 0")
    following.catch_up()
    following.assert_equal()


@pytest.mark.parametrize("first", ["INSERT INTO kid VALUES (7, 'later', 7)", "INSERT INTO t VALUES (200, 'later', 7)"])
def test_a_table_that_inherits_may_hold_something_else(following: Pair, first: str) -> None:
    following.build(TABLE, ROWS, "CREATE TABLE kid (PRIMARY KEY (id)) INHERITS (t)", "INSERT INTO kid VALUES (1, 'x')")
    following.at_source("ALTER TABLE kid ADD c int DEFAULT 5; ALTER TABLE kid ALTER c DROP DEFAULT", "VACUUM FULL kid")
    following.at_source("ALTER TABLE t ADD c int", first)
    drift = stopped(following)
    assert (drift.doubt, drift.statements) == (Doubt.VALUES, ())
    assert following.value("SELECT count(*) FROM t", "target") == 101


def test_columns_are_added_by_themselves_to_a_table_and_what_inherits_from_it(following: Pair) -> None:
    following.build(TABLE, ROWS, "CREATE TABLE kid (PRIMARY KEY (id)) INHERITS (t)", "INSERT INTO kid VALUES (1, 'x')")
    following.at_source("ALTER TABLE t ADD c int", "INSERT INTO t VALUES (200, 'later', 7)", "UPDATE kid SET c = 2")
    following.catch_up()
    following.assert_equal()


@pytest.mark.parametrize("change", ["VACUUM FULL t", "TRUNCATE t", "ALTER TABLE t ADD x int; ALTER TABLE t DROP x"])
def test_a_table_is_known_anew_from_the_next_look_on_and_then_only(following: Pair, change: str) -> None:
    following.build(TABLE, ROWS)
    following.look()
    following.at_source(change)
    following.look()
    following.at_source("ALTER TABLE t ADD c int", LATER)
    following.catch_up()
    following.assert_equal()
    following.at_source("VACUUM FULL t", "ALTER TABLE t ADD d int", "UPDATE t SET d = 1 WHERE id = 200")
    assert stopped(following).doubt is Doubt.VALUES


def looked_behind(pair: Pair) -> None:
    """Look while nothing that is in the stream has been applied."""
    with pair.running() as run, SyncSession(run, pair.database) as session:
        poll = polling.Poll(run, pair.database, session.watch, lambda: session.position)
        pair.store.save_database(poll.look(pair.state, now=True))


@pytest.mark.parametrize("path", ["rows", "batches"])
def test_a_column_that_came_went_and_came_again_while_the_stream_was_behind_is_asked_about(
    following: Pair, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    force_path(monkeypatch, path)
    following.build(TABLE, ROWS)
    following.look()
    following.at_source("ALTER TABLE t ADD c int", "UPDATE t SET c = 1 WHERE id < 9", "ALTER TABLE t DROP c")
    looked_behind(following)
    following.at_source("ALTER TABLE t ADD c int")
    looked_behind(following)
    assert stopped(following).doubt is Doubt.VALUES


def test_what_came_and_went_is_known_from_a_look_on_that_finds_the_stream_past_an_earlier_one(following: Pair) -> None:
    following.build(TABLE, ROWS)
    following.look()
    following.at_source("ALTER TABLE t ADD x int; ALTER TABLE t DROP x")
    looked_behind(following)
    following.catch_up()
    following.at_source("INSERT INTO t VALUES (199, 'behind again')")
    looked_behind(following)
    following.at_source("ALTER TABLE t ADD c int", LATER)
    following.catch_up()
    following.assert_equal()


@pytest.mark.parametrize("first", ["TRUNCATE t", "BEGIN; TRUNCATE t; INSERT INTO t VALUES (1, 'x', 2); COMMIT"])
def test_rows_that_go_next_need_no_certainty(following: Pair, first: str) -> None:
    following.build(TABLE, ROWS)
    following.at_source(ADDED, "VACUUM FULL t", first, LATER)
    following.catch_up()
    following.assert_equal()


@pytest.fixture(scope="module")
def before_11() -> Iterator[Server]:
    settings = {"wal_level": "logical", "max_replication_slots": "10", "max_wal_senders": "10"}
    with started("rewritten-10", "10", settings) as one:
        yield one


@pytest.mark.skipif(platform.machine() != "x86_64", reason="npm has PostgreSQL 10 for x86-64 only")
@pytest.mark.parametrize("ddl", [ADDED, "ALTER TABLE t ADD c int"])
def test_before_11_a_default_that_is_gone_again_is_told_from_none(
    ddl: str, before_11: Server, target_cluster: Cluster, target_db: str
) -> None:
    with before_11.connect() as connection:
        connection.execute(f"CREATE DATABASE {target_db}".encode())
    pair = Pair(before_11, target_cluster, target_db, target_db, selection=Selection.everything())
    pair.selection = replace(pair.selection, follow="additions")
    pair.build(TABLE, ROWS)
    pair.at_source("UPDATE t SET v = 'before' WHERE id = 7", ddl, LATER)
    if ddl == ADDED:
        assert stopped(pair).doubt is Doubt.VALUES
    else:
        pair.catch_up()
        pair.assert_equal()
    pair.at_source(f"SELECT pg_drop_replication_slot('{pair.state.slot}')")
